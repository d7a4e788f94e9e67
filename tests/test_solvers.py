"""Paths, solvers and guidance against closed forms, each other and diffusers."""

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
from morphogen.families.diffusion.options import Controls
from morphogen.sampling.guidance import classifier_free
from morphogen.sampling.path import PATHS, Path
from morphogen.sampling.solvers.adaptive import Adaptive
from morphogen.sampling.solvers.ancestral import Ancestral
from morphogen.sampling.solvers.base import Solver, resolve, solvers
from morphogen.sampling.solvers.ddim import DDIM
from morphogen.sampling.solvers.dpm_solver import DPMSolver
from morphogen.sampling.solvers.euler import Euler
from morphogen.sampling.solvers.heun import Heun
from morphogen.testing import check_solver

each_path = pytest.mark.parametrize("path", [kind() for kind in PATHS.values()], ids=list(PATHS))
fast = settings(max_examples=30, deadline=None)
shares = st.floats(0.001, 0.999)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def run(solver: Solver, path: Path, predict: Predict, x: Tensor, times: Tensor) -> Tensor:
    *_, sample = solver.solve(path, predict, x, times, Noise.count(0, len(x)))
    assert sample.known.all()
    return sample.x


def bent(path: Path) -> Predict:
    """A fixed nonlinear network that predicts the data."""

    def predict(x: Tensor, t: Tensor) -> Prediction:
        level = torch.atan2(path.sigma(t), path.alpha(t))
        return path.prediction("data", torch.tanh(x) + 0.3 * torch.sin(3 * x + level), x, t)

    return predict


# Solvers

ALTERNATIVES = [DDIM(eta=0.5), DDIM(eta=1), Heun(churn=10), Heun(churn=1000)]


@pytest.mark.parametrize("name", plugins.known("solvers"))
def test_contract(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    measured = check_solver(resolve(name))
    with capsys.disabled():
        print(f"\n{name:12}", *(f"{path} {figure:.2f}" for path, figure in measured.items()), sep="  ")


@pytest.mark.parametrize("solver", ALTERNATIVES, ids=repr)
def test_contract_of_settings(solver: Solver) -> None:
    check_solver(solver, paths={"straight": PATHS["straight"](), "ddpm": PATHS["ddpm"]()})


def test_the_check_sees_a_wrong_order() -> None:
    class Boastful(Solver):
        order: ClassVar[int] = 2

        def solve(self, *arguments: Any) -> Any:
            return Euler().solve(*arguments)

    with pytest.raises(AssertionError, match=r"order 0\.9\d measured, 2 declared"):
        check_solver(Boastful())


@each_path
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_few_steps_are_finite_and_end_at_the_data(path: Path, steps: int) -> None:
    x = path.sigma(torch.tensor(path.start)) * normal(3, 2)
    flat = torch.tensor([0.5, -1.0], dtype=torch.float64)

    def predict(x: Tensor, t: Tensor) -> Prediction:
        return path.prediction("data", flat.expand_as(x), x, t)

    for name in plugins.known("solvers"):
        for times in (path.karras_times(steps, 0.002, 80.0), path.uniform_times(steps)):
            # Where the data are one point, every solver must land on it.
            sample = run(resolve(name), path, predict, x, times)
            assert torch.allclose(sample, flat.expand_as(x), atol=1e-5), name


@each_path
def test_heun_is_exact_for_a_point_and_for_unit_variance(path: Path) -> None:
    inner = path.time(torch.tensor([20.0, 2.0, 0.1], dtype=torch.float64))
    first, last = inner[0], inner[-1]
    noise = normal(4, 3)

    def point(x: Tensor, t: Tensor) -> Prediction:
        return path.prediction("data", torch.full_like(x, 0.7), x, t)

    def unit(x: Tensor, t: Tensor) -> Prediction:
        alpha, sigma = path.alpha(t), path.sigma(t)
        return Prediction(alpha * x / (alpha**2 + sigma**2), sigma * x / (alpha**2 + sigma**2))

    found = run(Heun(), path, point, path.mix(torch.tensor(0.7), noise, first), inner)
    assert torch.allclose(found, path.mix(torch.tensor(0.7), noise, last), atol=1e-10)
    radius = torch.hypot(path.alpha(inner), path.sigma(inner))
    found = run(Heun(), path, unit, radius[0] * noise, inner)
    assert torch.allclose(found, radius[-1] * noise, atol=1e-10)


@each_path
def test_ddim_with_all_noise_fresh_is_ancestral(path: Path) -> None:
    class Same(Noise):
        def normal(self, name: str, shape: tuple[int, ...], at: int | Tensor = 0) -> Tensor:
            return super().normal("one", shape, at)

    x, times = path.sigma(torch.tensor(path.start)) * normal(4, 3), path.karras_times(9, 0.01, 80.0)
    samples = [
        list(solver.solve(path, bent(path), x, times, Same.count(0, 4)))[-1].x for solver in (DDIM(eta=1), Ancestral())
    ]
    assert torch.allclose(*samples, atol=1e-9)


def test_adaptive_gives_up_in_one_line() -> None:
    path = PATHS["straight"]()
    with pytest.raises(UserError, match="3 steps for 2 of 2 samples; raise tolerance"):
        run(Adaptive(tolerance=1e-6, max_steps=3), path, bent(path), normal(2, 3), path.uniform_times(1))


def test_adaptive_freezes_what_is_finished() -> None:
    path = PATHS["straight"]()

    def predict(x: Tensor, t: Tensor) -> Prediction:
        # The first sample is a point, the second takes many steps.
        data = torch.stack([torch.zeros_like(x[0]), torch.sin(5 * x[1])]) if len(x) == 2 else torch.zeros_like(x)
        return path.prediction("data", data, x, t)

    drafts = list(Adaptive().solve(path, predict, normal(2, 3), path.uniform_times(1), Noise.count(0, 2)))
    known = torch.stack([draft.known.flatten() for draft in drafts])
    assert known[-1].all()
    assert known[:, 0].sum() > known[:, 1].sum() == 1
    alone = run(Adaptive(), path, predict, normal(2, 3)[:1], path.uniform_times(1))
    assert torch.allclose(alone, drafts[-1].x[:1])


# Agreement with diffusers


class Tabulated(Path):
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
    path = Tabulated(products=tuple(scheduler.alphas_cumprod.tolist()))
    start = normal(3, 2, 4, 4)

    def network(x: Tensor, t: Tensor) -> Tensor:
        return 0.8 * torch.tanh(x) + 0.1 * torch.sin(3 * x + t / 300)

    theirs = start.clone()
    for t in scheduler.timesteps:
        theirs = scheduler.step(network(theirs, t), t, theirs).prev_sample
    ours = run(solver, path, lambda x, t: path.prediction("noise", network(x, t), x, t), start, times)
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


# Paths


@each_path
@fast
@given(share=shares, kind=st.sampled_from(["data", "noise", "velocity"]), seed=st.integers(0, 99))
def test_prediction_inverts_target(path: Path, share: float, kind: Any, seed: int) -> None:
    t = torch.tensor(path.end + share * (path.start - path.end), dtype=torch.float64)
    data, noise = normal(5, seed=seed), normal(5, seed=seed + 100)
    found = path.prediction(kind, path.target(kind, data, noise, t), path.mix(data, noise, t), t)
    assert torch.allclose(found.data, data, atol=1e-6)
    assert torch.allclose(found.noise, noise, atol=1e-6)


@each_path
@fast
@given(share=shares)
def test_time_inverts_the_noise_level(path: Path, share: float) -> None:
    t = torch.tensor(path.end + share * (path.start - path.end), dtype=torch.float64)
    assert torch.allclose(path.time(path.noise_level(t)), t, rtol=1e-8)


@each_path
def test_time_is_defined_at_both_ends(path: Path) -> None:
    for dtype in (torch.float32, torch.float64):
        ends = path.time(torch.tensor([math.inf, 0.0], dtype=dtype))
        assert torch.allclose(ends, torch.tensor([path.start, path.end], dtype=dtype), atol=1e-6)
        tiny = torch.tensor([1e-4, 1e-3], dtype=dtype)
        assert torch.allclose(path.noise_level(path.time(tiny)), tiny, rtol=2e-2 if dtype == torch.float32 else 1e-6)


@each_path
@fast
@given(share=shares)
def test_rates_are_derivatives(path: Path, share: float) -> None:
    t = torch.tensor(path.end + share * (path.start - path.end), dtype=torch.float64, requires_grad=True)
    for value, rate in ((path.alpha, path.alpha_rate), (path.sigma, path.sigma_rate)):
        level = value(t) + 0 * t  # constants have a derivative too
        (expected,) = torch.autograd.grad(level, t)
        assert torch.allclose(rate(t), expected, rtol=1e-8, atol=1e-10)


@each_path
@fast
@given(steps=st.integers(1, 40), low=st.floats(1e-3, 0.1), high=st.floats(1.0, 80.0))
def test_karras_times_end_exactly_and_fall(path: Path, steps: int, low: float, high: float) -> None:
    times = path.karras_times(steps, low, high)
    assert times.shape == (steps + 1,)
    assert times[0] == path.start
    assert times[-1] == path.end
    assert all(after < now for now, after in pairwise(times.tolist()))
    if steps > 1:
        assert math.isclose(path.noise_level(times[-2].double()), low, rel_tol=1e-2)


# Guidance


class Counted:
    """A prediction that counts its evaluations."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path, self.seed, self.count = path, seed, 0

    def __call__(self, x: Tensor, t: Tensor) -> Prediction:
        self.count += 1
        return self.path.prediction("velocity", torch.tanh(x + self.seed), x, t)


def test_guidance_identities() -> None:
    path = PATHS["straight"]()
    strong, weak = Counted(path, 1), Counted(path, 2)
    x, t = normal(4, 3), torch.full((4, 1), 0.4, dtype=torch.float64)

    def guided(scale: float, **settings: Any) -> Prediction:
        return classifier_free(strong, weak, scale=scale, path=path, **settings)(x, t)

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
    assert torch.allclose(path.mix(three.data, three.noise, t), x)

    weak.count = 0
    outside = guided(3.0, interval=(0.0, 0.5))  # the noise level is 2/3
    assert weak.count == 0
    assert torch.equal(outside.data, one.data)
    assert torch.equal(guided(3.0, interval=(0.5, 1.0)).data, three.data)


def test_guidance_by_sample_where_levels_differ() -> None:
    path = PATHS["edm"]()
    strong, weak = Counted(path, 1), Counted(path, 2)
    x, t = normal(3, 2), torch.tensor([[0.1], [1.0], [10.0]], dtype=torch.float64)
    found = classifier_free(strong, weak, scale=2.0, path=path, interval=(0.3, 3.0))(x, t).data
    everywhere = classifier_free(strong, weak, scale=2.0, path=path)(x, t).data
    assert torch.allclose(found[[0, 2]], strong(x, t).data[[0, 2]])
    assert torch.allclose(found[1], everywhere[1])


def test_guidance_from_pure_noise_keeps_the_type() -> None:
    path = PATHS["straight"]()
    x, t = normal(2, 3).to(torch.bfloat16), torch.ones(2, 1)

    def predict(x: Tensor, t: Tensor) -> Prediction:
        return Prediction(0.5 * x, x)

    found = classifier_free(predict, lambda x, t: Prediction(x, x), scale=2.0, path=path)(x, t)
    assert found.data.dtype == torch.bfloat16
    assert found.data.isfinite().all()


def test_the_schema_of_controls_knows_every_solver() -> None:
    """Each as it is dumped, by its name."""
    kinds = Controls.model_json_schema()["properties"]["solver"]["oneOf"]
    offered = {one["properties"]["name"]["const"]: one for one in kinds}
    assert set(offered) == set(solvers()) >= {"euler", "adaptive"}
    for name, one in offered.items():
        dumped = Controls(solver=name).model_dump()["solver"]
        assert set(dumped) == set(one["properties"])
        assert one["additionalProperties"] is False
