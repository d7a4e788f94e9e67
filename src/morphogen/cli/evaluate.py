"""Judge a model on held-out data: a grade, faults, what may be shared; report.html."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ..core.judge import Judge, pretrained_names
from ..core.modality import modalities
from ._flags import flag
from ._model import control_values, folder_settings, parse_on_model


def run(arguments: list[str]) -> int:
    model = folder_settings(arguments)
    modality = model.modality if model is not None else None
    parsed = parse_on_model(
        arguments,
        "evaluate",
        "DIR",
        __doc__ or "",
        _fields(modality.judge() if modality else None, every=modality is None),
        condition=False,
        writes=False,
    )

    from ..evaluation.evaluate import evaluate

    evaluation = evaluate(
        parsed.folder,
        data=parsed.data,
        source=parsed.source,
        count=parsed.n,
        seed=parsed.seed,
        quick=parsed.quick,
        show_real=parsed.show_real,
        extractor=parsed.extractor,
        extractor_weights=parsed.extractor_weights,
        label=parsed.label,
        target=parsed.target,
        batch=parsed.batch,
        out=parsed.out,
        **control_values(parsed),
    )
    if evaluation is None:  # the first process prints
        return 0
    if parsed.json:
        print(evaluation.model_dump_json(indent=2))
        return 0
    print(evaluation.summary)
    print(f"wrote {parsed.out or parsed.folder}/report.html", file=sys.stderr)
    return 0


def _fields(judge: Judge[Any] | None, every: bool) -> list[tuple[str, Any, Any]]:
    """Return the flags; the names of extractors are those of the judge, or of all modalities."""
    names = pretrained_names({other.name: other.judge() for other in modalities().values()}) if every else ()
    pretrained = "".join(f"{name}, " for name in (judge.pretrained if judge else names))
    samples = f"{judge.samples if judge else Judge.samples:,}" if not every else "by modality"
    extractor = (
        "Features to compare: own (the modality's default), model (the model's embeddings), "
        f"{pretrained}or, to compare two models, the folder evaluation/extractor of the other one."
    )
    weights = "File or folder of a pretrained extractor's weights; None: download."
    return [
        ("data", flag(str | None, "Items that the model has not seen; None: those held out when it was fitted."), None),
        ("source", flag(str | None, "Where the training source is now, if it moved."), None),
        ("n", flag(int | None, f"Number of items to generate; None: {samples}.", aliases=["-n"]), None),
        ("quick", flag(bool, "Half a minute: fewer items, no trained extractor, no slow likelihood."), False),
        ("show_real", flag(bool, "Show real items in the report, which then must not be passed on freely."), False),
        ("extractor", flag(str | None, extractor), None),
        ("extractor_weights", flag(Path | None, weights), None),
        ("label", flag(str | None, "Column of the classes; None: the model's condition, or label."), None),
        ("target", flag(str | None, "Column to predict, to test utility, of items with columns."), None),
        ("json", flag(bool, "Print the whole evaluation as JSON."), False),
    ]
