"""A random order of texts that does not depend on the order in which they came."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b


def shuffled(texts: Sequence[str], seed: int) -> list[str]:
    """Return all texts, in an order that only they and the seed determine; its beginning is a uniform sample."""
    copies: Counter[str] = Counter()
    keys = []
    for text in texts:
        # Each copy of a text gets a hash of its own: else a sample would hold all copies or none.
        content = f"{seed} {copies[text]} {text}".encode("utf-8", "surrogatepass")
        copies[text] += 1
        keys.append((blake2b(content, digest_size=16).digest(), text))
    return [text for _, text in sorted(keys)]
