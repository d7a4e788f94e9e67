"""Linear maps without gradients for few rows, where reading the weight takes the time: packed, in bf16 or int8."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.errors import UserError
from .precision import bf16_is_emulated

Weights = Literal["fp32", "bf16", "int8"]
Linear = Callable[[Tensor], Tensor]

_ROWS = 16  # that a packed weight is laid out for; one row and 64 are as fast as with a layout of their own
_MIN_PACKED = 2**17  # numbers in a weight from which packing pays: a packed call takes 13 us more to start


def quantized_linear(weight: Tensor, weights: Weights, *, relu: bool = False) -> Linear:
    """Return a function from x `(B, in)` to x weightᵀ `(B, out)`, with a ReLU or not, for a weight `(out, in)`.

    The weight is converted once. Raises UserError where the machine does not compute in that precision.
    """
    weight, on_cpu = weight.detach(), weight.device.type == "cpu"
    if weights == "int8":
        if not on_cpu:
            raise UserError(
                f"weights 'int8' run on CPUs only, and the model is on {weight.device.type}; use bf16 or fp32"
            )
        return _int8(weight, relu)
    if weights == "bf16":
        if on_cpu and bf16_is_emulated():
            raise UserError("weights 'bf16' are emulated and slow on this processor; use fp32 or int8")
        weight = weight.bfloat16()
    if on_cpu and weight.numel() >= _MIN_PACKED and torch.backends.mkldnn.is_available():
        return _packed(weight, relu)
    return _with_relu(lambda x: F.linear(x.to(weight.dtype), weight), relu)


def _with_relu(linear: Linear, relu: bool) -> Linear:
    return (lambda x: linear(x).relu_()) if relu else linear


def _packed(weight: Tensor, relu: bool) -> Linear:
    """oneDNN's product with a weight that is laid out for it once, as Inductor calls it.

    On two cores 43 MB of weights took 1.6 ms for one row and 2.7 for 16 (`linear`: 4.0 and 5.2), in bf16 .8 and 1.5
    (1.9 and 2.4).
    """
    with torch.no_grad():
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS)
    activation, dtype, call = "relu" if relu else "none", weight.dtype, torch.ops.mkldnn._linear_pointwise.default

    def linear(x: Tensor) -> Tensor:
        y: Tensor = call(x.to(dtype), packed, None, activation, [], "")
        return y

    return linear


def _int8(weight: Tensor, relu: bool) -> Linear:
    """Symmetric quantisation with one scale per output, x in bf16: .4 ms for one row, 2.8 for 16."""
    scale = (weight.abs().amax(1) / 127).clamp(min=torch.finfo(torch.float32).tiny).bfloat16()
    quantized = (weight / scale[:, None]).round().clamp(-127, 127).to(torch.int8)
    return _with_relu(lambda x: torch._weight_int8pack_mm(x.bfloat16().contiguous(), quantized, scale), relu)
