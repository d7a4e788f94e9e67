"""The two spaces of the waist: what a codec maps items to, and what a family models."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from .errors import UserError


@dataclass(frozen=True)
class Continuous:
    """Real numbers: `channels` of them at each cell of a grid with 0 to 3 axes.

    Shape of one element: `(channels, *size)`. `size` is `()` for a row, `(T,)` for sound or a series,
    `(H, W)` for a picture, `(T, H, W)` for video. `step` is the spacing of raw values (2/255 for 8 bits in [-1, 1]),
    0 where they are truly continuous; likelihoods and bits per dimension need it. The last channels of a row may be
    `choices`, one after the other of so many channels each, of which one is 1 and the others are 0.
    """

    channels: int
    size: tuple[int, ...] = ()
    step: float = 0.0
    choices: tuple[int, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.channels, *self.size)

    @property
    def dimensions(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Tokens:
    """Symbols on a grid with 1 to 3 axes.

    Shape of one element: `size`, integers in `[0, vocab)`. `vocab` is one alphabet, or one per position of a row.
    After the symbol `end`, where there is one, nothing counts; an item may then have any length, and `size` is what is
    read at once. The symbol `start`, where there is one, begins an item and is given, not modelled: a row to train on
    may hold several items, one after the other, which do not see each other, and may begin in the middle of one.
    `parts` are the numbers of symbols, one after the other, that spell one part of an item, as a column of a row; and
    the last `even` symbols, which belong to none, are drawn evenly and tell nothing of the others.
    """

    vocab: int | tuple[int, ...]
    size: tuple[int, ...]
    end: int | None = None
    start: int | None = None
    parts: tuple[int, ...] = ()
    even: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return self.size

    @property
    def dimensions(self) -> int:
        return math.prod(self.size)


Space = Continuous | Tokens

_KINDS: dict[str, Any] = {"continuous": Continuous, "tokens": Tokens}


def space_to_json(space: Space) -> dict[str, Any]:
    """The space as plain JSON, with its kind."""
    fields = asdict(space)
    for name, nothing in (("start", None), ("parts", ()), ("even", 0), ("choices", ())):
        if fields.get(name, 1) == nothing:  # as it was before there were any, so that models keep their hash
            del fields[name]
    return {"kind": type(space).__name__.lower(), **fields}


def space_from_json(data: dict[str, Any]) -> Space:
    """The space that `space_to_json` wrote. Raises UserError on a kind or field it does not know."""
    fields = dict(data)
    kind = fields.pop("kind", None)
    if kind not in _KINDS:
        raise UserError(f"space kind {kind!r} is not known; expected one of {', '.join(_KINDS)}")
    tuples = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    try:
        return _KINDS[kind](**tuples)
    except TypeError as error:
        raise UserError(f"a {kind} space cannot be read from {sorted(fields)}: {error}") from None
