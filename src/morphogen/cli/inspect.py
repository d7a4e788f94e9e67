"""Say what a source is taken for, and how its items would be encoded."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import tyro

from ..core.config import replacing
from ..core.errors import UserError
from ..core.modality import modalities, modality
from ._flags import flag, flag_value, group, parse, with_schema_flag
from ._source import COLUMN_HELP, SEPARATOR_HELP, SOURCE_HELP, open_argument

_SAMPLE = 1000  # items by which the encoding is chosen


def run(arguments: list[str]) -> int:
    """Run the verb; return the exit code."""
    arguments = with_schema_flag(arguments)
    source = open_argument(arguments)
    name = source.modality if source is not None else flag_value(arguments, "modality")
    parsed = parse(_command(name), arguments, "inspect")
    if source is None:
        raise UserError("no source was given; expected: morphogen inspect SOURCE")
    import numpy as np

    from ..data.encode import chunks
    from ..data.split import split_by_hash

    own = modality(source.modality)
    print(f"{source.description}: {len(source):,} items, taken for modality '{own.name}'")
    # As a fit does, by the items that it does not hold out.
    held_out = source.test if source.test is not None else split_by_hash(source.item_names())
    indices = np.flatnonzero(~np.asarray(held_out))
    if not len(indices):  # of a handful, nothing is held out
        indices = np.arange(len(source))
    if not own.fits_to_all:
        indices = indices[np.unique(np.linspace(0, len(indices) - 1, min(_SAMPLE, len(indices))).astype(int))]
    codec = own.fit(chunks(source, indices), own.spaces[0], parsed.codec)
    if len(indices) < len(source):
        print(f"{len(indices):,} of them were read, none of those that a fit holds out:")
    for note in codec.notes:
        print(note)
    print(f"space: {codec.space}")
    for column, values in source.columns.items():
        counts = Counter(values)
        common = ", ".join(f"{value or '(empty)'} {count:,}" for value, count in counts.most_common(10))
        print(f"column '{column}': {len(counts)} classes: {common}{' …' if len(counts) > 10 else ''}")
    if source.test is not None:
        print(f"official test split: {int(source.test.sum()):,} items")
    if parsed.out is not None:
        text = codec.schema_text()
        with replacing(parsed.out) as temporary:
            temporary.write_text(text, encoding="utf-8")
        print(f"wrote {parsed.out}; edit it, and fit with --schema {parsed.out}")
    return 0


def _command(name: str | None) -> type[Any]:
    """Return the flags, those of the modality's codec among them where it is known."""
    plain: list[tuple[str, Any, Any]] = [
        ("source", flag(tyro.conf.Positional[str], SOURCE_HELP), dataclasses.MISSING),
        ("modality", flag(str | None, f"One of {', '.join(modalities())}; None: that which claims the source."), None),
        ("column", flag(str | None, COLUMN_HELP), None),
        ("separator", flag(str | None, SEPARATOR_HELP), None),
        ("out", flag(Path | None, "TOML file to write what was inferred to; edit it, and `fit --schema` it."), None),
    ]
    if name is not None:
        plain.append(("codec", *group(modality(name).Options(), f"{name} codec", "codec.")))
    fields = [(field, kind, dataclasses.field(default=default)) for field, kind, default in plain]
    command = dataclasses.make_dataclass("Inspect", fields, kw_only=True)
    command.__doc__ = __doc__
    return command
