"""From logits to a token: guidance, temperature, truncation, and sampling by the inverse distribution function."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .token_controls import TokenControls


def guided(conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
    """Return u + scale (c − u): classifier-free guidance of logits (Sanchez et al., arXiv 2306.17806)."""
    return unconditional + scale * (conditional - unconditional)


def controlled(logits: Tensor, controls: TokenControls) -> Tensor:
    """Return the distribution `(…, vocab)`, in double precision, that these controls sample from."""
    return probabilities(
        logits,
        temperature=controls.temperature,
        top_k=controls.top_k,
        top_p=controls.top_p,
        min_p=controls.min_p,
        typical_p=controls.typical_p,
    )


def probabilities(
    logits: Tensor,
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    min_p: float = 0.0,
    typical_p: float = 1.0,
) -> Tensor:
    """Return the distribution `(…, vocab)`, in double precision; the defaults give the softmax.

    Temperature first, 0 being greedy; then `top_k`, `nucleus`, `min_p` and `typical`, each on what the one before left.
    """
    if temperature == 0:
        return torch.zeros_like(logits, dtype=torch.float64).scatter(-1, logits.argmax(-1, keepdim=True), 1.0)
    if 0 < top_k < logits.shape[-1]:  # all that follows concerns these few tokens
        tokens = likeliest(logits, top_k)
        few = probabilities(
            logits.gather(-1, tokens), temperature=temperature, top_p=top_p, min_p=min_p, typical_p=typical_p
        )
        return torch.zeros_like(logits, dtype=torch.float64).scatter(-1, tokens, few)
    if temperature != 1:  # the highest becomes 0, so that no quotient overflows
        logits = logits.double().sub(logits.amax(-1, keepdim=True)).div_(temperature)
    p = logits.softmax(-1, dtype=torch.float64)
    if top_p < 1:
        p = nucleus(p, top_p)
    if min_p > 0:
        p = _renormalised(p, p >= min_p * p.amax(-1, keepdim=True))  # Nguyen et al., arXiv 2407.01082
    return typical(p, typical_p) if typical_p < 1 else p


def likeliest(logits: Tensor, count: int) -> Tensor:
    """Return the `count` most likely tokens `(…, count)` in rising order; ties go to lower tokens."""
    lowest = logits.topk(count, dim=-1).values[..., -1:]
    keep = _highest(logits, lowest, torch.full_like(lowest, count, dtype=torch.int64))
    return keep.nonzero()[:, -1].reshape(*logits.shape[:-1], count)


def nucleus(p: Tensor, mass: float) -> Tensor:
    """Return p restricted to the fewest tokens that reach `mass`, at least one (Holtzman et al., arXiv 1904.09751).

    Ties go to lower tokens.
    """
    highest = _head(p, mass)
    before = F.pad(highest.cumsum(-1)[..., :-1], (1, 0))
    count = (before < mass).sum(-1, keepdim=True).clamp(min=1)
    return _renormalised(p, _highest(p, highest.gather(-1, count - 1), count))


def typical(p: Tensor, mass: float) -> Tensor:
    """Return p restricted to the tokens, up to `mass`, whose information −ln p is nearest to the entropy; at least one.

    Meister et al., arXiv 2202.00666.
    """
    nats = -p.clamp(min=torch.finfo(p.dtype).tiny).log()
    entropy = (p * nats).sum(-1, keepdim=True)
    # Tokens of probability 0 come last.
    ranked = (nats - entropy).abs().masked_fill(p == 0, torch.inf).argsort(dim=-1, stable=True)
    before = F.pad(p.gather(-1, ranked).cumsum(-1)[..., :-1], (1, 0))
    keep = before < mass
    keep[..., 0] = True
    return _renormalised(p, torch.zeros_like(keep).scatter(-1, ranked, keep))


def _head(p: Tensor, mass: float) -> Tensor:
    """Return the highest values in falling order, at least as many as reach `mass` in each row."""
    for count in (64, 1024, 8192):  # for most distributions a few suffice, and a whole sort is slow
        if count < p.shape[-1] // 4:
            highest = p.topk(count, dim=-1).values
            if bool((highest.sum(-1) > mass + 1e-9).all()):  # by more than the order of a sum can change
                return highest
    return p.sort(dim=-1, descending=True).values


def _highest(value: Tensor, lowest: Tensor, count: Tensor) -> Tensor:
    """Return a mask of the `count` `(…, 1)` highest values, of which `lowest` is the last; ties go to lower tokens."""
    equal = value == lowest
    more = value > lowest
    wanted = count - more.sum(-1, keepdim=True)
    if bool((equal.sum(-1, keepdim=True) > wanted).any()):
        equal &= equal.cumsum(-1) <= wanted
    return more | equal


def _renormalised(p: Tensor, keep: Tensor) -> Tensor:
    p = p.where(keep, 0.0)
    return p / p.sum(-1, keepdim=True)


def draw(probability: Tensor, uniform: Tensor) -> Tensor:
    """Return the token `(…)` at which the cumulative `probability` `(…, vocab)` passes `uniform` `(…)` in (0, 1).

    One number per token, so that a sample is a function of its own noise alone; never a token of probability 0.
    """
    cumulative = probability.cumsum(-1)
    total = cumulative[..., -1]
    # Rounding may carry the last uniform up to the total, and so past the last token that has any probability.
    target = (uniform.to(total) * total).minimum(total.nextafter(torch.zeros_like(total)))
    return torch.searchsorted(cumulative, target.unsqueeze(-1), right=True).squeeze(-1)
