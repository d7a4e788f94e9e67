"""A generator that gives back items it was given: any fault can be planted in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..core.codec import Codec
from ..core.config import Frozen, write_json
from ..core.model import Batch, GenerativeModel, Loss, Partial, Request
from ..core.space import Continuous, Space, Tokens
from ..data.digest import source_digest
from ..data.sources import Source
from ..pipeline import Pipeline


class Nothing(Frozen):
    """No settings."""


class Replay(GenerativeModel):
    """Item i of those it holds, for the seed i."""

    Options = Nothing
    Controls = Nothing
    accepts: ClassVar = (Continuous, Tokens)

    def __init__(self, space: Space, conditions: Mapping[str, Space], options: Nothing, x: Tensor) -> None:
        super().__init__(space, conditions, options)
        self.x: Tensor
        self.register_buffer("x", x)
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, batch: Batch, phase: str = "model") -> Loss:
        return Loss(self.weight.sum())

    def generate(self, request: Request, controls: Any) -> Iterator[Partial]:
        seeds = request.noise.seeds % len(self.x)
        x = self.x[seeds]
        yield Partial(x, torch.ones_like(x, dtype=torch.bool))


def replaying(
    folder: Path, source: Source, codec: Codec[Any], items: Any, held_out: Sequence[int], spec: str | None = None
) -> Pipeline:
    """A pipeline that gives back `items`, whose folder remembers which of the source were held out.

    `spec` is what the source can be opened by again; without it `evaluate` is given the source.
    """
    model = Replay(codec.space, {}, Nothing(), codec.encode(items))
    pipeline = Pipeline(
        family="replay", modality=source.modality, model=model, codec=codec, conditions={}, source=source.description
    )
    folder.mkdir(parents=True, exist_ok=True)
    split = {
        "source": source.description,
        "spec": spec,
        "digest": source_digest(source),
        "held_out": np.asarray(held_out).tolist(),
    }
    write_json(folder / "split.json", split)
    pipeline.metrics["training"] = {"parameters": 1, "steps": 0, "batch": 1, "seconds": 0.0}
    pipeline.folder = folder
    return pipeline
