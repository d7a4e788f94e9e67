"""Drawing rows: known cells first, then those that a condition is about, then the others in the columns' order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ...core.errors import UserError
from ...core.model import Evidence, Partial, Request
from ...sampling.logits import draw, probabilities
from . import options as settings
from .columns import Columns, Drawing

_POOL = 2**16  # beginnings of rows that are weighed, where several positions have to meet a condition


class Rows:
    """Draws rows of one model under one set of controls."""

    def __init__(self, columns: Columns, controls: settings.Controls) -> None:
        self.columns, self.controls, self.drawing = columns, controls, Drawing(columns)
        self._pools: WeakKeyDictionary[Evidence, tuple[list[int], Tensor, Tensor]] = WeakKeyDictionary()

    def chances(self, position: int, x: Tensor, visible: Sequence[int], known: Tensor | None) -> Tensor:
        """`(B, alphabet)`, before any condition."""
        logits, asked = self.drawing.logits(position, x, visible, known), self.controls
        neutral = (asked.temperature, asked.top_k, asked.top_p, asked.min_p, asked.typical_p) == (1.0, 0, 1.0, 0.0, 1.0)
        if neutral:
            return logits.softmax(-1)
        return probabilities(
            logits,
            temperature=asked.temperature,
            top_k=asked.top_k,
            top_p=asked.top_p,
            min_p=asked.min_p,
            typical_p=asked.typical_p,
        )

    def pool(self, evidence: Evidence, device: torch.device) -> tuple[list[int], Tensor, Tensor]:
        """The positions that have to meet the evidence, beginnings of rows with these alone, and their weights so far.

        README, equation 8: symbols are drawn among those that meet it, and a beginning counts by how likely that was.
        Raises UserError where none can.
        """
        if evidence in self._pools:
            return self._pools[evidence]
        columns = self.columns
        parts = {columns.part[position] for position in evidence.chances}
        marginal = {part: self._marginal(evidence, part, device) for part in parts}
        positions = [
            position
            for part in sorted(parts, key=lambda part: marginal[part])
            for position in range(columns.count)
            if columns.part[position] == part
        ]
        x = torch.zeros(_POOL, columns.count, dtype=torch.int64, device=device)
        weights = torch.ones(_POOL, dtype=torch.float64, device=device)
        index = torch.arange(_POOL, dtype=torch.float64, device=device)
        for number, position in enumerate(positions):
            p = self.chances(position, x, positions[:number], None).double() * _meets(evidence, position, x)
            p = _limited(p, evidence, position, x, _settled(x, positions[:number]))
            mass = p.sum(1)
            weights *= mass
            # An additive recurrence (Roberts' R-sequence) covers the cube more evenly than chance.
            uniform = (0.5 + index * _step(number, len(positions))) % 1.0
            x[:, position] = draw(torch.where(mass[:, None] > 0, p, 1.0), uniform.clamp(1e-9, 1 - 1e-9))
        if not bool(weights.sum() > 0):
            raise UserError("no row can meet this condition as a whole, by this model; ask for less")
        self._pools[evidence] = positions, x, weights.cumsum(0)
        return self._pools[evidence]

    def _marginal(self, evidence: Evidence, part: int, device: torch.device) -> float:
        """How likely that part meets the evidence by itself, as far as its first symbol tells."""
        first = self.columns.part.index(part)
        x = torch.zeros(1, self.columns.count, dtype=torch.int64, device=device)
        return float((self.chances(first, x, [], None) * _meets(evidence, first, x)).sum())

    def draw(self, request: Request, size: int, even: Mapping[int, int]) -> Iterator[Partial]:
        """Rows `(B, size)`; `even` are the alphabets of the positions that are drawn evenly. Yields the sample."""
        columns, count, device = self.columns, len(request), self.drawing.base.device
        x = torch.zeros(count, size, dtype=torch.int64, device=device)
        known = torch.zeros_like(x, dtype=torch.bool)
        if request.given is not None:
            known = request.given.known.to(device).expand_as(x).clone()
            x = torch.where(known, request.given.x.to(x), x)
        uniform = request.noise.uniform("symbols", (size,)).to(device)
        done: list[int] = []
        evidence = request.evidence or Evidence()
        if evidence.chances:
            done, beginnings, weights = self.pool(evidence, device)
            pick = request.noise.uniform("beginning", ()).to(weights) * weights[-1]
            x[:, done] = beginnings[torch.searchsorted(weights, pick, right=True).clamp(max=_POOL - 1)][:, done]
        cells = known.clone()
        cells[:, columns.count :] = False
        partly = cells.any(0)
        for position in range(columns.count):
            if position in done or bool(known[:, position].all()):
                continue
            if bool(partly.any()):
                seen = cells | _settled(x, done)
                visible = [one for one in range(columns.count) if one in done or bool(partly[one])]
                p = self.chances(position, x, visible, seen)
            else:
                p = self.chances(position, x, done, None)
            p = _limited(p, evidence, position, x, _settled(x, done) | cells)
            if evidence.limits and not bool(((p.sum(1) > 0) | known[:, position]).all()):
                raise UserError("what is asked for contradicts a constraint; ask for less")
            x[:, position] = torch.where(known[:, position], x[:, position], draw(p, uniform[:, position]))
            done = [*done, position]
        for position, alphabet in even.items():
            drawn = (uniform[:, position].double() * alphabet).long().clamp(max=alphabet - 1)
            x[:, position] = torch.where(known[:, position], x[:, position], drawn)
        yield Partial(x, torch.ones_like(x, dtype=torch.bool))


def _meets(evidence: Evidence, position: int, x: Tensor) -> Tensor:
    """P(a row is as wanted | its symbol there), `(B, alphabet)` or `(1, alphabet)`."""
    chances = evidence.chances.get(position)
    if chances is None:
        return torch.ones(1, 1, device=x.device)
    chances = chances.to(x.device).double()
    return chances[x[:, position - 1]] if chances.dim() == 2 else chances[None]


def _limited(p: Tensor, evidence: Evidence, position: int, x: Tensor, known: Tensor) -> Tensor:
    """The chances of what the limits allow."""
    for limit in evidence.limits:
        if position in limit.positions:
            allowed = limit.allowed(position, x, known)
            p = p if allowed is None else p * allowed
    return p


def _settled(x: Tensor, positions: Sequence[int]) -> Tensor:
    """Bool `(1, n)`: those positions."""
    found = torch.zeros(1, x.shape[1], dtype=torch.bool, device=x.device)
    found[:, list(positions)] = True
    return found


def _step(number: int, dimensions: int) -> float:
    """The irrational step of one coordinate: powers of the root of z^(d+1) = z + 1."""
    root = 1.5
    for _ in range(50):
        root = (1 + root) ** (1 / (dimensions + 1))
    return float((1 / root) ** (number + 1) % 1.0)
