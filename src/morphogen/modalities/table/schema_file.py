"""What was inferred of each column as a TOML file, which a user may edit and fit by."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

from morphogen.core.config import read_toml
from morphogen.core.errors import UserError, unknown

from .column_types import ColumnType
from .formats.column import ColumnFormat
from .formats.registry import format_from_state
from .generated import KINDS
from .options import Kind

_HEAD = """# What was inferred of each column. Edit it, and give it to `morphogen fit SOURCE --schema FILE`.
# kind: {kinds}.
# protected: whether values are made anew, and none is output as it was.
# format: how cells are written, where they are not plain.
"""
_FIELDS = ("kind", "protected", "format")


class Schema(NamedTuple):
    """What a user decided of columns, by name."""

    kinds: dict[str, Kind]
    formats: dict[str, ColumnFormat]


def to_toml(column_types: Mapping[str, ColumnType], formats: Mapping[str, ColumnFormat]) -> str:
    """Return the text of the file."""
    parts = [_HEAD.format(kinds=", ".join(get_args(Kind)))]
    for name, one in column_types.items():
        lines = [f"[{_quoted(name)}]"]
        # A sum is one by a constraint.
        lines += [] if one.kind == "sum" else [f"kind = {_quoted(one.kind)}  # {' '.join(one.reason.split())}"]
        lines += [f"protected = {str(one.kind in KINDS).lower()}"]
        if name in formats and len(state := formats[name].state()) > 1:
            lines.append(f"format = {_inline(state)}")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def formats_in_words(formats: Mapping[str, ColumnFormat]) -> list[str]:
    """Return a line that says how columns are written, where that is not plain; none where all are."""
    plain = {"kind", "missing", "style", "digits"}
    words = [f"{name} as {one.words}" for name, one in formats.items() if one.words and set(one.state()) - plain]
    return [f"  written: {'; '.join(words)}"] if words else []


def read_schema(path: Path, names: Sequence[str]) -> Schema:
    """Return what the file says of the columns `names`.

    Raises UserError naming the column and field that is unknown, or wrong.
    """
    kinds: dict[str, Kind] = {}
    formats: dict[str, ColumnFormat] = {}
    for name, fields in read_toml(path).items():
        where = f"{path}: column '{name}'"
        if name not in names:
            raise unknown(f"column in {path}", name, names)
        if not isinstance(fields, dict):
            raise UserError(f"{where} is {fields!r}; expected lines such as kind = 'category' under [{_quoted(name)}]")
        for field in fields:
            if field not in _FIELDS:
                raise unknown(f"field of column '{name}' in {path}", field, _FIELDS)
        kind = _kind(fields, where)
        if kind is not None:
            kinds[name] = kind
        if "format" in fields:
            try:
                formats[name] = format_from_state(dict(fields["format"]))
            except (TypeError, ValueError) as error:
                raise UserError(f"{where}: {error}; correct it, or drop the line") from None
    return Schema(kinds, formats)


def _kind(fields: Mapping[str, Any], where: str) -> Kind | None:
    """Return the kind of a column; one that is to be protected, of a kind that is not, becomes personal data."""
    kind, protected = fields.get("kind"), fields.get("protected")
    if kind is not None and kind not in get_args(Kind):
        raise UserError(f"{where} has the kind {kind!r}; expected one of {', '.join(get_args(Kind))}")
    if protected not in (None, True, False):
        raise UserError(f"{where}: protected is {protected!r}; expected true or false")
    if protected and kind not in KINDS:
        return "personal"
    if protected is False and kind in KINDS:
        raise UserError(f"{where} is of kind {kind}, which is always protected; choose another kind, such as category")
    known: Kind | None = kind
    return known


def _quoted(text: str) -> str:
    """Return a text as a basic string of TOML."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _inline(value: Any) -> str:
    """Return plain JSON as an inline value of TOML."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_inline(one)}" for name, one in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return _quoted(value) if isinstance(value, str) else json.dumps(value)
