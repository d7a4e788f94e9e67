"""Values that must not be made up, since real rows have them, kept so that they cannot be read."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Exclusion:
    """A Bloom filter with one hash, half full: it excludes every value it was built from, and every second other one.

    So that a value is excluded says little about whether a row has it: it doubles the odds, and no more.
    """

    bits: bytes = b""
    size: int = 0

    @classmethod
    def of(cls, values: Iterable[Any]) -> Exclusion:
        """Return the filter that excludes these values, whatever their case."""
        plain = {_plain(value) for value in values}
        if not plain:
            return cls()
        size = 8 * max(1, math.ceil(len(plain) / math.log(2) / 8))
        bits = bytearray(size // 8)
        for value in plain:
            at = _position(value, size)
            bits[at // 8] |= 1 << at % 8
        return cls(bytes(bits), size)

    def __contains__(self, value: object) -> bool:
        if not self.size:
            return False
        at = _position(_plain(value), self.size)
        return bool(self.bits[at // 8] >> at % 8 & 1)

    def state(self) -> dict[str, Any]:
        """Return plain JSON, which `from_state` reads."""
        return {"bits": base64.b64encode(self.bits).decode(), "size": self.size}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Exclusion:
        """Return the filter that `state` described. Raises ValueError where bits are absent."""
        bits = base64.b64decode(state["bits"])
        if state["size"] != 8 * len(bits):
            raise ValueError(f"an exclusion of {len(bits)} bytes for {state['size']} bits")
        return cls(bits, state["size"])


NOTHING = Exclusion()


def _plain(value: object) -> str:
    return " ".join(str(value).split()).casefold()


def _position(value: str, size: int) -> int:
    digest = hashlib.blake2b(value.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % size
