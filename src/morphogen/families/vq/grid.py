"""A vector-quantised autoencoder: grids of numbers as grids of tokens. Equations: README.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...core.errors import UserError
from ...core.model import Batch, GenerativeModel, LatentModel, Loss, Partial, Phase, Request
from ...core.noise import Noise
from ...core.space import Grid, Space, Tokens
from ...nn.critic import Critic
from ...nn.gan_losses import critic_loss, generator_loss, squared_gradient
from ...nn.hidden_matrices import hidden_matrices
from ...nn.pyramid import Decoder, Encoder, coarse_size
from ...sampling.logits import draw, probabilities
from . import options as settings
from .quantise import Codebook, FiniteScalar, Quantised

# The critic is trained from the start; its losses are added from one share of the budget on, in full from the other.
_ADDED_FROM, _ADDED_IN_FULL = 0.2, 0.4
_PENALTY, _PENALTY_EVERY = 1.0, 4  # R1 and R2


class Autoencoder(nn.Module):
    """Encoder, quantiser and decoder: the module that the first phase trains."""

    def __init__(self, space: Grid, codes: Grid, options: settings.Options) -> None:
        super().__init__()
        patch, blocks = options.depth(space.size)
        widths = [options.width * min(2, 1 + level) for level in range(len(blocks))]
        self.encoder = Encoder(space, codes, channels_out=codes.channels, widths=widths, blocks=blocks, patch=patch)
        self.quantiser = (
            FiniteScalar(options.levels)
            if options.quantiser == "scalar"
            else Codebook(options.codes, options.code_channels, options.code_decay, options.commitment)
        )
        self.decoder = Decoder(space, codes, widths=widths, blocks=blocks, patch=patch, embedding=0)

    def quantise(self, x: Tensor) -> Quantised:
        """Return the quantised cells of the latent grid, in raster order `(B * cells, …)`; trains a codebook."""
        return self.quantiser(self._vectors(x))

    def code(self, x: Tensor) -> Tensor:
        """Return the codes alone, `(B * cells,)`."""
        return self.quantiser.code(self._vectors(x))

    def _vectors(self, x: Tensor) -> Tensor:
        h = self.encoder(x)
        return h.movedim(1, -1).reshape(-1, h.shape[1])

    def output(self, z: Tensor, size: tuple[int, ...]) -> Tensor:
        """Return the decoded items `(B, *space.shape)` of vectors `(B * cells, width)`."""
        return self.decoder(z.reshape(-1, *size, z.shape[-1]).movedim(-1, 1).contiguous())


class GridVQ(GenerativeModel, LatentModel):
    """Tokens for other families to model; by itself it samples each cell's code by its frequency, as a baseline."""

    Options = settings.Options
    Controls = settings.Controls
    supports_conditions = False

    space: Grid
    latent: Tokens
    options: settings.Options
    frequency: Tensor
    critic_weight: Tensor

    def __init__(self, space: Grid, conditions: Mapping[str, Space], options: settings.Options) -> None:
        if not space.size:
            raise UserError("vector quantisation needs a grid with axes, and these items are vectors without any")
        if conditions:
            raise UserError(
                f"a vector-quantised autoencoder takes no condition, and '{next(iter(conditions))}' was given; drop "
                "--condition here, and give it to the model that is fitted with --autoencoder"
            )
        patch, blocks = options.depth(space.size)
        # Saved as chosen here, because a later version may choose otherwise.
        options = options.model_copy(update={"patch": patch, "blocks": blocks})
        super().__init__(space, conditions, options)
        width = len(options.levels) if options.quantiser == "scalar" else options.code_channels
        size = coarse_size(space.size, patch * 2 ** (len(blocks) - 1))
        self.autoencoder = Autoencoder(space, Grid(width, size), options)
        self.critic: Critic | None = None
        if options.adversarial or options.perceptual:
            widths = [options.width * min(2, 1 + level) for level in range(len(blocks))]
            self.critic = Critic(space, {}, widths=widths, blocks=blocks, patch=patch)
            self.register_buffer("critic_weight", torch.zeros(()))
        self.codes = self.autoencoder.quantiser.vocab
        self.latent = Tokens(self.codes, size)
        self.register_buffer("frequency", torch.ones(self.latent.dimensions, self.codes))

    def phases(self) -> Sequence[Phase]:
        autoencoder = Phase("autoencoder", module="autoencoder", muon=hidden_matrices(self.autoencoder))
        codes = replace(autoencoder, name="codes", span=(1.0, 1.0))
        if self.critic is None:
            return autoencoder, codes
        critic = Phase("critic", module="critic", betas=(0.0, 0.99), lr=1e-3, clip=10.0)
        return autoencoder, critic, replace(critic, name="penalty", every=_PENALTY_EVERY), codes

    @torch.no_grad()
    def initialize(self, phase: str, batches: Iterable[Batch]) -> None:
        if phase != "codes":
            return
        self.frequency.zero_()
        cells = torch.arange(self.latent.dimensions, device=self.frequency.device)
        for batch in batches:
            code = self.encode(batch).flatten(1)
            ones = torch.ones_like(code, dtype=self.frequency.dtype)
            self.frequency.index_put_((cells.expand_as(code), code), ones, accumulate=True)

    def on_step_end(self, progress: float, epochs: float, losses: Mapping[str, float]) -> None:
        if self.critic is not None:
            share = (progress - _ADDED_FROM) / (_ADDED_IN_FULL - _ADDED_FROM)
            self.critic_weight.fill_(min(1.0, max(0.0, share)))

    def forward(self, batch: Batch, phase: str = "autoencoder") -> Loss:
        """Return the loss of README, equations 1 and 4."""
        if phase != "autoencoder":
            return self._critic_loss(batch.x, phase)
        quantised = self.autoencoder.quantise(batch.x)
        x = self.autoencoder.output(quantised.z, self.latent.size)
        squared_error = (x - batch.x).square().mean()
        used = (quantised.code.bincount(minlength=self.codes) > 0).float().mean()
        parts = {"squared_error": squared_error.detach(), "codes_used": used}
        total = squared_error + quantised.commitment
        if self.critic is None or not self.critic_weight:
            return Loss(total, parts)
        adversarial, perceptual = self._sharpness_losses(self.critic, batch.x, x)
        parts |= {"adversarial": adversarial.detach(), "perceptual": perceptual.detach()}
        weighted = self.options.adversarial * adversarial + self.options.perceptual * perceptual
        # In units of the squared error, so that a weight means the same for any data.
        return Loss(total + self.critic_weight * squared_error.detach() * weighted, parts)

    def _sharpness_losses(self, critic: Critic, x: Tensor, decoded: Tensor) -> tuple[Tensor, Tensor]:
        """Return the adversarial loss of decoded items, and the distance of their features from those of x."""
        decoded_score, decoded_features = critic.score_and_features(decoded, {})
        with torch.no_grad():
            score, features = critic.score_and_features(x, {})
        distances = [
            (F.normalize(a.float(), dim=1) - F.normalize(b.float(), dim=1)).square().sum(1).mean()
            for a, b in zip(decoded_features, features, strict=True)
        ]
        return generator_loss("relativistic", score, decoded_score), torch.stack(distances).mean()

    def _critic_loss(self, x: Tensor, phase: str) -> Loss:
        assert self.critic is not None
        critic = self.critic
        with torch.no_grad():
            decoded = self._decoded(self.encode(Batch(x)))
        both = torch.cat((x, decoded))
        if phase == "critic":
            return Loss(critic_loss("relativistic", *critic(both, {}).chunk(2)))
        penalty = squared_gradient(lambda items: critic(items, {}), both).mean()
        return Loss(_PENALTY_EVERY * _PENALTY * penalty, {"gradient": penalty.detach()})

    @torch.no_grad()
    def generate(self, request: Request, controls: settings.Controls) -> Iterator[Partial]:
        logits = self.frequency.clamp(min=1e-9).log()
        p = probabilities(logits, temperature=controls.temperature)
        uniform = request.noise.uniform("codes", (self.latent.dimensions,)).to(p.device)
        code = draw(p.expand(len(request), -1, -1), uniform)
        x = self._decoded(code.reshape(-1, *self.latent.size))
        yield Partial(x, torch.ones_like(x, dtype=torch.bool))

    def encode(self, batch: Batch) -> Tensor:
        return self.autoencoder.code(batch.x).reshape(-1, *self.latent.size)

    def decode(self, z: Tensor, condition: Mapping[str, Tensor], noise: Noise) -> Tensor:
        """Return the item of each grid of codes; `noise` is not used."""
        return self._decoded(z)

    def _decoded(self, z: Tensor) -> Tensor:
        return self.autoencoder.output(self.autoencoder.quantiser.vectors(z.flatten()), self.latent.size)

    @property
    def codes_used(self) -> float:
        """Return the share of codes that occur among the training items counted after training."""
        return float((self.frequency.sum(0) > 0).float().mean())
