"""Sampling rows: given fields first, then those that evidence is about, then the others in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ...core.errors import UserError
from ...core.model import Evidence, FieldConstraint, Partial, Request
from ...nn.field_tokens import FieldTokens
from ...sampling.logits import controlled, draw
from .any_order_mlp import AnyOrderMLP, Decoder
from .options import RowControls

_POOL = 2**16  # weighted samples of the fields that evidence is about
_CHUNK = 2**13  # of them that are sampled at once, as a constraint needs memory for each row and cell


class Pool(NamedTuple):
    """Samples of the fields that evidence is about, to be resampled by weight; README, equation 8."""

    fields: list[int]
    tokens: Tensor  # (N, positions)
    cells: Tensor  # (N, fields)
    cumulative: Tensor  # (N,) of the weights


class Rows(NamedTuple):
    """Rows while they are sampled, changed in place."""

    tokens: Tensor  # int64 (B, positions)
    cells: Tensor  # int64 (B, fields)
    known: Tensor  # bool (B, fields): given or sampled so far


class RowSampler:
    """Samples rows of one model under one set of controls.

    It holds the weights as they are when it is constructed.
    """

    def __init__(self, tokens: FieldTokens, network: AnyOrderMLP, controls: RowControls) -> None:
        self.tokens, self.controls, self.decoder = tokens, controls, Decoder(network)
        self._pools: WeakKeyDictionary[Evidence, Pool] = WeakKeyDictionary()

    def sample(self, request: Request) -> Partial:
        """Return a row for each seed.

        Raises UserError where no row satisfies the evidence or a constraint, or rows have both given fields and
        likelihoods to satisfy.
        """
        evidence = request.evidence or Evidence()
        rows = self._given(request)
        given = rows.known.clone()
        if evidence.likelihoods and bool(given.any()):
            raise UserError("rows have both given fields and conditions; give the conditions' values as fields, too")
        uniform = request.noise.uniform("symbols", (rows.tokens.shape[1],)).to(given.device)
        done: list[int] = []
        if evidence.likelihoods:
            pool = self._pool(evidence, given.device)
            done = pool.fields
            self._resample(rows, pool, request.noise.uniform("beginning", ()))
        partly = [bool(value) for value in given.any(0).tolist()]
        for field in range(len(self.tokens.fields)):
            if field in done or bool(given[:, field].all()):
                continue
            visible = [position for one in done for position in self.tokens.positions(one)]
            mask = None
            if any(partly):
                readable = [one for one in range(len(partly)) if one in done or partly[one]]
                visible = [position for one in readable for position in self.tokens.positions(one)]
                mask = self.tokens.spread(rows.known)
            mass = self._sample_field(
                rows, field, uniform, constraints=evidence.constraints, visible=visible, mask=mask, given=given
            )
            if evidence.constraints and not bool(((mass > 0) | given[:, field]).all()):
                raise UserError("the conditions or given values contradict a constraint between fields; relax them")
            done = [*done, field]
        return Partial(rows.cells, torch.ones_like(rows.known))

    def _given(self, request: Request) -> Rows:
        """Return rows of which what is given is known."""
        device, fields = self.decoder.base.device, len(self.tokens.fields)
        cells = torch.zeros(len(request), fields, dtype=torch.int64, device=device)
        known = torch.zeros_like(cells, dtype=torch.bool)
        if request.given is not None:
            known = request.given.known.to(device).expand_as(cells).clone()
            cells = torch.where(known, request.given.x.to(cells), cells)
        return Rows(self.tokens.encode(cells), cells, known)

    def _resample(self, rows: Rows, pool: Pool, uniform: Tensor) -> None:
        """Take the pool's fields from one of its samples for each row."""
        pick = uniform.to(pool.cumulative) * pool.cumulative[-1]
        index = torch.searchsorted(pool.cumulative, pick, right=True).clamp(max=len(pool.cumulative) - 1)
        positions = [position for field in pool.fields for position in self.tokens.positions(field)]
        rows.tokens[:, positions] = pool.tokens[index][:, positions]
        rows.cells[:, pool.fields] = pool.cells[index][:, pool.fields]
        rows.known[:, pool.fields] = True

    def _probabilities(self, position: int, x: Tensor, visible: Sequence[int], mask: Tensor | None) -> Tensor:
        """Return the distribution of a position's token under the controls, `(B, size)`."""
        logits = self.decoder.logits(position, x, visible, mask)
        return logits.softmax(-1) if self.controls.neutral else controlled(logits, self.controls)

    def _sample_field(
        self,
        rows: Rows,
        field: int,
        uniform: Tensor,
        *,
        constraints: Sequence[FieldConstraint] = (),
        likelihood: Tensor | None = None,
        visible: Sequence[int],
        mask: Tensor | None = None,
        given: Tensor | None = None,
    ) -> Tensor:
        """Sample the tokens of one field, where it is not `given`; return the probability that it is valid, `(B,)`.

        `uniform` `(B, positions)` decides. `likelihood` `(size,)` and `constraints` weight its cells. Predictions read
        the `visible` positions, of which `mask` `(B, positions)` says in which rows (None: in all).
        """
        allowed = _allowed(constraints, field, rows)
        total = torch.ones(len(rows.cells), dtype=torch.float64, device=rows.cells.device)
        for position in self.tokens.positions(field):
            p = self._probabilities(position, rows.tokens, visible, mask)
            if likelihood is not None:
                p = p.double()
            factors = self._weights(position, rows.tokens, likelihood, allowed)
            for factor in factors:
                p = p * factor
            mass = p.sum(1)
            total *= mass
            if factors:  # a row of no mass is dropped, refused or given; until then any token will do
                p = p.where(mass[:, None] > 0, 1.0)
            token = draw(p, uniform[:, position])
            if given is not None:
                token = torch.where(given[:, field], rows.tokens[:, position], token)
            rows.tokens[:, position] = token
            visible = visible if position in visible else [*visible, position]
            if mask is not None:
                mask[:, position] = True
        rows.cells[:, field] = self.tokens.cell(field, rows.tokens)
        rows.known[:, field] = True
        return total

    def _weights(self, position: int, x: Tensor, likelihood: Tensor | None, allowed: Tensor | None) -> list[Tensor]:
        """Return factors of the probabilities of a position's token, `(B or 1, size)` each.

        A first token of two is weighted by 1 where any of its cells is possible; the second has the cells' own weights.
        """
        tokens, field = self.tokens, self.tokens.field[position]
        possible = None if likelihood is None else (likelihood > 0)[None]
        factors = [value for value in (possible, allowed) if value is not None]
        if not factors:
            return []
        if tokens.is_split(field) and tokens.place[position] == 0:
            both = factors[0] if len(factors) == 1 else factors[0] & factors[1]
            return [tokens.coarse(field, both)]
        values = [value for value in (None if likelihood is None else likelihood[None], allowed) if value is not None]
        if not tokens.is_split(field):
            return values
        first = x[:, position - 1]
        return [tokens.fine(field, value, first) for value in values]

    def _pool(self, evidence: Evidence, device: torch.device) -> Pool:
        """Return weighted samples of the fields that the evidence is about; kept for requests with the same evidence.

        Raises UserError where none satisfies it.
        """
        if evidence in self._pools:
            return self._pools[evidence]
        likelihoods = {field: value.to(device).double() for field, value in evidence.likelihoods.items()}
        # First the fields that are least likely to satisfy it.
        satisfied = {field: self._satisfied(field, value) for field, value in likelihoods.items()}
        fields = sorted(sorted(likelihoods), key=lambda field: satisfied[field])
        parts = []
        for index in torch.arange(_POOL, dtype=torch.float64, device=device).split(_CHUNK):
            parts.append(self._pool_part(evidence, likelihoods, fields, index))
        tokens, cells, weights = (torch.cat(values) for values in zip(*parts, strict=True))
        if not bool(weights.sum() > 0):
            raise UserError("by this model, no row satisfies all conditions at once; relax them")
        self._pools[evidence] = Pool(fields, tokens, cells, weights.cumsum(0))
        return self._pools[evidence]

    def _pool_part(
        self, evidence: Evidence, likelihoods: dict[int, Tensor], fields: list[int], index: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the tokens, cells and weights of the pool's samples with these numbers."""
        count, device = len(index), index.device
        positions = [position for field in fields for position in self.tokens.positions(field)]
        # An additive recurrence (Roberts' R-sequence) covers the cube more evenly than random points.
        uniform = torch.zeros(count, len(self.tokens.sizes), dtype=torch.float64, device=device)
        for number, position in enumerate(positions):
            uniform[:, position] = ((0.5 + index * _recurrence_step(number, len(positions))) % 1.0).clamp(
                1e-9, 1 - 1e-9
            )
        cells = torch.zeros(count, len(self.tokens.fields), dtype=torch.int64, device=device)
        rows = Rows(self.tokens.encode(cells), cells, torch.zeros_like(cells, dtype=torch.bool))
        weights = torch.ones(count, dtype=torch.float64, device=device)
        visible: list[int] = []
        for field in fields:
            weights *= self._sample_field(
                rows,
                field,
                uniform,
                constraints=evidence.constraints,
                likelihood=likelihoods[field],
                visible=visible,
            )
            visible = [*visible, *self.tokens.positions(field)]
        return rows.tokens, rows.cells, weights

    def _satisfied(self, field: int, likelihood: Tensor) -> float:
        """Return how likely that field is to satisfy the evidence by itself, as far as its first token tells."""
        first = self.tokens.first[field]
        x = torch.zeros(1, len(self.tokens.sizes), dtype=torch.int64, device=likelihood.device)
        p = self._probabilities(first, x, [], None)
        return float(sum((p * weight).sum() for weight in self._weights(first, x, likelihood, None)))


def _allowed(constraints: Sequence[FieldConstraint], field: int, rows: Rows) -> Tensor | None:
    """Return which cells of a field all constraints allow, bool `(B or 1, size)`; None: all."""
    allowed: Tensor | None = None
    for constraint in constraints:
        if field in constraint.fields:
            mask = constraint.allowed(field, rows.cells, rows.known)
            if mask is not None:
                allowed = mask if allowed is None else allowed & mask
    return allowed


def _recurrence_step(number: int, dimensions: int) -> float:
    """Return the irrational step of one coordinate: a power of the inverse root of z^(d+1) = z + 1."""
    root = 1.5
    for _ in range(50):
        root = (1 + root) ** (1 / (dimensions + 1))
    return float((1 / root) ** (number + 1) % 1.0)
