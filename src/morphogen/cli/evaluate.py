"""Judge a model on held-out data: metrics.json, report.html."""

from __future__ import annotations

import sys
from pathlib import Path

from ._model import chosen, flag, parse_on_model


def run(arguments: list[str]) -> int:
    fields = [
        ("data", flag(str | None, "Items that the model has not seen; None: those held out when it was fitted."), None),
        ("source", flag(str | None, "Where the training source is now, if it moved."), None),
        (
            "n",
            flag(int | None, "Items to generate and judge; None: 1,000, texts 500, rows 10,000.", aliases=["-n"]),
            None,
        ),
        (
            "extractor",
            flag(
                str | None,
                "What sees features: own (a small network of the training data, or none), model (its own embeddings), "
                "inception-2015, dinov2, clip, minilm, or a folder evaluation/extractor of another model, to compare.",
            ),
            None,
        ),
        (
            "extractor_weights",
            flag(Path | None, "File or folder of a pretrained extractor's weights; None: download."),
            None,
        ),
        ("label", flag(str | None, "Column of the classes; None: the model's condition, or label."), None),
        ("target", flag(str | None, "Of tables, the column that a downstream model learns."), None),
        ("json", flag(bool, "Print all that was found as JSON."), False),
    ]
    parsed = parse_on_model(arguments, "evaluate", "DIR", __doc__, fields, writes=False)

    from ..core.errors import UserError
    from ..evaluation.evaluate import evaluate

    if parsed.condition:
        raise UserError("--condition does not apply: classes are drawn as often as held-out items have them")
    found = evaluate(
        parsed.folder,
        data=parsed.data,
        source=parsed.source,
        count=parsed.n,
        seed=parsed.seed,
        extractor=parsed.extractor,
        extractor_weights=parsed.extractor_weights,
        label=parsed.label,
        target=parsed.target,
        batch=parsed.batch,
        out=parsed.out,
        say=lambda line: print(line, file=sys.stderr),
        **chosen(parsed),
    )
    if found is None:  # another process tells
        return 0
    if parsed.json:
        print(found.model_dump_json(indent=2))
        return 0
    for one in found.figures:
        if one.group == "properties":
            continue
        interval = f" ({one.low:.4g} to {one.high:.4g})" if one.low is not None and one.high is not None else ""
        bounds = "".join(
            f", {name} {value:.4g}"
            for name, value in (("ceiling", one.ceiling), ("floor", one.floor))
            if value is not None
        )
        print(f"{one.name:40} {one.value:.4g}{interval}{bounds}")
    for missing in found.not_measured:
        print(f"{missing.name:40} not measured: {missing.why}")
    print(f"\n{found.verdict}")
    print(f"wrote {parsed.out or parsed.folder}/report.html", file=sys.stderr)
    return 0
