"""What was found, in plain words."""

from __future__ import annotations

from collections.abc import Sequence

from .results import Check, Figure

_SEEN = "training items in the evaluation"


def verdict(checks: Sequence[Check], figures: Sequence[Figure], *, real: int, shifted: str = "") -> str:
    """Faults first, then how far generated items are from real ones; `shifted` is why something could not be told."""
    wrong = [one for one in checks if one.found and one.fault]
    apart = [one for one in checks if one.found and not one.fault]
    said = []
    if wrong:
        names = ", ".join(one.name for one in wrong)
        said.append(f"{len(wrong)} fault{'s' if len(wrong) > 1 else ''} found: {names}.")
        said += [one.says for one in wrong]
    else:
        looked = sum(one.fault for one in checks)
        if all(one.name == _SEEN for one in checks if one.fault):
            said.append("It could not be judged: nothing of what follows compares generated items with real ones.")
        else:
            said.append(f"No fault was found of {looked} that were looked for.")
    said += [one.says for one in apart]
    if not apart and not all(one.fault for one in checks):
        said.append(f"Generated items cannot be told from real ones, as far as {real:,} held-out items tell.")
    if shifted:
        said.append(f"{shifted[0].upper()}{shifted[1:]}.")
    if where := _where(figures):
        said.append(where)
    return " ".join(said)


def _where(figures: Sequence[Figure]) -> str:
    """Where the distance stands between its ceiling and its floor."""
    one = next((one for one in figures if one.key == "frechet"), None)
    if one is None or one.ceiling is None or one.floor is None or one.floor <= one.ceiling:
        return ""
    share = (one.value - one.ceiling) / (one.floor - one.ceiling)
    return (
        f"By {one.name} they stand at {max(0.0, share):.1%} of the way from real items (0 %) to items that are right "
        "part by part and in nothing else (100 %)."
    )
