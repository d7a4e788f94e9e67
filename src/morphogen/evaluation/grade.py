"""The grade of a model: how far generated items are from real ones, and whether there are faults.

Two distances make it. The area of the classifier two-sample test says how often a generated item is recognised; it is
sensitive, and saturates early. The relative Fréchet distance says how far items are as a whole, from real data (0) to
real items that are visibly damaged (1); it is blind to what the extractor does not see.

A level needs evidence. Good: the intervals exclude a difference that matters. Fair: they exclude that there is none.
Poor: they exclude fair. Otherwise there are too few items.
"""

from __future__ import annotations

from typing import NamedTuple

from ..core.results import Figure, Grade, Level, Results
from .relative import KEY
from .two_sample import TWO_SAMPLE

# Of the area: with .65, two of three guesses are right, and one in two by chance. New real items have .47 to .52; noise
# of 4 % of the range .68; a slight blur .89. To be good, an interval has to exclude .7.
GOOD_AREA, SURE_AREA, POOR_AREA = 0.65, 0.70, 0.95
# Of the relative distance: new real items have at most .1, sampling noise included; two of ten classes missing 1.5.
# Half of the way is seen at a glance.
GOOD_POSITION, POOR_POSITION = 0.25, 0.5
# Items of each side; with 29 the trees, of 20 items a leaf at least, could not tell blurred pictures from real ones.
_ENOUGH = 100
_SHIFTED = 0.6  # area of training items, from which on they are named beside that of generated ones


class Likeness(NamedTuple):
    """What the grade rests on; None: it was not measured."""

    area: Figure | None
    position: Figure | None

    @property
    def saturated(self) -> bool:
        """Whether training items are recognised among held-out ones as easily as any, so that the area says nothing."""
        return self.area is not None and (self.area.real_data or 0.5) >= POOR_AREA

    def corrected(self, area: float) -> float:
        """Return an area on the scale from that of training items (.5) to 1: generated items cannot do better."""
        best = max(0.5, (self.area and self.area.real_data) or 0.5)
        return 0.5 + 0.5 * (area - best) / (1 - best)

    @property
    def corrected_area(self) -> float:
        return self.corrected(self.area.value) if self.area and not self.saturated else 0.5

    @property
    def recognised(self) -> bool:
        return self.corrected_area >= POOR_AREA

    @property
    def unrecognised(self) -> bool:
        """Whether the area is that of good items; with few items it may be so because the classifier is weak."""
        return self.corrected_area <= GOOD_AREA

    @property
    def hard_to_distinguish(self) -> bool:
        """Whether the classifier could have recognised items, and does not."""
        return self.area is not None and self.unrecognised and not (self.saturated or self.weak)

    @property
    def weak(self) -> bool:
        """Whether the classifier had too few items to learn from."""
        return self.area is not None and min(self.area.real, self.area.generated) < _ENOUGH

    @property
    def distinguishable(self) -> bool:
        """Whether the classifier recognises items, and not by chance."""
        low = self.area.low if self.area else None
        return not self.unrecognised and low is not None and self.corrected(low) > 0.5

    @property
    def near(self) -> bool:
        return self.position is not None and self.position.value <= GOOD_POSITION

    def at_least(self, position: float) -> bool:
        """Return whether the interval excludes a smaller relative distance."""
        return self.position is not None and self.position.low is not None and self.position.low >= position

    def below(self, position: float) -> bool:
        """Return whether the interval excludes a relative distance as large; true where none was measured."""
        return self.position is None or (self.position.high is not None and self.position.high < position)


def grade(results: Results, noun: str, plural: str, *, quick: bool = False) -> Grade:
    """Return the grade; `noun` and `plural` name the items. A fault is never good."""
    figures = {one.key: one for one in results.figures if one.key in ("two_sample", KEY)}
    likeness = Likeness(figures.get("two_sample"), figures.get(KEY))
    level = level_of(likeness)
    title, more = _title(level, likeness, plural)
    if quick and level == "good":
        # Fewer items and an extractor of seconds see less, never more: only what is good needs a second look.
        more = " at first look"
    faults = [check.name for check in results.checks if check.fault and check.detected]
    differences = [one.name for one in results.checks if one.detected and not one.fault and one.name != TWO_SAMPLE]
    if level == "good" and differences and not faults:
        level, more = "fair", ""
        title = f"Close to real {plural}, except for {' and '.join(differences)}"
    if faults:
        # How close the others are matters no longer.
        counted = f"{len(faults)} fault{'s' if len(faults) > 1 else ''}: {', '.join(faults)}"
        if level == "unclear" and not likeness.recognised:
            title, more = counted, ""
        else:
            more = f", {'but ' if level == 'good' else ''}with {counted}"
        level = "poor"
    message = _message(likeness, noun, plural)
    if quick:
        message += f" A first look, at fewer {plural} and by weaker features than in a whole evaluation."
    return Grade(level=level, title=title + more, message=message)


def level_of(likeness: Likeness) -> Level:
    """Return the level by both distances; the thresholds stand at the top of this file, with their reasons."""
    area, position = likeness.area, likeness.position
    if likeness.at_least(POOR_POSITION):
        return "poor"
    if area is None or area.low is None or area.high is None or likeness.saturated:
        return "unclear"
    if likeness.recognised and (position is None or likeness.at_least(GOOD_POSITION)):
        return "poor"
    if not likeness.at_least(GOOD_POSITION) and not likeness.below(POOR_POSITION):
        return "unclear"  # from close to far, all is possible
    if likeness.distinguishable or (position is not None and position.value > GOOD_POSITION and position.low):
        return "fair"
    if not likeness.hard_to_distinguish or (position is not None and not likeness.near):
        return "unclear"
    return "good" if likeness.corrected(area.high) <= SURE_AREA else "unclear"


def _title(level: Level, likeness: Likeness, plural: str) -> tuple[str, str]:
    """Return the title, and what it says more where there are no faults."""
    recognised = f"{_often(likeness)} recognisable as generated"
    one_by_one = ", though hard to distinguish one by one"
    if level == "good":
        if likeness.area and (likeness.area.real_data or 0.5) > GOOD_AREA:
            return f"As close to held-out {plural} as training {plural} are", ""
        return f"Hard to distinguish from real {plural}", ""
    if level == "unclear":
        if likeness.recognised:
            return recognised, f"; too few {plural} to say how far from real ones"
        if likeness.saturated:
            return f"Held-out {plural} differ too much from training {plural} to judge", ""
        return f"Too few {plural} to judge how close they are to real ones", ""
    if level == "poor" and likeness.at_least(POOR_POSITION):
        if likeness.hard_to_distinguish:
            return f"Far from real {plural} as a whole", one_by_one
        return f"Far from real {plural}", ""
    if likeness.recognised:
        if likeness.position is None:
            return recognised, ""
        return recognised, f", {'though close to' if likeness.near else 'and some way from'} real {plural} as a whole"
    if not likeness.distinguishable:
        return f"Some way from real {plural} as a whole", one_by_one if likeness.hard_to_distinguish else ""
    if likeness.near:
        return f"Close to real {plural}, but distinguishable", ""
    return f"Distinguishable from real {plural}", "" if likeness.position is None else ", and some way from them"


def _often(likeness: Likeness) -> str:
    """Return how often a classifier recognises generated items, as the message rounds it."""
    return "Always" if likeness.area and likeness.area.value >= 0.995 else "Nearly always"


def _message(likeness: Likeness, noun: str, plural: str) -> str:
    area, position = likeness
    sentences = []
    if area is not None:
        interval = f"95\N{NO-BREAK SPACE}% interval {_interval(area)}; " if area.low is not None else ""
        by_chance = "guessing: 50\N{NO-BREAK SPACE}%"
        if area.real_data is not None and area.real_data > _SHIFTED:
            by_chance = f"of a held-out and a training {noun} the training one in {_percent(area.real_data)}"
        if likeness.weak and likeness.unrecognised:
            by_chance += f"; {plural} are too few for it to learn from"
        sentences.append(
            f"Of a real and a generated {noun}, a classifier picks the generated one in {_percent(area.value)} of "
            f"cases ({interval}{by_chance})."
        )
    if position is not None:
        interval = f"too few {plural} for an interval" if position.high is None else f"interval {_interval(position)}"
        if position.low is not None and position.low > 1:
            where = f"further from real {plural} than visibly damaged ones are"
        else:
            where = f"{_percent(position.value)} of the way from real {plural} to visibly damaged ones ({interval})"
        if not likeness.at_least(GOOD_POSITION) and position.high is not None and position.high > 1:
            sentences.append(f"How far they are as a whole cannot be told from so few {plural}.")
        else:
            sentences.append(f"As a whole, by the Fréchet distance, they are {where}.")
    return " ".join(sentences) or f"There are too few {plural} to compare."


def _interval(figure: Figure) -> str:
    return f"{_percent(figure.low or 0.0)} to {_percent(figure.high or 0.0)}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}\N{NO-BREAK SPACE}%"
