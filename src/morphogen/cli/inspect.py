"""Say what a source is taken for."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Annotated, Any

import tyro

from ..core import plugins
from ._flags import flag_value, parse
from ._source import taken_for


def _command(modality: str) -> type[Any]:
    """The flags, those of the modality's codec among them."""
    codec = plugins.load("modalities", modality, "options").Options
    plain: list[tuple[str, Any, Any, str]] = [
        ("source", tyro.conf.Positional[str], dataclasses.MISSING, "A folder, a file, a Hub id, or digits."),
        ("modality", str | None, None, "Modality; inferred where not given."),
        ("column", str | None, None, "Column that holds the items, in a table with several."),
        ("separator", str | None, None, "What parts the documents of a text file: line, blank, none, or a text."),
    ]
    fields: list[Any] = []
    for name, kind, default, purpose in plain:
        field = dataclasses.field() if default is dataclasses.MISSING else dataclasses.field(default=default)
        fields.append((name, Annotated[kind, tyro.conf.arg(help=purpose)], field))
    fields.append(("codec", codec, dataclasses.field(default_factory=codec)))
    command = dataclasses.make_dataclass("Inspect", fields, kw_only=True)
    command.__doc__ = __doc__
    return command


def run(arguments: list[str]) -> int:
    modality = flag_value(arguments, "modality") or taken_for(arguments, {})
    parsed = parse(_command(modality), arguments, "inspect")
    import numpy as np

    from ..core.codec import Codec
    from ..data.encode import chunks
    from ..data.sources import open_source

    source = open_source(parsed.source, parsed.modality, parsed.column, parsed.separator)
    print(f"{source.description}: {len(source):,} items, taken for modality '{source.modality}'")
    looked = np.unique(np.linspace(0, len(source) - 1, min(1000, len(source))).astype(int))
    kind = plugins.sole(plugins.load("modalities", source.modality, "codec"), Codec)
    if kind.fits_to_all:
        looked = np.arange(len(source))
    codec = kind.fit(chunks(source, looked), kind.spaces[0], parsed.codec)
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
