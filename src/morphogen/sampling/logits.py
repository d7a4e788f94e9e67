"""From logits to a symbol: temperature, top-k, nucleus, guidance, and a draw by inverse distribution function."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def guided(conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance of logits: u + scale (c - u); scale 1 is none (Sanchez et al., arXiv 2306.17806)."""
    return unconditional + scale * (conditional - unconditional)


def probabilities(logits: Tensor, *, temperature: float, top_k: int, top_p: float) -> Tensor:
    """The distribution `(…, vocab)` in double precision that is drawn from.

    First the temperature; 0 leaves the most likely symbol alone. Then only the `top_k` most likely remain (0: all), and
    of these the fewest whose probabilities reach `top_p` (nucleus sampling, Holtzman et al., arXiv 1904.09751); always
    the most likely one. Ties go to the lower symbol.
    """
    logits = logits.double()
    if temperature == 0:
        return torch.zeros_like(logits).scatter(-1, logits.argmax(-1, keepdim=True), 1.0)
    p = ((logits - logits.amax(-1, keepdim=True)) / temperature).softmax(-1)
    if not top_k and top_p >= 1:
        return p
    ranked, order = p.sort(dim=-1, descending=True, stable=True)
    if top_k:
        ranked = ranked.index_fill(-1, torch.arange(min(top_k, p.shape[-1]), p.shape[-1], device=p.device), 0.0)
        ranked = ranked / ranked.sum(-1, keepdim=True)
    before = F.pad(ranked.cumsum(-1)[..., :-1], (1, 0))
    ranked = ranked.where(before < top_p, 0.0)
    ranked[..., 0] = ranked[..., 0].clamp(min=torch.finfo(p.dtype).tiny)  # where top_p is 0
    return torch.zeros_like(p).scatter(-1, order, ranked / ranked.sum(-1, keepdim=True))


def draw(probability: Tensor, uniform: Tensor) -> Tensor:
    """The symbol `(…)` at which the cumulative `probability` `(…, vocab)` passes `uniform` `(…)` in (0, 1).

    One number a symbol, so that a sample is a function of its own noise alone; never a symbol of probability 0.
    """
    cumulative = probability.cumsum(-1)
    total = cumulative[..., -1:]
    found = torch.searchsorted(cumulative, uniform.to(cumulative).unsqueeze(-1) * total, right=True)
    # Rounding may carry the last uniform past the last symbol that has any probability.
    last = (cumulative < total).sum(-1, keepdim=True)
    return found.minimum(last).squeeze(-1)
