"""One run of the training loop: validates, previews, saves, rolls back, stops, and sums up."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from ..artifact import Artifact
from ..core import plugins
from ..core.config import build
from ..core.errors import UserError
from ..core.modality import modality
from ..core.model import GenerativeModel
from ..nn.nd import place
from ..pipeline import Pipeline
from . import validate
from .budget import Budget, Reserve, calibration_seconds
from .checkpoint import latest_checkpoint, load_checkpoint, roll_back, save_checkpoint
from .dataset import Batches, Dataset, open_dataset, spread
from .loop import Setup, Step, TrainState, train
from .previews import Previews
from .probe import build_model
from .processes import any_signal, wrap
from .signals import Interrupted, Signals
from .spec import FitSpec, Prepared, Probed, Say
from .stages import Stage, stage_at, stages
from .threads import Change, Steps, ThreadTuner, candidates
from .tracker import Tracker

# Whatever few epochs a model is content with, it takes so many steps, but three times its epochs at most; with a
# thousand items 1,000 steps are hundreds of epochs.
_MIN_STEPS, _FEWEST_STEPS, _MOST_REPEATS = 1000, 200, 3
_VALIDATING = 0.1  # of the seconds of training


def train_model(out: Path, *, resume: bool, say: Say, show: bool) -> Pipeline:
    """Train what the records in `out/training` describe; with `resume`, from the newest checkpoint.

    Progress is shown where `show` is set. Raises UserError where the loss diverges, and Interrupted after Ctrl-C or
    SIGTERM, with a checkpoint saved.
    """
    started = time.monotonic()
    spec, prepared, probed = FitSpec.read(out), Prepared.read(out), Probed.read(out)
    # Accelerate keeps one precision per process, and another fit may want another one: so the loop casts by itself.
    accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision="no")
    codec, conditions, dataset = open_dataset(out, spec, prepared)
    model_type: type[GenerativeModel] = plugins.model_for(spec.family, type(codec.space))
    options = build(model_type.Options, probed.options, "options")
    spaces = {name: condition.space for name, condition in conditions.items()}
    model = build_model(model_type, codec.space, spaces, spec.train.seed)(options)
    place(model, accelerator.device)
    state = TrainState.create(model, spec.train, probed.precision)
    checkpoint = latest_checkpoint(out / "training")
    if resume and checkpoint:
        load_checkpoint(checkpoint, state)
        say(f"resuming at step {state.step}")
    artifact = Artifact(
        family=spec.family,
        modality=spec.modality,
        model=model,
        codec=codec,
        conditions=conditions,
        precision=probed.precision,
        source=prepared.description,
    )
    artifact.folder = out
    pipeline = Pipeline(artifact)
    run = Run(out, spec, probed, pipeline, dataset, state, accelerator, say)
    state.seconds += time.monotonic() - started
    artifact.metrics["training"] = run.train(show)
    return pipeline


class Run:
    """Reads the training loop of one fit."""

    def __init__(
        self,
        out: Path,
        spec: FitSpec,
        probed: Probed,
        pipeline: Pipeline,
        dataset: Dataset,
        state: TrainState,
        accelerator: Accelerator,
        say: Say,
    ) -> None:
        if probed.batch < accelerator.num_processes:
            raise UserError(
                f"a batch of {probed.batch} cannot be shared by {accelerator.num_processes} processes; "
                "raise --train.batch"
            )
        self.out, self.spec, self.probed, self.dataset, self.state = out, spec, probed, dataset, state
        self.accelerator, self.say, self.main = accelerator, say, accelerator.is_main_process
        self.folder = out / "training"
        self.budget = _budget(spec, probed, state.model, dataset.examples)
        self.batches = Batches(
            dataset,
            accelerator.device,
            size=probed.batch,
            micro=max(1, min(spec.train.grad_accumulation, probed.batch // accelerator.num_processes)),
            seed=spec.train.seed,
            process=accelerator.process_index,
            processes=accelerator.num_processes,
        )
        self.validation = self._validation_items()
        self.previews = Previews(
            pipeline,
            modality(spec.modality),
            dataset,
            out,
            count=spec.train.previews,
            progress=state.progress,
            seconds=self.budget.seconds,
            items_per_second=probed.items_per_second,
        )
        calibration = calibration_seconds(state.model, self.budget)
        self.reserve = Reserve(self.budget, calibration or 0.0)
        self.stages = stages(state.model.phases())
        self.stage_steps = [Steps() for _ in self.stages]
        self._stage = stage_at(self.stages, state.progress)
        self.tuner = ThreadTuner(self._thread_numbers(), probed.threads)
        self.threads = [[state.step, probed.threads]]  # from which step on, how many
        self._step_seconds = self._validating = 0.0  # seconds: of this step, of validations

    def train(self, show: bool) -> dict[str, Any]:
        """Train until the budget is used; return the figures of the run."""
        state = self.state
        torch.set_num_threads(self.tuner.threads)
        if self.main and not latest_checkpoint(self.folder):
            self._save()
        self._saved = time.monotonic()
        logs = self.out / "logs"
        setup = self._setup()
        with (
            Signals() as signals,
            Tracker(logs, self.probed.batch, log=self.main, show=self.main and show) as tracker,
        ):
            for step in train(state, self.budget, setup):
                if not step.finite:
                    self.say(roll_back(self.folder, state, step.phase))
                    continue
                tracker.step(step)
                self._tune(step)
                if not step.last:
                    continue
                if self._validation_due():
                    tracker.scalar("validation/loss", self._validate(), state.step)
                self._save_or_stop(signals)
                if self.previews.due(step.progress) and self.main:
                    warning = self.previews.write(state, tracker)
                    if warning:
                        self.say(warning)
        self._say_why_it_ended()
        torch.set_num_threads(self.tuner.threads)  # a trial may not have ended
        validate.restore_best(state)
        state.model.eval()
        if len(self.validation):
            alone = self.accelerator.num_processes == 1  # several have to do the same
            limit = calibration_seconds(state.model, self.budget) if alone else None
            state.model.calibrate(self.batches.validation(self.validation), limit)
        return self._figures(tracker)

    def _say_why_it_ended(self) -> None:
        """Say so where training ended before its minutes, because the model has read its items often enough."""
        steps, seconds = self.budget.steps, self.budget.seconds
        if steps and seconds and self.state.step >= steps:
            times = steps * self.probed.batch / self.dataset.examples
            self.say(
                f"training ended before its minutes: all items were read {times:,.0f} times, and more seldom helps; "
                f"--train.steps {2 * steps} in place of --minutes reads them twice as often"
            )

    def _thread_numbers(self) -> tuple[int, ...]:
        """Return the numbers of threads to choose from while it trains: with counted steps the first one stays."""
        options, device = self.spec.train, self.accelerator.device
        # Compiled code is made for a number of threads.
        if self.budget.seconds is None or options.threads or options.compile:
            return (self.probed.threads,)
        return candidates(None, device, self.accelerator.num_processes)

    def _tune(self, step: Step) -> None:
        """Let the seconds of a step decide how many threads the next one has."""
        self._step_seconds += step.duration
        if step.last:
            self.stage_steps[self._stage].add(self._step_seconds)
            change = self.tuner.observe(step.number, self._step_seconds, self._stage)
            self._stage = stage_at(self.stages, step.progress)  # of the next step
            self._step_seconds = 0.0
            if change is not None:
                self._note_change(change)

    def _note_change(self, change: Change) -> None:
        """Record a change of the number of threads, and say the first one."""
        if len(self.threads) == 1:
            rates = ", ".join(
                f"{rate * self.probed.batch:,.0f} items/s with {number}"
                for number, rate in sorted(change.rates.items())
            )
            self.say(f"threads {change.threads} from step {change.step} on ({rates}); metrics.json has further changes")
        self.threads.append([change.step, change.threads])

    def _validation_due(self) -> bool:
        """Return whether to validate now; of a wall-clock budget, validations take a tenth of training at most.

        Several processes have to decide alike, and so do not look at their own clocks.
        """
        limited = self.budget.seconds is not None and self.accelerator.num_processes == 1
        affordable = not limited or self._validating <= _VALIDATING * self.state.seconds
        return len(self.validation) > 0 and affordable and validate.due(self.state)

    def _validate(self) -> float:
        """Return the loss of the validation items, and keep the weights where it is the lowest."""
        started = time.monotonic()
        loss = validate.keep_best(self.state, self.batches.validation(self.validation), self.probed.precision)
        seconds = time.monotonic() - started
        self._validating += seconds
        self.reserve.measured("validation", seconds)
        return loss

    def _save(self) -> None:
        started = time.monotonic()
        save_checkpoint(self.folder, self.state)
        self.reserve.measured("saving", time.monotonic() - started)

    def _setup(self) -> Setup:
        model, batches = self.state.model, self.batches
        return Setup(
            options=self.spec.train,
            accelerator=self.accelerator,
            wrapped=wrap(model, self.spec.train, self.accelerator),
            micro_batches=batches.training,
            first_batches=lambda: batches.initial(model.initialize_items),
            epochs_per_step=batches.size / self.dataset.examples,
            precision=self.probed.precision,
        )

    def _validation_items(self) -> torch.Tensor:
        """Return the examples that each validation reads, as many as the budget affords."""
        items = self.budget.steps * self.probed.batch if self.budget.steps else math.inf
        if self.budget.seconds:
            items = min(items, self.probed.items_per_second * self.budget.seconds)
        validation = self.dataset.validation
        return spread(validation.start, validation.stop, validate.affordable_items(items))

    def _save_or_stop(self, signals: Signals) -> None:
        """Save a checkpoint when it is time, or a process was asked to stop; raise Interrupted in the second case."""
        stop = any_signal(signals.number, self.accelerator)
        if self.main and (stop or time.monotonic() - self._saved > self.spec.train.save_seconds):
            self._save()
            self._saved = time.monotonic()
        if stop:
            # A launcher ends all processes when the first one ends: not before the checkpoint is whole.
            self.accelerator.wait_for_everyone()
            raise Interrupted(
                f"stopped at step {self.state.step}; continue with: morphogen fit --resume --out {self.out}", stop
            )

    def _figures(self, tracker: Tracker) -> dict[str, Any]:
        state, probed = self.state, self.probed
        figures = {
            "seconds": round(state.seconds + probed.start_seconds, 1),
            "start_seconds": probed.start_seconds,
            "probe_seconds": probed.probe_seconds,
            "step_seconds": round(sum(steps.seconds for steps in self.stage_steps), 3),
            "steps": state.step,
            "batch": probed.batch,
            "items": self.dataset.examples,
            "items_per_second": round(tracker.items_per_second, 1),
            "parameters": state.model.parameter_count,
            "precision": probed.precision,
            "threads": self.threads,
            "stages": [self._stage_figures(*one) for one in zip(self.stages, self.stage_steps, strict=True)],
            "rollbacks": state.rollbacks,
            "curves": tracker.curves,
        }
        return figures | ({"validation_loss": round(state.best_loss, 5)} if state.best_weights else {})

    def _stage_figures(self, stage: Stage, steps: Steps) -> dict[str, Any]:
        """Return what a stage took, beside the speed that the probe had measured."""
        return {
            "phases": stage.name,
            "share": round(stage.share, 4),
            "steps": steps.count,
            "items_per_second": round(self.probed.batch * steps.rate, 1),
            "probed_items_per_second": self.probed.stage_rates.get(stage.name),
        }


def _budget(spec: FitSpec, probed: Probed, model: GenerativeModel, examples: int) -> Budget:
    """Return the budget; a model that needs few epochs may end before its seconds are used."""
    steps = spec.train.steps
    if steps is None and model.max_epochs:
        enough = round(model.max_epochs * examples / probed.batch)
        steps = max(enough, min(_MIN_STEPS, max(_FEWEST_STEPS, _MOST_REPEATS * enough)))
    return Budget(steps, probed.seconds)
