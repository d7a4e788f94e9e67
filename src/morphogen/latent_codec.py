"""A trained autoencoder as a codec: raw items to its latents and back, so that any family may model those."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor

from .artifact import Artifact, to_cpu
from .core.codec import Codec
from .core.config import read_json
from .core.errors import UserError
from .core.model import LatentModel, Partial, Request
from .core.noise import Noise
from .core.query import Query
from .core.records import Digest, Record, parse_record
from .core.space import Space
from .core.weights import check_tensors, load_tensors
from .nn.masking import patched

_WITHOUT = "fit without --autoencoder"


def encode_latents(artifact: Artifact, x: Tensor) -> Tensor:
    """Return the latents of encoded items, `(B, *latent.shape)`, on the CPU.

    Raises UserError where the model has no latents.
    """
    model = _latent_model(artifact)
    with torch.no_grad(), artifact.autocast():
        return torch.cat([to_cpu(model.encode(batch)) for batch in artifact.batches(x)])


def decode_latents(artifact: Artifact, z: Tensor, noise: Noise, condition: dict[str, Tensor] | None = None) -> Tensor:
    """Return the encoded items of latents, `(B, *space.shape)`, on the CPU; a decoder that samples does so from noise.

    Raises UserError where the model has no latents.
    """
    model = _latent_model(artifact)
    parts, first = [], 0
    with torch.no_grad(), artifact.autocast():
        for batch in artifact.batches(z, condition):
            own = Noise(noise.seeds[first : first + len(batch.x)], noise.device)
            parts.append(to_cpu(model.decode(batch.x, batch.condition, own)))
            first += len(batch.x)
    return torch.cat(parts)


def _latent_model(artifact: Artifact) -> LatentModel:
    if not isinstance(artifact.model, LatentModel):
        raise UserError(f"the family '{artifact.family}' has no latent space to encode to")
    return artifact.model


class LatentConfig(Record):
    """What the folder of a `LatentCodec` holds beside the autoencoder: the hash of that."""

    kind: Literal["latents"]
    autoencoder: Digest


class LatentCodec(Codec[Any]):
    """Maps items to an autoencoder's latents; each channel of a grid of latents is standardised.

    The autoencoder is saved inside the codec's folder, so that a model of latents is one folder. Its own codec handles
    queries, masks and collections of items.
    """

    kind = "latents"

    def __init__(self, artifact: Artifact, mean: Tensor, deviation: Tensor) -> None:
        """`mean` and `deviation` of each channel of the latents, `(channels,)`; empty where latents are tokens."""
        self.artifact, self.mean, self.deviation = artifact, mean, deviation
        self.space = _latent_model(artifact).latent
        self.batch = artifact.codec.batch  # type: ignore[misc]
        self.notes = [f"autoencoder of the family '{artifact.family}': {_describe(self.space)}"]

    @classmethod
    def fit(cls, chunks: Iterable[Any], kind: type[Space], options: Artifact) -> Self:
        """Return the codec of the autoencoder `options`, with the mean and deviation of these items' latents.

        Its latents have to be of that kind (see `training.resolve`). Raises UserError where it has none.
        """
        latent = _latent_model(options).latent
        assert isinstance(latent, kind), f"the latents are {latent.plural}, not {kind.plural}"
        count = latent.shape[0] if latent.continuous else 0
        seen, total, squares = 0, torch.zeros(count, dtype=torch.float64), torch.zeros(count, dtype=torch.float64)
        for items in chunks if count else ():
            z = encode_latents(options, options.codec.encode(items)).double().movedim(1, -1).reshape(-1, count)
            seen, total, squares = seen + len(z), total + z.sum(0), squares + z.square().sum(0)
        mean = total / max(1, seen)
        deviation = (squares / max(1, seen) - mean.square()).clamp(min=1e-12).sqrt()
        return cls(options, mean.float(), deviation.float())

    @property
    def continuous(self) -> bool:
        """Whether latents are numbers, and not tokens."""
        return len(self.mean) > 0

    def encode(self, items: Any) -> Tensor:
        return self._standardise(encode_latents(self.artifact, self.artifact.codec.encode(items)))

    def decode(self, x: Tensor, noise: Noise) -> Any:
        return self.artifact.codec.decode(self._decode_latents(x, noise), noise)

    def requests(self, query: Query, noise: Noise) -> Iterator[Request]:
        """Yield the inner codec's requests. Raises UserError on one that constrains what latents cannot show."""
        for request in self.artifact.codec.requests(query, noise):
            evidence = request.evidence
            if evidence and (evidence.likelihoods or evidence.constraints):
                raise UserError("a model of latents takes no conditions on fields and no constraints; " + _WITHOUT)
            if any(request.token_constraints) or request.given is not None:
                raise UserError("a model of latents takes no prompt and no constraints on tokens; " + _WITHOUT)
            yield replace(request, token_constraints=(), evidence=None)

    def finish(self, x: Tensor, request: Request) -> Any:
        return self.artifact.codec.finish(self._decode_latents(x, request.noise), request)

    def gather(self, parts: Iterable[Any]) -> Any:
        return self.artifact.codec.gather(parts)

    def align(self, items: Any) -> Any:
        return self.artifact.codec.align(items)

    def observe(self, items: Any, mask: Any) -> Partial:
        """Return the encoded items; a latent is known where no cell of the data under it is missing."""
        size = getattr(self.space, "size", ())
        if not size:
            raise UserError(f"a latent of one vector cannot be given in part; {_WITHOUT}")
        inner = self.artifact.codec.observe(items, mask)
        missing = (~inner.known).amax(1)
        for axis, count in enumerate(size, start=1):
            length = missing.shape[axis]
            # A latent stands for `low` cells of the data or, where the data was padded, for the next power of two.
            low = -(-length // count)
            high = 2 ** (low - 1).bit_length()
            reach = [range(cell * low, min(length, (cell + 1) * high)) for cell in range(count)]
            missing = torch.stack([missing.index_select(axis, torch.tensor(r)).amax(axis) for r in reach], axis)
        known = ~missing
        # The encoder must not see what is missing, and reads whole items: unknown cells are filled in smoothly.
        z = self._standardise(encode_latents(self.artifact, patched(inner.x, inner.known)))
        return Partial(z, known if z.dim() == known.dim() else known.unsqueeze(1))

    def merge_known(self, x: Tensor, noise: Noise, items: Any, mask: Any) -> Any:
        return self.artifact.codec.merge_known(self._decode_latents(x, noise), noise, items, mask)

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return the hash of the autoencoder, which so is part of the model's own hash, and the statistics."""
        return {"autoencoder": self.artifact.hash}, {"mean": self.mean, "deviation": self.deviation}

    @classmethod
    def from_state(cls, config: dict[str, Any], tensors: dict[str, Tensor]) -> Self:
        raise TypeError("a codec of latents is read with the autoencoder in its folder; use `restore`")

    def save(self, folder: Path) -> None:
        super().save(folder)
        self.artifact.save(folder / "model")

    @classmethod
    def restore(cls, folder: Path, artifact: Artifact) -> Self:
        """Return what `save` wrote, with the autoencoder in its folder.

        Raises UserError where the autoencoder was changed since, or a file is damaged.
        """
        config = read_json(folder / "config.json")
        expected = parse_record(config, LatentConfig, str(folder / "config.json")).autoencoder
        if artifact.hash != expected:
            raise UserError(
                f"the autoencoder in {folder / 'model'} is {artifact.hash[:12]}, and this model was trained with "
                f"{expected[:12]}; restore the folder or fit again"
            )
        file, latent = folder / "codec.safetensors", _latent_model(artifact).latent
        tensors, size = load_tensors(file), latent.shape[0] if latent.continuous else 0
        check_tensors(tensors, {name: torch.zeros(size) for name in ("mean", "deviation")}, file)
        if any(len(value.shape) != 1 or len(value) != size for value in tensors.values()):
            raise UserError(f"{file} is not of the autoencoder beside it; restore the folder or fit again")
        return cls(artifact, tensors["mean"], tensors["deviation"])

    def _decode_latents(self, x: Tensor, noise: Noise) -> Tensor:
        """Return the encoded items of standardised latents."""
        z = x.float().cpu() * _along(self.deviation, x) + _along(self.mean, x) if self.continuous else x
        return decode_latents(self.artifact, z, noise)

    def _standardise(self, z: Tensor) -> Tensor:
        return (z - _along(self.mean, z)) / _along(self.deviation, z) if self.continuous else z


def innermost(codec: Codec[Any]) -> Codec[Any]:
    """Return the codec that reads items themselves, whatever autoencoders stand in front of it."""
    while isinstance(codec, LatentCodec):
        codec = codec.artifact.codec
    return codec


def _describe(space: Space) -> str:
    what = f"{space.shape[0]} numbers" if space.continuous else f"one of {space.cardinality} tokens"
    size = space.shape[1:] if space.continuous else space.shape
    return f"{what} at each of {'x'.join(map(str, size))} cells" if size else what


def _along(values: Tensor, x: Tensor) -> Tensor:
    """Return one value per channel, broadcastable against x `(B, channels, *size)`."""
    return values.reshape(-1, *[1] * (x.dim() - 2))
