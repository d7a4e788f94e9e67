"""The four kinds of space of the waist: what a codec maps items to, and what a family models.

Each says of itself, for whoever handles tensors of any space: its `shape` and `dimensions`, whether entries are
`continuous` (float32) or numbered (int64), the `cardinality` of a numbered entry, the `step` between raw values, and,
where items have a `variable_length`, the `padding`.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from .errors import UserError

_AXES = {0: (), 1: ("time",), 2: ("height", "width"), 3: ("time", "height", "width")}


class _Shaped:
    """The sizes of an item that follow from its shape."""

    continuous: ClassVar[bool]

    @property
    def shape(self) -> tuple[int, ...]:
        raise NotImplementedError

    @property
    def positions(self) -> int:
        """How many values or vectors an item is made of: its pixels, tokens or fields."""
        return math.prod(self.shape[1:] if self.continuous else self.shape)

    @property
    def dimensions(self) -> int:
        """How many entries an item has."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Grid(_Shaped):
    """Real numbers: `channels` of them at each cell of a grid with 0 to 3 named axes.

    Shape of one item: `(channels, *size)`, float32. `size` is `()` for a vector, `(T,)` for sound or a series, `(H, W)`
    for a picture, `(T, H, W)` for video; `axes` names them. `step` is the spacing of raw values (2/255 for 8 bits in
    [-1, 1]), 0 where they are continuous; likelihoods and bits per dimension need it.
    """

    plural: ClassVar[str] = "grids of numbers"
    continuous: ClassVar[bool] = True
    variable_length: ClassVar[bool] = False
    cardinality: ClassVar[int] = 0  # any number
    padding: ClassVar[int] = 0

    channels: int
    size: tuple[int, ...] = ()
    axes: tuple[str, ...] = ()
    step: float = 0.0

    def __post_init__(self) -> None:
        if not self.axes:
            object.__setattr__(self, "axes", _AXES.get(len(self.size), ()))
        if len(self.axes) != len(self.size):
            raise UserError(f"a grid of size {self.size} needs {len(self.size)} named axes, not {self.axes}")

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.channels, *self.size)


@dataclass(frozen=True)
class Tokens(_Shaped):
    """Tokens of one vocabulary on a fixed grid with 1 to 3 axes.

    Shape of one item: `size`, int64 in `[0, vocab)`.
    """

    plural: ClassVar[str] = "grids of tokens"
    continuous: ClassVar[bool] = False
    variable_length: ClassVar[bool] = False
    step: ClassVar[float] = 1.0
    padding: ClassVar[int] = 0

    vocab: int
    size: tuple[int, ...]

    @property
    def cardinality(self) -> int:
        return self.vocab

    @property
    def shape(self) -> tuple[int, ...]:
        return self.size


@dataclass(frozen=True)
class TokenSequence(_Shaped):
    """Tokens of one vocabulary in a sequence of any length.

    An item is `start`, its tokens, `end`; after `end` nothing counts. `context` is how many tokens a model reads at
    once. Shape of a batch: `(B, n)`, int64 in `[0, vocab)`, padded with `end`. A training example (see `Codec.pack`)
    has `context` tokens; it may hold several items, which do not attend to each other, and may begin inside one.
    """

    plural: ClassVar[str] = "token sequences"
    continuous: ClassVar[bool] = False
    variable_length: ClassVar[bool] = True
    step: ClassVar[float] = 1.0

    vocab: int  # `start` and `end` included
    context: int
    start: int
    end: int

    @property
    def cardinality(self) -> int:
        return self.vocab

    @property
    def padding(self) -> int:
        return self.end

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.context,)


@dataclass(frozen=True)
class Field:
    """One field of a row: a category, or a number with special values.

    `size` is how many cells its value can be in. The first `ordered` of them are intervals of a number, rising; all
    others are categories, or special values of the number (missing, a frequent value). 0: all are categories.
    """

    size: int
    ordered: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.ordered <= self.size or self.size < 1:
            raise UserError(f"a field of {self.size} cells cannot have {self.ordered} ordered ones")


@dataclass(frozen=True)
class Row(_Shaped):
    """One value for each of several fields.

    Shape of one item: `(len(fields),)`, int64: the cell of each field. How cells are embedded, grouped or turned into
    numbers is the family's business; where inside its cell a number lies, the codec draws when it decodes.
    """

    plural: ClassVar[str] = "rows"
    continuous: ClassVar[bool] = False
    variable_length: ClassVar[bool] = False
    step: ClassVar[float] = 1.0
    padding: ClassVar[int] = 0

    fields: tuple[Field, ...]

    @property
    def cardinality(self) -> int:
        return max(field.size for field in self.fields)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.fields),)


Space = Grid | Tokens | TokenSequence | Row

_KINDS: dict[str, Any] = {"grid": Grid, "tokens": Tokens, "sequence": TokenSequence, "row": Row}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def space_to_json(space: Space) -> dict[str, Any]:
    """Return the space as plain JSON, with its kind."""
    return {"kind": _NAMES[type(space)], **asdict(space)}


def space_from_json(data: dict[str, Any]) -> Space:
    """Return the space that `space_to_json` wrote. Raises UserError on an unknown kind or field."""
    values = dict(data)
    kind = values.pop("kind", None)
    if kind not in _KINDS:
        raise UserError(f"space kind {kind!r} is not known; expected one of {', '.join(_KINDS)}")
    try:
        if kind == "row":
            values["fields"] = tuple(Field(**field) for field in values["fields"])
        return _KINDS[kind](
            **{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        )
    except (TypeError, KeyError) as error:
        raise UserError(f"a {kind} space cannot be read from {sorted(values)}: {error}") from None
