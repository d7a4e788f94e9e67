"""One function that scores every contestant of the race on text: nats a character over a whole text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


@torch.no_grad()
def score(nats: Callable[[Tensor], Tensor], symbols: Tensor, window: int, batch: int = 32) -> dict[str, Any]:
    """Mean cost of the characters of `symbols` `(N,)` but the first, which has nothing before it.

    Each is counted once. `nats` maps windows `(B, window)` to the cost `(B, window - 1)` of each symbol but a window's
    first. Windows overlap by half, and only the second half of one counts, so that a character has half a window before
    it at least; the first window counts whole.
    """
    half = window // 2
    starts = list(range(0, max(1, len(symbols) - window + half), half))
    total = torch.zeros((), dtype=torch.float64)
    counted = 0
    whole = [start for start in starts if start + window <= len(symbols)]
    for at in range(0, len(whole), batch):
        group = whole[at : at + batch]
        found = nats(torch.stack([symbols[start : start + window] for start in group])).double()
        for start, row in zip(group, found, strict=True):
            fresh = row if start == 0 else row[window - half - 1 :]
            total, counted = total + fresh.sum(), counted + len(fresh)
    for start in starts[len(whole) :]:
        fresh = nats(symbols[None, start:])[0].double()[window - half - 1 if start else 0 :]
        total, counted = total + fresh.sum(), counted + len(fresh)
    assert counted == len(symbols) - 1
    return {"nats": float(total / counted), "characters": counted, "window": window}
