"""How deep a network for a grid should be; imports no torch, for Options ask it."""

from __future__ import annotations

from collections.abc import Sequence

_COARSE = 8  # cells a side of the coarsest level: attention over all of them is cheap there


def default_patch(size: Sequence[int]) -> int:
    """Cells a side that become channels first: 2, but none for tiny grids and 4 for large ones."""
    side = max(size, default=1)
    if side < 8:
        return 1
    return 2 if side < 96 else 4


def default_blocks(size: Sequence[int], patch: int, least: int = 1) -> tuple[int, ...]:
    """Residual blocks a level: halve until no side exceeds 8 cells, in at least `least` levels; 2 at the coarsest."""
    side, levels = -(-max(size, default=1) // patch), 1
    while side > _COARSE or levels < least:
        side, levels = -(-side // 2), levels + 1
    return (1,) * (levels - 1) + (2,) if levels > 1 else (3,)
