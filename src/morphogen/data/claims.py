"""Which modality a record belongs to: the one with the strongest claim."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

from morphogen.core.errors import unknown
from morphogen.core.modality import WEAK, Modality, Record, modalities

_PLACES = {
    "file": "files of their own",
    "array": "arrays",
    "cells": "the cells of a column",
    "rows": "rows",
    "object": "lists",
}


class Claim(NamedTuple):
    """The strongest claim on one of several records."""

    modality: Modality[Any]
    record: Record
    strength: float


def candidates(name: str | None) -> list[Modality[Any]]:
    """Return all modalities, or the one that the user names. Raises UserError on an unknown name."""
    if name is None:
        return list(modalities().values())
    if name not in modalities():
        raise unknown("modality", name, modalities())
    return [modalities()[name]]


def claim(records: Iterable[Record], name: str | None, *, weak: bool = False) -> Claim | None:
    """Return the strongest claim on any of the records; of equal ones the first. None: no modality claims one.

    `name` is the modality that the user names. Where there is one, or with `weak`, any claim above 0 counts.
    """
    least = 0.0 if weak or name is not None else WEAK
    best: Claim | None = None
    for record in records:
        for modality in candidates(name):
            strength = modality.claims(record)
            if strength > least and (best is None or strength > best.strength):
                best = Claim(modality, record, strength)
    return best


def accepted(kind: Literal["file", "array", "cells", "rows", "object"], name: str | None) -> str:
    """Return what modalities claim of that kind, in words for a message."""
    words = [f"{one.accepts[kind]} ({one.plural})" for one in candidates(name) if kind in one.accepts]
    plurals = " or ".join(one.plural for one in candidates(name))
    return "; ".join(words) or f"another source: {plurals} do not come in {_PLACES[kind]}"
