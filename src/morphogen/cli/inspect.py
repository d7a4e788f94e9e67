"""Say what a source is taken for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import tyro

from ._flags import parse


@dataclass(kw_only=True)
class Inspect:
    """Say what a source is taken for."""

    source: tyro.conf.Positional[str]
    """A folder, a file, a Hub id, or digits."""
    modality: str | None = None
    """Modality; inferred where not given."""
    column: str | None = None
    """Column that holds the items, in a table with several."""
    separator: str | None = None
    """What parts the documents of a text file: line, blank, none, or a text."""


def run(arguments: list[str]) -> int:
    parsed = parse(Inspect, arguments, "inspect")
    import numpy as np

    from ..core import plugins
    from ..core.codec import Codec
    from ..data.encode import chunks
    from ..data.sources import open_source

    source = open_source(parsed.source, parsed.modality, parsed.column, parsed.separator)
    print(f"{source.description}: {len(source):,} items, taken for modality '{source.modality}'")
    looked = np.unique(np.linspace(0, len(source) - 1, min(1000, len(source))).astype(int))
    kind = plugins.sole(plugins.load("modalities", source.modality, "codec"), Codec)
    if kind.fits_to_all:
        looked = np.arange(len(source))
    chosen = plugins.load("modalities", source.modality, "options").Options()
    codec = kind.fit(chunks(source, looked), kind.spaces[0], chosen)
    if len(looked) < len(source):
        print(f"looked at {len(looked):,} of them:")
    for note in getattr(codec, "notes", ()):
        print(note)
    print(f"space: {codec.space}")
    for name, values in source.columns.items():
        counts = Counter(values)
        few = ", ".join(f"{value or '(empty)'} {count:,}" for value, count in counts.most_common(10))
        print(f"column '{name}': {len(counts)} classes: {few}{' …' if len(counts) > 10 else ''}")
    if source.test is not None:
        print(f"official test split: {int(source.test.sum()):,} items")
    return 0
