"""The likeliest texts: the best of several draws, and beam search."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...core.model import Partial, Request
from ...core.noise import Noise
from ...sampling.beam import extend
from . import options as settings
from .sequence import Sequences

if TYPE_CHECKING:
    from .model import Autoregressive


def best_of(model: Autoregressive, request: Request, controls: settings.Controls) -> Partial:
    """Of `controls.best_of` draws of each sample the one that the model finds likeliest, in nats per symbol drawn.

    The first draw is what is drawn where it is the only one.
    """
    chosen: Tensor | None = None
    best = torch.full((len(request),), torch.inf)
    for number in range(controls.best_of):
        rules = [[rule.fork() for rule in those] for those in request.rules]
        drawing = Sequences(model, dataclasses.replace(request, rules=rules, drafts=False), controls, number)
        *_, last = drawing.run()
        nats = (drawing.nats / drawing.drawn.clamp(min=1)).cpu()
        chosen = last.x if chosen is None else last.x.where((nats < best).to(last.x.device)[:, None], chosen)
        best = best.minimum(nats)
    assert chosen is not None
    return Partial(chosen, torch.ones_like(chosen, dtype=torch.bool))


def beam_search(model: Autoregressive, request: Request, controls: settings.Controls) -> Partial:
    """Of each sample the continuation with the highest ln p over its length to a power that so many beams find."""
    found = [_search(model, _one(request, number, controls.beams), controls) for number in range(len(request))]
    end = model.space.end or 0
    widest = max(len(row) for row in found)
    x = torch.stack([torch.cat((row, row.new_full((widest - len(row),), end))) for row in found])
    return Partial(x, torch.ones_like(x, dtype=torch.bool))


def _one(request: Request, number: int, beams: int) -> Request:
    """That sample, once for each beam."""
    given, rules = request.given, request.rules
    if given is not None:
        known = given.known.expand(given.x.shape)
        given = Partial(given.x[[number] * beams], known[[number] * beams])
    return Request(
        noise=Noise(request.noise.seeds[[number] * beams]),
        condition={name: value[[number] * beams] for name, value in request.condition.items()},
        given=given,
        rules=[[rule.fork() for rule in rules[number]] for _ in range(beams)] if rules else (),
    )


def _search(model: Autoregressive, request: Request, controls: settings.Controls) -> Tensor:
    beams = Sequences(model, request, controls)
    begun, power = beams.began[0], controls.length_penalty
    scores = torch.zeros(1, dtype=torch.float64, device=beams.x.device)  # at first all beams are the same one
    best, chosen = -torch.inf, beams.x[0, :begun]
    logits = beams.read(list(range(len(beams.lengths))))
    for length in range(1, beams.most + 1):
        going, ended = extend(
            beams.log_probabilities(logits)[: len(scores)], scores, controls.beams, length, end=beams.end, alpha=power
        )
        for parent, symbol, score in zip(*(part.tolist() for part in ended), strict=True):
            if score > best:
                best, chosen = (
                    score,
                    torch.cat((beams.x[parent, : begun + length - 1], going.symbol.new_tensor([symbol]))),
                )
        scores = going.score
        # Sums of ln p only fall: no beam can come to more than this.
        if not len(scores) or float(scores.max()) / beams.most**power <= best:
            return chosen
        beams.follow(going.parent, going.symbol)
        if length < beams.most:
            logits = beams.next_logits()
    if float(scores[0]) / beams.most**power > best:
        chosen = beams.x[0, : begun + beams.most]
    return chosen
