"""The four kinds of space of the waist: what a codec maps items to, and what a family models.

Each says of itself, for whoever handles tensors of any space: its `shape` and `dimensions`, whether entries are
`continuous` (float32) or numbered (int64), the `cardinality` of a numbered entry, the `step` between raw values, and,
where items have a `variable_length`, the `padding`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache
from typing import Annotated, Any, ClassVar

from pydantic import Field as Bounds
from pydantic import TypeAdapter, ValidationError

from .errors import UserError, unknown

_MOST = 2**31  # entries of an item
Size = Annotated[int, Bounds(ge=1, le=_MOST)]
Token = Annotated[int, Bounds(ge=0, le=_MOST)]

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

    channels: Size
    size: tuple[Size, ...] = ()
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

    vocab: Size
    size: tuple[Size, ...]

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
    once, `max_length` how many it generates at most where no control says otherwise (0: `context`). Shape of a batch:
    `(B, n)`, int64 in `[0, vocab)`, padded with `end`. A training example (see `Codec.pack`) has `context` tokens; it
    may hold several items, which do not attend to each other, and may begin inside one.
    """

    plural: ClassVar[str] = "token sequences"
    continuous: ClassVar[bool] = False
    variable_length: ClassVar[bool] = True
    step: ClassVar[float] = 1.0

    vocab: Size  # `start` and `end` included
    context: Size
    start: Token
    end: Token
    max_length: Token = 0

    def __post_init__(self) -> None:
        if not self.max_length:
            object.__setattr__(self, "max_length", self.context)

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

    size: Size
    ordered: Token = 0

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


@cache
def _adapter(kind: str) -> TypeAdapter[Any]:
    return TypeAdapter(_KINDS[kind])


def space_to_json(space: Space) -> dict[str, Any]:
    """Return the space as plain JSON, with its kind."""
    values = asdict(space)
    if isinstance(space, TokenSequence) and space.max_length == space.context:
        del values["max_length"]  # as in folders from before it was stored, so that their digests stay
    return {"kind": _NAMES[type(space)], **values}


def space_from_json(data: Any) -> Space:
    """Return the space that `space_to_json` wrote.

    Raises UserError on an unknown kind or field, a value of another type, and a size beyond all use.
    """
    values = dict(data) if isinstance(data, Mapping) else {}
    kind = values.pop("kind", None)
    if not isinstance(kind, str) or kind not in _KINDS:
        raise UserError(f"space kind {kind!r:.40} is not known; expected one of {', '.join(_KINDS)}")
    known = {field.name for field in fields(_KINDS[kind])}
    if other := values.keys() - known:
        raise unknown(f"field of a {kind} space", min(other, key=str), known)
    try:
        space: Space = _adapter(kind).validate_json(json.dumps(values), strict=True)
    except (ValidationError, ValueError, RecursionError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": type(error).__name__}
        raise UserError(f"a {kind} space is wrong at {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    if space.dimensions > _MOST:
        raise UserError(f"a {kind} space of {space.dimensions:,} entries is beyond all use; expected at most {_MOST:,}")
    return space
