"""From a model to an evaluation: what `morphogen evaluate` does."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ..core.errors import UserError
from ..core.judge import Comparison
from ..core.log import say as log
from ..core.results import Results
from ..pipeline import Pipeline, load
from ..version import __version__
from . import processes
from .comparison import read_comparison
from .grade import grade
from .measure import measure
from .output import changed_controls, repeat_command, write
from .overlap import CONTAMINATION
from .plan import Plan, check_data, choose_extractor, make_plan
from .privacy import one_finding
from .progress import Progress, Say
from .results import Evaluation
from .sharing import sharing
from .summary import summarise

_QUICK_SECONDS = 12.0  # of sampling, after which a quick evaluation takes what there is


def evaluate(
    model: Pipeline | Path | str,
    *,
    data: Any = None,
    source: Any = None,
    count: int | None = None,
    seed: int = 0,
    quick: bool = False,
    show_real: bool = False,
    extractor: str | Path | None = None,
    extractor_weights: str | Path | None = None,
    label: str | None = None,
    target: str | None = None,
    batch: int | None = None,
    out: Path | str | None = None,
    say: Say | None = log,
    **controls: Any,
) -> Evaluation | None:
    """Judge a model, or the model in a folder, by the items held out when it was fitted; write and return the result.

    `data` are other items that the model has not seen; other training items are refused, and of the whole training
    source the held-out part is taken. `source` is where the training source is now, if it moved. `count` items are
    generated, from `seed` on, under the model's `controls`. With `quick` it takes half a minute: fewer items, an
    extractor that is trained for seconds, and only as many items as can be generated in 12 seconds. The report shows
    real items with `show_real` only. `extractor` is `own`, `model`, the name of a pretrained one, another model's
    folder, or the folder of an extractor that an evaluation saved; `extractor_weights` is the file or folder of a
    pretrained one. `label` is the column of classes, `target` the column to predict. `report.html` and `metrics.json`
    go to `out`, or to the model folder. `say` takes lines on the progress; without one of your own a terminal shows a
    bar. Under a launcher such as torchrun, processes share the sampling; all but the first return None. Raises
    UserError where there is too little to judge by.
    """
    started = time.monotonic()
    if batch is not None and batch < 1:
        raise UserError(f"--batch {batch} makes no items; expected at least 1, or none for the modality's default")
    flags = {"data": data, "source": source, "extractor": extractor, "extractor_weights": extractor_weights}
    flags |= {"label": label, "target": target, "batch": batch}
    pipeline = model if isinstance(model, Pipeline) else load(model)
    rank, ranks = processes.start()
    progress = Progress(say if rank == 0 else None, bar=say is log)
    folder = Path(out) if out is not None else pipeline.folder
    plan = make_plan(
        pipeline,
        data=data,
        source=source,
        label=label,
        target=target,
        extractor=extractor,
        count=count,
        seed=seed,
        quick=quick,
    )
    if plan.splits.note and say and rank == 0:
        say(plan.splits.note)
    results = Results()
    with progress.shown():
        if rank == 0:
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
            progress.stage("reading the data and preparing the extractor")
            plan = check_data(plan, data is not None and not plan.splits.note, results)
            plan, chosen = choose_extractor(plan, extractor, extractor_weights, folder, results, progress.advance)
        batches = _generate(plan, controls, batch, rank, ranks, progress, limited=quick and count is None)
        if rank:
            return None
        progress.stage(f"features by {chosen.name}")
        comparison = read_comparison(plan, chosen, batches)
        measure(plan, comparison, results, progress.stage)
    made = len(comparison.generated)
    if quick and count is None:
        plan.note_fewer(made, results)
    command = repeat_command(pipeline, seed, made if quick else plan.count, flags, changed_controls(pipeline, controls))
    command += " --quick" if quick else ""
    evaluation = _record(plan, comparison, results, controls, command, time.monotonic() - started)
    if folder is not None:
        write(folder, plan, evaluation, results, comparison, batches, show_real=show_real)
    return evaluation


def _generate(
    plan: Plan, controls: dict[str, Any], batch: int | None, rank: int, ranks: int, progress: Progress, *, limited: bool
) -> list[Any]:
    progress.stage(f"generating {plan.count:,} {plan.modality.plural}", plan.count)
    return processes.sample(
        plan.pipeline,
        plan.count,
        seed=plan.seed,
        condition=plan.condition,
        controls=controls,
        batch=batch,
        rank=rank,
        ranks=ranks,
        progress=progress.advance,
        seconds=_QUICK_SECONDS if limited and ranks == 1 else None,
    )


def _record(
    plan: Plan, comparison: Comparison[Any], results: Results, controls: dict[str, Any], command: str, seconds: float
) -> Evaluation:
    pipeline, own, count = plan.pipeline, plan.modality, len(comparison.real)
    answers = sharing(
        results.checks,
        results.not_measured,
        plural=own.plural,
        generated=len(comparison.generated),
        stores=pipeline.model.stored_data(),
    )
    results.checks = checks = one_finding(results.checks)
    whole = grade(results, own.noun, own.plural, quick=plan.quick)
    notes = [comparison.distribution_shift]
    if any(one.name == CONTAMINATION for one in results.not_measured):
        notes.append("whether there are training items among the evaluation data could not be checked")
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
        grade=whole,
        summary=summarise(whole, checks, answers, real=count, plural=own.plural, notes=notes),
        sharing=answers,
        checks=checks,
        figures=results.figures,
        not_measured=results.not_measured,
        classes=results.classes,
        columns=results.columns,
        dependences=results.dependences,
    )
