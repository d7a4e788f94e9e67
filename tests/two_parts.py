"""A model of two parts, trained by the loop alone; run as a script by several processes, each tells what it ended with.

usage: python -m torch.distributed.run … tests/two_parts.py FOLDER
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from accelerate import Accelerator
from tiny import TRAIN, conditions, tiny
from torch import Tensor, nn

import morphogen
from morphogen.core.config import Frozen
from morphogen.core.model import Batch, GenerativeModel, Loss, Partial, Phase, Request
from morphogen.core.space import Continuous
from morphogen.data.loader import batch_indices
from morphogen.training.fit import _prepared
from morphogen.training.loop import Budget, Step, TrainState, train
from morphogen.training.options import TrainOptions

IN_TURN = (Phase("first", "first", during=(0.0, 0.5)), Phase("second", "second", during=(0.5, 1.0)))
TOGETHER = (Phase("first", "first"), Phase("second", "second", every=2))
ITEMS = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))


# Every family, with the options whose figures the processes have to share.
FITS: dict[str, dict[str, Any]] = {
    "autoregressive": {},
    "diffusion": {},
    "gan": {},
    "masked_diffusion": {},
    "vae": {},
    "vq": {"quantiser": "codebook", "codes": 16, "adversarial": 0.1, "perceptual": 0.1},
}


class Nothing(Frozen):
    """No settings."""


class TwoParts(GenerativeModel):
    """`first` maps an item to itself turned by one; `second` maps what `first` says back. No random numbers."""

    Options = Nothing
    Controls = Nothing
    accepts: ClassVar[tuple[type, ...]] = (Continuous,)
    mean: Tensor

    def __init__(self, plan: Sequence[Phase]) -> None:
        super().__init__(Continuous(4), {}, Nothing())
        self.plan = plan
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.register_buffer("mean", torch.zeros(4))
        self.calls, self.bad = 0, -1  # the call whose loss is no number
        self.seen: list[tuple[Any, ...]] = []

    def phases(self) -> Sequence[Phase]:
        return self.plan

    @torch.no_grad()
    def begin(self, phase: str, batches: Iterable[Batch]) -> None:
        self.mean.copy_(torch.cat([batch.x for batch in batches]).mean(0))
        self.seen.append(("begin", phase))

    def adapt(self, progress: float, passes: float, seen: Mapping[str, float]) -> None:
        self.seen.append(("adapt", progress, passes, dict(seen)))

    def forward(self, batch: Batch, phase: str = "first") -> Loss:
        self.calls += 1
        self.seen.append(("loss", phase))
        turned = self.first(batch.x - self.mean)
        wanted = batch.x.roll(1, 1) if phase == "first" else batch.x
        error = ((turned if phase == "first" else self.second(turned)) - wanted).square().mean()
        return Loss(error * (torch.nan if self.calls == self.bad else 1.0), {f"{phase}_error": error.detach()})

    def generate(self, request: Request, controls: Nothing) -> Iterator[Partial]:
        x = request.noise.normal("start", (4,))
        yield Partial(x, torch.ones_like(x, dtype=torch.bool))


def start(
    model: TwoParts, options: TrainOptions, budget: Budget, accelerator: Accelerator
) -> tuple[TrainState, Iterator[Step]]:
    """The state and the steps of a training on this rank's share of ITEMS."""

    def read(step: int) -> list[Batch]:
        indices = batch_indices(
            seed=options.seed,
            step=step,
            batch_size=options.batch or 16,
            count=len(ITEMS),
            rank=accelerator.process_index,
            ranks=accelerator.num_processes,
        )
        return [Batch(ITEMS[part].to(accelerator.device)) for part in indices.chunk(options.accumulate)]

    def first() -> Iterator[Batch]:
        return iter([Batch(part.to(accelerator.device)) for part in ITEMS.split(16)])

    model.to(accelerator.device)
    state = TrainState.create(model, options)
    steps = train(
        state,
        budget=budget,
        options=options,
        accelerator=accelerator,
        prepared=_prepared(model, options, accelerator),
        read=read,
        first=first,
        share_read=(options.batch or 16) / len(ITEMS),
    )
    return state, steps


def weights(plan: Sequence[Phase], accelerator: Accelerator) -> dict[str, list[Any]]:
    """What two parts are after twelve steps."""
    options = TrainOptions(batch=16, lr=0.05, optimizer="adamw")
    state, steps = start(TwoParts(plan), options, Budget(steps=12), accelerator)
    for _ in steps:
        pass
    return {name: value.tolist() for name, value in state.model.state_dict().items()}


def main(folder: Path) -> None:
    found: dict[str, Any] = {}
    for family, more in FITS.items():
        pipe = morphogen.fit(
            "digits",
            family=family,
            condition=conditions(family),
            out=folder / family,
            train=TRAIN,
            options=tiny(family) | more,
            say=None,
        )
        found[family] = pipe.hash
    accelerator = Accelerator(cpu=True)
    found["ranks"] = accelerator.num_processes
    found |= {"in turn": weights(IN_TURN, accelerator), "together": weights(TOGETHER, accelerator)}
    (folder / f"rank-{os.environ['RANK']}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
