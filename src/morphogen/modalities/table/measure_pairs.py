"""Figures and checks of pairs of columns: do they depend on each other as in real rows, and does their order hold?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphogen.core.results import Check, Dependence, Profile, Results

from .comparable import Tables
from .statistics.arrow_columns import numbers_of
from .statistics.date_differences import are_moments
from .statistics.dependence import BrokenOrder, PairDependence, broken_orders, compare_dependences, differs
from .units import is_numeric

DEPENDENCES, ORDERS = "dependences between columns", "order of columns"
_NAMED = 3  # pairs in a message
_COURSES, _MOST_GROUPS = 6, 60  # charts, and points of one


def measure_pairs(tables: Tables, results: Results) -> None:
    """Add the dependence of every pair of columns, two checks, and the course of numbers over parts of time."""
    real, generated = tables.real, tables.generated
    if any(check.name == "repeated items" and check.detected for check in results.checks):
        results.skip("rows that are repeated seem to depend on each other", DEPENDENCES)
        _orders(tables, results)
        return
    pairs = compare_dependences(real, generated)
    results.dependences = [
        Dependence(
            first=one.first,
            second=one.second,
            real=one.real,
            generated=one.synthetic,
            difference=one.difference,
            detected=differs(one, len(pairs)),
        )
        for one in pairs
    ]
    if pairs:
        other = sorted((one for one in pairs if differs(one, len(pairs))), key=lambda one: -one.difference)
        results.checks.append(_dependences(other, len(pairs)))
    _orders(tables, results)
    results.profiles = _profiles(tables, pairs)


def _profiles(tables: Tables, pairs: Sequence[PairDependence]) -> list[Profile]:
    """Return the means of numbers over parts of dates and times, those that differ most first."""
    parts = {part.name for part in tables.parts}
    real = tables.real

    def is_course(one: PairDependence) -> bool:
        number = one.first if one.second in parts else one.second
        both = (one.first in parts) + (one.second in parts)
        return (
            both == 1 and is_numeric(real.column(number).type) and number not in {part.column for part in tables.parts}
        )

    profiles = []
    for one in sorted(filter(is_course, pairs), key=lambda one: -one.difference)[:_COURSES]:
        number, part = (one.first, one.second) if one.second in parts else (one.second, one.first)
        groups = np.unique(numbers_of(real.column(part)))
        groups = groups[~np.isnan(groups)][:_MOST_GROUPS]
        means = [_means(table, number, part, groups) for table in (real, tables.generated)]
        profiles.append(Profile(f"{number} by {part}", [f"{group:.0f}" for group in groups], *means))
    return profiles


def _means(table: Any, number: str, part: str, groups: NDArray[np.float64]) -> NDArray[np.float64]:
    values, of = numbers_of(table.column(number)), numbers_of(table.column(part))
    inside = [values[(of == group) & ~np.isnan(values)] for group in groups]
    return np.array([one.mean() if len(one) else np.nan for one in inside])


def _dependences(other: list[PairDependence], count: int) -> Check:
    message = f"{len(other)} of {count:,} pairs of columns depend on each other otherwise than in real rows"
    if other:
        message += ": " + "; ".join(f"{one.first} and {one.second} ({_words(one)})" for one in other[:_NAMED])
    return Check(name=DEPENDENCES, detected=bool(other), fault=False, message=f"{message}.")


def _words(one: PairDependence) -> str:
    if one.synthetic < one.real / 2:
        return f"mostly lost: {one.synthetic:.2f}, {one.real:.2f} in real rows"
    if one.synthetic > 2 * one.real:
        return f"invented: {one.synthetic:.2f}, {one.real:.2f} in real rows"
    return "in another form"


def _orders(tables: Tables, results: Results) -> None:
    """Add the check of orders between columns; derived columns have none that a constraint could keep."""
    import pyarrow as arrow

    real, generated = (table.drop_columns(tables.derived) for table in (tables.real, tables.generated))
    if tables.train is not None:  # what never happens is only known from many rows
        real = arrow.concat_tables([real, tables.train.drop_columns(tables.derived)])
    broken = broken_orders(real, generated)
    message = "No two numbers whose order holds in real rows are in the wrong order in generated ones."
    if broken:
        message = "; ".join(_order_in_words(one, real.schema) for one in broken[:_NAMED]) + "."
        never = [one for one in broken if _can_be_kept(one, real.schema)]
        if never:
            message += f' Give --codec.constraints "{never[0].low} <= {never[0].high}".'
    results.checks.append(Check(name=ORDERS, detected=bool(broken), message=message))


def _order_in_words(one: BrokenOrder, schema: Any) -> str:
    how = "later than" if are_moments(schema.field(one.low).type) else "above"
    often = "never" if one.real_share == 0 else f"in {one.real_share:.2%}"
    return f"{one.low} is {how} {one.high} in {one.share:.1%} of generated rows, and {often} in real ones"


def _can_be_kept(one: BrokenOrder, schema: Any) -> bool:
    """Return whether a constraint would hold in all real rows, and compares columns of one type."""
    import pyarrow.types as types

    kinds = [schema.field(name).type for name in (one.low, one.high)]
    return one.real_share == 0 and (kinds[0] == kinds[1] or not any(map(types.is_temporal, kinds)))
