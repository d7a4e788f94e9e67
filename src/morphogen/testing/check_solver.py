"""The contract of a solver, measured against data whose every step is known in closed form."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from ..core.model import Predict, Prediction
from ..core.noise import Noise
from ..sampling.schedule import SCHEDULES, Schedule
from ..sampling.solvers.base import Solver


class Gaussian:
    """Data N(mean, std²) per cell: their ideal denoiser, and the solution of the probability-flow ODE."""

    def __init__(self, schedule: Schedule, mean: Tensor, std: Tensor) -> None:
        self.schedule, self.mean, self.std = schedule, mean, std
        self.evaluations = 0

    def spread(self, t: Tensor) -> Tensor:
        """Return the standard deviation of x_t, √(α² std² + σ²)."""
        return torch.hypot(self.schedule.alpha(t) * self.std, self.schedule.sigma(t))

    def predict(self, x: Tensor, t: Tensor) -> Prediction:
        """Return E[data | x_t] and E[noise | x_t]."""
        self.evaluations += 1
        alpha, sigma, variance = self.schedule.alpha(t), self.schedule.sigma(t), self.spread(t) ** 2
        centred = x - alpha * self.mean
        return Prediction(self.mean + alpha * self.std**2 / variance * centred, sigma / variance * centred)

    def solution(self, x: Tensor, start: Tensor, end: Tensor) -> Tensor:
        """Return where the ODE carries x from `start` to `end`: each cell keeps its quantile."""
        centred = (x - self.schedule.alpha(start) * self.mean) / self.spread(start)
        return self.schedule.alpha(end) * self.mean + self.spread(end) * centred


def angle_times(schedule: Schedule, steps: int) -> Tensor:
    """Return `steps + 1` times from noise to data, evenly spaced in arctan σ/α, so refined everywhere at once."""
    bounds = torch.tensor([schedule.start, schedule.end], dtype=torch.float64)
    first, last = torch.atan2(schedule.sigma(bounds), schedule.alpha(bounds)).tolist()
    angles = torch.linspace(first, last, steps + 1, dtype=torch.float64)
    times = schedule.time(angles.sin() / angles.cos().clamp(min=0))
    times[0], times[-1] = bounds[0], bounds[1]
    return times


def _inner_times(schedule: Schedule, steps: int) -> Tensor:
    return schedule.time(torch.logspace(math.log10(20), math.log10(0.05), steps + 1, dtype=torch.float64))


def check_solver(
    solver: Solver, *, schedules: Mapping[str, Schedule] | None = None, steps: int = 40
) -> dict[str, float]:
    """Check a solver on each schedule, by default all; return what was measured, by schedule.

    Deterministic solvers: the order of the error, at `steps` and twice as many evenly spaced in ln σ/α from 20 to 0.05,
    is at least `solver.order` less 0.15, and over the whole schedule less 0.35, where logarithmic terms slow multistep
    methods; the order is returned. Solvers with a field `tolerance` choose their own steps: the error is below 10 times
    the tolerance, for several of them; the largest quotient is returned. Stochastic solvers: mean and variance of many
    samples are within sampling error of those of the data; the larger deviation in standard errors is returned. All:
    one draft per step, full-shaped, the last all known; no more evaluations than declared; finite in float32 and
    bfloat16; a sample is the same alone and in a batch. Raises AssertionError with what was measured.
    """
    measured = {}
    for name, schedule in (schedules or {name: kind() for name, kind in SCHEDULES.items()}).items():
        where = f"{solver!r} on the schedule '{name}'"
        _check_drafts(solver, schedule, where)
        stochastic = _check_batches(solver, schedule, where)
        if stochastic:
            measured[name] = _check_moments(solver, schedule, where)
        elif "tolerance" in type(solver).model_fields:
            measured[name] = _check_tolerance(solver, schedule, where)
        else:
            measured[name] = _check_order(solver, schedule, where, steps)
    return measured


def _problem(
    schedule: Schedule, samples: int, start: Tensor, dtype: torch.dtype = torch.float64
) -> tuple[Gaussian, Tensor, Noise]:
    # Cells from narrow to broader than the noise, so that no variable makes all of them easy.
    mean = torch.tensor([0.3, -0.5, 0.2, 0.0, 1.0], dtype=torch.float64)
    std = torch.tensor([0.2, 0.4, 0.6, 1.0, 1.7], dtype=torch.float64)
    exact, noise = Gaussian(schedule, mean, std), Noise.consecutive(0, samples)
    x = schedule.alpha(start) * mean + exact.spread(start) * noise.normal("start", (5,))
    return Gaussian(schedule, mean.to(dtype), std.to(dtype)), x.to(dtype), noise


def _last(solver: Solver, schedule: Schedule, predict: Predict, x: Tensor, times: Tensor, noise: Noise) -> Tensor:
    *_, sample = solver.solve(schedule, predict, x, times, noise)
    return sample.x


def _check_drafts(solver: Solver, schedule: Schedule, where: str) -> None:
    steps = 10
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        # Repeated at the end: a step between finished drafts has no length.
        times = torch.cat((angle_times(schedule, steps), torch.tensor([schedule.end])))
        gaussian, x, noise = _problem(schedule, 4, times[0], dtype)
        drafts = list(solver.solve(schedule, gaussian.predict, x, times, noise))
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


def _check_batches(solver: Solver, schedule: Schedule, where: str) -> bool:
    """Return whether the solver is stochastic: whether other seeds give other samples from one start."""
    times = angle_times(schedule, 12)
    gaussian, x, noise = _problem(schedule, 6, times[0])
    together = _last(solver, schedule, gaussian.predict, x, times, noise)
    alone = _last(solver, schedule, gaussian.predict, x[3:4], times, Noise(noise.seeds[3:4]))
    apart = (together[3:4] - alone).abs().max().item()
    assert apart < 1e-9, f"{where}: a sample differs by {apart:.1e} alone and in a batch"
    other = _last(solver, schedule, gaussian.predict, x, times, Noise.consecutive(100, 6))
    return not torch.equal(together, other)


def _error(solver: Solver, schedule: Schedule, times: Tensor) -> float:
    gaussian, x, noise = _problem(schedule, 8, times[0])
    sample = _last(solver, schedule, gaussian.predict, x, times, noise)
    return (sample - gaussian.solution(x, times[0], times[-1])).abs().max().item()


def _check_order(solver: Solver, schedule: Schedule, where: str, steps: int) -> float:
    assert solver.order > 0, f"{where}: deterministic, but declares order {solver.order}"
    orders = []
    for grid, slack in ((_inner_times, 0.15), (angle_times, 0.35)):
        coarse, fine = (_error(solver, schedule, grid(schedule, count)) for count in (steps, 2 * steps))
        orders.append(math.log2(coarse / fine))
        assert orders[-1] > solver.order - slack, (
            f"{where}: order {orders[-1]:.2f} measured, {solver.order} declared; "
            f"error {coarse:.1e} with {steps} steps, {fine:.1e} with {2 * steps}"
        )
    return orders[0]


def _check_tolerance(solver: Solver, schedule: Schedule, where: str) -> float:
    worst = 0.0
    for tolerance in (1e-2, 1e-3, 1e-4, 1e-5):
        error = _error(solver.model_copy(update={"tolerance": tolerance}), schedule, angle_times(schedule, 1))
        assert error < 10 * tolerance, f"{where}: error {error:.1e} at tolerance {tolerance:.0e}"
        worst = max(worst, error / tolerance)
    return worst


def _check_moments(solver: Solver, schedule: Schedule, where: str) -> float:
    samples, times = 1000, angle_times(schedule, 200)
    gaussian, x, noise = _problem(schedule, samples, times[0])
    generated = _last(solver, schedule, gaussian.predict, x, times, noise)
    # A step leaves a bias of its order; two per cent of the spread are allowed for it.
    mean_error = ((generated.mean(0) - gaussian.mean).abs() / gaussian.std - 0.02) * math.sqrt(samples)
    std_error = ((generated.std(0) / gaussian.std - 1).abs() - 0.02) * math.sqrt(2 * samples)
    worst = max(0.0, mean_error.max().item(), std_error.max().item())
    assert worst < 4, (
        f"{where}: mean {generated.mean(0).tolist()} and deviation {generated.std(0).tolist()} of {samples} samples "
        f"are {worst:.1f} standard errors from {gaussian.mean.tolist()} and {gaussian.std.tolist()}"
    )
    return worst
