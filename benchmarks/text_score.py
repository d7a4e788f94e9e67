"""The score of every contestant on text: nats a character over a whole text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


@torch.no_grad()
def score(nats: Callable[[Tensor], Tensor], tokens: Tensor, window: int, batch: int = 32) -> dict[str, Any]:
    """Return the mean −ln p of the characters `tokens` `(N,)` without the first, each counted once.

    `nats` maps windows `(B, window)` to −ln p `(B, window - 1)` of each token but a window's first. Windows overlap by
    half, and only the second half of each is counted, so that at least half a window precedes each character; of the
    first window all is counted.
    """
    half = window // 2
    starts = list(range(0, max(1, len(tokens) - window + half), half))
    total = torch.zeros((), dtype=torch.float64)
    counted = 0
    whole = [start for start in starts if start + window <= len(tokens)]
    for at in range(0, len(whole), batch):
        group = whole[at : at + batch]
        rows = nats(torch.stack([tokens[start : start + window] for start in group])).double()
        for start, row in zip(group, rows, strict=True):
            fresh = row if start == 0 else row[window - half - 1 :]
            total, counted = total + fresh.sum(), counted + len(fresh)
    for start in starts[len(whole) :]:
        fresh = nats(tokens[None, start:])[0].double()[window - half - 1 if start else 0 :]
        total, counted = total + fresh.sum(), counted + len(fresh)
    assert counted == len(tokens) - 1
    return {"nats": float(total / counted), "characters": counted, "window": window}
