"""Diffusion of rows: numbers are noised, categories are masked, by one network. README, equation 10."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from ...core.errors import UserError
from ...core.model import Batch, GenerativeModel, Loss, Partial, Phase, Prediction, Request
from ...core.noise import Noise
from ...core.space import Grid, Row, Space
from ...nn.denoiser import DenoiserNetwork
from ...nn.hidden_matrices import hidden_matrices
from ...sampling.gaussian import training_times
from ...sampling.logits import draw
from ...sampling.schedule import SCHEDULES, Schedule
from .options import RowControls, RowOptions
from .row_encoding import RowEncoding


class RowDiffusion(GenerativeModel):
    """The mixed process of TabDiff (arXiv 2410.20626), with one schedule for all fields."""

    Options = RowOptions
    Controls = RowControls
    supports_conditions = False
    fixed_size = True
    min_steps = 600  # large batches serve rows better, see RowOptions.width
    initialize_items = 2**22  # a rare category has to be seen

    space: Row
    options: RowOptions

    def __init__(self, space: Row, conditions: Mapping[str, Space], options: RowOptions) -> None:
        if conditions:
            raise UserError(
                f"diffusion of rows takes no condition, and '{next(iter(conditions))}' was given; drop --condition, or "
                "choose a family that conditions on columns when it samples"
            )
        super().__init__(space, conditions, options)
        self.schedule = SCHEDULES[options.schedule]()
        self.encoding = RowEncoding(space)
        self.network = DenoiserNetwork(
            Grid(self.encoding.channels),
            {},
            widths=(options.width,),
            blocks=(options.layers,),
            patch=1,
            dropout=options.dropout,
            condition_dropout=0.0,
        )

    def phases(self) -> Sequence[Phase]:
        return (Phase(muon=hidden_matrices(self)),)

    @torch.no_grad()
    def initialize(self, phase: str, batches: Iterable[Batch]) -> None:
        self.encoding.fit(batches)

    def forward(self, batch: Batch, phase: str = "model") -> Loss:
        """Return the loss of README, equation 10."""
        options, x = self.options, batch.x
        inside = torch.rand(len(x), len(self.encoding.numbers), device=x.device)
        numbers, categories = self.encoding.encode(x, inside)
        times = training_times(
            self.schedule,
            len(x),
            noise_levels=options.noise_levels,
            log_sigma_mean=options.log_sigma_mean,
            log_sigma_std=options.log_sigma_std,
            device=x.device,
        )
        t = times[:, None]
        noise = torch.randn_like(numbers)
        masked = torch.rand(categories.shape, device=x.device) < masked_share(self.schedule, t)
        visible = self.encoding.one_hot(categories, masked)
        output, logits = self.evaluate(self.schedule.mix(numbers, noise, t), visible, t)
        target = self.schedule.target(options.prediction, numbers, noise, t)
        error = (output - target).square().sum(1).mean()
        nats = (self.encoding.nll(logits, categories) * masked).sum(1).mean()
        parts = {
            "squared_error": error.detach() / max(1, len(self.encoding.numbers)),
            "category_nats": nats.detach(),
        }
        return Loss((error + nats) / self.encoding.terms(), parts)

    def evaluate(self, x: Tensor, visible: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return the network's output for numbers, `(B, R)`, and for categories, `(B, channels - R)`.

        x `(B, R)` are noisy numbers at time t `(B or 1, 1)`, `visible` one-hot categories, 0 where they are masked.
        """
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        scaled = x / (alpha.square() + sigma.square()).sqrt()
        level = (sigma / alpha).reshape(-1).expand(len(x))
        output: Tensor = self.network(torch.cat((scaled, visible), dim=1), level, {})
        return output[:, : x.shape[1]], output[:, x.shape[1] :]

    def void_controls(self, controls: RowControls) -> dict[str, str]:
        return super().void_controls(controls) | controls.void()

    @torch.no_grad()
    def generate(self, request: Request, controls: RowControls) -> Iterator[Partial]:
        times = controls.times(self.schedule)
        start = self.schedule.sigma(times[:1]).to(self.device)
        numbers = start * request.noise.normal("start", (len(self.encoding.numbers),)).to(self.device)
        unmasking = Unmasking(self, request.noise)
        solver = controls.solver.solve(self.schedule, unmasking, numbers, times.to(self.device), request.noise)
        for draft in solver:
            numbers = draft.x
            if request.drafts:
                x = self.encoding.decode(numbers, unmasking.categories)
                yield Partial(x, torch.zeros_like(x, dtype=torch.bool))
        x = self.encoding.decode(numbers, unmasking.finish())
        yield Partial(x, torch.ones_like(x, dtype=torch.bool))


def masked_share(schedule: Schedule, t: Tensor) -> Tensor:
    """Return the probability that a category is masked at time t: 0 at the data, 1 at the noise."""
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    return sigma / (alpha + sigma)


class Unmasking:
    """The prediction for the numbers of rows, which samples each category when its time has come.

    A category is masked until `masked_share` falls below a uniform number of its own: so at every time as many are
    masked as in training.
    """

    def __init__(self, model: RowDiffusion, noise: Noise) -> None:
        self.model, self.encoding = model, model.encoding
        count, device = len(self.encoding.categories), model.device
        self.threshold = noise.uniform("unmask", (count,)).to(device)
        self.uniform = noise.uniform("categories", (count,)).to(device)
        self.categories = torch.zeros(self.threshold.shape, dtype=torch.int64, device=device)
        self.masked = torch.ones(self.threshold.shape, dtype=torch.bool, device=device)
        self.output: Tensor | None = None  # the network's last one for categories

    def __call__(self, x: Tensor, t: Tensor) -> Prediction:
        self._unmask(masked_share(self.model.schedule, t).reshape(-1, 1) < self.threshold)
        visible = self.encoding.one_hot(self.categories, self.masked)
        output, self.output = self.model.evaluate(x, visible, t)
        return self.model.schedule.prediction(self.model.options.prediction, output, x, t)

    def _unmask(self, due: Tensor) -> None:
        """Sample those that are `due`, bool broadcastable to `(B, G)`, from the network's last output."""
        due = due & self.masked
        if self.output is None or not bool(due.any()):
            return
        for at, logits in enumerate(self.encoding.logits(self.output)):
            own = due[:, at]
            if bool(own.any()):
                category = draw(logits.softmax(1), self.uniform[:, at])
                self.categories[:, at] = torch.where(own, category, self.categories[:, at])
        self.masked &= ~due

    def finish(self) -> Tensor:
        """Return all categories `(B, G)`, after sampling those that are still masked."""
        self._unmask(torch.ones_like(self.masked))
        return self.categories
