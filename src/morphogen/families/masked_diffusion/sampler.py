"""Unmasking: each step reveals some of the masked tokens, given all that are visible. Equations: README.md."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ...core.model import Request
from ...sampling.logits import controlled, draw, guided
from .network import MaskedTransformer
from .options import UnmaskingControls

_MAX_STEPS = 64  # where the controls set none
_GRAIN = 1000  # in a nat: confidences closer than that are ties, or rounding, and so the batch, would decide


class MaskedSequences(NamedTuple):
    """Sequences while they are unmasked, and all that decides how."""

    x: Tensor  # int64 (B, n)
    known: Tensor  # bool (B, n)
    inside: Tensor | None  # bool (B, n), the tokens that exist; None: all
    condition: Tensor  # (B, copies, width): with the condition and, for guidance, without
    token_uniform: Tensor  # (B, n), decides which token each is
    order_uniform: Tensor  # (B, n), decides when

    def select(self, sequences: Tensor) -> MaskedSequences:
        return MaskedSequences(*(None if value is None else value[sequences] for value in self))  # type: ignore[arg-type]


def request_condition(network: MaskedTransformer, request: Request, controls: UnmaskingControls) -> Tensor:
    """Return the embedded condition, `(B, 1 or 2, width)`: with guidance also that without a condition."""
    x = torch.zeros(len(request), 1, device=network.device)
    vectors = [network.conditioner(dict(request.condition), x).vector]
    if controls.guidance != 1 and request.condition:
        vectors.append(network.conditioner({}, x).vector)
    return torch.stack(vectors, dim=1)


def unmask(network: MaskedTransformer, controls: UnmaskingControls, sequences: MaskedSequences) -> Iterator[None]:
    """Reveal, in place, all unknown tokens of the sequences, some in each step; README, equation 6.

    The steps of a sequence do not depend on the sequences beside it: a finished sequence is not read any more.
    """
    masked = ~sequences.known if sequences.inside is None else ~sequences.known & sequences.inside
    count = masked.sum(1)
    steps = count.clamp(max=controls.steps or _MAX_STEPS)
    for step in range(int(steps.max())):
        active = (step < steps).nonzero().flatten()
        own, of = count[active], steps[active]
        wanted = (step + 1) * own // of - step * own // of
        cells, tokens = _next(network, controls, sequences.select(active), masked[active], wanted)
        at = (active[:, None], cells)
        revealed = torch.arange(cells.shape[1], device=cells.device) < wanted[:, None]
        sequences.x[at] = torch.where(revealed, tokens, sequences.x[at])
        sequences.known[at] |= revealed
        masked[at] &= ~revealed
        yield


def _next(
    network: MaskedTransformer, controls: UnmaskingControls, sequences: MaskedSequences, masked: Tensor, wanted: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the next cells of each sequence, of which the first `wanted` `(B,)` count, and a token for each."""
    copies = sequences.condition.shape[1]
    x, hidden_cells = (value.repeat_interleave(copies, 0) for value in (sequences.x, masked))
    item = None if sequences.inside is None else sequences.inside.long().repeat_interleave(copies, 0)
    hidden = network.read(x, hidden_cells, sequences.condition.flatten(0, 1), item).unflatten(0, (-1, copies))
    score = sequences.order_uniform.double()
    logits = None
    if controls.order == "confidence":
        # The highest probability of a cell (Kim et al., arXiv 2502.06768), whatever is sampled there, so that each
        # token keeps the model's own probability given what is visible.
        logits = _guided_logits(network, hidden, controls)
        confidence = logits.log_softmax(-1).amax(-1).double()
        gumbel = -(-sequences.order_uniform.double().log()).log()  # Chang et al., arXiv 2202.04200
        score = ((confidence + controls.choice_temperature * gumbel) * _GRAIN).round() + score
    cells = score.masked_fill(~masked, -torch.inf).argsort(dim=1, descending=True, stable=True)[:, : int(wanted.max())]
    if logits is not None:
        logits = logits.gather(1, cells[:, :, None].expand(-1, -1, network.vocab))
    else:
        hidden = hidden.gather(2, cells[:, None, :, None].expand(-1, copies, -1, hidden.shape[-1]))
        logits = _guided_logits(network, hidden, controls)
    return cells, draw(controlled(logits, controls), sequences.token_uniform.gather(1, cells))


def _guided_logits(network: MaskedTransformer, hidden: Tensor, controls: UnmaskingControls) -> Tensor:
    """Return logits `(B, n, vocab)` from the hidden vectors of each copy, `(B, copies, n, width)`."""
    logits = network.head(hidden).float()
    logits = guided(logits[:, 0], logits[:, 1], controls.guidance) if logits.shape[1] > 1 else logits[:, 0]
    return network.exclude(logits)
