"""The summary of an evaluation, in at most five lines."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.results import Check, Grade, Sharing
from .overlap import CONTAMINATION

_WHOLE = 2  # messages of checks of one kind, beyond which they are named only
_QUESTIONS = {"items": "Share the {items}?", "model": "Share the model?"}


def summarise(
    grade: Grade,
    checks: Sequence[Check],
    sharing: Sequence[Sharing],
    *,
    real: int,
    plural: str,
    notes: Sequence[str] = (),
) -> str:
    """Return the grade, the faults, the differences, and both answers on sharing, a line each.

    `real` is the number of held-out items; `notes` say why some checks were not possible.
    """
    lines = [f"{grade.title}. {grade.message}", _faults(checks), _differences(checks, real)]
    sentences = [f"{note[0].upper()}{note[1:]}." for note in notes if note]
    lines[-1] = " ".join([lines[-1], *sentences]).strip()
    lines += [f"{_QUESTIONS[one.what].format(items=plural)} {one.message}" for one in sharing]
    return "\n".join(line for line in lines if line)


def faults(checks: Sequence[Check]) -> list[Check]:
    """Return the faults that were detected."""
    return [check for check in checks if check.fault and check.detected]


def _faults(checks: Sequence[Check]) -> str:
    looked_for = [check for check in checks if check.fault]
    if detected := faults(checks):
        return f"{len(detected)} of {len(looked_for)} faults detected. {_first(detected)}"
    if all(check.name == CONTAMINATION for check in looked_for):
        return "The model could not be judged: no check compared generated items with real ones."
    line = f"No fault detected in {len(looked_for)} checks"
    unclear = [check.name for check in looked_for if check.unclear]
    return f"{line}; {', '.join(unclear)} cannot be excluded." if unclear else f"{line}."


def _first(checks: Sequence[Check]) -> str:
    """Return the messages of the first checks, and the names of the others."""
    others = ", ".join(check.name for check in checks[_WHOLE:])
    return " ".join(check.message for check in checks[:_WHOLE]) + (f" Also: {others}." if others else "")


def _differences(checks: Sequence[Check], real: int) -> str:
    detected = [check for check in checks if check.detected and not check.fault]
    if detected:
        return _first(detected)
    if any(not check.fault for check in checks):
        return f"No significant difference from real items, with {real:,} held-out items."
    return ""
