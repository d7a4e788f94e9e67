"""One more position of each sequence through a causal transformer: decoding token by token, in few operations."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .quantized_linear import Linear, Weights, quantized_linear
from .rotary import Rotation, rotate
from .transformer import Cache, Layer, Transformer


class _Layer(NamedTuple):
    qkv: Linear
    mix: Linear
    expand: Linear  # with a ReLU
    contract: Linear


class DecodeStep:
    """Computes what a `Transformer` does for one position after those in its cache, without gradients and dropout.

    It holds a copy of the weights as they are when it is constructed.
    """

    def __init__(self, transformer: Transformer, weights: Weights) -> None:
        """Raises UserError where the machine does not compute with weights of that kind."""
        self.transformer, self.heads = transformer, transformer.heads
        self.layers = []
        for layer in transformer.layers:
            assert isinstance(layer, Layer)
            qkv, mix, expand, contract = (
                linear.get_parameter("weight") for linear in (layer.qkv, layer.mix, layer.expand, layer.contract)
            )
            self.layers.append(
                _Layer(
                    quantized_linear(qkv, weights),
                    quantized_linear(mix, weights),
                    quantized_linear(expand, weights, relu=True),
                    quantized_linear(contract, weights),
                )
            )
        # Below the root of the mean square, as in `fused_ops.normalised`.
        self.epsilon = transformer.rotary.cosine.new_tensor(math.sqrt(torch.finfo(torch.float32).eps))

    @torch.inference_mode()
    def __call__(self, x: Tensor, cache: Cache, rotation: Rotation | None = None) -> Tensor:
        """Return the hidden vectors `(B, width)` of the positions x `(B, width)`.

        `rotation`: that of these positions, where they are not the next ones.
        """
        batch, width = x.shape
        cosine, sine = (part[:, 0] for part in rotation or cache.rotation(self.transformer.rotary, 1))
        for number, layer in enumerate(self.layers):
            qkv = layer.qkv(self._normalised(x)).float().reshape(batch, 3, self.heads, width // self.heads)
            q, k = rotate(self._normalised(qkv[:, :2]), cosine, sine).unsqueeze(3).unbind(1)
            keys, values, mask = cache.extend(number, k, qkv[:, 2].unsqueeze(2))
            h = F.scaled_dot_product_attention(q, keys, values, attn_mask=mask)
            x = x + layer.mix(h.reshape(batch, width))
            positive = layer.expand(self._normalised(x))
            x = x + layer.contract(positive * positive)
        cache.advance(1)
        return self._normalised(x)

    def _normalised(self, x: Tensor) -> Tensor:
        """Return x over its root mean square along the last axis, in half the operations of `rms_norm`."""
        size = torch.linalg.vector_norm(x, dim=-1, keepdim=True).mul_(x.shape[-1] ** -0.5)
        return x / torch.hypot(size, self.epsilon)
