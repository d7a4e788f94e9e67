"""A trained autoencoder as a codec: raw items to its latents and back, so that any family may model those."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from .core.codec import Asked, Codec, RowCodec
from .core.config import read_json
from .core.errors import UserError
from .core.model import Evidence, LatentModel, Partial
from .core.space import Continuous, Space
from .nn.holes import patched

if TYPE_CHECKING:
    from .pipeline import Pipeline


class LatentCodec(Codec[Any]):
    """Items through a pipeline's own codec and its model's encoder; each channel of numbers is standardised.

    The pipeline is saved inside the codec's folder, so that a model and what it goes through are one folder.
    """

    def __init__(self, pipeline: Pipeline, mean: Tensor, deviation: Tensor) -> None:
        self.pipeline, self.mean, self.deviation = pipeline, mean, deviation
        assert isinstance(pipeline.model, LatentModel)
        self.space = pipeline.model.latent
        self.notes = [f"through the family '{pipeline.family}': {_told(self.space)}"]

    @classmethod
    def fit(cls, chunks: Iterable[Any], kind: type[Space], options: Pipeline) -> Self:
        """The codec through the pipeline `options`. Raises UserError where it has no latents of that kind."""
        model = options.model
        if not isinstance(model, LatentModel):
            raise UserError(f"--through leads to the family '{options.family}', which has no encoder; use a vae or vq")
        if options.conditions:
            raise UserError(
                f"--through leads to a model whose decoder reads the condition '{min(options.conditions)}', which "
                "nobody tells it there; fit it without --condition, and give that to the model in front"
            )
        latent = model.latent
        if not isinstance(latent, kind):
            wanted = "symbols, as those of a vq" if kind is not Continuous else "numbers, as those of a vae"
            raise UserError(f"--through leads to {_told(latent)}, and this family models {wanted}; choose another one")
        count = latent.channels if isinstance(latent, Continuous) else 0
        seen, total, squares = 0, torch.zeros(count, dtype=torch.float64), torch.zeros(count, dtype=torch.float64)
        for items in chunks:
            if not count:
                break
            z = options.encode(items).double().movedim(1, -1).reshape(-1, count)
            seen, total, squares = seen + len(z), total + z.sum(0), squares + z.square().sum(0)
        mean = total / max(1, seen)
        deviation = (squares / max(1, seen) - mean.square()).clamp(min=1e-12).sqrt()
        return cls(options, mean.float(), deviation.float())

    def encode(self, items: Any) -> Tensor:
        return self._standardised(self.pipeline.encode(items))

    def _standardised(self, z: Tensor) -> Tensor:
        return (z - _along(self.mean, z)) / _along(self.deviation, z) if isinstance(self.space, Continuous) else z

    def decode(self, x: Tensor) -> Any:
        return self.pipeline.decode(self._latent(x))

    def _latent(self, x: Tensor) -> Tensor:
        """The reverse of `_standardised`."""
        if not isinstance(self.space, Continuous):
            return x
        return x.float().cpu() * _along(self.deviation, x) + _along(self.mean, x)

    def observe(self, items: Any, holes: Any) -> Partial:
        """A latent is known where none of its own cells of the data is a hole."""
        inner = self.pipeline.codec.observe(items, holes)
        size = self.space.size
        if not size:
            raise UserError("a latent of one vector cannot be given in part; go --through a model with a grid of them")
        missing = (~inner.known).amax(1)
        for axis, count in enumerate(size, start=1):
            length = missing.shape[axis]
            # A cell stands for at least `low` of the data's, and for a power of two but where the patch is none.
            low = -(-length // count)
            high = 2 ** (low - 1).bit_length()
            reach = [range(i * low, min(length, (i + 1) * high)) for i in range(count)]
            missing = torch.stack([missing.index_select(axis, torch.tensor(r)).amax(axis) for r in reach], axis)
        known = ~missing
        # Nothing of what is hidden is told, and the encoder sees a whole that is not unlike others.
        z = self._standardised(self.pipeline.latents(patched(inner.x, inner.known)))
        return Partial(z, known if z.dim() == known.dim() else known.unsqueeze(1))

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """With the hash of the pipeline, which so belongs to that of the model in front."""
        return {"through": self.pipeline.hash}, {"mean": self.mean, "deviation": self.deviation}

    @classmethod
    def from_state(cls, config: dict[str, Any], tensors: dict[str, Tensor]) -> Self:
        raise TypeError("a codec through a model is read with its folder; use `read`")

    def save(self, folder: Path) -> None:
        super().save(folder)
        self.pipeline.save(folder / "model")

    @classmethod
    def read(cls, folder: Path, pipeline: Pipeline) -> Self:
        """What `save` wrote, with the pipeline in it. Raises UserError where that has changed since."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        wanted = read_json(folder / "config.json")["through"]
        if pipeline.hash != wanted:
            raise UserError(
                f"the model in {folder / 'model'} is {pipeline.hash[:12]} and not {str(wanted)[:12]}, which this one "
                "was trained through; restore the folder or fit again"
            )
        try:
            tensors = load_file(folder / "codec.safetensors")
            return cls(pipeline, tensors["mean"], tensors["deviation"])
        except (OSError, SafetensorError, KeyError) as error:
            raise UserError(
                f"the codec in {folder} cannot be read ({error}); restore the folder or fit again"
            ) from None


class LatentRows(LatentCodec, RowCodec[Any]):
    """The same of rows of a table."""

    batch = 8192

    @property
    def _own(self) -> RowCodec[Any]:
        codec = self.pipeline.codec
        assert isinstance(codec, RowCodec)
        return codec

    def asked(self, condition: Mapping[str, Any]) -> Asked:
        return self._own.asked(condition)

    def observe(self, items: Any, holes: Any) -> Partial:
        raise UserError("rows through a model cannot be given in part; fit autoregressive, which fills in any cells")

    def turns(self, condition: Mapping[str, Any]) -> list[dict[str, Any]]:
        return self._own.turns(condition)

    def decode_asked(self, x: Tensor, asked: Asked, first: int) -> Any:
        return self._own.decode_asked(self.pipeline.decoded(self._latent(x)), asked, first)

    def of_columns(self, values: Tensor) -> Any:
        return self._own.of_columns(values)

    def filling(self) -> Evidence:
        return self._own.filling()

    def adopted(self, items: Any) -> Any:
        return self._own.adopted(items)

    def missing(self, items: Any) -> Any:
        return self._own.missing(items)

    def pasted(self, x: Tensor, items: Any, holes: Any) -> Any:
        return self._own.pasted(self.pipeline.decoded(self._latent(x)), items, holes)

    def given_back(self, parts: Iterable[Any]) -> Any:
        return self._own.given_back(parts)


def innermost(codec: Codec[Any]) -> Codec[Any]:
    """The codec that reads items themselves, whatever models lie in front of it."""
    while isinstance(codec, LatentCodec):
        codec = codec.pipeline.codec
    return codec


def codec_through(pipeline: Pipeline) -> type[LatentCodec]:
    """Which of the two leads through that pipeline."""
    return LatentRows if isinstance(pipeline.codec, RowCodec) else LatentCodec


def _told(space: Space) -> str:
    what = f"{space.channels} numbers" if isinstance(space, Continuous) else f"one of {space.vocab} symbols"
    return f"{what} at each of {'x'.join(map(str, space.size))} cells" if space.size else what


def _along(values: Tensor, x: Tensor) -> Tensor:
    """One value a channel, broadcastable against `(B, channels, *size)`."""
    return values.reshape(-1, *[1] * (x.dim() - 2))
