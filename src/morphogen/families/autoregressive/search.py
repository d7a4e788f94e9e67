"""The likeliest sequences: the best of several samples, and beam search."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from ...core.model import Partial, Request
from ...core.noise import Noise
from ...sampling.beam import extend
from .options import SequenceControls
from .sequence_sampler import SequenceNetwork, SequenceSampler


def best_of(network: SequenceNetwork, request: Request, controls: SequenceControls) -> Partial:
    """Return, of `controls.best_of` candidates of each sample, the one with the fewest nats per token.

    The first candidate is what `best_of` 1 would return.
    """
    x: Tensor | None = None
    best = torch.full((len(request),), torch.inf)
    for candidate in range(controls.best_of):
        constraints = [[constraint.fork() for constraint in own] for own in request.token_constraints]
        own_request = dataclasses.replace(request, token_constraints=constraints, drafts=False)
        sampler = SequenceSampler(network, own_request, controls, candidate)
        *_, last = sampler.run()
        nats = (sampler.nats / sampler.generated.clamp(min=1)).cpu()
        x = last.x if x is None else last.x.where((nats < best).to(last.x.device)[:, None], x)
        best = best.minimum(nats)
    assert x is not None
    return Partial(x, torch.ones_like(x, dtype=torch.bool))


def beam_search(network: SequenceNetwork, request: Request, controls: SequenceControls) -> Partial:
    """Return, of each sample, the continuation with the highest ln p / length ** `length_penalty` among the beams."""
    sequences = [
        _search(network, _repeated(request, sample, controls.beams), controls) for sample in range(len(request))
    ]
    columns = max(len(sequence) for sequence in sequences)
    x = torch.stack(
        [
            torch.cat((sequence, sequence.new_full((columns - len(sequence),), network.space.end)))
            for sequence in sequences
        ]
    )
    return Partial(x, torch.ones_like(x, dtype=torch.bool))


def _repeated(request: Request, sample: int, beams: int) -> Request:
    """Return the request for one sample, once for each beam."""
    constraints, index = request.token_constraints, torch.tensor([sample] * beams)
    return Request(
        noise=Noise(request.noise.seeds[index]),
        condition={name: value[index] for name, value in request.condition.items()},
        given=request.given and request.given.select(index),
        token_constraints=[[one.fork() for one in constraints[sample]] for _ in index] if constraints else (),
    )


def _search(network: SequenceNetwork, request: Request, controls: SequenceControls) -> Tensor:
    beams = SequenceSampler(network, request, controls)
    prompt_length, power, max_length = beams.prompt_lengths[0], controls.length_penalty, beams.max_length
    scores = torch.zeros(1, dtype=torch.float64, device=beams.x.device)  # at first all beams are equal
    best, sequence = -torch.inf, beams.x[0, :prompt_length]
    logits = beams.read(list(range(len(beams.lengths))))
    for length in range(1, max_length + 1):
        log_p = beams.log_probabilities(logits)[: len(scores)]
        active, ended = extend(log_p, scores, controls.beams, length, end=beams.end, alpha=power)
        for parent, token, score in zip(*(part.tolist() for part in ended), strict=True):
            if score > best:
                before = beams.x[parent, : prompt_length + length - 1]
                best, sequence = score, torch.cat((before, before.new_tensor([token])))
        scores = active.score
        # Sums of ln p only fall, so that this bounds the final score of every beam.
        if not len(scores) or float(scores.max()) / max_length**power <= best:
            return sequence
        beams.follow(active.parent, active.token)
        if length < max_length:
            logits = beams.next_logits()
    if float(scores[0]) / max_length**power > best:
        sequence = beams.x[0, : prompt_length + max_length]
    return sequence
