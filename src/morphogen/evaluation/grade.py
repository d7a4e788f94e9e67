"""The grade of a model: how far generated items are from real ones, and whether there are faults.

Two distances make it. The area of the classifier two-sample test says how often a generated item is recognised; it is
sensitive, and saturates early. The Fréchet distance says how far items are, from real data (0) to real items that are
visibly worse (1); it is blind to what the extractor does not see.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..core.judge import Comparison
from ..core.results import Figure, Grade, Level, Results
from .fidelity import distance
from .two_sample import TWO_SAMPLE

# Of the area: with .65, two of three guesses are right, and one in two by chance. New real items have .47 to .52; noise
# of 4 % of the range .68; a slight blur .89. To be good, an interval has to exclude .7.
GOOD_AREA, SURE_AREA, POOR_AREA = 0.65, 0.70, 0.95
# Of the way to damaged items: new real items have at most .1, sampling noise included; two of ten classes missing 1.5.
# Half of the way is seen at a glance.
GOOD_POSITION, POOR_POSITION = 0.25, 0.5

_TITLES: dict[Level, str] = {
    "good": "Hard to distinguish from real {items}",
    "fair": "Similar to real {items}, but distinguishable",
    "poor": "Far from real {items}",
    "unclear": "Too few {items} to judge",
}


class Likeness(NamedTuple):
    """What the grade rests on; None: it was not measured."""

    area: Figure | None
    position: float | None


def grade(comparison: Comparison[Any], results: Results, noun: str, plural: str) -> Grade:
    """Return the grade; `noun` and `plural` name the items. A fault is never good."""
    likeness = Likeness(next((one for one in results.figures if one.key == "two_sample"), None), position(comparison))
    level = level_of(likeness)
    faults = [check.name for check in results.checks if check.fault and check.detected]
    differences = [one.name for one in results.checks if one.detected and not one.fault and one.name != TWO_SAMPLE]
    if level == "good" and differences:
        level, title = "fair", f"Similar to real {plural}, except for {' and '.join(differences)}"
    else:
        title = _TITLES[level].format(items=plural)
    if faults:
        title += f", and {len(faults)} fault{'s' if len(faults) > 1 else ''}: {', '.join(faults)}"
        level = "poor"
    return Grade(level=level, title=title, message=_message(likeness, noun, plural))


def level_of(likeness: Likeness) -> Level:
    """Return the level by both distances; the thresholds stand at the top of this file, with their reasons."""
    area, place = likeness
    if area is None or area.high is None:
        return "unclear" if place is None or place < POOR_POSITION else "poor"
    # Where training items are recognised among held-out ones, generated ones cannot do better.
    shift = max(0.0, (area.real_data or 0.5) - 0.5)
    value, high = area.value - shift, area.high - shift
    recognised = value >= POOR_AREA
    if recognised if place is None else place >= POOR_POSITION or (recognised and place >= GOOD_POSITION):
        return "poor"
    if value > GOOD_AREA or (place or 0.0) > GOOD_POSITION:
        return "fair"
    return "good" if high <= SURE_AREA else "unclear"


def position(comparison: Comparison[Any]) -> float | None:
    """Return where the Fréchet distance lies between real data (0) and the nearest of the worse references (1).

    These are real items made worse and the independent baseline. None: there is no reference.
    """
    real, matched = comparison.real.features, comparison.train_matched
    worse = [
        value
        for sample in (comparison.degraded, comparison.baseline)
        if sample is not None and (value := distance(real, sample.features)) is not None
    ]
    value = distance(real, comparison.generated.features)
    best = distance(real, matched.features) if matched is not None else 0.0
    if value is None or best is None or not worse or min(worse) <= best:
        return None
    return max(0.0, (value - best) / (min(worse) - best))


def _message(likeness: Likeness, noun: str, plural: str) -> str:
    area, place = likeness
    sentences = []
    if area is not None:
        interval = ""
        if area.low is not None and area.high is not None:
            interval = f"95\N{NO-BREAK SPACE}% interval {_percent(area.low)} to {_percent(area.high)}; "
        sentences.append(
            f"Of a real and a generated {noun}, a classifier picks the generated one in {_percent(area.value)} of "
            f"cases ({interval}guessing: 50\N{NO-BREAK SPACE}%)."
        )
    if place is not None and place > 1:
        sentences.append(f"By the Fréchet distance they are further away than visibly damaged {plural}.")
    elif place is not None:
        way = f"from real {plural} to visibly damaged ones"
        sentences.append(f"By the Fréchet distance they are {_percent(place)} of the way {way}.")
    return " ".join(sentences) or f"There are too few {plural} to compare."


def _percent(share: float) -> str:
    return f"{100 * share:.0f}\N{NO-BREAK SPACE}%"
