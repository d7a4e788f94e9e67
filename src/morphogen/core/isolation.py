"""A block that leaves as they were the settings which a whole program shares."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def isolated() -> Iterator[None]:
    """Run a block under the defaults of torch, and restore afterwards what the program had set.

    Restored are the random states of Python, numpy and torch, the number of threads, the default type of floats, grad
    and inference mode, and whether denormal numbers are flushed to zero.
    """
    python, numpy_state = random.getstate(), np.random.get_state()
    threads, dtype, flushes = torch.get_num_threads(), torch.get_default_dtype(), _flushes_denormals()
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices), torch.inference_mode(False), torch.enable_grad():
        try:
            torch.set_default_dtype(torch.float32)
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy_state)
            torch.set_num_threads(threads)
            torch.set_default_dtype(dtype)
            torch.set_flush_denormal(flushes)


@contextmanager
def single_precision() -> Iterator[None]:
    """Make new tensors of numbers float32 within the block, whatever default the program has set."""
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)


def _flushes_denormals() -> bool:
    """Return whether arithmetic on denormal numbers gives zero; torch cannot be asked."""
    return float(torch.tensor(2.0**-1050, dtype=torch.float64) * 0.5) == 0.0
