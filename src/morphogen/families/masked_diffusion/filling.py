"""Drawing what is not known: in each step some of the masked cells, given all that are there. Equations: README.md."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from ...core.errors import UserError
from ...core.model import Partial, Request
from ...sampling.logits import draw, guided, probabilities
from . import options as settings

if TYPE_CHECKING:
    from .model import MaskedDiffusion

_STEPS = 64  # at most, where nothing else is said
_GRAIN = 1000  # in a nat: confidences closer than that are equal, or rounding would decide, and so the batch


class Rows(NamedTuple):
    """Rows that are filled in, and all that decides how."""

    x: Tensor  # int64 (B, n)
    known: Tensor  # bool (B, n)
    inside: Tensor | None  # bool (B, n), the cells there are; None: all
    told: Tensor  # (B, copies, width): with the condition and, where it guides, without
    symbols: Tensor  # (B, n), a number in (0, 1) that decides each symbol,
    order: Tensor  # and one that decides when

    def select(self, rows: Tensor) -> Rows:
        inside = None if self.inside is None else self.inside[rows]
        return Rows(self.x[rows], self.known[rows], inside, self.told[rows], self.symbols[rows], self.order[rows])


def generate(model: MaskedDiffusion, request: Request, controls: settings.Controls) -> Iterator[Partial]:
    """Drafts, one for each step where they are wanted; the last is the sample."""
    if any(request.rules):
        raise UserError("rules are obeyed symbol by symbol, and here any may come next; use autoregressive")
    nothing = torch.zeros(len(request), 1, device=model.device)
    told = [model.conditioner(dict(request.condition), nothing).vector]
    if controls.guidance != 1 and request.condition:
        told.append(model.conditioner({}, nothing).vector)
    draws = _grids if model.lengths is None else _sequences
    yield from draws(model, request, controls, torch.stack(told, dim=1))


def _grids(model: MaskedDiffusion, request: Request, controls: settings.Controls, told: Tensor) -> Iterator[Partial]:
    count, size = len(request), model.space.size
    x = torch.zeros(count, model.space.dimensions, dtype=torch.int64, device=model.device)
    known = torch.zeros_like(x, dtype=torch.bool)
    if request.given is not None:
        known = request.given.known.to(x.device).expand(count, *size).reshape(x.shape).clone()
        x = torch.where(known, request.given.x.to(x).reshape(x.shape), x)
    given, fixed = x.clone(), known.clone()
    symbols, order = (request.noise.uniform(name, (x.shape[1],)).to(x.device) for name in ("symbols", "order"))
    for _ in fill(model, controls, Rows(x, known, None, told, symbols, order)):
        if request.drafts and not bool(known.all()):
            yield Partial(x.reshape(count, *size), known.reshape(count, *size))
    x = torch.where(fixed, given, model.ended(x)).reshape(count, *size)
    yield Partial(x, torch.ones_like(x, dtype=torch.bool))


def _sequences(
    model: MaskedDiffusion, request: Request, controls: settings.Controls, told: Tensor
) -> Iterator[Partial]:
    """Each row is as long as it is given to be, or as is drawn first; then it is filled in by windows."""
    x, known, stop = _laid_out(model, request, controls)
    places = torch.arange(x.shape[1], device=x.device)
    beyond = places >= stop[:, None]
    symbols, order = (request.noise.uniform(name, (x.shape[1],)).to(x.device) for name in ("symbols", "order"))
    while bool((missing := ~known & ~beyond).any()):
        rows = missing.any(1).nonzero().flatten()
        cells, inside = windows(missing[rows], stop[rows], model.space.size[0])
        at = (rows[:, None], cells)
        part = Rows(x[at], known[at], inside, told[rows], symbols[at], order[at])
        for _ in fill(model, controls, part):
            x[at], known[at] = part.x, part.known
            if request.drafts and not bool((known | beyond).all()):
                yield Partial(x, known | beyond)
    yield Partial(x, torch.ones_like(x, dtype=torch.bool))


def _laid_out(model: MaskedDiffusion, request: Request, controls: settings.Controls) -> tuple[Tensor, Tensor, Tensor]:
    """Rows `(B, n)` of what is given and, around it, ends; what of them is known; and where each stops, `(B,)`."""
    space, count, device = model.space, len(request), model.device
    assert model.lengths is not None
    context, end = space.size[0], space.end
    given = torch.full((count, context), int(space.start or 0), device=device)
    known = torch.zeros_like(given, dtype=torch.bool)
    if request.given is not None:
        given = request.given.x.to(device)
        known = request.given.known.to(device).expand(given.shape).clone()
    given = given.clone()
    given[:, 0] = torch.where(known[:, 0], given[:, 0], int(space.start or 0))
    known[:, 0] = True
    place = torch.arange(given.shape[1], device=device)
    ends = known & (given == (-1 if end is None else end))
    ended = ends.any(1)
    last = place.where(known, -1).amax(1)
    most = controls.max_length or context - 1
    stop = last + 1 + most
    if end is not None:
        length = model.lengths.draw(last + controls.min_length, request.noise)
        ends_at = torch.where(ended, ends.long().argmax(1), length + 1)
        closed = ended | (ends_at < stop)
        stop = torch.where(closed, ends_at + 1, stop)
    wide = max(given.shape[1], int(stop.max()))
    x = torch.full((count, wide), int(end or 0), device=device)
    settled = torch.zeros_like(x, dtype=torch.bool)
    x[:, : given.shape[1]] = torch.where(known, given, x[:, : given.shape[1]])
    settled[:, : given.shape[1]] = known
    if end is not None:
        settled |= closed[:, None] & (torch.arange(wide, device=device) == stop[:, None] - 1)
    return x, settled, stop


def windows(unread: Tensor, stop: Tensor, context: int) -> tuple[Tensor, Tensor]:
    """For rows `(B, n)`, the cells that are read at once, int64 `(B, m)`, and which of them are of the row.

    Up to half a context before the first that is `unread`, and as much after it as there is room; a row stops at
    `stop` `(B,)`, and its last window is full. They depend on that row alone.
    """
    first = unread.long().argmax(1)
    begin = (first - context // 2).minimum(stop - context).clamp(min=0)
    wide = min(context, int((stop - begin).max()))
    cells = begin[:, None] + torch.arange(wide, device=unread.device)
    # Beyond the last column they begin again at the first, so that no cell is there twice.
    return cells % unread.shape[1], cells < stop[:, None]


def fill(model: MaskedDiffusion, controls: settings.Controls, rows: Rows) -> Iterator[None]:
    """Settles, in place, all cells of the rows that are not known, some in each step; README, equation 6.

    A row's steps are its own, whatever the rows beside it: one that is done is not read any more.
    """
    unknown = ~rows.known if rows.inside is None else ~rows.known & rows.inside
    count = unknown.sum(1)
    steps = count.clamp(max=controls.steps or _STEPS)
    for step in range(int(steps.max())):
        under_way = (step < steps).nonzero().flatten()
        own, of = count[under_way], steps[under_way]
        wanted = (step + 1) * own // of - step * own // of
        cells, drawn = _next(model, controls, rows.select(under_way), unknown[under_way], wanted)
        at = (under_way[:, None], cells)
        settled = torch.arange(cells.shape[1], device=cells.device) < wanted[:, None]
        rows.x[at] = torch.where(settled, drawn, rows.x[at])
        rows.known[at] |= settled
        unknown[at] &= ~settled
        yield


def _next(
    model: MaskedDiffusion, controls: settings.Controls, rows: Rows, unknown: Tensor, wanted: Tensor
) -> tuple[Tensor, Tensor]:
    """The cells that are next in each row, the first `wanted` `(B,)` of them, and a symbol for each."""
    copies = rows.told.shape[1]
    x, masked = (value.repeat_interleave(copies, 0) for value in (rows.x, unknown))
    item = None if rows.inside is None else rows.inside.long().repeat_interleave(copies, 0)
    hidden = model.read(x, masked, rows.told.flatten(0, 1), item).unflatten(0, (-1, copies))
    score = rows.order.double()
    logits = None
    if controls.order == "confidence":
        # The highest probability of a cell (Kim et al., arXiv 2502.06768), whatever is drawn there: so that each
        # symbol still has the model's own probability given what is there.
        logits = model.allow(_guided(model, hidden, controls), model.allowed)
        surest = logits.log_softmax(-1).amax(-1).double()
        gumbel = -(-rows.order.double().log()).log()  # Chang et al., arXiv 2202.04200
        score = ((surest + controls.choice_temperature * gumbel) * _GRAIN).round() + score
    cells = score.masked_fill(~unknown, -torch.inf).argsort(dim=1, descending=True, stable=True)[:, : int(wanted.max())]
    if logits is not None:
        logits = logits.gather(1, cells[:, :, None].expand(-1, -1, model.vocab))
    else:
        hidden = hidden.gather(2, cells[:, None, :, None].expand(-1, copies, -1, hidden.shape[-1]))
        allowed = model.allowed[cells] if len(model.allowed) > 1 else model.allowed
        logits = model.allow(_guided(model, hidden, controls), allowed)
    chances = probabilities(
        logits,
        temperature=controls.temperature,
        top_k=controls.top_k,
        top_p=controls.top_p,
        min_p=controls.min_p,
        typical_p=controls.typical_p,
    )
    return cells, draw(chances, rows.symbols.gather(1, cells))


def _guided(model: MaskedDiffusion, hidden: Tensor, controls: settings.Controls) -> Tensor:
    """Logits `(B, n, vocab)` of what the network made of each copy, `(B, copies, n, width)`."""
    logits = model.head(hidden).float()
    return guided(logits[:, 0], logits[:, 1], controls.guidance) if logits.shape[1] > 1 else logits[:, 0]
