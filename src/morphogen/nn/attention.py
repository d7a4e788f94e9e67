"""Softmax attention, by whichever of two implementations is faster."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# Up to this many keys plain matrix products beat the fused kernel of CPUs in half precision, above all in the backward
# pass: in bf16 49 keys took 2.5 ms against 10, 196 keys 16 against 34, 784 keys 259 against 99. In single precision the
# fused kernel is faster from 16 keys on (12 ms against 10; 255 keys 24 against 9), and with one query (33 us against
# 12).
_MAX_PLAIN = 200


def attend(q: Tensor, k: Tensor, v: Tensor, *, causal: bool = False, mask: Tensor | None = None) -> Tensor:
    """Return softmax attention over `(B, heads, positions, width)`; causal: a query sees no later key.

    `mask`, bool and broadcastable to `(B, heads, queries, keys)`: what a query may see besides.
    """
    if q.device.type != "cpu" or k.shape[2] > _MAX_PLAIN or q.dtype == torch.float32:
        if mask is not None and causal:
            mask = mask & torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).tril()
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal and mask is None)
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    if causal:
        scores = scores.masked_fill(torch.ones(scores.shape[2:], dtype=torch.bool).triu(1), -torch.inf)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return scores.softmax(dim=-1) @ v
