"""From a model to an evaluation: what `morphogen evaluate` does."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..core.judge import Comparison
from ..core.results import Results
from ..pipeline import Pipeline, load
from ..version import __version__
from . import processes
from .comparison import read_comparison
from .measure import Say, measure
from .output import changed_controls, repeat_command, write
from .plan import Plan, check_data, choose_extractor, make_plan
from .results import Evaluation
from .summary import summarise

_SLOW = 20  # seconds from which on the remaining time is printed


def evaluate(
    model: Pipeline | Path | str,
    *,
    data: Any = None,
    source: Any = None,
    count: int | None = None,
    seed: int = 0,
    extractor: str | Path | None = None,
    extractor_weights: str | Path | None = None,
    label: str | None = None,
    target: str | None = None,
    batch: int | None = None,
    out: Path | str | None = None,
    say: Say | None = print,
    **controls: Any,
) -> Evaluation | None:
    """Judge a model, or the model in a folder, by the items held out when it was fitted; write and return the result.

    `data` are other items that the model has not seen; training items are refused. `source` is where the training
    source is now, if it moved. `count` items are generated, from `seed` on, under the model's `controls`. `extractor`
    is `own`, `model`, the name of a pretrained one, another model's folder, or the folder of an extractor that an
    evaluation saved; `extractor_weights` is the file or folder of a pretrained one. `label` is the column of classes,
    `target` the column to predict. `report.html` and `metrics.json` go to `out`, or to the model folder. Under a
    launcher such as torchrun, processes share the sampling; all but the first return None. Raises UserError where there
    is too little to judge by.
    """
    started = time.monotonic()
    flags = {"data": data, "source": source, "extractor": extractor, "extractor_weights": extractor_weights}
    flags |= {"label": label, "target": target, "batch": batch}
    pipeline = model if isinstance(model, Pipeline) else load(model)
    rank, ranks = processes.start()
    report: Say = say if say and rank == 0 else (lambda line: None)
    folder = Path(out) if out is not None else pipeline.folder
    plan = make_plan(
        pipeline, data=data, source=source, label=label, target=target, extractor=extractor, count=count, seed=seed
    )
    results = Results()
    if rank == 0:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        plan = check_data(plan, data is not None, results)
        plan, chosen = choose_extractor(plan, extractor, extractor_weights, folder, results)
    batches = _generate(plan, controls, batch, rank, ranks, report)
    if rank:
        return None
    report(f"features by {chosen.name} …")
    comparison = read_comparison(plan, chosen, batches)
    measure(plan, comparison, results, report)
    command = repeat_command(pipeline, seed, plan.count, flags, changed_controls(pipeline, controls))
    evaluation = _record(plan, comparison, results, controls, command, time.monotonic() - started)
    if folder is not None:
        write(folder, plan, evaluation, results, comparison, batches)
    return evaluation


def _generate(plan: Plan, controls: dict[str, Any], batch: int | None, rank: int, ranks: int, say: Say) -> list[Any]:
    say(f"generating {plan.count:,} items …")
    return processes.sample(
        plan.pipeline,
        plan.count,
        seed=plan.seed,
        condition=plan.condition,
        controls=controls,
        batch=batch,
        rank=rank,
        ranks=ranks,
        progress=_remaining_time(say, plan.count),
    )


def _remaining_time(say: Say, count: int) -> Callable[[int], None]:
    """Return a callback that prints the remaining time once, after the first batch."""
    started = time.monotonic()
    printed = False

    def progress(finished: int) -> None:
        nonlocal printed
        if printed or finished >= count:
            return
        printed = True
        seconds = (time.monotonic() - started) / finished * (count - finished)
        if seconds > _SLOW:
            say(f"about {seconds / 60:.1f} more minutes; -n generates fewer items")

    return progress


def _record(
    plan: Plan, comparison: Comparison[Any], results: Results, controls: dict[str, Any], command: str, seconds: float
) -> Evaluation:
    pipeline, count = plan.pipeline, len(comparison.real)
    return Evaluation(
        morphogen=__version__,
        model=pipeline.hash,
        family=pipeline.family,
        modality=pipeline.modality,
        data=plan.splits.description,
        extractor=comparison.extractor.name,
        seed=plan.seed,
        real=count,
        generated=len(comparison.generated),
        train=len(comparison.train) if comparison.train else 0,
        controls=pipeline.artifact.controls(controls).model_dump(mode="json"),
        command=command,
        seconds=round(seconds, 1),
        summary=summarise(results.checks, results.figures, real=count, shift=comparison.distribution_shift),
        checks=results.checks,
        figures=results.figures,
        not_measured=results.not_measured,
        classes=results.classes,
        columns=results.columns,
    )
