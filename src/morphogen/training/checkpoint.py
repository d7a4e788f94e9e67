"""Checkpoints: a folder that appears whole or not at all, and holds no pickle."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..core.config import read_json, write_json
from ..core.errors import UserError
from .loop import TrainState

_NAME = re.compile(r"step-(\d+)")
_FIELDS = (
    "step",
    "seconds",
    "progress",
    "rate",
    "rollbacks",
    "best",
    "checks",
    "begun",
    "settled",
    "loss_scale",
    "scaled",
)


def save_checkpoint(folder: Path, state: TrainState, settings: dict[str, Any]) -> Path:
    """Write `folder/step-N`, then drop older ones. Raises UserError where the disk refuses, nothing is half-done."""
    folder.mkdir(parents=True, exist_ok=True)
    target, temporary = folder / f"step-{state.step}", folder / f".step-{state.step}"
    for old in folder.glob(".step-*"):  # what a killed process left
        shutil.rmtree(old, ignore_errors=True)
    tensors: dict[str, Tensor] = {f"model.{name}": value for name, value in state.model.state_dict().items()}
    tensors.update({f"average.{name}": value for name, value in state.average.shadow.items()})
    tensors.update({f"kept.{name}": value for name, value in state.kept.items()})
    for part, optimizer in state.optimizers.items():
        tensors.update({f"optimizer.{part}|{name}": value for name, value in optimizer.state().items()})
    try:
        temporary.mkdir()
        # Copies, because safetensors refuses tensors that share memory.
        copies = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
        save_file(copies, temporary / "state.safetensors")
        fields = {name: getattr(state, name) for name in _FIELDS}
        write_json(temporary / "state.json", fields | {"settings": settings})
        with (temporary / "state.safetensors").open("rb+") as file:
            os.fsync(file.fileno())
        if target.exists():
            shutil.rmtree(target)
        temporary.rename(target)
        # Only when the new one is on the disk for good may the old ones go.
        directory = os.open(folder, os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)
    except (OSError, SafetensorError, UserError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise UserError(f"could not write the checkpoint {target}: {error}; free some space, then --resume") from error
    for _, old in _all(folder)[:-1]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint under `folder`, or None."""
    found = _all(folder)
    return found[-1][1] if found else None


def load_checkpoint(checkpoint: Path, state: TrainState) -> None:
    """Put a checkpoint into the state. Raises UserError where it is damaged or of another model."""
    fields = read_json(checkpoint / "state.json")
    try:
        tensors = load_file(checkpoint / "state.safetensors")
        prefix = "model."
        state.model.load_state_dict(
            {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        )
        with torch.no_grad():
            for name, value in state.average.shadow.items():
                value.copy_(tensors[f"average.{name}"])
        state.kept = {
            name.removeprefix("kept."): value.to(state.model.device)
            for name, value in tensors.items()
            if name.startswith("kept.")
        }
        for part, optimizer in state.optimizers.items():
            prefix = f"optimizer.{part}|"
            optimizer.load({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
        for name in _FIELDS:
            setattr(state, name, fields[name])
    except (SafetensorError, KeyError, TypeError, RuntimeError, OSError) as error:
        raise UserError(f"the checkpoint {checkpoint} cannot be read ({error}); remove it and fit again") from None


def _all(folder: Path) -> list[tuple[int, Path]]:
    if not folder.is_dir():
        return []
    matches = [(match, path) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    return sorted((int(match[1]), path) for match, path in matches)
