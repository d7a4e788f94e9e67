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
    if temperature == 0:
        return torch.zeros_like(logits, dtype=torch.float64).scatter(-1, logits.argmax(-1, keepdim=True), 1.0)
    if temperature != 1:  # the highest becomes 0, so that no quotient overflows
        logits = logits.double().sub(logits.amax(-1, keepdim=True)).div_(temperature)
    p = logits.softmax(-1, dtype=torch.float64)
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
    total = cumulative[..., -1]
    # Rounding may carry the last uniform up to the total, and so past the last symbol that has any probability.
    target = (uniform.to(total) * total).minimum(total.nextafter(torch.zeros_like(total)))
    return torch.searchsorted(cumulative, target.unsqueeze(-1), right=True).squeeze(-1)
