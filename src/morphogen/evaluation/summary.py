"""The summary of an evaluation, in a few sentences."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.results import Check, Figure
from .overlap import CONTAMINATION


def summarise(checks: Sequence[Check], figures: Sequence[Figure], *, real: int, shift: str = "") -> str:
    """Return faults first, then the distance to real items; `shift` is why some checks were not possible."""
    faults = [check for check in checks if check.detected and check.fault]
    differences = [check for check in checks if check.detected and not check.fault]
    looked_for = [check for check in checks if check.fault]
    if faults:
        names = ", ".join(check.name for check in faults)
        sentences = [f"{len(faults)} fault{'s' if len(faults) > 1 else ''} detected: {names}."]
        sentences += [check.message for check in faults]
    elif all(check.name == CONTAMINATION for check in looked_for):
        sentences = ["The model could not be judged: no check compared generated items with real ones."]
    else:
        sentences = [f"No fault detected in {len(looked_for)} checks."]
    sentences += [check.message for check in differences]
    if not differences and len(looked_for) < len(checks):
        sentences.append(f"Generated items cannot be distinguished from real ones with {real:,} held-out items.")
    if shift:
        sentences.append(f"{shift[0].upper()}{shift[1:]}.")
    if position := _position(figures):
        sentences.append(position)
    return " ".join(sentences)


def _position(figures: Sequence[Figure]) -> str:
    """Return where the Fréchet distance lies between real data and the independent baseline, in words."""
    figure = next((figure for figure in figures if figure.key == "frechet"), None)
    if figure is None or figure.real_data is None or figure.baseline is None or figure.baseline <= figure.real_data:
        return ""
    share = (figure.value - figure.real_data) / (figure.baseline - figure.real_data)
    return (
        f"By {figure.name}, generated items are at {max(0.0, share):.1%} of the way from real data (0 %) to the "
        "independent baseline (100 %)."
    )
