"""Damage to files, as it happens to them or as a stranger does it: mutations that hypothesis draws and shrinks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import strategies as st

# What replaces a value in JSON: another type, a place outside of the folder, a number that no memory holds.
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 7, 2**31, 2**63, 10**20, -(10**20), 0.5, 1e308, float("nan"), float("inf")),
    *("", "x", "1", "../outside", "/etc/passwd", "..", ".", "a/b", "a" * 300, "\ud800", "a\nb", "\0", "é"),
    *([], [1], ["x"], [[]], {}, {"x": 1}, {"first": 0, "count": 10**15}, {"kind": "torus"}),
)
BYTES = (b"", b"\0", b"\xff" * 8, b"[" * 100_000, b'{"a":' * 5_000, b"\xff\xff\xff\x7f", b"9" * 5_000, b"\r\n", b"../x")


class Damage(NamedTuple):
    """One mutation: `where` is a share of the file, or of the values in its JSON."""

    kind: str
    where: float
    value: int  # which of VALUES or BYTES, or which bit

    def apply(self, data: bytes, name: str) -> bytes:
        """Return the damaged content of a file."""
        if self.kind.startswith("json") and name.endswith(".json"):
            return _damaged_json(data, self)
        at = min(int(self.where * len(data)), max(0, len(data) - 1))
        inserted = BYTES[self.value % len(BYTES)]
        if self.kind == "cut":
            return data[:at]
        if self.kind == "insert":
            return data[:at] + inserted + data[at:]
        if self.kind == "overwrite":
            return data[:at] + inserted[:1000] + data[at + len(inserted[:1000]) :]
        if self.kind == "repeat":
            return data[:at] + data
        # A flipped bit, more often in a header than elsewhere.
        at = at if self.kind == "flip" else min(int(self.where * 64), max(0, len(data) - 1))
        return data[:at] + bytes([data[at] ^ (1 << self.value % 8)]) + data[at + 1 :] if data else inserted


KINDS = ("json", "json", "json", "json drop", "json add", "flip", "flip head", "cut", "insert", "overwrite", "repeat")
damages = st.builds(Damage, st.sampled_from(KINDS), st.floats(0, 1, exclude_max=True), st.integers(0, 999))


def _damaged_json(data: bytes, damage: Damage) -> bytes:
    content = json.loads(data)
    places = list(_places(content))
    if not places:
        return json.dumps(VALUES[damage.value % len(VALUES)]).encode()
    parent, key = places[int(damage.where * len(places))]
    value = VALUES[damage.value % len(VALUES)]
    if parent is None:
        content = value
    elif damage.kind == "json drop":
        del parent[key]
    elif damage.kind == "json add" and isinstance(parent, dict):
        parent["../outside" if damage.value % 2 else "more"] = parent[key]
    else:
        parent[key] = value
    return json.dumps(content).encode()


def _places(value: Any, parent: Any = None, key: Any = None) -> Iterator[tuple[Any, Any]]:
    """Yield where each value in JSON stands; of a long list only the first few."""
    yield parent, key
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _places(inner, value, name)
    elif isinstance(value, list):
        for index, inner in enumerate(value[:3]):
            yield from _places(inner, value, index)


def damaged_copy(original: Path, folder: Path, choice: float, damage: Damage) -> str:
    """Copy a file or a folder of files to `folder`, one of the files damaged; return its name."""
    files = [path for path in sorted(original.rglob("*")) if path.is_file()] if original.is_dir() else [original]
    root = original if original.is_dir() else original.parent
    # JSON is drawn more often: it is what decides.
    files += [path for path in files if path.suffix == ".json"] * 2
    victim = files[int(choice * len(files))]
    for path in files:
        target = folder / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        data = path.read_bytes()
        target.write_bytes(damage.apply(data, path.name) if path == victim else data)
    return str(victim.relative_to(root))
