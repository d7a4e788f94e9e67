"""From a source to a model folder: the whole of `morphogen fit`."""

from __future__ import annotations

import atexit
import math
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, PartialState
from torch import Tensor

from ..card import write_card
from ..core import plugins
from ..core.codec import RowCodec
from ..core.condition import LabelCodec
from ..core.config import Frozen, build, read_json, replacing, write_json
from ..core.errors import UserError
from ..core.model import Batch, GenerativeModel
from ..core.space import Space, Tokens
from ..data.loader import batch_indices
from ..data.sources import EMBEDDED, open_source
from ..nn.nd import place
from ..pipeline import Pipeline, load
from ..version import __version__
from . import validate
from .checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint
from .claim import Claim
from .collapse import Watch, variety
from .loop import Budget, TrainState, train
from .options import TrainOptions
from .prepare import SMALL, Data, Say, prepare, reopen
from .probe import build_model, choose
from .signals import Interrupted, Signals
from .track import Track

_BEGIN_BATCH = 256
_FEW_STEPS = 100
_REAL = 32  # items that tell how varied real ones are
_ENOUGH = 1000  # steps that a model takes where few passes over the data are enough
_MINUTES = 10.0  # the budget where none is given


def fit(
    source: Any,
    *,
    out: Path | str,
    family: str | None = None,
    modality: str | None = None,
    condition: str | Sequence[str] | None = None,
    minutes: float | None = None,
    train: TrainOptions | Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    codec: Mapping[str, Any] | None = None,
    through: Path | str | Pipeline | None = None,
    enlarge: int | None = None,
    column: str | None = None,
    separator: str | None = None,
    resume: bool = False,
    say: Say | None = print,
) -> Pipeline:
    """Train a family on a source and write the model folder `out`; returns its pipeline.

    `source` is a path, a Hub id, an array, a list of items, or `(items, labels)`; `column` is that of the items in a
    table, `separator` what parts the documents of a text file. `family` is what the modality begins with: `vae`, for
    texts `autoregressive`. `minutes` is the whole budget, the
    start included; `train` are TrainOptions, `options` the family's, `codec` the modality's. `through` is a trained
    autoencoder (vae or vq), or its folder: what is modelled are its latents. With `enlarge`, a factor, the model makes
    items from versions of them that much smaller, its condition `small`. With `resume`, an interrupted fit in `out`
    goes on exactly, and all else is taken from it.
    Raises UserError on input it cannot use, and Interrupted after Ctrl-C or SIGTERM, with a checkpoint saved.
    """
    started = time.monotonic()
    out = Path(out)
    plan = train if isinstance(train, TrainOptions) else build(TrainOptions, train or {}, "train")
    if minutes is not None and minutes <= 0:
        raise UserError(f"--minutes is {minutes}; expected more than 0")
    if enlarge is not None and enlarge < 2:
        raise UserError(f"--enlarge is {enlarge}; expected a factor of 2 or more")
    if minutes is not None and plan.steps is not None:
        raise UserError("give --minutes or --train.steps, not both")
    seconds = None if plan.steps else 60 * (minutes or _MINUTES)
    torch.set_flush_denormal(True)
    # The other processes wait while the first one encodes, which takes hours where there is much.
    process = PartialState(cpu=not torch.cuda.is_available(), timeout=timedelta(days=7))
    if process.num_processes > 1:
        atexit.unregister(_let_go)
        atexit.register(_let_go)
    main = process.is_main_process
    tell: Say = say if say and main else (lambda line: None)
    with Claim(out, resume) if main else nullcontext():
        if main and not resume:
            opened = open_source(source, modality, column, separator)
            begins_with = getattr(plugins.load("modalities", opened.modality, "options"), "FAMILY", "vae")
            family = str(family or begins_with)
            kind = plugins.sole(plugins.load("families", family, "model"), GenerativeModel)
            user_options = build(kind.Options, options or {}, "options")
            tell(f"{opened.description}: {len(opened):,} items, taken for modality '{opened.modality}'")
            count, validating_from = prepare(
                opened,
                kind,
                condition,
                codec or {},
                out,
                tell,
                spec=_again(source, out),
                opening={"column": column, "separator": separator},
                through=load(through) if isinstance(through, (str, Path)) else through,
                enlarge=enlarge,
            )
            settings: dict[str, Any] = {
                "morphogen": __version__,
                "family": family,
                "modality": opened.modality,
                "source": opened.description,
                "conditions": [
                    *([condition] if isinstance(condition, str) else condition or ()),
                    *([SMALL] if enlarge else ()),
                ],
                "train": plan.model_dump(mode="json"),
                "items": count,
                "validating_from": validating_from,
            }
            # What was spent on reading, encoding and probing belongs to the budget of minutes; training keeps a tenth.
            settings["budget_seconds"] = _left(seconds, started)
            user_options = kind.settled(user_options, count)
            settings |= _probe(kind, user_options, _ladder(family, options or {}), out, settings, process, tell)
            settings["budget_seconds"] = _left(seconds, started)
            settings["start_seconds"] = round(time.monotonic() - started, 1)
            write_json(out / "training" / "settings.json", settings)
        process.wait_for_everyone()
        pipeline = _train(out, resume, tell, show=say is not None)
        pipeline.folder = out
        if main:
            pipeline.save(out)
            write_card(out, pipeline)
            # The checkpoints and the encoded data are not needed any more.
            shutil.rmtree(out / "training", ignore_errors=True)
    # No process goes on before the folder is whole.
    process.wait_for_everyone()
    figures = pipeline.metrics["training"]
    if figures["steps"] < _FEW_STEPS:
        tell(f"only {figures['steps']} steps were taken: expect noise; give more minutes")
    tell(f"wrote {out}: {figures['steps']} steps in {figures['seconds']:,.0f} s")
    return pipeline


def _again(source: Any, out: Path) -> str | None:
    """What the source can be opened by again: a path from the model folder, or a name; None where it is in memory."""
    if not isinstance(source, (str, Path)):
        return None
    path = Path(source).expanduser()
    return os.path.relpath(path, out) if path.exists() and source not in EMBEDDED else str(source)


def _left(seconds: float | None, started: float) -> float | None:
    """The budget less what was spent since `started`, but a tenth of it at least."""
    return max(seconds - (time.monotonic() - started), 0.1 * seconds) if seconds else None


def _let_go() -> None:
    """Give gloo's threads time to release the tensors of the last collective, which needs the interpreter.

    A thread that does so while the interpreter is torn down aborts the process; DistributedDataParallel keeps those
    threads alive even after destroy_process_group (PyTorch 2.13, github.com/pytorch/pytorch/issues/190489).
    """
    time.sleep(0.3)


def _train(out: Path, resume: bool, tell: Say, show: bool) -> Pipeline:
    """Train what `out/training/settings.json` describes, from the newest checkpoint if there is one."""
    settings = read_json(out / "training" / "settings.json")
    plan = build(TrainOptions, settings["train"], "train")
    kind = plugins.sole(plugins.load("families", settings["family"], "model"), GenerativeModel)
    codec, labels, data = reopen(out, settings)
    precision = settings["precision"]
    # Accelerate keeps one precision per process; another fit may want another, so the loop sees to that.
    accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision="no")
    spaces = {name: one.space for name, one in labels.items()}
    model = build_model(kind, codec.space, spaces, plan.seed)(build(kind.Options, settings["options"], "options"))
    if isinstance(codec, RowCodec) and codec.asked({}).evidence.limits and not model.weighs:
        raise UserError(
            f"the family '{settings['family']}' draws all cells of a row at once, and cannot keep constraints such as "
            "'a <= b' while it does; fit autoregressive, or drop them"
        )
    place(model, accelerator.device)
    state = TrainState.create(model, plan, precision)
    checkpoint = latest_checkpoint(out / "training")
    if resume and checkpoint:
        load_checkpoint(checkpoint, state)
        tell(f"going on from step {state.step}")
    pipeline = Pipeline(
        family=settings["family"],
        modality=settings["modality"],
        model=model,
        codec=codec,
        conditions=labels,
        precision=precision,
        source=settings["source"],
    )
    enough = max(_ENOUGH, round(model.most_passes * data.count / settings["batch"])) if model.most_passes else None
    budget = Budget(steps=plan.steps or enough, seconds=settings["budget_seconds"])
    speed, curves = _run(state, budget, plan, accelerator, data, out, settings, pipeline, tell, show)
    pipeline.metrics["training"] = {
        "seconds": round(state.seconds + settings["start_seconds"], 1),
        "start_seconds": settings["start_seconds"],
        "steps": state.step,
        "batch": settings["batch"],
        "items": data.count,
        "items_per_second": round(speed, 1),
        "parameters": sum(p.numel() for p in model.parameters()),
        "precision": precision,
        "rollbacks": state.rollbacks,
        "curves": curves,
    } | ({"validation_loss": round(state.best, 5)} if state.kept else {})
    return pipeline


def _probe(
    kind: type[GenerativeModel],
    options: Frozen,
    ladder: Sequence[Mapping[str, Any]],
    out: Path,
    settings: Mapping[str, Any],
    process: PartialState,
    tell: Say,
) -> dict[str, Any]:
    """What the start-up probe chose, as settings."""
    plan = build(TrainOptions, settings["train"], "train")
    codec, labels, data = reopen(out, settings)
    spaces: dict[str, Space] = {name: one.space for name, one in labels.items()}
    choice = choose(
        build_model(kind, codec.space, spaces, plan.seed),
        options,
        ladder,
        lambda count: data.batch(torch.arange(count) % data.count, process.device),
        items=data.count,
        seconds=settings["budget_seconds"],
        plan=plan,
        processes=process.num_processes,
        device=process.device,
    )
    tell(
        f"{settings['family']}: {choice.precision}, batch {choice.batch}, {_changed(options, choice.options)}, "
        f"about {choice.items_per_second:,.0f} items/s"
    )
    return {
        "options": choice.options.model_dump(mode="json"),
        "batch": choice.batch,
        "precision": choice.precision,
        "probed_items_per_second": round(choice.items_per_second, 1),
    }


def _run(
    state: TrainState,
    budget: Budget,
    plan: TrainOptions,
    accelerator: Accelerator,
    data: Data,
    out: Path,
    settings: dict[str, Any],
    pipeline: Pipeline,
    tell: Say,
    show: bool,
) -> tuple[float, dict[str, list[list[float]]]]:
    """Read the training loop: average, show, preview, save, roll back, stop. Returns items per second, and curves."""
    folder, device, batch = out / "training", accelerator.device, settings["batch"]
    main = accelerator.is_main_process
    parts = max(1, min(plan.accumulate, batch // accelerator.num_processes))  # alike in all processes

    def read(step: int) -> list[Batch]:
        indices = batch_indices(
            seed=plan.seed,
            step=step,
            batch_size=batch,
            count=data.count,
            rank=accelerator.process_index,
            ranks=accelerator.num_processes,
        )
        return [data.batch(part, device) for part in indices.tensor_split(parts)]

    def first() -> Iterator[Batch]:
        return (
            data.batch(part, device) for part in _spread(0, data.count, state.model.begin_items).split(_BEGIN_BATCH)
        )

    rate = settings["probed_items_per_second"]
    expected = budget.steps * batch if budget.steps else math.inf
    expected = min(expected, rate * budget.seconds if budget.seconds else math.inf)
    looked = _spread(data.validating.start, data.validating.stop, validate.affordable(expected))

    def kept() -> Iterator[Batch]:
        # No more at once than in training, for which there is the memory.
        at_once = max(1, batch // accelerator.num_processes // parts)
        return (data.batch(part, device) for part in looked.split(at_once))

    if batch < accelerator.num_processes:
        raise UserError(f"a batch of {batch} cannot be shared by {accelerator.num_processes} processes; raise it")
    prepared = _prepared(state.model, plan, accelerator)
    previews = [(number + 1) / (plan.previews + 1) for number in range(plan.previews)]
    previews = [at for at in previews if at > state.progress]
    if main and not latest_checkpoint(folder):
        save_checkpoint(folder, state, settings)
    saved, watch = time.monotonic(), Watch()
    with Signals() as signals, Track(out / "logs", batch, log=main, show=main and show) as track:
        for step in train(
            state,
            budget=budget,
            options=plan,
            precision=settings["precision"],
            accelerator=accelerator,
            prepared=prepared,
            read=read,
            first=first,
            share_read=batch / data.count,
        ):
            if not step.finite:
                _roll_back(state, folder, step.number, step.phase, tell if main else (lambda line: None))
                continue
            track.step(step)
            if not step.whole:
                continue
            if len(looked) and validate.due(state):
                found = validate.keep_best(state, kept(), settings["precision"])
                track.figure("validation/loss", found, state.step)
            stop = _any(signals.number, accelerator)
            if main and (stop or time.monotonic() - saved > plan.save_seconds):
                save_checkpoint(folder, state, settings)
                saved = time.monotonic()
            if stop:
                # A launcher ends all processes when the first one does: not before the checkpoint is whole.
                accelerator.wait_for_everyone()
                message = f"stopped at step {state.step}; continue with: morphogen fit --resume --out {out}"
                raise Interrupted(message, stop)
            if previews and step.progress >= previews[0]:
                previews = [at for at in previews if at > step.progress]
                if main and (said := watch.told(_preview(pipeline, state, data, out, track))):
                    tell(said)
    validate.take_best(state)
    state.model.eval()
    if len(looked):
        state.model.calibrate(kept())
    return track.items_per_second, track.curves


def _spread(start: int, stop: int, most: int) -> Tensor:
    """At most so many of the numbers from start to before stop, evenly, for data may be sorted by class."""
    return torch.linspace(start, stop - 1, min(most, stop - start), dtype=torch.float64).long()


def _roll_back(state: TrainState, folder: Path, step: int, phase: str, tell: Say) -> None:
    """Back to the last good state with half the rate; a second time is the end."""
    checkpoint = latest_checkpoint(folder)
    if state.rollbacks or checkpoint is None:
        raise UserError(
            f"the loss of phase '{phase}' was not finite twice, last at step {step}; "
            "the data may hold extreme values, or lower --train.lr; the last good checkpoint is kept"
        )
    rate, rollbacks = state.rate / 2, state.rollbacks + 1
    load_checkpoint(checkpoint, state)
    state.rate, state.rollbacks = rate, rollbacks
    tell(f"the loss of phase '{phase}' was not finite at step {step}: back to step {state.step} at half the rate")


def _preview(pipeline: Pipeline, state: TrainState, data: Data, out: Path, track: Track) -> float:
    """A sheet of the same 16 seeds, by the averaged weights; returns how varied they are, NaN where nothing tells."""
    view = plugins.load("modalities", pipeline.modality, "view")
    condition = {
        name: [codec.names[i % len(codec.names)] for i in range(16)]
        if isinstance(codec, LabelCodec)
        else codec.decode(data.batch(torch.arange(16) % data.count, torch.device("cpu")).condition[name])
        for name, codec in pipeline.conditions.items()
    }
    state.model.eval()
    with state.average.applied():
        items = pipeline.sample(16, seed=0, condition=condition, batch=16)
    state.model.train()
    sheet = view.sheet(items)
    (out / "previews").mkdir(exist_ok=True)
    with replacing(out / "previews" / f"step-{state.step:06d}.png") as temporary:
        sheet.save(temporary, format="PNG")
    track.sheet(sheet, state.step)
    space = pipeline.codec.space
    if isinstance(space, Tokens) and space.end is not None:
        return math.nan  # place by place nothing compares, of texts of any length
    labelled = all(isinstance(codec, LabelCodec) for codec in pipeline.conditions.values())
    rows = _spread(0, data.count, _REAL) if labelled else torch.arange(16) % data.count  # those that were asked for
    items = pipeline.codec.adopted(items) if isinstance(pipeline.codec, RowCodec) else items
    found = variety(pipeline.codec.encode(items).cpu(), data.batch(rows, torch.device("cpu")).x)
    if math.isfinite(found):
        track.figure("variety", found, state.step)
    return found


def _prepared(model: GenerativeModel, plan: TrainOptions, accelerator: Accelerator) -> torch.nn.Module:
    if accelerator.num_processes > 1:
        from accelerate.utils import DistributedDataParallelKwargs

        # A phase of one part leaves the others' parameters unused. Buffers are alike on all ranks as it is, and may be
        # as large as the data.
        apart = any(phase.trains for phase in model.phases())
        accelerator.ddp_handler = DistributedDataParallelKwargs(find_unused_parameters=apart, broadcast_buffers=False)
    prepared = accelerator.prepare(model)
    return torch.compile(prepared) if plan.compile else prepared  # type: ignore[return-value]


def _any(number: int, accelerator: Accelerator) -> int:
    """The largest signal number any process got."""
    if accelerator.num_processes == 1:
        return number
    gathered = accelerator.gather(torch.tensor([number], device=accelerator.device))
    return int(gathered.max())


def _ladder(family: str, given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The family's sizes, smallest first, less what the user decided."""
    sizes = getattr(plugins.load("families", family, "options"), "SIZES", ())
    return [] if any(name in given for size in sizes for name in size) else list(sizes)


def _changed(before: Frozen, after: Frozen) -> str:
    changes = {k: v for k, v in after.model_dump().items() if before.model_dump()[k] != v}
    return f"sized to {changes}" if changes else "at its default size"
