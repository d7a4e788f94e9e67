"""Columns of keys, personal data and free text: how each is made anew, and which people stand in many rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from morphogen.core.errors import UserError

from .categories import Categories
from .cells import plain, plain_type
from .column_types import ColumnType, personal_type, texts_of
from .personal.keys import KeyForm
from .personal.make import make_different
from .personal.recipe import Recipe, find_recipe, locale_of
from .personal.words import person_of

KINDS = ("key", "personal", "free_text")
_REPEATED = 0.2  # share of the rows with frequent values, from which on personal data is modelled under pseudonyms
_LOCALE_FORMS = ("name", "first name", "last name")


def typed(values: Any, kind: Any) -> Any:
    """Return made-up texts, None where missing, as an Arrow array of the type `kind`, which may be of whole numbers."""
    import pyarrow as arrow
    import pyarrow.types as types

    plain_kind = plain_type(kind)
    if types.is_integer(plain_kind):
        room = _largest(plain_kind) + 1
        numbers = [None if value is None else int(value) for value in values]
        return arrow.array([one and (one % room if one > 0 else -(-one % room)) for one in numbers], plain_kind)
    if types.is_floating(plain_kind):
        return arrow.array([None if value is None else float(value) for value in values], plain_kind)
    return arrow.array(values, plain_kind)


def _largest(kind: Any) -> int:
    """Return the largest number of an Arrow type of whole numbers."""
    import pyarrow.types as types

    return int(2 ** (kind.bit_width - types.is_signed_integer(kind)) - 1)


def _fitting(name: str, column: Any, recipe: Recipe) -> Recipe:
    """Return the recipe of numbers as keys, below 0 where their type has no room above the real ones.

    Raises UserError where it has none there, either.
    """
    import pyarrow.compute as compute
    import pyarrow.types as types

    kind = plain_type(column.type)
    if recipe.key is None or not types.is_integer(kind) or int(recipe.key.make(0)) <= _largest(kind):
        return recipe
    if not types.is_signed_integer(kind) or compute.min(plain(column)).as_py() < 0:
        raise UserError(
            f"column '{name}' of type {kind} has no room for keys beside the real ones; convert it to int64, or drop it"
        )
    return replace(recipe, key=KeyForm(("-",), 1))


def form_of(name: str, column: Any, column_type: ColumnType) -> ColumnType:
    """Return the type of a column that is made anew with the form of its values, where the type was chosen by a user.

    Raises UserError where the column holds neither whole numbers nor text.
    """
    import pyarrow.types as types

    kind = plain_type(column.type)
    if not (types.is_integer(kind) or types.is_string(kind) or types.is_large_string(kind)) and not texts_of(column):
        raise UserError(
            f"column '{name}' cannot be {column_type.kind}: it holds {column.type}; expected whole numbers or text: "
            "convert it, or choose another kind"
        )
    if column_type.form:
        return column_type
    if column_type.kind == "free_text":
        return replace(column_type, form="free text")
    is_text = types.is_string(kind) or types.is_large_string(kind)
    recognised = personal_type(name, column, repeated=False)
    if column_type.kind == "key":
        is_uuid = recognised is not None and recognised.form == "uuid"
        return replace(column_type, form="uuid" if is_uuid else "pattern" if is_text else "number")
    if recognised is not None:
        return replace(column_type, form=recognised.form)
    digits = any(character.isdigit() for value in texts_of(column)[:100] for character in value)
    return replace(column_type, form="code" if digits or not is_text else "name")


def people_of(table: Any, column_types: Mapping[str, ColumnType]) -> list[str]:
    """Return the full names of all people in a table."""
    names = [name for name, one in column_types.items() if one.kind == "personal" and one.form == "name"]
    return list(dict.fromkeys(text for name in names for text in texts_of(table.column(name))))


def language_of(table: Any, column_types: Mapping[str, ColumnType]) -> str:
    """Return the language of most columns of names; empty where none tells it."""
    locales = Counter(
        locale_of(texts_of(table.column(name))[:1000])
        for name, one in column_types.items()
        if one.kind == "personal" and one.form in _LOCALE_FORMS
    )
    return next((locale for locale, _ in locales.most_common() if locale), "")


def made_anew(
    name: str, column: Any, column_type: ColumnType, *, rare: int, language: str, people: Sequence[str]
) -> tuple[Recipe, Categories | None]:
    """Return how a column is made anew, and where enough rows repeat the same people, the column of their pseudonyms.

    A pseudonym stands in as many rows as the person whom it stands for, and depends on other columns as that one does.
    `people` are all full names of the table, none of which is made up in any column.
    """
    values = texts_of(column)
    counts = Counter(values)
    frequent = [(value, count) for value, count in sorted(counts.items(), key=lambda one: (-one[1], one[0]))]
    frequent = [(value, count) for value, count in frequent if count >= rare]
    repeated = column_type.kind == "personal" and sum(count for _, count in frequent) >= _REPEATED * max(1, len(values))
    recipe = find_recipe(
        column_type.form,
        values,
        rows=len(column),
        person=person_of(name),
        rare=rare,
        locale=language,
        repeated=repeated,
        also=people if column_type.form == "name" else (),
    )
    recipe = _fitting(name, column, recipe)
    if not repeated or not frequent:
        return recipe, None
    kind = plain(column).type
    made = typed(make_different(recipe, len(frequent)), kind).to_pylist()
    real = typed([value for value, _ in frequent], kind).to_pylist()
    pseudonyms = Categories(
        made,
        [count for _, count in frequent],
        pseudonyms=True,
        stands_for={value: cell for cell, value in enumerate(real)},
    )
    return replace(recipe, missing=0.0, pseudonyms=len(frequent)), pseudonyms
