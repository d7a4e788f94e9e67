"""A model of two submodules to test the loop. As a script of several processes it writes what each of them ends with.

usage: python -m torch.distributed.run … tests/two_parts.py FOLDER
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from tiny import TRAIN, conditions, tiny
from torch import Tensor, nn

import morphogen
from morphogen.core.config import Frozen
from morphogen.core.model import Batch, GenerativeModel, Loss, Partial, Phase, Request
from morphogen.core.space import Grid
from morphogen.data.loader import batch_indices
from morphogen.training.budget import Budget
from morphogen.training.loop import Setup, Step, TrainState, train
from morphogen.training.options import TrainOptions
from morphogen.training.processes import wrap

IN_TURN = (Phase("first", "first", span=(0.0, 0.5)), Phase("second", "second", span=(0.5, 1.0)))
TOGETHER = (Phase("first", "first"), Phase("second", "second", every=2))
ITEMS = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))


# Every family, with options that make the processes share more than gradients.
FITS: dict[str, dict[str, Any]] = {
    "autoregressive": {},
    "diffusion": {},
    "gan": {},
    "latent_diffusion": {},
    "masked_diffusion": {},
    "vae": {},
    "vq": {"quantiser": "codebook", "codes": 16, "adversarial": 0.1, "perceptual": 0.1},
}


class Nothing(Frozen):
    """No settings."""


class TwoParts(GenerativeModel):
    """`first` learns to rotate an item by one; `second` to rotate it back. No random numbers."""

    Options = Nothing
    Controls = Nothing
    mean: Tensor

    def __init__(self, plan: Sequence[Phase]) -> None:
        super().__init__(Grid(4), {}, Nothing())
        self.plan = plan
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.register_buffer("mean", torch.zeros(4))
        self.calls, self.bad = 0, -1  # the call whose loss is NaN
        self.events: list[tuple[Any, ...]] = []

    def phases(self) -> Sequence[Phase]:
        return self.plan

    @torch.no_grad()
    def initialize(self, phase: str, batches: Iterable[Batch]) -> None:
        self.mean.copy_(torch.cat([batch.x for batch in batches]).mean(0))
        self.events.append(("initialize", phase))

    def on_step_end(self, progress: float, epochs: float, losses: Mapping[str, float]) -> None:
        self.events.append(("on_step_end", progress, epochs, dict(losses)))

    def forward(self, batch: Batch, phase: str = "first") -> Loss:
        self.calls += 1
        self.events.append(("loss", phase))
        rotated = self.first(batch.x - self.mean)
        target = batch.x.roll(1, 1) if phase == "first" else batch.x
        error = ((rotated if phase == "first" else self.second(rotated)) - target).square().mean()
        return Loss(error * (torch.nan if self.calls == self.bad else 1.0), {f"{phase}_error": error.detach()})

    def generate(self, request: Request, controls: Nothing) -> Iterator[Partial]:
        x = request.noise.normal("start", (4,))
        yield Partial(x, torch.ones_like(x, dtype=torch.bool))


def setup(model: TwoParts, options: TrainOptions, accelerator: Accelerator, precision: str = "fp32") -> Setup:
    """Return what the loop needs to train on this process's share of ITEMS."""

    def micro_batches(step: int) -> list[Batch]:
        indices = batch_indices(
            seed=options.seed,
            step=step,
            batch_size=options.batch or 16,
            count=len(ITEMS),
            rank=accelerator.process_index,
            ranks=accelerator.num_processes,
        )
        return [Batch(ITEMS[part].to(accelerator.device)) for part in indices.chunk(options.grad_accumulation)]

    return Setup(
        options=options,
        accelerator=accelerator,
        wrapped=wrap(model, options, accelerator),
        micro_batches=micro_batches,
        first_batches=lambda: iter([Batch(part.to(accelerator.device)) for part in ITEMS.split(16)]),
        epochs_per_step=(options.batch or 16) / len(ITEMS),
        precision=precision,
    )


def start(
    model: TwoParts, options: TrainOptions, budget: Budget, accelerator: Accelerator
) -> tuple[TrainState, Iterator[Step]]:
    """Return the state and the steps of a training."""
    model.to(accelerator.device)
    state = TrainState.create(model, options)
    return state, train(state, budget, setup(model, options, accelerator))


def weights(plan: Sequence[Phase], accelerator: Accelerator) -> dict[str, list[Any]]:
    """Return the weights after twelve steps."""
    options = TrainOptions(batch=16, lr=0.05, optimizer="adamw")
    state, steps = start(TwoParts(plan), options, Budget(steps=12), accelerator)
    for _ in steps:
        pass
    return {name: value.tolist() for name, value in state.model.state_dict().items()}


def main(folder: Path) -> None:
    results: dict[str, Any] = {}
    for family, options in FITS.items():
        pipe = morphogen.fit(
            "digits",
            family=family,
            condition=conditions(family),
            out=folder / family,
            train=TRAIN,
            options=tiny(family) | options,
            say=None,
        )
        results[family] = pipe.hash
    accelerator = Accelerator(cpu=True)
    results["processes"] = accelerator.num_processes
    results |= {"in turn": weights(IN_TURN, accelerator), "together": weights(TOGETHER, accelerator)}
    (folder / f"process-{os.environ['RANK']}.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
