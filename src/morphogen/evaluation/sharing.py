"""May the generated items be given away, and may the model? Answers by the attacks that were tried, each by itself."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.results import Answer, Check, NotMeasured, Sharing
from .copying import COPIES, MEMORISATION
from .likelihood import BY_LIKELIHOOD
from .privacy import MEMBERSHIP

_ITEM_ATTACKS = (COPIES, MEMORISATION, MEMBERSHIP)
_MORE_DATA = "Train on more items, for a shorter time or with a smaller model, and evaluate again"


def sharing(
    checks: Sequence[Check], not_measured: Sequence[NotMeasured], *, plural: str, generated: int, stores: Sequence[str]
) -> list[Sharing]:
    """Return the answers for generated items and for the model; `stores` says what of the data a model folder holds."""
    reasons = {one.name: one.reason for one in not_measured}
    attacks = [check for check in checks if check.privacy]
    items = [check for check in attacks if check.name != BY_LIKELIHOOD]  # which needs the model
    missing = [name for name in _ITEM_ATTACKS if name not in {check.name for check in items}]
    untried = [f"{name}: {reasons.get(name, 'not measured')}" for name in missing]
    return [
        _items(items, missing, untried, plural, generated),
        _model(attacks, missing, untried, reasons, plural, stores),
    ]


def _items(
    attacks: Sequence[Check], missing: Sequence[str], untried: list[str], plural: str, generated: int
) -> Sharing:
    answer = _answer(attacks, missing)
    messages: dict[Answer, str] = {
        "no": f"No: {_names(attacks)}.",
        "unclear": f"Not shown: {_open_points(attacks, missing)}.",
        "nothing found": f"Nothing was found that speaks against it, in {generated:,} generated {plural}.",
    }
    advice: dict[Answer, str] = {
        "no": f"Do not share these {plural}. {_MORE_DATA}.",
        "unclear": f"Share them only where their source could be shared. With more held-out {plural}, evaluate again.",
        "nothing found": f"Look for names, places and rare values in the {plural} that you share; an evaluation sees "
        "a sample of them, and no attack proves privacy.",
    }
    return Sharing(
        what="items",
        answer=answer,
        message=messages[answer],
        attacked=[check.message for check in attacks],
        not_attacked=[
            *untried,
            "what somebody learns who has other data of the same people (linkage, inference of one attribute)",
            f"{plural} that are generated later, with other settings, or in larger numbers",
        ],
        advice=advice[answer],
    )


def _model(
    attacks: Sequence[Check],
    missing: Sequence[str],
    untried: list[str],
    reasons: dict[str, str],
    plural: str,
    stores: Sequence[str],
) -> Sharing:
    without_likelihood = [BY_LIKELIHOOD] if BY_LIKELIHOOD in reasons else []
    answer = "no" if stores else _answer(attacks, [*missing, *without_likelihood])
    if stores:
        message = f"No: its folder holds {'; '.join(stores)}."
    elif answer == "no":
        message = f"No: {_names(attacks)}."
    elif answer == "unclear":
        message = f"Not shown: {_open_points(attacks, [*missing, *without_likelihood])}."
    else:
        message = "Nothing was found that speaks against it."
    advice = {
        "no": f"Keep the model, and share generated {plural} instead, if these may be shared. {_MORE_DATA}.",
        "unclear": f"Share it only where the training {plural} could be shared.",
        "nothing found": "Whoever has a model can generate without end and attack its weights: share it with fewer "
        f"people than generated {plural}.",
    }[answer]
    return Sharing(
        what="model",
        answer=answer,
        message=message,
        attacked=[check.message for check in attacks],
        not_attacked=[
            *untried,
            *(f"{name}: {reasons[name]}" for name in without_likelihood),
            "attacks on the weights (gradients, activations)",
            f"extraction by very many generated {plural}",
        ],
        advice=advice,
    )


def _answer(attacks: Sequence[Check], missing: Sequence[str]) -> Answer:
    if any(check.detected for check in attacks):
        return "no"
    return "unclear" if missing or any(check.unclear for check in attacks) else "nothing found"


def _names(attacks: Sequence[Check]) -> str:
    return " and ".join(check.name for check in attacks if check.detected)


def _open_points(attacks: Sequence[Check], missing: Sequence[str]) -> str:
    """Return what was not tried, and what was tried on too few items."""
    unclear = [f"{check.name} cannot be excluded" for check in attacks if check.unclear]
    return "; ".join([*unclear, *(f"{name} could not be tried" for name in missing)])
