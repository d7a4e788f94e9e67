"""An autoencoder of grids and a denoiser of its latents, trained one after the other. Equations: README.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from ...core.errors import UserError
from ...core.model import Batch, GenerativeModel, LatentModel, Loss, Partial, Phase, Request
from ...core.noise import Noise
from ...core.space import Grid, Space
from ...nn import nd
from ...nn.augmentation import PARAMETERS, augment, default_probability, is_picture, random_augmentation
from ...nn.denoiser import DenoiserNetwork
from ...nn.depth import default_blocks
from ...nn.hidden_matrices import hidden_matrices
from ...nn.masking import patched, random_known
from ...nn.moments import moments
from ...nn.pyramid import coarse_size
from ...sampling.gaussian import Network, denoising_loss, predict
from ...sampling.guidance import classifier_free
from ...sampling.schedule import Linear
from .autoencoder import Autoencoder
from .options import GridControls, GridOptions


class GridLatentDenoiser(GenerativeModel, LatentModel):
    """Latent diffusion (arXiv 2112.10752) by flow matching; data and latents are standardised by buffers."""

    Options = GridOptions
    Controls = GridControls

    latent: Grid
    space: Grid
    options: GridOptions
    mean: Tensor
    deviation: Tensor
    latent_mean: Tensor
    latent_deviation: Tensor

    def __init__(self, space: Grid, conditions: Mapping[str, Space], options: GridOptions) -> None:
        if options.augment and not is_picture(space.axes):
            axes = ", ".join(space.axes) or "none"
            raise UserError(f"options.augment needs the axes height and width, and these items have {axes}; drop it")
        # Saved as chosen here, because a later version may choose otherwise.
        options = options.model_copy(
            update={"downsampling": options.factor(space.size), "augment": options.augment or 0.0}
        )
        super().__init__(space, conditions, options)
        self.supports_given = bool(space.size)  # a latent of one vector cannot be known in part
        factor = options.factor(space.size)
        self.latent = Grid(options.latent_channels, coarse_size(space.size, factor))
        self.autoencoder = Autoencoder(space, self.latent, width=options.autoencoder_width, factor=factor)
        self.schedule = Linear()
        blocks = default_blocks(self.latent.size, patch=1)
        self.denoiser = DenoiserNetwork(
            self.latent,
            conditions,
            widths=[options.width * min(2, 1 + level) for level in range(len(blocks))],
            blocks=blocks,
            patch=1,
            dropout=0.0,
            condition_dropout=options.condition_dropout,
            extra=2 * self.latent.channels if self._inpaints else 0,
            augmentation=PARAMETERS if options.augment else 0,
        )
        channels = (self.latent.channels, *(1,) * len(space.size))
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("deviation", torch.ones(()))
        self.register_buffer("latent_mean", torch.zeros(channels))
        self.register_buffer("latent_deviation", torch.ones(channels))

    @classmethod
    def resolve_options(cls, options: GridOptions, space: Space, items: int) -> GridOptions:
        if options.augment is not None:
            return options
        return options.model_copy(update={"augment": default_probability(space, items)})

    @property
    def _inpaints(self) -> bool:
        return self.options.inpaint_prob > 0 and bool(self.space.size)

    def phases(self) -> Sequence[Phase]:
        share = self.options.autoencoder_share
        autoencoder, denoiser = hidden_matrices(self.autoencoder), hidden_matrices(self.denoiser)
        return (
            Phase("autoencoder", module="autoencoder", span=(0.0, share), muon=autoencoder),
            Phase("denoiser", module="denoiser", span=(share, 1.0), space=self.latent, muon=denoiser),
        )

    @torch.no_grad()
    def initialize(self, phase: str, batches: Iterable[Batch]) -> None:
        """Set the moments of the data, or of each channel of the latents."""
        if phase == "autoencoder":
            for buffer, value in zip((self.mean, self.deviation), moments(batches), strict=True):
                buffer.fill_(value)
            return
        z = torch.cat([self.autoencoder.sample(self._standardised(batch.x)) for batch in batches])
        axes = [0, *range(2, z.dim())]
        self.latent_mean.copy_(z.mean(axes).reshape(self.latent_mean.shape))
        deviation = z.std(axes, correction=0).reshape(self.latent_deviation.shape)
        self.latent_deviation.copy_(deviation.clamp(min=1e-4))

    def forward(self, batch: Batch, phase: str = "autoencoder") -> Loss:
        """Return the loss of README, equation 1 or 2."""
        x, augmentation = self._augmented(self._standardised(batch.x))
        if phase == "autoencoder":
            return self._reconstruction_loss(x)
        return self._denoising_loss(x, batch.condition, augmentation)

    def _augmented(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return data as they are trained on, and the random changes that the denoiser is given."""
        if not self.training or not self.options.augment:
            return x, None
        change = random_augmentation(len(x), self.space.size, self.options.augment, x.device)
        return augment(x, change), change.parameters

    def _reconstruction_loss(self, x: Tensor) -> Loss:
        mean, log_variance = self.autoencoder.posterior(x)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        squared_error = (self.autoencoder.decode(z) - x).square().mean()
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).flatten(1).sum(1).mean()
        # 1e-6: below the rounding of 8 bits there is nothing to learn.
        total = 0.5 * torch.log(squared_error + 1e-6) + self.options.beta * divergence / self.space.dimensions
        return Loss(total, {"squared_error": squared_error.detach(), "divergence_nats": divergence.detach()})

    def _denoising_loss(self, x: Tensor, condition: Mapping[str, Tensor], augmentation: Tensor | None) -> Loss:
        with torch.no_grad():
            z = (self.autoencoder.sample(x) - self.latent_mean) / self.latent_deviation
        given = None
        if self._inpaints:
            given = Partial(z, random_known(len(z), self.latent.size, self.options.inpaint_prob, z.device).unsqueeze(1))
        total = denoising_loss(
            self.schedule,
            self._network(given, augmentation),
            z,
            condition,
            prediction="velocity",
            noise_levels="lognormal",
            log_sigma_mean=-0.4,
            log_sigma_std=1.2,
        )
        return Loss(total)

    def _network(self, given: Partial | None, augmentation: Tensor | None = None) -> Network:
        """Return the denoiser; if the model inpaints, with the known latents as inputs."""
        if not self._inpaints:
            return partial(self.denoiser, augmentation=augmentation)

        def network(z: Tensor, noise_level: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
            known = torch.zeros_like(z) if given is None else given.known.to(z).expand(z.shape)
            values = torch.zeros_like(z) if given is None else torch.where(given.known, given.x.to(z), 0.0)
            return self.denoiser(torch.cat((z, values, known), dim=1), noise_level, condition, augmentation)

        return network

    def void_controls(self, controls: GridControls) -> dict[str, str]:
        void = super().void_controls(controls) | controls.void()
        return void | controls.void_interval(void)

    @torch.no_grad()
    def generate(self, request: Request, controls: GridControls) -> Iterator[Partial]:
        condition, given = dict(request.condition), self._given_latents(request.given)

        network = self._network(given)
        guided = classifier_free(
            lambda z, t: predict(self.schedule, network, z, t, condition, prediction="velocity"),
            lambda z, t: predict(self.schedule, network, z, t, {}, prediction="velocity"),
            scale=controls.guidance if condition else 1.0,
            schedule=self.schedule,
            interval=controls.guidance_interval,
        )
        times = controls.times(self.schedule).to(self.device)
        z = self.schedule.sigma(times[:1]) * request.noise.normal("start", self.latent.shape).to(self.device)
        for draft in controls.solver.solve(self.schedule, guided, z, times, request.noise):
            last = bool(draft.known.all())
            if not (last or request.drafts):
                continue
            x = self.decode(draft.x * self.latent_deviation + self.latent_mean, condition, request.noise)
            known = torch.tensor(last, device=x.device).expand(x.shape)
            if request.given is not None:  # known cells are returned exactly as they were given
                exact = request.given.known.to(x.device)
                x, known = torch.where(exact, request.given.x.to(x), x), known | exact
            yield Partial(x, known)

    def _given_latents(self, given: Partial | None) -> Partial | None:
        """Return the standardised latents under what is given; one is known where all the data under it are.

        Raises UserError where the model was not trained to inpaint.
        """
        if given is None:
            return None
        if not self.space.size:
            raise UserError("a latent of one vector cannot be given in part; fit another family")
        if not self._inpaints:
            raise UserError("this model was not trained to inpaint; fit it with --options.inpaint-prob 0.5")
        x, known = given.x.to(self.device), given.known.to(self.device).expand(given.x.shape).all(1, keepdim=True)
        # The encoder must not see what is missing, and reads whole items: unknown cells are filled in smoothly.
        z = self.encode(Batch(patched(x, known)))
        factor = self.options.factor(self.space.size)
        missing = nd.unshuffle(nd.pad_end((~known).float(), nd.padding_to(known.shape[2:], factor)), factor)
        return Partial((z - self.latent_mean) / self.latent_deviation, missing.amax(1, keepdim=True) == 0)

    def encode(self, batch: Batch) -> Tensor:
        return self.autoencoder.posterior(self._standardised(batch.x))[0]

    def decode(self, z: Tensor, condition: Mapping[str, Tensor], noise: Noise) -> Tensor:
        """Return the data of latents; neither the condition nor `noise` is used."""
        return self.autoencoder.decode(z) * self.deviation + self.mean

    def _standardised(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.deviation
