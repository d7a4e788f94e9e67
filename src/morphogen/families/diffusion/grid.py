"""Gaussian diffusion of grids: one model for flow matching, DDPM and EDM. Equations: README.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from ...core.errors import UserError
from ...core.model import Batch, Denoiser, GenerativeModel, LikelihoodModel, Loss, Partial, Phase, Prediction, Request
from ...core.noise import Noise
from ...core.space import Grid, Space
from ...nn.augmentation import PARAMETERS, augment, default_probability, is_picture, random_augmentation
from ...nn.denoiser import DenoiserNetwork
from ...nn.hidden_matrices import hidden_matrices
from ...nn.masking import random_known
from ...nn.moments import moments
from ...sampling.gaussian import Network, denoising_loss, predict
from ...sampling.guidance import classifier_free
from ...sampling.likelihood import ode_log_likelihood
from ...sampling.schedule import SCHEDULES
from .options import GridControls, GridOptions


class GridDiffusion(GenerativeModel, Denoiser, LikelihoodModel):
    """Diffusion of data standardised by two buffers, so that a noise level means the same for any data."""

    Options = GridOptions
    Controls = GridControls
    exact = False
    supports_given = True
    supports_grid_conditions = True
    # 48 channels, the size whose items were measured. On a processor half as fast, 32 channels read too few by that
    # measure in two minutes, and were still better than 16.
    full_size = 1.2e6

    mean: Tensor
    deviation: Tensor
    space: Grid
    options: GridOptions

    def __init__(self, space: Grid, conditions: Mapping[str, Space], options: GridOptions) -> None:
        patch, blocks = options.depth(space.size)
        if options.augment and not is_picture(space.axes):
            axes = ", ".join(space.axes) or "none"
            raise UserError(f"options.augment needs the axes height and width, and these items have {axes}; drop it")
        # Saved as chosen here, because a later version may choose otherwise.
        options = options.model_copy(update={"patch": patch, "blocks": blocks, "augment": options.augment or 0.0})
        super().__init__(space, conditions, options)
        self.schedule = SCHEDULES[options.schedule]()
        self.network = DenoiserNetwork(
            space,
            conditions,
            widths=[options.width * min(2, 1 + level) for level in range(len(blocks))],
            blocks=blocks,
            patch=patch,
            dropout=options.dropout,
            condition_dropout=options.condition_dropout,
            extra=2 * space.channels if options.inpaint_prob else 0,
            augmentation=PARAMETERS if options.augment else 0,
        )
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("deviation", torch.ones(()))

    @classmethod
    def resolve_options(cls, options: GridOptions, space: Space, items: int) -> GridOptions:
        if options.augment is not None:
            return options
        return options.model_copy(update={"augment": default_probability(space, items)})

    def phases(self) -> Sequence[Phase]:
        return (Phase(muon=hidden_matrices(self)),)

    @torch.no_grad()
    def initialize(self, phase: str, batches: Iterable[Batch]) -> None:
        mean, deviation = moments(batches)
        self.mean.fill_(mean)
        self.deviation.fill_(deviation)

    def forward(self, batch: Batch, phase: str = "model") -> Loss:
        """Return the loss of README, equation 4."""
        batch, augmentation = self.augmented(batch)
        options, x = self.options, (batch.x - self.mean) / self.deviation
        given = None
        if options.inpaint_prob:
            cells = self.space.size or self.space.shape
            known = random_known(len(x), cells, options.inpaint_prob, x.device)
            given = Partial(x, known.unsqueeze(1) if self.space.size else known)
        total = denoising_loss(
            self.schedule,
            self._network(x, given, augmentation),
            x,
            batch.condition,
            prediction=options.prediction,
            noise_levels=options.noise_levels,
            log_sigma_mean=options.log_sigma_mean,
            log_sigma_std=options.log_sigma_std,
        )
        return Loss(total)

    def predict(self, x: Tensor, t: Tensor, condition: Mapping[str, Tensor]) -> Prediction:
        """Return predicted data and noise, standardised; t is one number, or one per sample, broadcastable to x."""
        return self._predict(x, t, condition, None)

    def _predict(self, x: Tensor, t: Tensor, condition: Mapping[str, Tensor], given: Partial | None) -> Prediction:
        return predict(self.schedule, self._network(x, given), x, t, condition, prediction=self.options.prediction)

    def augmented(self, batch: Batch) -> tuple[Batch, Tensor | None]:
        """Return the batch as it is trained on, and the changes that the network is given: README, equation 4a.

        Conditions that are grids are changed as x is.
        """
        if not self.training or not self.options.augment:
            return batch, None
        change = random_augmentation(len(batch.x), self.space.size, self.options.augment, batch.x.device)
        condition = {
            name: augment(value, change) if name in self.network.conditioner.grids else value
            for name, value in batch.condition.items()
        }
        return Batch(augment(batch.x, change), condition), change.parameters

    def _network(self, x: Tensor, given: Partial | None, augmentation: Tensor | None = None) -> Network:
        """Return the network; if the model inpaints, with the known cells of standardised data like x as inputs."""
        if not self.options.inpaint_prob:
            return partial(self.network, augmentation=augmentation)
        inputs = torch.zeros(len(x), 2, *self.space.shape, device=x.device)
        if given is not None:
            inputs[:, 0], inputs[:, 1] = torch.where(given.known, given.x, 0.0), given.known

        def network(x: Tensor, noise_level: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
            return self.network(
                torch.cat((x, inputs.flatten(1, 2).to(x.dtype)), dim=1), noise_level, condition, augmentation
            )

        return network

    def void_controls(self, controls: GridControls) -> dict[str, str]:
        void = super().void_controls(controls) | controls.void()
        return void | controls.void_interval(void)

    @torch.no_grad()
    def generate(self, request: Request, controls: GridControls) -> Iterator[Partial]:
        condition, given = dict(request.condition), self._standardised(request.given)
        times = controls.times(self.schedule)
        start = self.schedule.sigma(times[:1]).to(self.device)
        x = start * request.noise.normal("start", self.space.shape).to(self.device)
        guided = classifier_free(
            lambda x, t: self._predict(x, t, condition, given),
            lambda x, t: self._predict(x, t, {}, given),
            scale=controls.guidance if condition else 1.0,
            schedule=self.schedule,
            interval=controls.guidance_interval,
        )
        for draft in controls.solver.solve(self.schedule, guided, x, times.to(self.device), request.noise):
            x = draft.x * self.deviation + self.mean
            if request.given is None:
                yield Partial(x, draft.known)
            else:  # known cells are returned exactly as they were given
                known = request.given.known.to(x.device)
                yield Partial(torch.where(known, request.given.x.to(x), x), draft.known | known)

    def _standardised(self, given: Partial | None) -> Partial | None:
        """Return what is given as standardised data. Raises UserError where the model was not trained to inpaint."""
        if given is None:
            return None
        if not self.options.inpaint_prob:
            raise UserError("this model was not trained to inpaint; fit it with --options.inpaint-prob 0.5")
        x, known = given.x.to(self.device), given.known.to(self.device)
        return Partial((x - self.mean) / self.deviation, known.expand(x.shape))

    def log_likelihood(self, batch: Batch, noise: Noise, steps: int = 32) -> Tensor:
        """Return a lower bound in expectation (a density without a `step`), `(B,)` in nats: README, equation 9.

        By the probability-flow ODE with Hutchinson's trace (arXiv 2011.13456, appendix D.2), of data that are
        dequantised uniformly where the space has a `step`.
        """
        x, step = batch.x, self.space.step
        if step:
            x = x + step * (noise.uniform("dequantise", self.space.shape).to(x.device) - 0.5)
        data = (x - self.mean) / self.deviation
        nats = ode_log_likelihood(
            self.schedule,
            lambda x, t: self.predict(x, t, batch.condition),
            data,
            self.schedule.karras_times(steps, 0.002, 80.0).to(x.device),
            noise,
        )
        log_scale = torch.log(self.deviation) if not step else torch.log(self.deviation / step)
        return nats - self.space.dimensions * log_scale
