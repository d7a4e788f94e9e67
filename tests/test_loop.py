"""The training loop on a model of two parts: who is trained when, by what rate, and what happens to the averages."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from tiny import TRAIN, tiny
from torch import Tensor, nn
from two_parts import IN_TURN, ITEMS, TOGETHER, TwoParts, start

import morphogen
from morphogen import UserError
from morphogen.core.model import Batch, Loss, Phase
from morphogen.families.diffusion.model import Diffusion
from morphogen.training.checkpoint import latest_checkpoint
from morphogen.training.ema import Average
from morphogen.training.loop import Budget, model_phases, train
from morphogen.training.optimise import PartOptimizer, learning_rate
from morphogen.training.options import TrainOptions

OPTIONS = TrainOptions(batch=16, lr=0.05, optimizer="adamw", weight_decay=0.1)


@pytest.fixture
def accelerator() -> Accelerator:
    return Accelerator(cpu=not torch.cuda.is_available())


def part(model: nn.Module, name: str) -> dict[str, Tensor]:
    return {key: value.detach().clone() for key, value in model.get_submodule(name).named_parameters(prefix=name)}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_parts_in_turn(accelerator: Accelerator) -> None:
    model = TwoParts(IN_TURN)
    state, steps = start(model, OPTIONS, Budget(steps=10), accelerator)
    before = part(model, "first") | part(model, "second")
    for _ in range(5):
        assert next(steps).phase == "first"
    assert equal(part(model, "second"), before), "the other part moved"
    assert not any(torch.equal(value, before[name]) for name, value in part(model, "first").items())
    average = {name: state.average.shadow[name].clone() for name in part(model, "first")}
    assert not equal(part(model, "first"), average)
    assert next(steps).phase == "second"
    assert state.settled == ["first"]
    assert equal(part(model, "first"), average), "when its share ends, a part is its average"
    phases = [step.phase for step in steps]
    assert phases == ["second"] * 4
    assert equal(part(model, "first"), average), "a settled part moved"
    assert state.settled == ["first", "second"]
    assert equal(part(model, "second"), {name: state.average.shadow[name] for name in part(model, "second")})
    assert (state.step, state.progress) == (10, 1.0)


def test_order_of_events(accelerator: Accelerator) -> None:
    model = TwoParts(TOGETHER)
    _, steps = start(model, OPTIONS, Budget(steps=4), accelerator)
    done = [(step.number, step.phase, step.whole) for step in steps]
    # The second phase runs at every other step, from the first on; a step is whole after its last phase.
    assert done == [
        (0, "first", False),
        (1, "second", True),
        (2, "first", True),
        (2, "first", False),
        (3, "second", True),
        (4, "first", True),
    ]
    assert [event[:2] for event in model.seen[:4]] == [
        ("begin", "first"),
        ("begin", "second"),
        ("loss", "first"),
        ("loss", "second"),
    ]
    assert len([event for event in model.seen if event[0] == "begin"]) == 2
    adapted = [event for event in model.seen if event[0] == "adapt"]
    assert [event[1] for event in adapted] == [0.25, 0.5, 0.75, 1.0]
    assert [event[2] for event in adapted] == [0.25, 0.5, 0.75, 1.0]  # passes: 16 of 64 items a step
    assert [set(event[3]) for event in adapted] == [{"first_error", "second_error"}, {"first_error"}] * 2


def test_a_phase_without_a_share_looks_at_the_data_once_at_the_end(accelerator: Accelerator) -> None:
    model = TwoParts((Phase("first", "first"), Phase("second", "second", during=(1.0, 1.0))))
    _, steps = start(model, OPTIONS, Budget(steps=3), accelerator)
    assert [step.phase for step in steps] == ["first"] * 3
    assert model.seen[-1] == ("begin", "second")
    assert [event for event in model.seen if event[0] == "begin"] == [("begin", "first"), ("begin", "second")]


def test_a_loss_that_is_no_number_moves_nothing(accelerator: Accelerator) -> None:
    model = TwoParts(IN_TURN)
    model.bad = 3
    state, steps = start(model, OPTIONS, Budget(steps=10), accelerator)
    next(steps), next(steps)
    before, average = part(model, "first"), state.average.shadow["first.weight"].clone()
    bad = next(steps)
    assert math.isnan(bad.loss)
    assert (bad.finite, bad.number, state.step) == (False, 2, 2)
    assert equal(part(model, "first"), before)
    assert torch.equal(state.average.shadow["first.weight"], average)
    assert all(parameter.grad is None for parameter in model.parameters())
    good = next(steps)
    assert (good.finite, good.number) == (True, 3)
    assert not equal(part(model, "first"), before)


def test_a_batch_in_two_parts_is_one_batch(accelerator: Accelerator) -> None:
    found = []
    for accumulate in (1, 2, 4):
        model = TwoParts(IN_TURN)
        options = OPTIONS.model_copy(update={"accumulate": accumulate})
        _, steps = start(model, options, Budget(steps=6), accelerator)
        losses = [step.loss for step in steps]
        found.append((losses, model.state_dict()))
    for losses, state in found[1:]:
        assert losses == pytest.approx(found[0][0], rel=1e-4)
        for name, value in state.items():
            torch.testing.assert_close(value, found[0][1][name], rtol=1e-4, atol=1e-5)


def test_seconds_are_a_budget(accelerator: Accelerator) -> None:
    state, steps = start(TwoParts(IN_TURN), OPTIONS, Budget(seconds=0.5), accelerator)
    done = list(steps)
    assert done[-1].progress == 1.0
    assert 0.5 <= done[-1].seconds < 5
    for step in done:
        assert step.progress == min(1.0, step.seconds / 0.5)
    assert [step.phase for step in done] == sorted(step.phase for step in done)
    assert {step.phase for step in done} == {"first", "second"}
    assert done[-1].learning_rate < max(step.learning_rate for step in done)
    assert state.step == len(done)


def test_the_learning_rate_rises_holds_and_falls() -> None:
    options = TrainOptions(lr=2.0, warm_up=0.1, hold=0.5)
    spent = {0.0: 0.2, 0.04: 1.0, 0.09: 2.0, 0.3: 2.0, 0.5: 2.0, 0.75: 1.0, 0.875: 0.5, 0.99: 0.04, 1.0: 0.0}
    for share, rate in spent.items():
        assert learning_rate(options, Phase(lr=0.1), share, 0.01) == pytest.approx(rate), share
    assert learning_rate(TrainOptions(lr=2.0, warm_up=0.0, hold=1.0), Phase(), 1.0, 0.01) == 2.0


def test_a_family_asks_and_the_user_decides(accelerator: Accelerator) -> None:
    """Each phase has its own rate, clip and optimiser, unless the user gave one for all."""
    plan = (
        Phase("first", "first", optimizer="adamw", lr=0.5, clip=1e-9, betas=(0.0, 0.99)),
        Phase("second", "second", lr=0.25),
    )
    flat = {"batch": 16, "warm_up": 0.0, "hold": 1.0}
    for given, rates, kinds in (
        ({}, [0.5, 0.25], [{"AdamW"}, {"AdamW", "Muon"}]),
        ({"lr": 0.125, "optimizer": "adamw"}, [0.125, 0.125], [{"AdamW"}, {"AdamW"}]),
    ):
        state, steps = start(TwoParts(plan), TrainOptions(**flat, **given), Budget(steps=1), accelerator)
        used = [{type(one).__name__ for one in state.optimizers[name]._optimizers} for name in ("first", "second")]
        assert [step.learning_rate for step in steps] == rates
        assert used == kinds
    moments = state.optimizers["first"].state()
    # After one step without momentum the first moment is the clipped gradient itself.
    norm = math.sqrt(sum(float(v.square().sum()) for k, v in moments.items() if k.endswith(".exp_avg")))
    assert 0 < norm < 1.01e-9
    loose, steps = start(TwoParts(plan), TrainOptions(**flat, clip=1e9), Budget(steps=1), accelerator)
    list(steps)
    values = [v for k, v in loose.optimizers["first"].state().items() if k.endswith(".exp_avg")]
    assert sum(float(v.square().sum()) for v in values) > 1e-6


def test_phases_that_clash_are_refused() -> None:
    for plan, complaint in (
        ((Phase("a", "first"), Phase("a", "second")), "one name"),
        ((Phase("a", "first"), Phase("b", "")), "inside one another"),
        ((Phase("a", "first"), Phase("b", "first", betas=(0.0, 0.9))), "different optimisers"),
        ((Phase("a", "first", during=(0.0, 0.4)), Phase("b", "second", during=(0.5, 1.0))), "from 40% to 50%"),
    ):
        with pytest.raises(ValueError, match=complaint):
            model_phases(TwoParts(plan))


def test_the_average_in_closed_form() -> None:
    """From 0, with the weight at 1, the average after n steps is 1 - 0.5^(n increment / half-life)."""
    model = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.zero_()
    late, early = Average(model, {"": 0.05}), Average(model, {"": 10.0})
    with torch.no_grad():
        model.weight.fill_(1.0)
    for step in range(1, 8):
        late.update("", share=0.5 + 0.01 * step, increment=0.01)
        assert late.shadow["weight"].item() == pytest.approx(1 - 0.5 ** (0.01 * step / 0.05), rel=1e-5)
    # While it warms up the half-life is a fifth of what is spent: the exponents are the harmonic series.
    for step in range(1, 8):
        early.update("", share=0.01 * step, increment=0.01)
        harmonic = sum(1 / number for number in range(1, step + 1))
        assert early.shadow["weight"].item() == pytest.approx(1 - 0.5 ** (5 * harmonic), rel=1e-5)
    with early.applied():
        assert model.weight.item() == early.shadow["weight"].item()
    assert model.weight.item() == 1.0


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_muon_sees_a_convolution_as_a_matrix(layout: torch.memory_format) -> None:
    options = TrainOptions(optimizer="muon", lr=0.02)
    torch.manual_seed(0)
    convolution, linear = nn.Conv2d(3, 8, 3), nn.Linear(27, 8)
    matrix = (0, 2, 3, 1) if layout == torch.channels_last else (0, 1, 2, 3)
    linear.weight.data = convolution.weight.data.permute(matrix).reshape(8, 27).clone()
    linear.bias.data = convolution.bias.data.clone()
    convolution.to(memory_format=layout)
    optimizers = [PartOptimizer(nn.Sequential(one), Phase(), options) for one in (convolution, linear)]
    for number in range(3):
        gradient = torch.randn(8, 3, 3, 3, generator=torch.Generator().manual_seed(number))
        convolution.weight.grad = gradient.clone(memory_format=layout)
        linear.weight.grad = gradient.permute(matrix).reshape(8, 27).clone()
        convolution.bias.grad, linear.bias.grad = torch.ones(8), torch.ones(8)
        before = convolution.weight.detach().clone()
        for optimizer in optimizers:
            optimizer.step(0.02)
        torch.testing.assert_close(convolution.weight.permute(matrix).reshape(8, 27), linear.weight, rtol=0, atol=1e-6)
        # An orthogonalised step has no small directions, as a gradient's would.
        sizes = torch.linalg.svdvals((convolution.weight - before).detach().reshape(8, 27))
        assert sizes.max() < 2 * sizes.min()
    torch.testing.assert_close(convolution.bias, linear.bias)


def test_a_part_of_matrices_alone_has_an_optimiser() -> None:
    part = nn.Sequential(nn.Linear(4, 4, bias=False))
    optimizer = PartOptimizer(part, Phase(), TrainOptions(optimizer="muon"))
    part[0].weight.grad = torch.eye(4)
    before = part[0].weight.detach().clone()
    optimizer.step(0.1)
    assert not torch.equal(part[0].weight, before)


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Losses that are no number at some calls of the training loss, the probe's three included."""
    calls = 0
    honest = Diffusion.forward

    def plant(*bad: int) -> None:
        def forward(self: Any, *arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            loss = honest(self, *arguments)
            return loss._replace(total=loss.total * torch.nan) if calls in bad else loss

        monkeypatch.setattr(Diffusion, "forward", forward)

    return plant


def fit(out: Path, said: list[str]) -> Any:
    train = {**TRAIN, "save_seconds": 1e-6}
    return morphogen.fit("digits", family="diffusion", out=out, train=train, options=tiny("diffusion"), say=said.append)


def test_the_first_bad_loss_rolls_back(planted: Any, tmp_path: Path) -> None:
    planted(6)
    said: list[str] = []
    pipe = fit(tmp_path / "out", said)
    assert "the loss of phase 'model' was not finite at step 2: back to step 2 at half the rate" in said
    training = pipe.metrics["training"]
    assert (training["rollbacks"], training["steps"]) == (1, 6)
    assert all(value.isfinite().all() for value in pipe.model.state_dict().values())


def test_the_second_bad_loss_is_the_end(planted: Any, tmp_path: Path) -> None:
    planted(6, 8)
    with pytest.raises(UserError, match=r"not finite twice, last at step 3; .* checkpoint is kept"):
        fit(tmp_path / "out", [])
    checkpoint = latest_checkpoint(tmp_path / "out" / "training")
    assert checkpoint is not None
    assert checkpoint.name == "step-3"
    kept = json.loads((checkpoint / "state.json").read_text())
    assert (kept["rate"], kept["rollbacks"]) == (0.5, 1)
    assert not (tmp_path / "out" / "config.json").exists()


def test_half_precision_leaves_out_a_step_that_overflows(accelerator: Accelerator) -> None:
    """The scale is halved until gradients fit, and doubled after 2,000 good steps; small gradients survive by it."""

    class Steep(TwoParts):
        factor = 1.0

        def forward(self, batch: Batch, phase: str = "first") -> Loss:
            loss = super().forward(batch, phase)
            return Loss(self.factor * loss.total, loss.parts)

    model, options = Steep((Phase("first", "first"),)), OPTIONS.model_copy(update={"weight_decay": 0.0})
    state, _ = start(model, options, Budget(steps=4), accelerator)

    def go(steps: int) -> None:
        state.progress = 0.0
        for step in train(
            state,
            budget=Budget(steps=state.step + steps),
            options=options,
            precision="fp16",
            accelerator=accelerator,
            prepared=model,
            read=lambda step: [Batch(ITEMS[:16].to(accelerator.device))],
            first=lambda: iter([Batch(ITEMS.to(accelerator.device))]),
            share_read=16 / len(ITEMS),
        ):
            assert step.finite

    model.factor = 1e-9  # gradients that half precision rounds to 0 unless they are scaled
    before = part(model, "first")
    go(1)
    assert not equal(part(model, "first"), before)
    assert (state.loss_scale, state.scaled) == (65536.0, 1)

    model.factor, before = 1e36, part(model, "first")
    go(3)
    assert equal(part(model, "first"), before), "a gradient that is not finite must not be applied"
    assert (state.loss_scale, state.scaled) == (8192.0, 0)

    model.factor = 1.0
    state.scaled = 1999
    go(1)
    assert (state.loss_scale, state.scaled) == (16384.0, 0)
