"""A vector-quantised autoencoder: a space of numbers as a grid of symbols. Equations: README.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...core.errors import UserError
from ...core.model import Batch, GenerativeModel, LatentModel, Loss, Partial, Phase, Request
from ...core.space import Continuous, Space, Tokens
from ...nn.critic import Critic
from ...nn.pyramid import Decoder, Encoder, coarse_size
from ...nn.verdicts import critic_loss, generator_loss, squared_gradient
from ...sampling.logits import draw, probabilities
from . import options as settings
from .quantise import Codebook, FiniteScalar, Quantised

# The critic learns from the start; what it says counts from one share of the budget on, and in full from the other.
_HEARD, _IN_FULL = 0.2, 0.4
_PENALTY, _PENALTY_EVERY = 1.0, 4  # R1 and R2


class Autoencoder(nn.Module):
    """Encoder, quantiser and decoder: the part that is trained."""

    def __init__(self, space: Continuous, codes: Continuous, options: settings.Options) -> None:
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
        """Of each cell of the coarse grid, in raster order, `(B * cells, …)`; a codebook learns of it in training."""
        return self.quantiser(self._vectors(x))

    def code(self, x: Tensor) -> Tensor:
        """The symbols alone, `(B * cells,)`."""
        return self.quantiser.code(self._vectors(x))

    def _vectors(self, x: Tensor) -> Tensor:
        h = self.encoder(x)
        return h.movedim(1, -1).reshape(-1, h.shape[1])

    def output(self, z: Tensor, size: tuple[int, ...]) -> Tensor:
        """`(B * cells, width)` to `(B, *space.shape)`."""
        return self.decoder(z.reshape(-1, *size, z.shape[-1]).movedim(-1, 1).contiguous())


class VectorQuantised(GenerativeModel, LatentModel):
    """Symbols for `--through`: by itself it samples each cell's code by its frequency, which is a floor, no more."""

    Options = settings.Options
    Controls = settings.Controls
    accepts: ClassVar[tuple[type, ...]] = (Continuous,)

    space: Continuous
    latent: Tokens
    options: settings.Options
    frequency: Tensor
    heard: Tensor

    def __init__(self, space: Continuous, conditions: Mapping[str, Space], options: settings.Options) -> None:
        if not space.size:
            raise UserError("the family 'vq' makes a grid of symbols, and rows have no grid; use vae for them")
        if conditions:
            raise UserError(
                f"the family 'vq' makes symbols of items whatever their {', '.join(conditions)}; "
                "drop --condition here and give it to the model that goes --through this one"
            )
        patch, blocks = options.depth(space.size)
        # What was settled is what is saved: a later version may settle it otherwise.
        options = options.model_copy(update={"patch": patch, "blocks": blocks})
        super().__init__(space, conditions, options)
        width = len(options.levels) if options.quantiser == "scalar" else options.code_channels
        size = coarse_size(space.size, patch * 2 ** (len(blocks) - 1))
        self.autoencoder = Autoencoder(space, Continuous(width, size), options)
        self.critic: Critic | None = None
        if options.adversarial or options.perceptual:
            widths = [options.width * min(2, 1 + level) for level in range(len(blocks))]
            self.critic = Critic(space, {}, widths=widths, blocks=blocks, patch=patch)
            self.register_buffer("heard", torch.zeros(()))
        self.codes = self.autoencoder.quantiser.vocab
        self.latent = Tokens(self.codes, size)
        self.register_buffer("frequency", torch.ones(self.latent.dimensions, self.codes))

    def phases(self) -> Sequence[Phase]:
        autoencoder = Phase("autoencoder", trains="autoencoder")
        codes = Phase("codes", trains="autoencoder", during=(1.0, 1.0))
        if self.critic is None:
            return autoencoder, codes
        critic = Phase("critic", trains="critic", optimizer="adamw", betas=(0.0, 0.99), lr=1e-3, clip=10.0)
        return autoencoder, critic, replace(critic, name="penalty", every=_PENALTY_EVERY), codes

    @torch.no_grad()
    def begin(self, phase: str, batches: Iterable[Batch]) -> None:
        if phase != "codes":
            return
        self.frequency.zero_()
        cells = torch.arange(self.latent.dimensions, device=self.frequency.device)
        for batch in batches:
            code = self.encode(batch).flatten(1)
            ones = torch.ones_like(code, dtype=self.frequency.dtype)
            self.frequency.index_put_((cells.expand_as(code), code), ones, accumulate=True)

    def adapt(self, progress: float, passes: float, seen: Mapping[str, float]) -> None:
        if self.critic is not None:
            self.heard.fill_(min(1.0, max(0.0, (progress - _HEARD) / (_IN_FULL - _HEARD))))

    def forward(self, batch: Batch, phase: str = "autoencoder") -> Loss:
        """README, equations 1 and 4."""
        if phase != "autoencoder":
            return self._criticise(batch.x, phase)
        found = self.autoencoder.quantise(batch.x)
        x = self.autoencoder.output(found.z, self.latent.size)
        squared_error = (x - batch.x).square().mean()
        used = (found.code.bincount(minlength=self.codes) > 0).float().mean()
        parts = {"squared_error": squared_error.detach(), "codes_used": used}
        total = squared_error + found.commitment
        if self.critic is None or not self.heard:
            return Loss(total, parts)
        verdict, likeness = self._looks(batch.x, x)
        parts |= {"verdict_loss": verdict.detach(), "unlikeness": likeness.detach()}
        told = self.options.adversarial * verdict + self.options.perceptual * likeness
        # In a unit of squared error that shrinks with it, so that a weight means the same on any data.
        return Loss(total + self.heard * squared_error.detach() * told, parts)

    def _looks(self, x: Tensor, decoded: Tensor) -> tuple[Tensor, Tensor]:
        """What the critic holds against decoded items: that they are no data, and that they do not look alike."""
        assert self.critic is not None
        of_decoded, features = self.critic.judge(decoded, {})
        with torch.no_grad():
            of_data, wanted = self.critic.judge(x, {})
        differences = [
            (F.normalize(a.float(), dim=1) - F.normalize(b.float(), dim=1)).square().sum(1).mean()
            for a, b in zip(features, wanted, strict=True)
        ]
        return generator_loss("relativistic", of_data, of_decoded), torch.stack(differences).mean()

    def _criticise(self, x: Tensor, phase: str) -> Loss:
        assert self.critic is not None
        critic = self.critic
        with torch.no_grad():
            decoded = self.decode(self.encode(Batch(x)), {})
        both = torch.cat((x, decoded))
        if phase == "critic":
            return Loss(critic_loss("relativistic", *critic(both, {}).chunk(2)))
        slope = squared_gradient(lambda items: critic(items, {}), both).mean()
        return Loss(_PENALTY_EVERY * _PENALTY * slope, {"gradient": slope.detach()})

    @torch.no_grad()
    def generate(self, request: Request, controls: settings.Controls) -> Iterator[Partial]:
        logits = self.frequency.clamp(min=1e-9).log()
        chances = probabilities(logits, temperature=controls.temperature)
        uniform = request.noise.uniform("codes", (self.latent.dimensions,)).to(chances.device)
        code = draw(chances.expand(len(request), -1, -1), uniform)
        x = self.decode(code.reshape(-1, *self.latent.size), {})
        yield Partial(x, torch.ones_like(x, dtype=torch.bool))

    def encode(self, batch: Batch) -> Tensor:
        return self.autoencoder.code(batch.x).reshape(-1, *self.latent.size)

    def decode(self, z: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        return self.autoencoder.output(self.autoencoder.quantiser.vectors(z.flatten()), self.latent.size)

    @property
    def codes_used(self) -> float:
        """The share of codes that the training data looked at in the end use."""
        return float((self.frequency.sum(0) > 0).float().mean())
