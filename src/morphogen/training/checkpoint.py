"""Checkpoints: folders that appear whole or not at all, and hold no pickle."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import torch
from pydantic import ConfigDict
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from ..core.config import write_json
from ..core.errors import UserError
from ..core.files import guard
from ..core.records import Count, Record, read_record
from ..core.weights import load_tensors
from .loop import TrainState

_NAME = re.compile(r"step-(\d+)")


class CheckpointState(Record):
    """`state.json` of a checkpoint: what the state of training holds beside tensors."""

    model_config = ConfigDict(allow_inf_nan=True)  # no loss has been lowest yet

    step: Count
    seconds: float
    progress: float
    lr_scale: float
    rollbacks: Count
    best_loss: float
    validations: Count
    initialized: list[str]
    frozen: list[str]
    loss_scale: float
    good_steps: Count


def save_checkpoint(folder: Path, state: TrainState) -> Path:
    """Write `folder/step-N`, then delete older ones.

    Raises UserError where the disk refuses; the older ones then stay.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target, temporary = folder / f"step-{state.step}", folder / f".step-{state.step}"
    for leftover in folder.glob(".step-*"):  # of a process that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        temporary.mkdir()
        # Copies, because safetensors refuses tensors that share memory.
        copies = {name: value.detach().cpu().clone().contiguous() for name, value in _tensors(state).items()}
        save_file(copies, temporary / "state.safetensors")
        write_json(temporary / "state.json", {name: getattr(state, name) for name in CheckpointState.model_fields})
        with (temporary / "state.safetensors").open("rb+") as file:
            os.fsync(file.fileno())
        temporary.rename(target)
        # The older ones may go only when the new one is on the disk for good.
        directory = os.open(folder, os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)
    except (OSError, SafetensorError, UserError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise UserError(f"could not write the checkpoint {target}: {error}; free some space, then --resume") from error
    for _, older in _checkpoints(folder)[:-1]:
        shutil.rmtree(older, ignore_errors=True)
    return target


def latest_checkpoint(folder: Path) -> Path | None:
    """Return the newest whole checkpoint in `folder`, or None."""
    checkpoints = _checkpoints(folder)
    return checkpoints[-1][1] if checkpoints else None


def load_checkpoint(checkpoint: Path, state: TrainState) -> None:
    """Read a checkpoint into the state. Raises UserError where it is damaged or of another model."""
    advice = "delete it, and --resume trains from the start"
    fields = read_record(checkpoint / "state.json", CheckpointState, advice)
    with guard(f"the checkpoint {checkpoint}", "cannot be read", advice):
        tensors = load_tensors(checkpoint / "state.safetensors", advice)
        state.model.load_state_dict(_under("model.", tensors))
        with torch.no_grad():
            for name, value in state.ema.shadow.items():
                value.copy_(tensors[f"ema.{name}"])
        state.best_weights = {name: value.to(state.model.device) for name, value in _under("best.", tensors).items()}
        for module, optimizer in state.optimizers.items():
            optimizer.load(_under(f"optimizer.{module}|", tensors))
        for name, one in fields:
            setattr(state, name, one)


def roll_back(folder: Path, state: TrainState, phase: str) -> str:
    """Return to the last checkpoint with half the learning rate, after a loss that is not finite; return a message.

    Raises UserError the second time.
    """
    step, checkpoint = state.step, latest_checkpoint(folder)
    if state.rollbacks or checkpoint is None:
        raise UserError(
            f"the loss of phase '{phase}' was not finite twice, last at step {step}; look for extreme values in the "
            "data, or lower --train.lr; the last good checkpoint is kept"
        )
    lr_scale, rollbacks = state.lr_scale / 2, state.rollbacks + 1
    load_checkpoint(checkpoint, state)
    state.lr_scale, state.rollbacks = lr_scale, rollbacks
    return f"the loss of phase '{phase}' was not finite at step {step}: back to step {state.step} at half the rate"


def _tensors(state: TrainState) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {f"model.{name}": value for name, value in state.model.state_dict().items()}
    tensors.update({f"ema.{name}": value for name, value in state.ema.shadow.items()})
    tensors.update({f"best.{name}": value for name, value in state.best_weights.items()})
    for module, optimizer in state.optimizers.items():
        tensors.update({f"optimizer.{module}|{name}": value for name, value in optimizer.state().items()})
    return tensors


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _checkpoints(folder: Path) -> list[tuple[int, Path]]:
    if not folder.is_dir():
        return []
    matches = [(match, path) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    return sorted((int(match[1]), path) for match, path in matches)
