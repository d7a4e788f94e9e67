"""The schema of what a table codec is stored as, apart from the Arrow schema: JSON that anybody may have edited."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from morphogen.core.records import Count, Name, Record, parse_record

Number = Annotated[float, Field(allow_inf_nan=True)]  # infinities and NaN are values that a column may have
Whole = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Scalar = str | bool | Whole | Number | None
Share = Annotated[float, Field(ge=0, le=1)]


class UnitsState(Record):
    """See `units.Units`."""

    offset: Whole
    step: Annotated[int, Field(ge=0, lt=2**63)]
    digits: Annotated[int, Field(ge=-1, le=18)]


class CategoriesState(Record):
    """See `categories.Categories`; a value of several columns that are modelled as one is a list or tuple."""

    kind: Literal["categories"]
    values: list[Scalar | list[Scalar] | tuple[Scalar, ...]]
    counts: list[Count]
    other: Scalar | list[Scalar] | tuple[Scalar, ...]
    pseudonyms: bool

    @model_validator(mode="after")
    def _each_has_a_count(self) -> Self:
        if len(self.counts) != len(self.values):
            raise ValueError(f"{len(self.values)} values have {len(self.counts)} counts")
        return self


class ValuesState(Record):
    """See `columns.Values`."""

    kind: Literal["values"]
    units: UnitsState
    values: list[Whole | Number]

    @model_validator(mode="after")
    def _they_rise(self) -> Self:
        return _rising(self, self.values, self.units)


class BinsState(Record):
    """See `columns.Bins`."""

    kind: Literal["bins"]
    units: UnitsState
    edges: Annotated[list[Whole | Number], Field(min_length=2)]
    spikes: list[Whole | Number]

    @model_validator(mode="after")
    def _edges_rise(self) -> Self:
        return _rising(self, self.edges, self.units)


class DatePartState(Record):
    """See `date_parts.DatePartColumn`."""

    kind: Literal["date_part"]
    of: str
    part: Literal["hour", "weekday", "month"]
    values: list[Annotated[int, Field(ge=0, le=31)]]


class DifferenceState(Record):
    """See `differences.DifferenceColumn`."""

    kind: Literal["difference"]
    of: str
    reference: str
    local: bool
    days: bool
    ordered: bool
    units: UnitsState
    numbers: Annotated[ValuesState | BinsState, Field(discriminator="kind")]

    @model_validator(mode="after")
    def _steps_are_whole(self) -> Self:
        if not (self.units.step and self.numbers.units.step):
            raise ValueError("the difference of dates is not counted in whole steps")
        return self


class ExclusionState(Record):
    """See `personal.exclusion.Exclusion`."""

    bits: str
    size: Count


class KeyState(Record):
    """See `personal.keys.KeyForm`."""

    places: list[Annotated[str, Field(min_length=1)]]
    first: int | None
    width: Annotated[int, Field(ge=0, le=1000)]
    excluded: ExclusionState
    behind: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _some_places_are_behind(self) -> Self:
        if self.behind > len(self.places):
            raise ValueError(f"{self.behind} of {len(self.places)} places are behind")
        return self


class RecipeState(Record):
    """See `personal.recipe.Recipe`."""

    form: Name
    missing: Share
    locale: Name
    person: str
    styles: list[str | list[str] | tuple[str, ...]]
    weights: list[Annotated[float, Field(ge=0)]]
    checksum: str
    length: Annotated[int, Field(ge=0, le=10_000)]
    pseudonyms: Count
    excluded: ExclusionState
    key: KeyState | None

    @model_validator(mode="after")
    def _each_style_has_a_weight(self) -> Self:
        if len(self.styles) != len(self.weights):
            raise ValueError(f"{len(self.styles)} styles have {len(self.weights)} weights")
        return self


ColumnState = Annotated[
    CategoriesState | ValuesState | BinsState | DatePartState | DifferenceState, Field(discriminator="kind")
]


class TableState(Record):
    """See `TableCodec.state`."""

    arrow_schema: Annotated[str, Field(alias="schema")]
    column_types: dict[str, list[str]]
    columns: dict[str, ColumnState]
    unmodelled: dict[str, RecipeState | list[str] | Scalar]
    notes: list[str]
    constraints: list[str]

    @model_validator(mode="after")
    def _types_are_complete(self) -> Self:
        if wrong := [name for name, one in self.column_types.items() if len(one) != 3]:
            raise ValueError(f"the type of column '{wrong[0]}' is not a kind, a reason and a form")
        return self

    @model_validator(mode="after")
    def _parts_have_a_column(self) -> Self:
        dates = self._dates()
        if wrong := [one.of for one in self.columns.values() if isinstance(one, DatePartState) and one.of not in dates]:
            raise ValueError(f"a part of dates is of '{wrong[0]}', which is no column of dates")
        return self

    @model_validator(mode="after")
    def _differences_lead_to_a_first_date(self) -> Self:
        differences = [one for one in self.columns.values() if isinstance(one, DifferenceState)]
        references = {one.of: one.reference for one in differences}
        if len(references) < len(differences) or not {*references, *references.values()} <= self._dates():
            raise ValueError("a difference is not of two columns of dates, or not the only one of the later column")
        for name in references:
            for _ in references:
                name = references.get(name, name)
            if name in references:
                raise ValueError(f"the differences of dates lead from '{name}' back to it")
        return self

    def _dates(self) -> set[str]:
        """Return the modelled columns of dates or times."""
        numbers = {name for name, one in self.columns.items() if isinstance(one, (ValuesState, BinsState))}
        return numbers & {name for name, kind in self.column_types.items() if kind[0] == "datetime"}


def check_state(state: dict[str, Any]) -> None:
    """Raise UserError naming the first field that is absent, unknown or of another type."""
    parse_record(state, TableState, "the table codec")


def _rising(state: Any, values: list[Any], units: UnitsState) -> Any:
    numbers = [value for value in values if value == value]
    if any(later < earlier for earlier, later in pairwise(numbers)):
        raise ValueError("numbers do not rise")
    if units.step and any(not isinstance(value, int) for value in values):
        raise ValueError("units are whole, and a number is not")
    return state
