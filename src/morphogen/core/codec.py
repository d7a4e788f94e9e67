"""The contract of a modality: a codec that maps raw items to a space and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch
from torch import Tensor

from .config import read_json, replacing, write_json
from .errors import UserError
from .files import guard
from .model import Evidence, Partial, Request
from .noise import Noise
from .query import Query
from .space import Space
from .weights import load_tensors

Items = TypeVar("Items")


class Codec(ABC, Generic[Items]):
    """Maps the modality's own collection of items (a list of pictures, a table of rows) to `(B, *space.shape)`."""

    kind: ClassVar[str] = "items"  # what it encodes; stands in its folder
    space: Space
    classes: Sequence[str] = ()  # of a condition that is a class, in the order of their tokens
    batch: ClassVar[int] = 64  # items to sample at once by default
    notes: Sequence[str] = ()  # what `fit` decided, in words

    @classmethod
    @abstractmethod
    def fit(cls, chunks: Iterable[Items], kind: type[Space], options: Any) -> Self:
        """Return a codec for these items, with a space of that kind. One pass, so that more data than memory works."""

    @abstractmethod
    def encode(self, items: Items) -> Tensor:
        """Return `(B, *space.shape)`: float32 for a Grid, int64 for all other spaces.

        A TokenSequence is as long as the longest item, at least `space.context`, and padded with `end`.
        """

    def pack(self, items: Items, alone: bool) -> tuple[Tensor, Tensor]:
        """Return training examples `(N, *space.shape)`, and the number of the item of each, int64 `(N,)`, not falling.

        By default each item is one example. A codec of sequences cuts a long item into several examples and, unless
        each has to stand `alone`, packs short items into one, which has the number of the first.
        """
        return self.encode(items), torch.arange(len(items))  # type: ignore[arg-type]

    def stored_data(self) -> Sequence[str]:
        """Return in words which parts of the training data the codec stores and outputs as they are, a line each."""
        return ()

    def num_values(self, items: Items) -> Tensor:
        """Return the raw values in each item, `(B,)`, to spread bits over: pixels times colours, bytes of a text."""
        return torch.full((len(items),), self.space.dimensions)  # type: ignore[arg-type]

    @abstractmethod
    def decode(self, x: Tensor, noise: Noise) -> Items:
        """Return the items of `x`, one for each seed of `noise`; the reverse of `encode` up to what the codec rounds.

        What `x` leaves open, such as where inside its cell a number lies, is sampled from `noise`.
        """

    def downscaled(self, factor: int) -> Self:
        """Return the codec of the same items, coarser by that factor along each axis.

        Raises UserError where the modality has no smaller version.
        """
        raise UserError("items of this modality have no smaller version")

    def requests(self, query: Query, noise: Noise) -> Iterator[Request]:
        """Yield requests for all samples of `noise`, in order: the one door for prompts, grammars, ranges and `all`.

        `query.condition` holds what is left after the model's own conditions. Raises UserError on what no item can
        satisfy.
        """
        if query.condition:
            name = next(iter(query.condition))
            raise UserError(f"this model takes no condition '{name}'; drop it, or fit with --condition {name}")
        yield Request(noise=noise)

    def finish(self, x: Tensor, request: Request) -> Items:
        """Return the items of samples `x` drawn for a request, after what tokens alone cannot satisfy."""
        return self.decode(x, request.noise)

    def draft(self, draft: Partial, request: Request) -> Items:
        """Return the items of a draft; a sequence ends before its first unknown token."""
        x = draft.x.where(draft.known, self.space.padding) if self.space.variable_length else draft.x
        return self.finish(x, request)

    def gather(self, parts: Iterable[Items]) -> Any:
        """Return collections of items as one, of the type that the codec was fitted to."""
        return [item for part in parts for item in part]  # type: ignore[attr-defined]

    def align(self, items: Any) -> Items:
        """Return items as this codec encodes them, from a type that a user may hold them in."""
        return items

    def observe(self, items: Items, mask: Any) -> Partial:
        """Return the encoded items of which all but what is missing by `mask` (see `Modality.mask`) is known.

        Raises UserError where the modality knows no masks, or one does not fit its item.
        """
        raise UserError("items of this modality cannot be given in part")

    def imputation(self) -> Evidence | None:
        """Return the evidence under which missing parts are imputed, where there is any."""
        return None

    def merge_known(self, x: Tensor, noise: Noise, items: Items, mask: Any) -> Items:
        """Return the items of `x`, with what is known of `items` as it was given, up to what the codec rounds."""
        observed, imputed = self.observe(items, mask), self.encode(self.decode(x, noise))
        return self.decode(torch.where(observed.known, observed.x, imputed), noise)

    def field_table(self, values: Tensor, like: Items) -> Any:
        """Return numbers `(B, fields)`, one for each field of a Row, under the names and as the type of `like`.

        Raises UserError where items have no fields.
        """
        raise UserError("items of this modality have no fields")

    def schema_text(self) -> str:
        """Return what `fit` inferred as a TOML file, which a user may edit and fit by.

        Raises UserError where the modality has no such file.
        """
        raise UserError("nothing is inferred of this modality that could be edited; drop --out")

    @abstractmethod
    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return all that is needed to build the codec again: plain JSON, and named tensors."""

    @classmethod
    @abstractmethod
    def from_state(cls, config: dict[str, Any], tensors: dict[str, Tensor]) -> Self:
        """Return the codec of which `state` returned these."""

    def save(self, folder: Path) -> None:
        """Write `config.json` and, where there are tensors, `codec.safetensors`."""
        from safetensors.torch import save_file

        config, tensors = self.state()
        folder.mkdir(parents=True, exist_ok=True)
        if tensors:
            with replacing(folder / "codec.safetensors") as temporary:
                save_file(tensors, temporary)
        write_json(folder / "config.json", {"kind": self.kind, **config})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote. Raises UserError naming the file that is absent or damaged."""
        config = read_json(folder / "config.json")
        with guard(f"the codec in {folder}", "cannot be read", "restore the folder or fit again"):
            tensors = load_tensors(folder / "codec.safetensors")
            return cls.from_state({name: value for name, value in config.items() if name != "kind"}, tensors)
