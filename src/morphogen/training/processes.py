"""Several processes that train one model: how they start, share a model, agree, and end."""

from __future__ import annotations

import atexit
import time
from datetime import timedelta

import torch
from accelerate import Accelerator, PartialState
from torch import nn

from ..core.model import GenerativeModel
from .options import TrainOptions


def start_processes() -> PartialState:
    """Return this process among those that train together."""
    torch.set_flush_denormal(True)
    # The other processes wait while the first one encodes, which takes hours where there is much.
    process = PartialState(cpu=not torch.cuda.is_available(), timeout=timedelta(days=7))
    if process.num_processes > 1:
        atexit.unregister(_wait_for_threads)
        atexit.register(_wait_for_threads)
    return process


def wrap(model: GenerativeModel, options: TrainOptions, accelerator: Accelerator) -> nn.Module:
    """Return the model as Accelerate, and torch.compile where it is chosen, wrap it."""
    if accelerator.num_processes > 1:
        from accelerate.utils import DistributedDataParallelKwargs

        # A phase of one module leaves the others' parameters unused. Buffers are equal in all processes anyway, and may
        # be as large as the data.
        several = any(phase.module for phase in model.phases())
        accelerator.ddp_handler = DistributedDataParallelKwargs(find_unused_parameters=several, broadcast_buffers=False)
    wrapped = accelerator.prepare(model)
    return torch.compile(wrapped) if options.compile else wrapped  # type: ignore[return-value]


def any_signal(number: int, accelerator: Accelerator) -> int:
    """Return the largest signal number that any process received; 0: none did."""
    if accelerator.num_processes == 1:
        return number
    gathered = accelerator.gather(torch.tensor([number], device=accelerator.device))
    return int(gathered.max())


def _wait_for_threads() -> None:
    """Give gloo's threads time to release the tensors of the last collective, which needs the interpreter.

    A thread that does so while the interpreter is torn down aborts the process; DistributedDataParallel keeps those
    threads alive even after destroy_process_group (PyTorch 2.13, github.com/pytorch/pytorch/issues/190489).
    """
    time.sleep(0.3)
