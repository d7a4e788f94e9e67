"""The contract of a solver, measured against data whose every step is known in closed form."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from ..core.model import Predict, Prediction
from ..core.noise import Noise
from ..sampling.path import PATHS, Path
from ..sampling.solvers.base import Solver


class Gaussian:
    """Data N(mean, std²) per cell: their ideal denoiser, and the solution of the probability-flow ODE."""

    def __init__(self, path: Path, mean: Tensor, std: Tensor) -> None:
        self.path, self.mean, self.std = path, mean, std
        self.evaluations = 0

    def spread(self, t: Tensor) -> Tensor:
        """The standard deviation of x_t, √(α² std² + σ²)."""
        return torch.hypot(self.path.alpha(t) * self.std, self.path.sigma(t))

    def predict(self, x: Tensor, t: Tensor) -> Prediction:
        """E[data | x_t] and E[noise | x_t]."""
        self.evaluations += 1
        alpha, sigma, variance = self.path.alpha(t), self.path.sigma(t), self.spread(t) ** 2
        centred = x - alpha * self.mean
        return Prediction(self.mean + alpha * self.std**2 / variance * centred, sigma / variance * centred)

    def solution(self, x: Tensor, start: Tensor, end: Tensor) -> Tensor:
        """Where the ODE carries x from `start` to `end`: the quantile of each cell stays what it is."""
        centred = (x - self.path.alpha(start) * self.mean) / self.spread(start)
        return self.path.alpha(end) * self.mean + self.spread(end) * centred


def angle_times(path: Path, steps: int) -> Tensor:
    """`steps + 1` times from noise to data, evenly spaced in arctan σ/α: a grid that is refined everywhere at once."""
    bounds = torch.tensor([path.start, path.end], dtype=torch.float64)
    first, last = torch.atan2(path.sigma(bounds), path.alpha(bounds)).tolist()
    angles = torch.linspace(first, last, steps + 1, dtype=torch.float64)
    times = path.time(angles.sin() / angles.cos().clamp(min=0))
    times[0], times[-1] = bounds[0], bounds[1]
    return times


def _inner_times(path: Path, steps: int) -> Tensor:
    return path.time(torch.logspace(math.log10(20), math.log10(0.05), steps + 1, dtype=torch.float64))


def check_solver(solver: Solver, *, paths: Mapping[str, Path] | None = None, steps: int = 40) -> dict[str, float]:
    """Check a solver on each path (all known ones by default); what was measured, by path.

    Deterministic: the order of the error, at `steps` and twice as many evenly spaced in ln σ/α from 20 to 0.05, is at
    least `solver.order` less 0.15; and less 0.35 from end to end of the path, where logarithmic terms slow a multistep
    method. A solver with a field `tolerance` chooses its own steps: instead its error is below 10 times the tolerance,
    whatever that is (the figure is the error over the tolerance). Stochastic: mean and variance of many samples are
    within sampling error of the data's (the figure is the larger deviation in standard errors). All: one draft per
    step, full-shaped, the last all known; no more evaluations than declared; finite in float32 and bfloat16; the same
    alone and in a batch. Raises AssertionError with what was measured.
    """
    measured = {}
    for name, path in (paths or {name: kind() for name, kind in PATHS.items()}).items():
        where = f"{solver!r} on the path '{name}'"
        _check_drafts(solver, path, where)
        stochastic = _check_batches(solver, path, where)
        if stochastic:
            measured[name] = _check_moments(solver, path, where)
        elif "tolerance" in type(solver).model_fields:
            measured[name] = _check_tolerance(solver, path, where)
        else:
            measured[name] = _check_order(solver, path, where, steps)
    return measured


def _problem(
    path: Path, samples: int, start: Tensor, dtype: torch.dtype = torch.float64
) -> tuple[Gaussian, Tensor, Noise]:
    # Cells from narrow to broader than the noise, so that no variable makes all of them easy.
    mean = torch.tensor([0.3, -0.5, 0.2, 0.0, 1.0], dtype=torch.float64)
    std = torch.tensor([0.2, 0.4, 0.6, 1.0, 1.7], dtype=torch.float64)
    exact, noise = Gaussian(path, mean, std), Noise.count(0, samples)
    x = path.alpha(start) * mean + exact.spread(start) * noise.normal("start", (5,))
    return Gaussian(path, mean.to(dtype), std.to(dtype)), x.to(dtype), noise


def _last(solver: Solver, path: Path, predict: Predict, x: Tensor, times: Tensor, noise: Noise) -> Tensor:
    *_, sample = solver.solve(path, predict, x, times, noise)
    return sample.x


def _check_drafts(solver: Solver, path: Path, where: str) -> None:
    steps = 10
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        # Repeated at the end: a step between finished drafts has no length.
        times = torch.cat((angle_times(path, steps), torch.tensor([path.end])))
        gaussian, x, noise = _problem(path, 4, times[0], dtype)
        drafts = list(solver.solve(path, gaussian.predict, x, times, noise))
        for draft in drafts:
            assert draft.x.shape == x.shape, f"{where}: a draft of shape {tuple(draft.x.shape)} for {tuple(x.shape)}"
            assert draft.x.isfinite().all(), f"{where}: a draft in {dtype} is not finite"
            assert draft.known.dtype == torch.bool, f"{where}: `known` is {draft.known.dtype}, expected bool"
            torch.broadcast_to(draft.known, x.shape)
        assert drafts[-1].known.all(), f"{where}: the last draft is not all known"
        assert not any(draft.known.all() for draft in drafts[:-1]), f"{where}: all known before the last draft"
        if "tolerance" not in type(solver).model_fields:
            most = steps * solver.evaluations_per_step
            assert len(drafts) == steps, f"{where}: {len(drafts)} drafts in {steps} steps"
            assert gaussian.evaluations <= most, f"{where}: {gaussian.evaluations} evaluations, declared are {most}"


def _check_batches(solver: Solver, path: Path, where: str) -> bool:
    times = angle_times(path, 12)
    gaussian, x, noise = _problem(path, 6, times[0])
    together = _last(solver, path, gaussian.predict, x, times, noise)
    alone = _last(solver, path, gaussian.predict, x[3:4], times, Noise(noise.seeds[3:4]))
    apart = (together[3:4] - alone).abs().max().item()
    assert apart < 1e-9, f"{where}: a sample differs by {apart:.1e} alone and in a batch"
    other = _last(solver, path, gaussian.predict, x, times, Noise.count(100, 6))
    return not torch.equal(together, other)


def _error(solver: Solver, path: Path, times: Tensor) -> float:
    gaussian, x, noise = _problem(path, 8, times[0])
    found = _last(solver, path, gaussian.predict, x, times, noise)
    return (found - gaussian.solution(x, times[0], times[-1])).abs().max().item()


def _check_order(solver: Solver, path: Path, where: str, steps: int) -> float:
    assert solver.order > 0, f"{where}: deterministic, but declares order {solver.order}"
    orders = []
    for grid, slack in ((_inner_times, 0.15), (angle_times, 0.35)):
        coarse, fine = (_error(solver, path, grid(path, count)) for count in (steps, 2 * steps))
        orders.append(math.log2(coarse / fine))
        assert orders[-1] > solver.order - slack, (
            f"{where}: order {orders[-1]:.2f} measured, {solver.order} declared; "
            f"error {coarse:.1e} with {steps} steps, {fine:.1e} with {2 * steps}"
        )
    return orders[0]


def _check_tolerance(solver: Solver, path: Path, where: str) -> float:
    worst = 0.0
    for tolerance in (1e-2, 1e-3, 1e-4, 1e-5):
        error = _error(solver.model_copy(update={"tolerance": tolerance}), path, angle_times(path, 1))
        assert error < 10 * tolerance, f"{where}: error {error:.1e} at tolerance {tolerance:.0e}"
        worst = max(worst, error / tolerance)
    return worst


def _check_moments(solver: Solver, path: Path, where: str) -> float:
    samples, times = 1000, angle_times(path, 200)
    gaussian, x, noise = _problem(path, samples, times[0])
    found = _last(solver, path, gaussian.predict, x, times, noise)
    # A step leaves a bias of its order; two per cent of the spread are allowed for it.
    mean_error = ((found.mean(0) - gaussian.mean).abs() / gaussian.std - 0.02) * math.sqrt(samples)
    std_error = ((found.std(0) / gaussian.std - 1).abs() - 0.02) * math.sqrt(2 * samples)
    worst = max(0.0, mean_error.max().item(), std_error.max().item())
    assert worst < 4, (
        f"{where}: mean {found.mean(0).tolist()} and deviation {found.std(0).tolist()} of {samples} samples are "
        f"{worst:.1f} standard errors from {gaussian.mean.tolist()} and {gaussian.std.tolist()}"
    )
    return worst
