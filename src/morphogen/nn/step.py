"""One cell more of each row through a causal transformer: what drawing symbol by symbol costs, in few operations."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .products import Product, Weights, product
from .rows import Rows
from .transformer import Cache, Layer, Transformer, Turn, rotate


class _Layer(NamedTuple):
    qkv: Product
    mix: Product
    expand: Product  # and what of it is positive
    contract: Product


class Step:
    """The arithmetic of a `Transformer` for single cells after those in its cache, without gradients and dropout.

    Its weights are those there are when it is made.
    """

    def __init__(self, transformer: Transformer, weights: Weights) -> None:
        """Raises UserError where the processor does not do weights of that kind."""
        self.transformer, self.heads = transformer, transformer.heads
        self.layers = []
        for layer in transformer.layers:
            assert isinstance(layer, Layer)
            linear = (layer.qkv, layer.mix, layer.expand, layer.contract)
            qkv, mix, expand, contract = (one.get_parameter("weight") for one in linear)
            self.layers.append(
                _Layer(
                    product(qkv, weights),
                    product(mix, weights),
                    product(expand, weights, relu=True),
                    product(contract, weights),
                )
            )
        # Under the root of the mean square, as in `normalised`.
        self.least = transformer.rotary.cosine.new_tensor(math.sqrt(torch.finfo(torch.float32).eps))

    @torch.inference_mode()
    def __call__(self, x: Tensor, cache: Cache | Rows, turn: Turn | None = None) -> Tensor:
        """`(B, width)` to the same; `turn` is what `rotary` has for cells that are not the next ones."""
        batch, width = x.shape
        cosine, sine = (one[:, 0] for one in turn or cache.turn(self.transformer.rotary, 1))
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
        """x over its root mean square along the last axis, in half the operations of `rms_norm`."""
        size = torch.linalg.vector_norm(x, dim=-1, keepdim=True).mul_(x.shape[-1] ** -0.5)
        return x / torch.hypot(size, self.least)
