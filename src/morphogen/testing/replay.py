"""A model that returns the items it holds, so that any fault can be planted in what is judged."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..artifact import Artifact
from ..core.codec import Codec
from ..core.config import Frozen, write_json
from ..core.modality import modality
from ..core.model import Batch, GenerativeModel, Loss, Partial, Request
from ..core.space import Space
from ..data.base import Source
from ..data.fingerprint import source_digest
from ..pipeline import Pipeline


class Nothing(Frozen):
    """No settings."""


class Replay(GenerativeModel):
    """Returns item i of those it holds for the seed i."""

    Options = Nothing
    Controls = Nothing

    def __init__(self, space: Space, conditions: Mapping[str, Space], options: Nothing, x: Tensor) -> None:
        super().__init__(space, conditions, options)
        self.x: Tensor
        self.register_buffer("x", x)
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, batch: Batch, phase: str = "model") -> Loss:
        return Loss(self.weight.sum())

    def generate(self, request: Request, controls: Any) -> Iterator[Partial]:
        x = self.x[request.noise.seeds % len(self.x)]
        yield Partial(x, torch.ones_like(x, dtype=torch.bool))


def replaying(
    folder: Path, source: Source, codec: Codec[Any], items: Any, held_out: Sequence[int], spec: str | None = None
) -> Pipeline:
    """Return a pipeline that samples `items`, whose folder says which items of the source were held out.

    Items come back as they are, whatever the codec rounds or leaves to chance. `spec` is what the source can be opened
    by again; without it `evaluate` is given the source.
    """
    model = Replay(codec.space, {}, Nothing(), codec.encode(items))
    artifact = Artifact(
        family="replay",
        modality=source.modality,
        model=model,
        codec=_returning(codec, source.modality, items),
        conditions={},
        source=source.description,
    )
    folder.mkdir(parents=True, exist_ok=True)
    split = {
        "source": source.description,
        "spec": spec,
        "digest": source_digest(source),
        "held_out": np.asarray(held_out).tolist(),
    }
    write_json(folder / "split.json", split)
    artifact.metrics["training"] = {"parameters": 1, "steps": 0, "batch": 1, "seconds": 0.0}
    artifact.folder = folder
    return Pipeline(artifact)


def _returning(codec: Codec[Any], name: str, items: Any) -> Codec[Any]:
    """Return the codec, except that the sample of seed i is the item i itself."""

    def finish(x: Tensor, request: Request) -> Any:
        return modality(name).take(items, (request.noise.seeds % len(items)).tolist())

    codec = copy.copy(codec)
    codec.finish = finish  # type: ignore[method-assign]
    return codec
