"""Default depths of networks for grids; imports no torch, because Options use it."""

from __future__ import annotations

from collections.abc import Sequence

_COARSE = 8  # cells a side of the coarsest level: few enough for attention over all of them


def default_patch(size: Sequence[int]) -> int:
    """Return the cells a side that become channels first: 1 for sides below 8, 2 below 96, else 4."""
    side = max(size, default=1)
    if side < 8:
        return 1
    return 2 if side < 96 else 4


def default_blocks(size: Sequence[int], patch: int, min_levels: int = 1) -> tuple[int, ...]:
    """Return the residual blocks of each level, finest first.

    There are at least `min_levels`, and as many as bring all sides to 8 cells; the coarsest has 2 blocks, or 3 where it
    is the only level.
    """
    side, levels = -(-max(size, default=1) // patch), 1
    while side > _COARSE or levels < min_levels:
        side, levels = -(-side // 2), levels + 1
    return (1,) * (levels - 1) + (2,) if levels > 1 else (3,)
