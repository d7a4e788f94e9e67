"""From logits to a symbol: temperature, what is cut off, guidance, and a draw by inverse distribution function."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def guided(conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance of logits: u + scale (c - u); scale 1 is none (Sanchez et al., arXiv 2306.17806)."""
    return unconditional + scale * (conditional - unconditional)


def probabilities(
    logits: Tensor,
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    min_p: float = 0.0,
    typical_p: float = 1.0,
) -> Tensor:
    """The distribution `(…, vocab)` in double precision that is drawn from; the defaults leave it as it is.

    First the temperature; 0 leaves the most likely symbol alone. Then, each of what the one before left: `top_k`,
    `nucleus`, `min_p` and `typical`.
    """
    if temperature == 0:
        return torch.zeros_like(logits, dtype=torch.float64).scatter(-1, logits.argmax(-1, keepdim=True), 1.0)
    if 0 < top_k < logits.shape[-1]:  # then all that follows is about few symbols
        symbols = likeliest(logits, top_k)
        few = probabilities(
            logits.gather(-1, symbols), temperature=temperature, top_p=top_p, min_p=min_p, typical_p=typical_p
        )
        return torch.zeros_like(logits, dtype=torch.float64).scatter(-1, symbols, few)
    if temperature != 1:  # the highest becomes 0, so that no quotient overflows
        logits = logits.double().sub(logits.amax(-1, keepdim=True)).div_(temperature)
    p = logits.softmax(-1, dtype=torch.float64)
    if top_p < 1:
        p = nucleus(p, top_p)
    if min_p > 0:
        p = _left(p, p >= min_p * p.amax(-1, keepdim=True))  # Nguyen et al., arXiv 2407.01082
    return typical(p, typical_p) if typical_p < 1 else p


def likeliest(logits: Tensor, count: int) -> Tensor:
    """The `count` most likely symbols `(…, count)` in rising order; of equals the lower ones."""
    lowest = logits.topk(count, dim=-1).values[..., -1:]
    kept = _first(logits, lowest, torch.full_like(lowest, count, dtype=torch.int64))
    return kept.nonzero()[:, -1].reshape(*logits.shape[:-1], count)


def nucleus(p: Tensor, mass: float) -> Tensor:
    """The fewest symbols whose probabilities reach `mass`, the most likely always (Holtzman et al., arXiv 1904.09751).

    Of equals the lower ones.
    """
    highest = _head(p, mass)
    before = F.pad(highest.cumsum(-1)[..., :-1], (1, 0))
    count = (before < mass).sum(-1, keepdim=True).clamp(min=1)
    return _left(p, _first(p, highest.gather(-1, count - 1), count))


def typical(p: Tensor, mass: float) -> Tensor:
    """The symbols that reach `mass`, those first that surprise about as much as is expected: −ln p near the entropy.

    Meister et al., arXiv 2202.00666; at least one.
    """
    nats = -p.clamp(min=torch.finfo(p.dtype).tiny).log()
    entropy = (p * nats).sum(-1, keepdim=True)
    # What has no probability any more comes last.
    ranked = (nats - entropy).abs().masked_fill(p == 0, torch.inf).argsort(dim=-1, stable=True)
    before = F.pad(p.gather(-1, ranked).cumsum(-1)[..., :-1], (1, 0))
    keep = before < mass
    keep[..., 0] = True
    return _left(p, torch.zeros_like(keep).scatter(-1, ranked, keep))


def _head(p: Tensor, mass: float) -> Tensor:
    """The highest values in falling order, at least as many as reach `mass` in each row."""
    for count in (64, 1024, 8192):  # most distributions are settled by a few, and a whole sort takes long
        if count < p.shape[-1] // 4:
            highest = p.topk(count, dim=-1).values
            if bool((highest.sum(-1) > mass + 1e-9).all()):  # beyond what the order of a sum can change
                return highest
    return p.sort(dim=-1, descending=True).values


def _first(value: Tensor, lowest: Tensor, count: Tensor) -> Tensor:
    """Which are the `count` `(…, 1)` highest values, of which `lowest` is the last; of equals the lower symbols."""
    equal = value == lowest
    more = value > lowest
    wanted = count - more.sum(-1, keepdim=True)
    if bool((equal.sum(-1, keepdim=True) > wanted).any()):
        equal &= equal.cumsum(-1) <= wanted
    return more | equal


def _left(p: Tensor, keep: Tensor) -> Tensor:
    """What is kept, as a distribution."""
    p = p.where(keep, 0.0)
    return p / p.sum(-1, keepdim=True)


def draw(probability: Tensor, uniform: Tensor) -> Tensor:
    """The symbol `(…)` at which the cumulative `probability` `(…, vocab)` passes `uniform` `(…)` in (0, 1).

    One number a symbol, so that a sample is a function of its own noise alone; never a symbol of probability 0.
    """
    cumulative = probability.cumsum(-1)
    total = cumulative[..., -1]
    # Rounding may carry the last uniform up to the total, and so past the last symbol that has any probability.
    target = (uniform.to(total) * total).minimum(total.nextafter(torch.zeros_like(total)))
    return torch.searchsorted(cumulative, target.unsqueeze(-1), right=True).squeeze(-1)
