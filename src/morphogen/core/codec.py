"""The contract of a modality: a codec that maps raw items to a space and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch
from torch import Tensor

from .config import read_json, replacing, write_json
from .errors import UserError
from .model import Evidence, Partial
from .space import Continuous, Space, Tokens

Items = TypeVar("Items")


class Codec(ABC, Generic[Items]):
    """Maps the modality's own collection of items (a list of pictures, a table of rows) to `(B, *space.shape)`."""

    space: Space
    spaces: ClassVar[tuple[type[Space], ...]] = (Continuous, Tokens)  # the kinds it offers
    fits_to_all: ClassVar[bool] = False  # every item has to be seen by `fit`, not some thousands alone
    batch: ClassVar[int] = 64  # items to make at once, where nothing is said

    @classmethod
    @abstractmethod
    def fit(cls, chunks: Iterable[Items], kind: type[Space], options: Any) -> Self:
        """A codec for these items, with a space of that kind. One pass, so that more data than memory works."""

    @abstractmethod
    def encode(self, items: Items) -> Tensor:
        """`(B, *space.shape)`: float32 for a Continuous space, int64 for Tokens.

        Of Tokens with an `end`, as long as the longest item, filled up with `end`, and at least `space.size`.
        """

    def cut(self, items: Items, alone: bool) -> tuple[Tensor, Tensor]:
        """Rows to train on, `(R, *space.shape)`, and which item each is of, int64 `(R,)`, not falling.

        One row an item, but where items are longer than the space, or shorter. With `alone` no row holds two items.
        """
        return self.encode(items), torch.arange(len(items))  # type: ignore[arg-type]

    def blank(self, count: int) -> Partial | None:
        """What is known of `count` items before anything is known of them; None: nothing."""
        return None

    def sizes(self, items: Items) -> Tensor:
        """The raw numbers in each item, `(B,)`, over which bits are spread: pixels times colours, bytes of a text."""
        return torch.full((len(items),), self.space.dimensions)  # type: ignore[arg-type]

    @abstractmethod
    def decode(self, x: Tensor) -> Items:
        """The items of `x`; the reverse of `encode` up to what the codec rounds."""

    def reduced(self, factor: int) -> Self:
        """The codec of the same items, coarser by that factor along each axis.

        Raises UserError where the modality knows none.
        """
        raise UserError("items of this modality have no smaller version")

    def observe(self, items: Items, holes: Any) -> Partial:
        """The encoded items of which all but the `holes`, in the modality's own terms, are known.

        Raises UserError where the modality knows no holes, or one does not fit its item.
        """
        raise UserError("items of this modality cannot be given in part")

    @abstractmethod
    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """All that is needed to build it again: plain JSON, and named tensors."""

    @classmethod
    @abstractmethod
    def from_state(cls, config: dict[str, Any], tensors: dict[str, Tensor]) -> Self:
        """The codec that `state` described."""

    def save(self, folder: Path) -> None:
        """Write `config.json` and, where there are tensors, `codec.safetensors`."""
        from safetensors.torch import save_file

        config, tensors = self.state()
        folder.mkdir(parents=True, exist_ok=True)
        if tensors:
            with replacing(folder / "codec.safetensors") as temporary:
                save_file(tensors, temporary)
        write_json(folder / "config.json", config)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote. Raises UserError naming the file that is absent or damaged."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        file = folder / "codec.safetensors"
        try:
            tensors = load_file(file) if file.exists() else {}
            return cls.from_state(read_json(folder / "config.json"), tensors)
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"the codec in {folder} cannot be read ({error}); restore the folder or fit again"
            ) from None


@dataclass(frozen=True)
class Asked:
    """What rows are asked to be: of some columns what its codec makes of it, and how likely symbols meet that."""

    wanted: Mapping[str, Any]
    evidence: Evidence


class RowCodec(Codec[Items]):
    """Items are rows of one table, with columns that may be asked for, and given in part."""

    @abstractmethod
    def asked(self, condition: Mapping[str, Any]) -> Asked:
        """What rows are asked to be, by column. Raises UserError on what no row can be."""

    @abstractmethod
    def turns(self, condition: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The conditions that take turns in it, in equal numbers of rows: of a column asked for as `all`, each value.

        Raises UserError where a column has no values to count.
        """

    @abstractmethod
    def of_columns(self, values: Tensor) -> Items:
        """A table of numbers `(B, parts)`, one column for each part of the space, named as it is."""

    @abstractmethod
    def filling(self) -> Evidence:
        """What rows are asked to be whose holes are filled in."""

    @abstractmethod
    def decode_asked(self, x: Tensor, asked: Asked, first: int) -> Items:
        """The table of rows drawn so; `first` is the number of its first row."""

    @abstractmethod
    def adopted(self, items: Any) -> Items:
        """A table, or a data frame, with the columns that the codec was fitted to; one that is absent is missing."""

    @abstractmethod
    def missing(self, items: Items) -> Any:
        """Its holes, as `observe` takes them: where cells are missing."""

    @abstractmethod
    def pasted(self, x: Tensor, items: Items, holes: Any) -> Items:
        """The rows `x` with all that was known as it was given."""

    @abstractmethod
    def given_back(self, parts: Iterable[Items]) -> Any:
        """Tables, one after the other, as one of the kind that the codec was fitted to."""
