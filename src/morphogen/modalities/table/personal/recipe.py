"""How one column of keys or personal data is made anew, and nothing else of its values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from .checksums import CHECKSUMS, plain
from .exclusion import NOTHING, Exclusion
from .keys import KeyForm, find_form
from .lists import match_names, names_by_locale, without_title
from .shapes import Places, find_shapes

KEYS = ("number", "pattern")
NAMES = ("name", "first name", "last name", "email", "username")  # of one person, where they are about the same one
_SHAPED = ("phone", "national id", "credit card", "iban", "code")
_PREFIX = {"phone": 6, "iban": 2, "credit card": 1, "code": 2}  # characters that stay where enough rows begin with them
_VALID = 0.9  # share of values that pass a checksum, from which on made ones pass it, too
_MOST_TITLES = 20


@dataclass(frozen=True)
class Recipe:
    """What is needed to make a column: its form, the language of its names, and who of a row it is about.

    `styles` are the ways to write a value (a name after a title, a shape of digits), in proportion to `weights`.
    """

    form: str
    missing: float = 0.0  # share of the rows
    locale: str = ""
    person: str = ""
    styles: tuple[Any, ...] = ()
    weights: tuple[float, ...] = ()
    checksum: str = ""  # words of the rule that values satisfy
    length: int = 0  # words of a text
    pseudonyms: int = 0  # that were made before all others
    excluded: Exclusion = NOTHING
    key: KeyForm | None = None

    def state(self) -> dict[str, Any]:
        """Return plain JSON, which `from_state` reads."""
        return {
            "form": self.form,
            "missing": self.missing,
            "locale": self.locale,
            "person": self.person,
            "styles": list(self.styles),
            "weights": list(self.weights),
            "checksum": self.checksum,
            "length": self.length,
            "pseudonyms": self.pseudonyms,
            "excluded": self.excluded.state(),
            "key": self.key.state() if self.key else None,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Return the recipe that `state` described."""
        return cls(
            form=state["form"],
            missing=state["missing"],
            locale=state["locale"],
            person=state["person"],
            styles=tuple(tuple(one) if isinstance(one, list) else one for one in state["styles"]),
            weights=tuple(state["weights"]),
            checksum=state["checksum"],
            length=state["length"],
            pseudonyms=state["pseudonyms"],
            excluded=Exclusion.from_state(state["excluded"]),
            key=KeyForm.from_state(state["key"]) if state["key"] else None,
        )


def find_recipe(
    form: str,
    values: Sequence[str],
    *,
    rows: int,
    person: str,
    rare: int,
    locale: str,
    repeated: bool = False,
    also: Sequence[str] = (),
) -> Recipe:
    """Return how to make a column like the `values` that are not missing among `rows`.

    `locale` is the language of names where the values do not tell. No value is made again, of first or last names
    none that is rare unless they are `repeated`, and none of `also`.
    """
    missing = round(1 - len(values) / rows, 4) if rows else 0.0
    if form in KEYS:
        key = find_form(values or ["0"], rare, whole=form == "number")
        return Recipe(form, missing, key=key)
    if form in ("free text", "uuid", "ip"):
        words = [len(value.split()) for value in values] or [1]
        return Recipe(form, missing, locale or "en_US", length=round(sum(words) / len(words)))
    counts = Counter(values)
    # A first or last name alone says nothing where many rows have it.
    protected = [value for value, count in counts.items() if count < rare or repeated or form not in NAMES[1:3]]
    excluded = Exclusion.of([*protected, *also])
    if form in _SHAPED:
        return _shaped(form, values, missing, excluded, rare)
    locale = locale_of(values) or locale or "en_US"
    if form not in ("name", "first name", "last name"):
        long = sum("," in value or "\n" in value for value in values) > 0.5 * len(values)
        return Recipe(form, missing, locale, person, ("long" if long else "short",), (1.0,), excluded=excluded)
    styles, weights = _styles(values, locale, rare)
    return Recipe(form, missing, locale, person, styles, weights, excluded=excluded)


def _shaped(form: str, values: Sequence[str], missing: float, excluded: Exclusion, rare: int) -> Recipe:
    shapes: tuple[Places, ...]
    shapes, counts = find_shapes(values or ["0" * 10], rare, prefix=_PREFIX.get(form, 0))
    checksum = ""
    for one in CHECKSUMS:
        if values and sum(one.is_valid(plain(value)) for value in values) >= _VALID * len(values):
            checksum = one.words
            break
    return Recipe(form, missing, styles=shapes, weights=tuple(map(float, counts)), checksum=checksum, excluded=excluded)


def locale_of(values: Sequence[str]) -> str:
    """Return the language of names; empty where it is not told by a quarter of the values."""
    match = match_names(list(dict.fromkeys(values)))
    return match.locale if max(match.full, match.first, match.last) >= 0.25 else ""


def _styles(values: Sequence[str], locale: str, rare: int) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Return how names are written, such as `Dr. {first} {last}`, and the share of each.

    Titles stay where at least `rare` rows have them.
    """
    bare = [without_title(value) for value in values]
    titles = Counter(value.strip()[: len(value.strip()) - len(own)] for value, own in zip(values, bare, strict=True))
    order = _order(bare, locale)
    case = next((how for how in ("upper", "lower") if values and all(_is(how, value) for value in bare)), "")
    frequent = [(title, count) for title, count in titles.most_common(_MOST_TITLES) if count >= rare] or [("", 1)]
    styles = tuple(f"{title}{order}|{case}" for title, _ in frequent)
    return styles, tuple(float(count) for _, count in frequent)


def _is(case: str, value: str) -> bool:
    return (value.isupper() if case == "upper" else value.islower()) if value else False


def _order(values: Sequence[str], locale: str) -> str:
    """Return how first and last name stand in most of the values."""
    if sum("," in value for value in values) > 0.5 * len(values):
        return "{last}, {first}"
    names = names_by_locale().get(locale)
    if names is None or not values:
        return "{first} {last}"
    first, last = ({one.casefold() for one in own} for own in names)
    single = sum(" " not in value for value in values) > 0.5 * len(values)
    if single and locale[:2] in ("zh", "ja", "ko"):
        return "{last}{first}"
    ends = [(own[0], own[-1]) for value in values if len(own := value.casefold().split()) > 1]
    forward = sum(a in first and b in last for a, b in ends)
    backward = sum(a in last and b in first for a, b in ends)
    return "{last} {first}" if backward > forward else "{first} {last}"
