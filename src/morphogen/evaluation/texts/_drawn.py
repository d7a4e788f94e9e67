"""A draw of texts that does not depend on the order in which they came."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b


def drawn(texts: Sequence[str], seed: int) -> list[str]:
    """All texts, in an order that they and the seed settle; its beginning is a fair draw of them."""
    copies: Counter[str] = Counter()
    keys = []
    for text in texts:
        # Copies of a text are drawn one by one: else all of them were in a draw, or none.
        content = f"{seed} {copies[text]} {text}".encode("utf-8", "surrogatepass")
        copies[text] += 1
        keys.append((blake2b(content, digest_size=16).digest(), text))
    return [text for _, text in sorted(keys)]
