"""The training loop on a model of two submodules: what is trained when, at which rate, and how weights are averaged."""

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
from two_parts import IN_TURN, TOGETHER, TwoParts, setup, start

import morphogen
from morphogen import UserError
from morphogen.core import plugins
from morphogen.core.model import Batch, Loss, Phase
from morphogen.core.space import Grid
from morphogen.nn.hidden_matrices import hidden_matrices
from morphogen.training.budget import Budget
from morphogen.training.checkpoint import latest_checkpoint
from morphogen.training.ema import EMA
from morphogen.training.loop import model_phases, train
from morphogen.training.optimise import ModuleOptimizer, learning_rate
from morphogen.training.options import TrainOptions, model_options
from morphogen.training.probe import Choice, Probe

CHOICE: dict[str, Any] = {
    "batch": 16,
    "precision": "fp32",
    "threads": 1,
    "items_per_second": 1e3,
    "seconds": 0.0,
    "rates": {},
}
OPTIONS = TrainOptions(batch=16, lr=0.05, optimizer="adamw", weight_decay=0.1)


@pytest.fixture
def accelerator() -> Accelerator:
    return Accelerator(cpu=not torch.cuda.is_available())


def weights(model: nn.Module, name: str) -> dict[str, Tensor]:
    return {key: value.detach().clone() for key, value in model.get_submodule(name).named_parameters(prefix=name)}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_modules_in_turn(accelerator: Accelerator) -> None:
    model = TwoParts(IN_TURN)
    state, steps = start(model, OPTIONS, Budget(steps=10), accelerator)
    before = weights(model, "first") | weights(model, "second")
    for _ in range(5):
        assert next(steps).phase == "first"
    assert equal(weights(model, "second"), before), "the other module changed"
    assert not any(torch.equal(value, before[name]) for name, value in weights(model, "first").items())
    average = {name: state.ema.shadow[name].clone() for name in weights(model, "first")}
    assert not equal(weights(model, "first"), average)
    assert next(steps).phase == "second"
    assert state.frozen == ["first"]
    assert equal(weights(model, "first"), average), "at the end of its span a module takes its averaged weights"
    phases = [step.phase for step in steps]
    assert phases == ["second"] * 4
    assert equal(weights(model, "first"), average), "a frozen module changed"
    assert state.frozen == ["first", "second"]
    assert equal(weights(model, "second"), {name: state.ema.shadow[name] for name in weights(model, "second")})
    assert (state.step, state.progress) == (10, 1.0)


def test_order_of_events(accelerator: Accelerator) -> None:
    model = TwoParts(TOGETHER)
    _, steps = start(model, OPTIONS, Budget(steps=4), accelerator)
    results = [(step.number, step.phase, step.last) for step in steps]
    # The second phase runs in every other step, the first one included; a step ends with its last phase.
    assert results == [
        (0, "first", False),
        (1, "second", True),
        (2, "first", True),
        (2, "first", False),
        (3, "second", True),
        (4, "first", True),
    ]
    assert [event[:2] for event in model.events[:4]] == [
        ("initialize", "first"),
        ("initialize", "second"),
        ("loss", "first"),
        ("loss", "second"),
    ]
    assert len([event for event in model.events if event[0] == "initialize"]) == 2
    calls = [event for event in model.events if event[0] == "on_step_end"]
    assert [event[1] for event in calls] == [0.25, 0.5, 0.75, 1.0]
    assert [event[2] for event in calls] == [0.25, 0.5, 0.75, 1.0]  # epochs: 16 of 64 items a step
    assert [set(event[3]) for event in calls] == [{"first_error", "second_error"}, {"first_error"}] * 2


def test_a_phase_with_an_empty_span_reads_the_data_once_at_the_end(accelerator: Accelerator) -> None:
    model = TwoParts((Phase("first", "first"), Phase("second", "second", span=(1.0, 1.0))))
    _, steps = start(model, OPTIONS, Budget(steps=3), accelerator)
    assert [step.phase for step in steps] == ["first"] * 3
    assert model.events[-1] == ("initialize", "second")
    assert [event for event in model.events if event[0] == "initialize"] == [
        ("initialize", "first"),
        ("initialize", "second"),
    ]


def test_a_loss_that_is_not_finite_changes_no_weight(accelerator: Accelerator) -> None:
    model = TwoParts(IN_TURN)
    model.bad = 3
    state, steps = start(model, OPTIONS, Budget(steps=10), accelerator)
    next(steps), next(steps)
    before, average = weights(model, "first"), state.ema.shadow["first.weight"].clone()
    bad = next(steps)
    assert math.isnan(bad.loss)
    assert (bad.finite, bad.number, state.step) == (False, 2, 2)
    assert equal(weights(model, "first"), before)
    assert torch.equal(state.ema.shadow["first.weight"], average)
    assert all(parameter.grad is None for parameter in model.parameters())
    good = next(steps)
    assert (good.finite, good.number) == (True, 3)
    assert not equal(weights(model, "first"), before)


def test_micro_batches_add_up_to_one_batch(accelerator: Accelerator) -> None:
    runs = []
    for parts in (1, 2, 4):
        model = TwoParts(IN_TURN)
        options = OPTIONS.model_copy(update={"grad_accumulation": parts})
        _, steps = start(model, options, Budget(steps=6), accelerator)
        losses = [step.loss for step in steps]
        runs.append((losses, model.state_dict()))
    for losses, state in runs[1:]:
        assert losses == pytest.approx(runs[0][0], rel=1e-4)
        for name, value in state.items():
            torch.testing.assert_close(value, runs[0][1][name], rtol=1e-4, atol=1e-5)


def test_seconds_are_a_budget(accelerator: Accelerator) -> None:
    state, steps = start(TwoParts(IN_TURN), OPTIONS, Budget(seconds=0.5), accelerator)
    results = list(steps)
    assert results[-1].progress == 1.0
    assert 0.5 <= results[-1].seconds < 5
    for step in results:
        assert step.progress == min(1.0, step.seconds / 0.5)
    assert [step.phase for step in results] == sorted(step.phase for step in results)
    assert {step.phase for step in results} == {"first", "second"}
    assert results[-1].learning_rate < max(step.learning_rate for step in results)
    assert state.step == len(results)


def test_the_learning_rate_rises_holds_and_falls() -> None:
    options = TrainOptions(lr=2.0, warm_up=0.1, decay_start=0.5)
    spent = {0.0: 0.2, 0.04: 1.0, 0.09: 2.0, 0.3: 2.0, 0.5: 2.0, 0.75: 1.0, 0.875: 0.5, 0.99: 0.04, 1.0: 0.0}
    for share, rate in spent.items():
        assert learning_rate(options, Phase(lr=0.1), share, 0.01) == pytest.approx(rate), share
    assert learning_rate(TrainOptions(lr=2.0, warm_up=0.0, decay_start=1.0), Phase(), 1.0, 0.01) == 2.0


def test_a_phase_has_defaults_and_the_options_override_them(accelerator: Accelerator) -> None:
    """Rate, clip and optimiser are each phase's own, unless the options set one for all."""
    plan = (
        Phase("first", "first", lr=0.5, clip=1e-9, betas=(0.0, 0.99)),
        Phase("second", "second", lr=0.25, muon=frozenset({"weight"})),
    )
    flat = {"batch": 16, "warm_up": 0.0, "decay_start": 1.0}
    for settings, rates, kinds in (
        ({}, [0.5, 0.25], [{"AdamW"}, {"AdamW", "Muon"}]),
        ({"lr": 0.125, "optimizer": "adamw"}, [0.125, 0.125], [{"AdamW"}, {"AdamW"}]),
    ):
        state, steps = start(TwoParts(plan), TrainOptions(**flat, **settings), Budget(steps=1), accelerator)
        optimizer_names = [
            {type(one).__name__ for one in state.optimizers[name].optimizers} for name in ("first", "second")
        ]
        assert [step.learning_rate for step in steps] == rates
        assert optimizer_names == kinds
    moments = state.optimizers["first"].state()
    # After one step without momentum the first moment is the clipped gradient itself.
    norm = math.sqrt(sum(float(v.square().sum()) for k, v in moments.items() if k.endswith(".exp_avg")))
    assert 0 < norm < 1.01e-9
    loose, steps = start(TwoParts(plan), TrainOptions(**flat, clip=1e9), Budget(steps=1), accelerator)
    list(steps)
    values = [v for k, v in loose.optimizers["first"].state().items() if k.endswith(".exp_avg")]
    assert sum(float(v.square().sum()) for v in values) > 1e-6


def test_muon_trains_the_parameters_that_a_phase_names_and_no_others() -> None:
    """Whatever the layers are called: `head` is named here, `inner` is not."""
    module = nn.ModuleDict({"inner": nn.Linear(4, 4, bias=False), "head": nn.Linear(4, 4, bias=False)})
    optimizer = ModuleOptimizer(module, Phase(muon=frozenset({"head.weight"})), TrainOptions())
    for layer in module.values():
        layer.weight.grad = torch.diag(torch.tensor([1.0, 0.5, 0.2, 0.1]))
    before = {name: layer.weight.detach().clone() for name, layer in module.items()}
    optimizer.step(0.1)
    changes = {name: before[name] - layer.weight.detach() for name, layer in module.items()}
    # AdamW's first step is the gradient's sign; Muon's is orthogonal, with singular values of about 0.2 lr sqrt(4).
    torch.testing.assert_close(changes["inner"], 0.1 * torch.eye(4), rtol=1e-3, atol=1e-6)
    sizes = torch.linalg.svdvals(changes["head"])
    assert 0.04 * 0.5 < sizes.min() < sizes.max() < 0.04 * 1.3


def test_phases_that_conflict_are_refused() -> None:
    for plan, complaint in (
        ((Phase("a", "first"), Phase("a", "second")), "one name"),
        ((Phase("a", "first"), Phase("b", "")), "inside one another"),
        ((Phase("a", "first"), Phase("b", "first", betas=(0.0, 0.9))), "different muon, betas"),
        (
            (Phase("a", "first", muon=frozenset({"bias"})), Phase("b", "second")),
            r"no matrices of 'first' in muon: \['bias'\]",
        ),
        ((Phase("a", "first", muon=frozenset({"wieght"})),), "wieght"),
        ((Phase("a", "first", span=(0.0, 0.4)), Phase("b", "second", span=(0.5, 1.0))), "from 40% to 50%"),
    ):
        with pytest.raises(ValueError, match=complaint):
            model_phases(TwoParts(plan))


def test_the_average_in_closed_form() -> None:
    """From 0, with the weight at 1, the average after n steps is 1 - 0.5^(n increment / half-life)."""
    model = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.zero_()
    late, early = EMA(model, {"": 0.05}), EMA(model, {"": 10.0})
    with torch.no_grad():
        model.weight.fill_(1.0)
    for step in range(1, 8):
        late.update("", done=0.5 + 0.01 * step, increment=0.01)
        assert late.shadow["weight"].item() == pytest.approx(1 - 0.5 ** (0.01 * step / 0.05), rel=1e-5)
    # During warm-up the half-life is a fifth of what is done: the exponents are the harmonic series.
    for step in range(1, 8):
        early.update("", done=0.01 * step, increment=0.01)
        harmonic = sum(1 / number for number in range(1, step + 1))
        assert early.shadow["weight"].item() == pytest.approx(1 - 0.5 ** (5 * harmonic), rel=1e-5)
    with early.applied():
        assert model.weight.item() == early.shadow["weight"].item()
    assert model.weight.item() == 1.0


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_muon_sees_a_convolution_as_a_matrix(layout: torch.memory_format) -> None:
    options = TrainOptions(lr=0.02)
    torch.manual_seed(0)
    convolution, linear = nn.Conv2d(3, 8, 3), nn.Linear(27, 8)
    matrix = (0, 2, 3, 1) if layout == torch.channels_last else (0, 1, 2, 3)
    linear.weight.data = convolution.weight.data.permute(matrix).reshape(8, 27).clone()
    linear.bias.data = convolution.bias.data.clone()
    convolution.to(memory_format=layout)
    modules = [nn.Sequential(one) for one in (convolution, linear)]
    optimizers = [ModuleOptimizer(one, Phase(muon=hidden_matrices(one)), options) for one in modules]
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


def test_a_module_of_matrices_alone_has_an_optimiser() -> None:
    module = nn.Sequential(nn.Linear(4, 4, bias=False))
    optimizer = ModuleOptimizer(module, Phase(muon=frozenset({"0.weight"})), TrainOptions())
    module[0].weight.grad = torch.eye(4)
    before = module[0].weight.detach().clone()
    optimizer.step(0.1)
    assert not torch.equal(module[0].weight, before)


def test_what_each_stage_took_is_recorded(tmp_path: Path) -> None:
    options = tiny("latent_diffusion") | {"autoencoder_share": 0.25}
    pipe = morphogen.fit(
        "digits", family="latent_diffusion", out=tmp_path, train=TRAIN | {"steps": 8}, options=options, say=None
    )
    figures = pipe.metrics["training"]
    stages = {stage["phases"]: stage for stage in figures["stages"]}
    assert {name: (stage["share"], stage["steps"]) for name, stage in stages.items()} == {
        "autoencoder": (0.25, 2),
        "denoiser": (0.75, 6),
    }
    assert all(stage["items_per_second"] > 0 and stage["probed_items_per_second"] > 0 for stage in stages.values())
    taken = sum(stage["steps"] * figures["batch"] / stage["items_per_second"] for stage in stages.values())
    assert taken == pytest.approx(figures["step_seconds"], rel=0.02)


@pytest.fixture
def plant_nan(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make the training loss NaN at some calls; the probe makes none."""
    choose = Choice(options=model_options("diffusion", Grid, tiny("diffusion")), **CHOICE)
    monkeypatch.setattr(Probe, "choose", lambda *_: choose)
    calls = 0
    model = plugins.model_for("diffusion", Grid)
    original = model.forward

    def plant(*bad: int) -> None:
        def forward(self: Any, *arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            loss = original(self, *arguments)
            return loss._replace(total=loss.total * torch.nan) if calls in bad else loss

        monkeypatch.setattr(model, "forward", forward)

    return plant


def fit(out: Path, messages: list[str]) -> Any:
    train = {**TRAIN, "save_seconds": 1e-6}
    return morphogen.fit(
        "digits", family="diffusion", out=out, train=train, options=tiny("diffusion"), say=messages.append
    )


def test_the_first_bad_loss_rolls_back(plant_nan: Any, tmp_path: Path) -> None:
    plant_nan(3)
    messages: list[str] = []
    pipe = fit(tmp_path / "out", messages)
    assert "the loss of phase 'model' was not finite at step 2: back to step 2 at half the rate" in messages
    training = pipe.metrics["training"]
    assert (training["rollbacks"], training["steps"]) == (1, 6)
    assert all(value.isfinite().all() for value in pipe.model.state_dict().values())


def test_the_second_bad_loss_is_the_end(plant_nan: Any, tmp_path: Path) -> None:
    plant_nan(3, 5)
    with pytest.raises(UserError, match=r"not finite twice, last at step 3; .* checkpoint is kept"):
        fit(tmp_path / "out", [])
    checkpoint = latest_checkpoint(tmp_path / "out" / "training")
    assert checkpoint is not None
    assert checkpoint.name == "step-3"
    state = json.loads((checkpoint / "state.json").read_text())
    assert (state["lr_scale"], state["rollbacks"]) == (0.5, 1)
    assert not (tmp_path / "out" / "config.json").exists()


def test_half_precision_skips_a_step_that_overflows(accelerator: Accelerator) -> None:
    """The scale is halved until gradients fit, and doubled after 2,000 good steps; small gradients survive by it."""

    class Steep(TwoParts):
        factor = 1.0

        def forward(self, batch: Batch, phase: str = "first") -> Loss:
            loss = super().forward(batch, phase)
            return Loss(self.factor * loss.total, loss.parts)

    model, options = Steep((Phase("first", "first"),)), OPTIONS.model_copy(update={"weight_decay": 0.0})
    state, _ = start(model, options, Budget(steps=4), accelerator)
    half = setup(model, options, accelerator, precision="fp16")

    def go(steps: int) -> None:
        state.progress = 0.0
        assert all(step.finite for step in train(state, Budget(steps=state.step + steps), half))

    model.factor = 1e-9  # gradients that half precision rounds to 0 unless they are scaled
    before = weights(model, "first")
    go(1)
    assert not equal(weights(model, "first"), before)
    assert (state.loss_scale, state.good_steps) == (65536.0, 1)

    model.factor, before = 1e36, weights(model, "first")
    go(3)
    assert equal(weights(model, "first"), before), "a gradient that is not finite must not be applied"
    assert (state.loss_scale, state.good_steps) == (8192.0, 0)

    model.factor = 1.0
    state.good_steps = 1999
    go(1)
    assert (state.loss_scale, state.good_steps) == (16384.0, 0)
