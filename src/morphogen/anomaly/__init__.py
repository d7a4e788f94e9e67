"""How unlikely items, and parts of items, are under a model."""

from __future__ import annotations

from typing import Any

import torch

from ..artifact import to_cpu
from ..core.errors import UserError
from ..core.model import FieldwiseModel
from ..pipeline import Pipeline

__all__ = ["cell_nll"]


def cell_nll(pipeline: Pipeline, items: Any) -> Any:
    """Return −ln p of each cell given all others of its row, in nats: a table with a column for each that is modelled.

    Cells that are wrong stand out. Raises UserError where items have no cells, or the family does not score them.
    """
    artifact, codec = pipeline.artifact, pipeline.codec
    if not isinstance(artifact.model, FieldwiseModel):
        raise UserError(f"a model of family '{pipeline.family}' and modality '{pipeline.modality}' scores no cells")
    aligned = codec.align(items)
    x = codec.encode(aligned)
    nats = [to_cpu(artifact.model.field_nll(batch.x)) for batch in artifact.batches(x)]
    return codec.field_table(torch.cat(nats), aligned)
