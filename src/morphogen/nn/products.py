"""Rows times a weight without gradients, where there are few rows, and reading the weight is what takes time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.errors import UserError
from .precision import bf16_is_emulated

Weights = Literal["fp32", "bf16", "int8"]
Product = Callable[[Tensor], Tensor]

_ROWS = 16  # for which a packed weight is laid out; it serves one row and 64 as well as what is laid out for these
_LARGE = 2**17  # numbers of a weight that are worth its layout: a packed product takes 13 us more to begin


def product(weight: Tensor, weights: Weights, *, relu: bool = False) -> Product:
    """From x `(B, in)` to x weightᵀ `(B, out)`, or what of it is positive; the weight `(out, in)` in that precision.

    Raises UserError where the machine does not compute in it.
    """
    weight, on_cpu = weight.detach(), weight.device.type == "cpu"
    if weights == "int8":
        if not on_cpu:
            raise UserError(f"weights int8 are for CPUs, and the model is on {weight.device.type}; take bf16 or fp32")
        return _eight_bits(weight, relu)
    if weights == "bf16":
        if on_cpu and bf16_is_emulated():
            raise UserError("this processor computes in bf16 far slower than in fp32; take weights fp32 or int8")
        weight = weight.bfloat16()
    if on_cpu and weight.numel() >= _LARGE and torch.backends.mkldnn.is_available():
        return _packed(weight, relu)
    return _then(lambda x: F.linear(x.to(weight.dtype), weight), relu)


def _then(times: Product, relu: bool) -> Product:
    return (lambda x: times(x).relu_()) if relu else times


def _packed(weight: Tensor, relu: bool) -> Product:
    """oneDNN's product with a weight laid out for it once, as Inductor calls it.

    On two cores 43 MB of weights took 1.6 ms for one row and 2.7 for 16 (`linear`: 4.0 and 5.2), in bf16 .8 and 1.5
    (1.9 and 2.4).
    """
    with torch.no_grad():
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS)
    after, dtype, act = "relu" if relu else "none", weight.dtype, torch.ops.mkldnn._linear_pointwise.default

    def times(x: Tensor) -> Tensor:
        found: Tensor = act(x.to(dtype), packed, None, after, [], "")
        return found

    return times


def _eight_bits(weight: Tensor, relu: bool) -> Product:
    """Each row of the weight as whole numbers up to 127 and a scale, x in bf16: .4 ms for one row, 2.8 for 16."""
    scale = (weight.abs().amax(1) / 127).clamp(min=torch.finfo(torch.float32).tiny).bfloat16()
    numbers = (weight / scale[:, None]).round().clamp(-127, 127).to(torch.int8)
    return _then(lambda x: torch._weight_int8pack_mm(x.bfloat16().contiguous(), numbers, scale), relu)
