"""Schedules, solvers and guidance against closed forms, each other and diffusers."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from morphogen.core import plugins
from morphogen.core.errors import UserError
from morphogen.core.model import Predict, Prediction
from morphogen.core.noise import Noise
from morphogen.families.diffusion.options import GridControls
from morphogen.sampling.guidance import classifier_free
from morphogen.sampling.schedule import SCHEDULES, Schedule
from morphogen.sampling.solvers.adaptive import Adaptive
from morphogen.sampling.solvers.ancestral import Ancestral
from morphogen.sampling.solvers.base import Solver, resolve, solvers
from morphogen.sampling.solvers.ddim import DDIM
from morphogen.sampling.solvers.dpm_solver import DPMSolver
from morphogen.sampling.solvers.euler import Euler
from morphogen.sampling.solvers.heun import Heun
from morphogen.testing import check_solver

each_schedule = pytest.mark.parametrize("schedule", [kind() for kind in SCHEDULES.values()], ids=list(SCHEDULES))
fast = settings(max_examples=30, deadline=None)
shares = st.floats(0.001, 0.999)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def run(solver: Solver, schedule: Schedule, predict: Predict, x: Tensor, times: Tensor) -> Tensor:
    *_, sample = solver.solve(schedule, predict, x, times, Noise.consecutive(0, len(x)))
    assert sample.known.all()
    return sample.x


def bent(schedule: Schedule) -> Predict:
    """A fixed nonlinear network that predicts the data."""

    def predict(x: Tensor, t: Tensor) -> Prediction:
        level = torch.atan2(schedule.sigma(t), schedule.alpha(t))
        return schedule.prediction("data", torch.tanh(x) + 0.3 * torch.sin(3 * x + level), x, t)

    return predict


# Solvers: the contract of each with its defaults is checked in test_contracts.py

ALTERNATIVES = [DDIM(eta=0.5), DDIM(eta=1), Heun(churn=10), Heun(churn=1000)]


@pytest.mark.parametrize("solver", ALTERNATIVES, ids=repr)
def test_contract_of_settings(solver: Solver) -> None:
    check_solver(solver, schedules={"linear": SCHEDULES["linear"](), "ddpm": SCHEDULES["ddpm"]()})


def test_the_check_fails_on_a_wrong_order() -> None:
    class Overstated(Solver):
        order: ClassVar[int] = 2

        def solve(self, *arguments: Any) -> Any:
            return Euler().solve(*arguments)

    with pytest.raises(AssertionError, match=r"order 0\.9\d measured, 2 declared"):
        check_solver(Overstated())


@each_schedule
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_few_steps_are_finite_and_end_at_the_data(schedule: Schedule, steps: int) -> None:
    x = schedule.sigma(torch.tensor(schedule.start)) * normal(3, 2)
    flat = torch.tensor([0.5, -1.0], dtype=torch.float64)

    def predict(x: Tensor, t: Tensor) -> Prediction:
        return schedule.prediction("data", flat.expand_as(x), x, t)

    for name in plugins.known("solvers"):
        for times in (schedule.karras_times(steps, 0.002, 80.0), schedule.uniform_times(steps)):
            # Where the data are one point, every solver must land on it.
            sample = run(resolve(name), schedule, predict, x, times)
            assert torch.allclose(sample, flat.expand_as(x), atol=1e-5), name


@each_schedule
def test_heun_is_exact_for_a_point_and_for_unit_variance(schedule: Schedule) -> None:
    inner = schedule.time(torch.tensor([20.0, 2.0, 0.1], dtype=torch.float64))
    first, last = inner[0], inner[-1]
    noise = normal(4, 3)

    def point(x: Tensor, t: Tensor) -> Prediction:
        return schedule.prediction("data", torch.full_like(x, 0.7), x, t)

    def unit(x: Tensor, t: Tensor) -> Prediction:
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        return Prediction(alpha * x / (alpha**2 + sigma**2), sigma * x / (alpha**2 + sigma**2))

    sample = run(Heun(), schedule, point, schedule.mix(torch.tensor(0.7), noise, first), inner)
    assert torch.allclose(sample, schedule.mix(torch.tensor(0.7), noise, last), atol=1e-10)
    radius = torch.hypot(schedule.alpha(inner), schedule.sigma(inner))
    sample = run(Heun(), schedule, unit, radius[0] * noise, inner)
    assert torch.allclose(sample, radius[-1] * noise, atol=1e-10)


@each_schedule
def test_ddim_with_eta_1_is_ancestral(schedule: Schedule) -> None:
    class Same(Noise):
        def normal(self, name: str, shape: tuple[int, ...], at: int | Tensor = 0) -> Tensor:
            return super().normal("one", shape, at)

    x, times = schedule.sigma(torch.tensor(schedule.start)) * normal(4, 3), schedule.karras_times(9, 0.01, 80.0)
    samples = [
        list(solver.solve(schedule, bent(schedule), x, times, Same.consecutive(0, 4)))[-1].x
        for solver in (DDIM(eta=1), Ancestral())
    ]
    assert torch.allclose(*samples, atol=1e-9)


def test_adaptive_fails_after_its_steps_in_one_line() -> None:
    schedule = SCHEDULES["linear"]()
    with pytest.raises(UserError, match="3 steps for 2 of 2 samples; raise tolerance"):
        run(Adaptive(tolerance=1e-6, max_steps=3), schedule, bent(schedule), normal(2, 3), schedule.uniform_times(1))


def test_adaptive_freezes_what_is_finished() -> None:
    schedule = SCHEDULES["linear"]()

    def predict(x: Tensor, t: Tensor) -> Prediction:
        # The first sample is a point, the second takes many steps.
        data = torch.stack([torch.zeros_like(x[0]), torch.sin(5 * x[1])]) if len(x) == 2 else torch.zeros_like(x)
        return schedule.prediction("data", data, x, t)

    drafts = list(Adaptive().solve(schedule, predict, normal(2, 3), schedule.uniform_times(1), Noise.consecutive(0, 2)))
    known = torch.stack([draft.known.flatten() for draft in drafts])
    assert known[-1].all()
    assert known[:, 0].sum() > known[:, 1].sum() == 1
    alone = run(Adaptive(), schedule, predict, normal(2, 3)[:1], schedule.uniform_times(1))
    assert torch.allclose(alone, drafts[-1].x[:1])


# Agreement with diffusers


class Tabulated(Schedule):
    """A schedule as diffusers keeps it: αs at whole steps, read at t = the step; −1 is the data."""

    start: ClassVar[float] = 999.0
    end: ClassVar[float] = -1.0
    products: tuple[float, ...]

    def alpha(self, t: Tensor) -> Tensor:
        table = torch.tensor((*self.products, 1.0), dtype=torch.float64)  # index −1 is the last
        return table[t.long()].sqrt().to(t.dtype)

    def sigma(self, t: Tensor) -> Tensor:
        table = torch.tensor((*self.products, 1.0), dtype=torch.float64)
        return (1 - table[t.long()]).sqrt().to(t.dtype)

    def alpha_rate(self, t: Tensor) -> Tensor:
        raise NotImplementedError

    sigma_rate = time = alpha_rate


def against_diffusers(scheduler: Any, solver: Solver, steps: int) -> float:
    scheduler.set_timesteps(steps)
    times = torch.cat((scheduler.timesteps, torch.tensor([-1]))).double()
    schedule = Tabulated(products=tuple(scheduler.alphas_cumprod.tolist()))
    start = normal(3, 2, 4, 4)

    def network(x: Tensor, t: Tensor) -> Tensor:
        return 0.8 * torch.tanh(x) + 0.1 * torch.sin(3 * x + t / 300)

    theirs = start.clone()
    for t in scheduler.timesteps:
        theirs = scheduler.step(network(theirs, t), t, theirs).prev_sample
    ours = run(solver, schedule, lambda x, t: schedule.prediction("noise", network(x, t), x, t), start, times)
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


@pytest.mark.parametrize("steps", [5, 20, 50])
def test_ddim_agrees_with_diffusers(steps: int) -> None:
    diffusers = pytest.importorskip("diffusers")
    # `set_alpha_to_one`: the last step goes to the data themselves.
    scheduler = diffusers.DDIMScheduler(clip_sample=False, set_alpha_to_one=True, timestep_spacing="leading")
    assert against_diffusers(scheduler, DDIM(), steps) < 1e-4


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # theirs, with NumPy 2
@pytest.mark.parametrize("steps", [5, 20, 50])
def test_dpm_solver_agrees_with_diffusers(steps: int) -> None:
    diffusers = pytest.importorskip("diffusers")
    # `final_sigmas_type="zero"` makes their last step the predicted data, of first order, at any number of steps.
    scheduler = diffusers.DPMSolverMultistepScheduler(
        solver_order=2, algorithm_type="dpmsolver++", solver_type="midpoint", final_sigmas_type="zero"
    )
    assert against_diffusers(scheduler, DPMSolver(), steps) < 1e-4


# Schedules


@each_schedule
@fast
@given(share=shares, kind=st.sampled_from(["data", "noise", "velocity"]), seed=st.integers(0, 99))
def test_prediction_inverts_target(schedule: Schedule, share: float, kind: Any, seed: int) -> None:
    t = torch.tensor(schedule.end + share * (schedule.start - schedule.end), dtype=torch.float64)
    data, noise = normal(5, seed=seed), normal(5, seed=seed + 100)
    prediction = schedule.prediction(kind, schedule.target(kind, data, noise, t), schedule.mix(data, noise, t), t)
    assert torch.allclose(prediction.data, data, atol=1e-6)
    assert torch.allclose(prediction.noise, noise, atol=1e-6)


@each_schedule
@fast
@given(share=shares)
def test_time_inverts_the_noise_level(schedule: Schedule, share: float) -> None:
    t = torch.tensor(schedule.end + share * (schedule.start - schedule.end), dtype=torch.float64)
    assert torch.allclose(schedule.time(schedule.noise_level(t)), t, rtol=1e-8)


@each_schedule
def test_time_is_defined_at_both_ends(schedule: Schedule) -> None:
    for dtype in (torch.float32, torch.float64):
        ends = schedule.time(torch.tensor([math.inf, 0.0], dtype=dtype))
        assert torch.allclose(ends, torch.tensor([schedule.start, schedule.end], dtype=dtype), atol=1e-6)
        tiny = torch.tensor([1e-4, 1e-3], dtype=dtype)
        assert torch.allclose(
            schedule.noise_level(schedule.time(tiny)), tiny, rtol=2e-2 if dtype == torch.float32 else 1e-6
        )


@each_schedule
@fast
@given(share=shares)
def test_rates_are_derivatives(schedule: Schedule, share: float) -> None:
    t = torch.tensor(schedule.end + share * (schedule.start - schedule.end), dtype=torch.float64, requires_grad=True)
    for value, rate in ((schedule.alpha, schedule.alpha_rate), (schedule.sigma, schedule.sigma_rate)):
        level = value(t) + 0 * t  # constants have a derivative too
        (expected,) = torch.autograd.grad(level, t)
        assert torch.allclose(rate(t), expected, rtol=1e-8, atol=1e-10)


@each_schedule
@fast
@given(steps=st.integers(1, 40), low=st.floats(1e-3, 0.1), high=st.floats(1.0, 80.0))
def test_karras_times_end_exactly_and_fall(schedule: Schedule, steps: int, low: float, high: float) -> None:
    times = schedule.karras_times(steps, low, high)
    assert times.shape == (steps + 1,)
    assert times[0] == schedule.start
    assert times[-1] == schedule.end
    assert all(after < now for now, after in pairwise(times.tolist()))
    if steps > 1:
        assert math.isclose(schedule.noise_level(times[-2].double()), low, rel_tol=1e-2)


# Guidance


class Counted:
    """A prediction that counts its evaluations."""

    def __init__(self, schedule: Schedule, seed: int) -> None:
        self.schedule, self.seed, self.count = schedule, seed, 0

    def __call__(self, x: Tensor, t: Tensor) -> Prediction:
        self.count += 1
        return self.schedule.prediction("velocity", torch.tanh(x + self.seed), x, t)


def test_guidance_identities() -> None:
    schedule = SCHEDULES["linear"]()
    strong, weak = Counted(schedule, 1), Counted(schedule, 2)
    x, t = normal(4, 3), torch.full((4, 1), 0.4, dtype=torch.float64)

    def guided(scale: float, **settings: Any) -> Prediction:
        return classifier_free(strong, weak, scale=scale, schedule=schedule, **settings)(x, t)

    one = guided(1.0)
    assert weak.count == 0
    assert strong.count == 1
    zero, three = guided(0.0), guided(3.0)
    assert weak.count == 2
    assert strong.count == 3
    for part in range(2):
        assert torch.equal(one[part], strong(x, t)[part])
        assert torch.allclose(zero[part], weak(x, t)[part])
        assert torch.allclose(three[part], zero[part] + 3 * (one[part] - zero[part]))
    assert torch.allclose(schedule.mix(three.data, three.noise, t), x)

    weak.count = 0
    outside = guided(3.0, interval=(0.0, 0.5))  # the noise level is 2/3
    assert weak.count == 0
    assert torch.equal(outside.data, one.data)
    assert torch.equal(guided(3.0, interval=(0.5, 1.0)).data, three.data)


def test_guidance_by_sample_where_levels_differ() -> None:
    schedule = SCHEDULES["edm"]()
    strong, weak = Counted(schedule, 1), Counted(schedule, 2)
    x, t = normal(3, 2), torch.tensor([[0.1], [1.0], [10.0]], dtype=torch.float64)
    guided = classifier_free(strong, weak, scale=2.0, schedule=schedule, interval=(0.3, 3.0))(x, t).data
    everywhere = classifier_free(strong, weak, scale=2.0, schedule=schedule)(x, t).data
    assert torch.allclose(guided[[0, 2]], strong(x, t).data[[0, 2]])
    assert torch.allclose(guided[1], everywhere[1])


def test_guidance_from_pure_noise_keeps_the_type() -> None:
    schedule = SCHEDULES["linear"]()
    x, t = normal(2, 3).to(torch.bfloat16), torch.ones(2, 1)

    def predict(x: Tensor, t: Tensor) -> Prediction:
        return Prediction(0.5 * x, x)

    guided = classifier_free(predict, lambda x, t: Prediction(x, x), scale=2.0, schedule=schedule)(x, t)
    assert guided.data.dtype == torch.bfloat16
    assert guided.data.isfinite().all()


def test_the_schema_of_controls_has_every_solver() -> None:
    """Each with its name and the settings that are dumped."""
    kinds = GridControls.model_json_schema()["properties"]["solver"]["oneOf"]
    offered = {one["properties"]["name"]["const"]: one for one in kinds}
    assert set(offered) == set(solvers()) >= {"euler", "adaptive"}
    for name, one in offered.items():
        dumped = GridControls(solver=name).model_dump()["solver"]
        assert set(dumped) == set(one["properties"])
        assert one["additionalProperties"] is False
