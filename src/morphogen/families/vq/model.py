"""A vector-quantised autoencoder: a space of numbers as a grid of symbols. Equations: README.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from ...core.errors import UserError
from ...core.model import Batch, GenerativeModel, LatentModel, Loss, Partial, Phase, Request
from ...core.space import Continuous, Space, Tokens
from ...nn.pyramid import Decoder, Encoder, coarse_size
from ...sampling.logits import draw, probabilities
from . import options as settings
from .quantise import Codebook, FiniteScalar, Quantised


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
        """Of each cell of the coarse grid, in raster order, `(B * cells, …)`."""
        h = self.encoder(x)
        return self.quantiser(h.movedim(1, -1).reshape(-1, h.shape[1]))

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
        self.codes = self.autoencoder.quantiser.vocab
        self.latent = Tokens(self.codes, size)
        self.register_buffer("frequency", torch.ones(self.latent.dimensions, self.codes))

    def phases(self) -> Sequence[Phase]:
        return (
            Phase("autoencoder", trains="autoencoder"),
            Phase("codes", trains="autoencoder", during=(1.0, 1.0)),
        )

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

    def forward(self, batch: Batch, phase: str = "autoencoder") -> Loss:
        """README, equation 1."""
        found = self.autoencoder.quantise(batch.x)
        x = self.autoencoder.output(found.z, self.latent.size)
        squared_error = (x - batch.x).square().mean()
        used = (found.code.bincount(minlength=self.codes) > 0).float().mean()
        parts = {"squared_error": squared_error.detach(), "codes_used": used}
        return Loss(squared_error + found.commitment, parts)

    @torch.no_grad()
    def generate(self, request: Request, controls: settings.Controls) -> Iterator[Partial]:
        logits = self.frequency.clamp(min=1e-9).log()
        chances = probabilities(logits, temperature=controls.temperature, top_k=0, top_p=1.0)
        uniform = request.noise.uniform("codes", (self.latent.dimensions,)).to(chances.device)
        code = draw(chances.expand(len(request), -1, -1), uniform)
        x = self.decode(code.reshape(-1, *self.latent.size), {})
        yield Partial(x, torch.ones_like(x, dtype=torch.bool))

    def encode(self, batch: Batch) -> Tensor:
        return self.autoencoder.quantise(batch.x).code.reshape(-1, *self.latent.size)

    def decode(self, z: Tensor, condition: Mapping[str, Tensor]) -> Tensor:
        return self.autoencoder.output(self.autoencoder.quantiser.vectors(z.flatten()), self.latent.size)

    @property
    def codes_used(self) -> float:
        """The share of codes that the training data looked at in the end use."""
        return float((self.frequency.sum(0) > 0).float().mean())
