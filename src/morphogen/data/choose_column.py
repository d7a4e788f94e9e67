"""Which column of a file of records holds the items."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from morphogen.core.errors import UserError, unknown

from .claims import Claim, accepted, candidates, claim
from .values import ValueReader, records_of

HEAD = 100  # records by which columns are chosen


@dataclass(frozen=True)
class ItemColumn:
    """The column of items, the reader of its cells, the strength of the claim on it, and a description in words."""

    name: str
    reader: ValueReader
    strength: float
    words: str


def choose_column(
    columns: Mapping[str, Sequence[Any]],
    *,
    chosen: str | None,
    modality: str | None,
    file: str,
    folder: Path = Path(),
    features: Mapping[str, str] | None = None,
) -> ItemColumn | None:
    """Return the column with the strongest claim on its cells; None: no column is claimed.

    `columns` holds the first cells of each column; `chosen` is the column and `modality` the modality that the user
    names, `features` the file's own names for the types of its columns. Of equal claims, that on the column with the
    name of its modality wins, else the first. Raises UserError if the chosen column is absent or not claimed.
    """
    if chosen is not None and chosen not in columns:
        raise unknown("column", chosen, columns)
    claims: dict[str, Claim] = {}
    for name in columns if chosen is None else [chosen]:
        records = records_of(columns[name], "cells", folder=folder, name=name, feature=(features or {}).get(name, ""))
        if winner := claim(records, modality, weak=chosen is not None):
            claims[name] = winner
    if not claims and chosen is not None:
        cell = next((cell for cell in columns[chosen] if cell is not None), None)
        raise UserError(
            f"the column '{chosen}' of {file} holds {cell!r:.40}; expected {accepted('cells', modality)}, or paths of "
            "files"
        )
    if not claims:
        return None
    best = max(claims, key=lambda name: (claims[name].strength, name == claims[name].modality.name))
    winner = claims[best]
    words = f"{winner.modality.plural} in column '{best}'"
    if others := [name for name in claims if name != best]:
        words += f" (also possible: {', '.join(others)})"
    return ItemColumn(best, ValueReader.of(winner, folder), winner.strength, words)


def no_column(columns: Iterable[str], modality: str | None, file: str) -> UserError:
    """Return the error for records in which no column is claimed."""
    plurals = " or ".join(one.plural for one in candidates(modality) if "cells" in one.accepts)
    return UserError(
        f"{file} has the columns {', '.join(columns)}, none of them with {plurals or 'items'}; expected in a column "
        f"{accepted('cells', modality)}, or paths of files; name the column with --column"
    )
