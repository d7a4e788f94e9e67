"""The contract of a modality: one object that reads, encodes, writes, shows and judges one kind of data.

A modality is a folder, or an installed package of the entry-point group `morphogen.modalities`, whose `modality.py`
holds the instance `MODALITY` and imports no torch: the command line reads it for its flags.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

from . import plugins
from .config import Frozen
from .errors import BadItem, UserError
from .files import guard
from .query import Query
from .space import Space

if TYPE_CHECKING:
    from PIL import Image

    from .codec import Codec
    from .judge import Judge

Items = TypeVar("Items")

WEAK = 0.2  # a claim below it says: this can be read as an item, but probably is none


@dataclass(frozen=True)
class Record:
    """What a container offers, for modalities to claim.

    `kind` is `file` (a file that is one item, or one of a folder; `example` is its path), `array` (`example` is the
    whole array: its first axis counts items), `cells` (a column; `example` is a list of some of its cells that are not
    empty), `rows` (a whole table; `example` is its first rows, an Arrow table) or `object` (an item in memory). `name`
    is that of the file, the array or the column; `feature` what the container itself calls its type, such as `Image`
    on the Hub.
    """

    kind: Literal["file", "array", "cells", "rows", "object"]
    example: Any = None
    name: str = ""
    feature: str = ""


class Parts(NamedTuple):
    """The items in one file, as `Modality.split` finds them."""

    items: Sequence[Any]  # read when they are indexed
    description: str  # of the file, in plain words
    names: Sequence[str] = ()  # of the items; none: each is named by what it says
    test: Any = None  # the file's own test split, bool by item


class FirstFamily(NamedTuple):
    """The family that a fit begins with where the user names none."""

    name: str
    reason: str = ""  # why it is another one than `default_family`, a clause about these items; "": it is that
    expect: str = ""  # from how many minutes, a clause


class Modality(ABC, Generic[Items]):
    """One kind of data. `Items` is its own collection: a list of pictures, a table of rows."""

    name: ClassVar[str]  # that of its folder
    noun: ClassVar[str]  # of one item, such as "picture"
    plural: ClassVar[str]
    spaces: ClassVar[tuple[type[Space], ...]]  # that its codecs offer, the preferred one first
    default_family: ClassVar[str]
    Options: ClassVar[type[Frozen]]  # how to encode: flags --codec.*
    Query: ClassVar[type[Query]] = Query  # what samples have to satisfy: flags of `sample`
    # What can be left open for imputation: flags of `impute`; None: nothing. A field called `mask` takes what a caller
    # gives bare, such as a path: `pipe.impute(items, "left")`.
    Mask: ClassVar[type[Frozen] | None] = None
    streams: ClassVar[bool] = False  # items are strings that grow as they are made: `sample --stream` prints one
    accepts: ClassVar[Mapping[str, str]] = {}  # what it claims, in words for messages, by the kind of record
    single_files: ClassVar[tuple[str, ...]] = ()  # suffixes of files that hold any number of items, see `write_file`
    fits_to_all: ClassVar[bool] = False  # `fit` has to read every item, not a sample of some thousands

    @abstractmethod
    def claims(self, record: Record) -> float:
        """Return how surely the record is of this modality: 0 not at all, 1 without doubt. The highest claim wins.

        A claim below `WEAK` counts only where the user names the modality, or the column.
        """

    @abstractmethod
    def read(self, raw: Any, name: str) -> Any:
        """Return the item in a path, bytes, an array, a cell or an object; `name` stands in messages.

        Where `rows` were claimed, `raw` is the path of the file or the data frame, and an Arrow table of all its rows
        is returned. Raises BadItem where there is no item.
        """

    def array_reader(self, arrays: Sequence[Any]) -> Callable[[Any, str], Any]:
        """Return what `read` is for the items along the first axis of all these arrays.

        Here is decided what the items share, such as the range of their values. Raises UserError where arrays hold
        none.
        """
        return self.read

    def split(self, file: Path, separator: str | None) -> Parts | None:
        """Return the items in a single file that it claims, such as the documents of a text; None: it is one item.

        `separator` is what stands between items, where the user says so.
        """
        return None

    @abstractmethod
    def write(self, parts: Iterable[Items], folder: Path) -> list[Path]:
        """Write collections of items, one after the other in bounded memory; return the files in order."""

    def write_file(self, parts: Iterable[Items], path: Path) -> None:
        """Write collections of items to one file, whole or not at all; its name ends with one of `single_files`."""
        raise UserError(f"{self.plural} cannot be written to one file; choose a folder")

    @abstractmethod
    def fit(self, chunks: Iterable[Items], kind: type[Space], options: Any) -> Codec[Items]:
        """Return a codec fitted to the items, of that kind of space. One pass."""

    @abstractmethod
    def load_codec(self, folder: Path) -> Codec[Items]:
        """Return the codec that `Codec.save` wrote. Raises UserError where it is damaged."""

    @abstractmethod
    def preview(self, items: Items) -> Image.Image:
        """Return one picture that shows the items: a contact sheet, spectrograms, plots, a rendered table."""

    def judge(self) -> Judge[Items] | None:
        """Return how items of this modality are judged; None: by comparing encoded items."""
        return None

    def first_family(self, items: Iterable[Any], options: Any) -> FirstFamily:
        """Return the family to begin with for such items, encoded with these options.

        `items` are a few single ones, as `read` returns them; they are read only as far as they are iterated over.
        """
        return FirstFamily(self.default_family)

    def mask(self, items: Items, mask: Any) -> Any:
        """Return what is missing of each item by an instance of `Mask`, as `Codec.observe` takes it.

        Raises UserError where nothing is missing, or the modality knows no masks.
        """
        raise UserError(f"{self.plural} cannot be given in part")

    def collect(self, items: Sequence[Any]) -> Items:
        """Return single items, as `read` returns them, as one collection."""
        return list(items)  # type: ignore[return-value]

    def concatenate(self, parts: Sequence[Items]) -> Items:
        """Return several collections as one."""
        return [item for part in parts for item in part]  # type: ignore[attr-defined, return-value]

    def take(self, items: Items, indices: Sequence[int]) -> Items:
        """Return some items of a collection, in that order."""
        return [items[index] for index in indices]  # type: ignore[index, return-value]

    def consensus(self, draws: Sequence[Items], codec: Codec[Items]) -> Items:
        """Return one collection from several imputations of the same items: of each item the one nearest to the others.

        Distances are between encoded items. A modality whose items have parts of their own, such as cells, may choose
        part by part.
        """
        counts = len(draws), len(draws[0])  # type: ignore[arg-type]
        x = codec.encode(self.concatenate(draws)).flatten(1).unflatten(0, counts)
        if codec.space.continuous:
            x = x.double()
            distance = [(x - one).abs().sum((0, 2)) for one in x]
        else:
            distance = [(x != one).sum((0, 2)) for one in x]
        nearest = [min(range(len(draws)), key=lambda draw: float(distance[draw][item])) for item in range(counts[1])]
        return self.concatenate([self.take(draws[draw], [item]) for item, draw in enumerate(nearest)])

    def load(self, files: Sequence[Path]) -> Items:
        """Return the items in files that `write` wrote."""
        return self.collect([self.read(file, str(file)) for file in files])

    def differing(self, items: Items, others: Items, codec: Codec[Items]) -> list[int]:
        """Return the positions at which two collections of the same length differ, as far as the codec tells."""
        x = codec.encode(self.concatenate([items, others]))
        before, after = x[: len(x) // 2], x[len(x) // 2 :]
        return (before != after).flatten(1).any(1).nonzero().flatten().tolist()

    def weigh(self, item: Any) -> int:
        """Return the memory that a decoded item takes, in bytes; 0: unknown."""
        return 0


def read_item(own: Modality[Any], raw: Any, name: str) -> Any:
    """Return the item that a modality reads. Raises BadItem where there is none, whatever its decoder raises."""
    with guard(name, "cannot be read", "remove it or fetch it again", BadItem):
        return own.read(raw, name)


@cache
def modality(name: str) -> Modality[Any]:
    """Return the modality of that name. Raises UserError with the nearest known name."""
    own: Modality[Any] = plugins.attribute(plugins.load("modalities", name, "modality"), "MODALITY")
    return own


@cache
def modalities() -> Mapping[str, Modality[Any]]:
    """Return every modality by name; one of somebody else's that does not import is left out with a warning."""
    import warnings

    known = {}
    for name in plugins.known("modalities"):
        try:
            known[name] = modality(name)
        except UserError as error:
            warnings.warn(f"the modality '{name}' is left out: {error}", stacklevel=2)
    return known
