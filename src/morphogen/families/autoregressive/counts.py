"""What followed the last symbols in training, counted, which the network mixes with its own guess. README, 3 to 5."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ...nn import nd

_FOLDS = 8
_FACTOR, _SALT = 0x5851F42D4C957F2D, 0x14057B7EF767814F  # of the hashes; any odd number of 64 bits does
_RECENT = (2, 3, 4, 6)  # orders that are counted in the item itself, too
_AT_ONCE = 256  # places of an item whose earlier ones are compared together, so that memory grows no faster than it
_NOTHING = 1e-30  # a probability with a logarithm, where counts tell nothing
_LEAST = 2  # times that a context was seen: one seen once tells of a single place, and of nobody else's


class Tally(NamedTuple):
    """What is counted of the symbols after each order's context; a number is of one symbol, or of all of them."""

    total: Tensor  # (…, order + 1) how often the context was seen
    kinds: Tensor  # (…, order + 1) with how many symbols after it
    number: Tensor  # (…, order + 1) or (…, order + 1, vocab)
    own_total: Tensor  # (…, recent orders) how often in the item itself, before
    own_number: Tensor  # (…, recent orders) or (…, recent orders, vocab)


class Counts(nn.Module):
    """Symbols after the last 0, 1, … `order` of an item, counted over the training rows.

    A row that is trained on is told what is counted without its own eighth of the rows (its fold): the network learns
    how far to trust counts in a text that they are not of.
    """

    contexts: Tensor  # (C,) hashes, ascending
    cells: Tensor  # (E,) context · vocab + symbol, ascending
    numbers: Tensor  # (E, folds + 1): without each fold, and of all
    rows: Tensor  # (R,) hashes of the rows counted, ascending
    folds: Tensor  # (R,) theirs
    totals: Tensor  # (C, folds + 1)
    kinds: Tensor  # (C, folds + 1)
    begins: Tensor  # (C + 1,) where the cells of a context begin
    factors: Tensor  # (order,) of the hashes: of the last symbol, the one before it, …
    salts: Tensor  # (order + 1,) of the hashes of each order
    orders: Tensor  # (order + 1,) 0, 1, …
    reaches: Tensor  # (recent orders,) each less one

    def __init__(self, vocab: int, width: int, order: int, start: int) -> None:
        super().__init__()
        self.vocab, self.order, self.start = vocab, order, start
        self.recent = [one for one in _RECENT if one <= order]
        self.discount = nn.Parameter(torch.full((order + 1,), 2.0))  # before a sigmoid
        levels = order + 1
        # Of the mixture: the network's own guess, each order, and each that is counted in the item itself.
        self.head = nn.Linear(width + 2 * levels + len(self.recent), 1 + levels + len(self.recent))
        nd.zero(self.head)
        with torch.no_grad():
            self.head.bias[levels] = 2.0
        factors = [_FACTOR]
        for _ in range(1, order):
            factors.append(_wrapped(factors[-1] * _FACTOR))
        for name, numbers in (
            ("factors", factors),
            ("salts", [0, *(_wrapped(one * _SALT) for one in range(1, levels))]),
            ("orders", list(range(levels))),
            ("reaches", [one - 1 for one in self.recent]),
        ):
            self.register_buffer(name, torch.tensor(numbers, dtype=torch.int64), persistent=False)
        for name in ("contexts", "cells", "rows", "folds"):
            self.register_buffer(name, torch.zeros(0, dtype=torch.int64))
        self.register_buffer("numbers", torch.zeros(0, 1, dtype=torch.int32))
        for name in ("totals", "kinds", "begins"):
            self.register_buffer(name, torch.zeros(0), persistent=False)
        self._sum_up()

    # -- counting

    @torch.no_grad()
    def count(self, rows: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Count rows `(B, n)`, of which a bool mask `(B, n)` says which symbols are counted."""
        keys, targets, hashes, owners, seen = [], [], [], [], 0
        for x, counted in rows:
            found = self._keys(x[:, :-1], self._reach(x[:, :-1]))
            inside = counted[:, 1:]
            keys.append(found[inside].cpu())
            targets.append(x[:, 1:][inside].cpu())
            owners.append((seen + torch.arange(len(x)))[:, None].expand(inside.shape)[inside.cpu()])
            hashes.append(_row_keys(x).cpu())
            seen += len(x)
        if not seen:
            return
        fold = torch.arange(seen) * _FOLDS // seen
        key, target, of = torch.cat(keys).numpy(), torch.cat(targets).numpy(), fold[torch.cat(owners)].numpy()
        tables = [self._table(key[:, order], target, of) for order in range(self.order + 1)]
        contexts = np.concatenate([one for one, _, _ in tables])
        ascending = np.argsort(contexts)
        place = np.empty_like(ascending)
        place[ascending] = np.arange(len(ascending))
        offsets = np.cumsum([0, *(len(one) for one, _, _ in tables)])
        cells = np.concatenate(
            [
                place[cell // self.vocab + offset] * self.vocab + cell % self.vocab
                for (_, cell, _), offset in zip(tables, offsets, strict=False)
            ]
        )
        numbers = np.concatenate([one for _, _, one in tables])
        sorted_cells = np.argsort(cells)
        device = self.discount.device
        self.contexts = torch.from_numpy(contexts[ascending]).to(device)
        self.cells = torch.from_numpy(cells[sorted_cells]).to(device)
        own = torch.from_numpy(numbers[sorted_cells])
        total = own.sum(1, keepdim=True)
        self.numbers = torch.cat((total - own, total), dim=1).int().to(device)
        rows_seen, first = np.unique(torch.cat(hashes).numpy(), return_index=True)
        self.rows = torch.from_numpy(rows_seen).to(device)
        self.folds = fold[torch.from_numpy(first)].to(device)
        self._sum_up()

    def _table(
        self, key: NDArray[np.int64], target: NDArray[np.int64], fold: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Contexts of one order that were seen often enough, cells, and what each fold has of them."""
        contexts, context, often = np.unique(key, return_inverse=True, return_counts=True)
        kept = (often >= _LEAST) & (contexts != -1)
        inside = kept[context]
        number = np.cumsum(kept) - 1
        cells, cell = np.unique(number[context[inside]] * self.vocab + target[inside], return_inverse=True)
        numbers = np.bincount(cell * _FOLDS + fold[inside], minlength=len(cells) * _FOLDS)
        return contexts[kept], cells, numbers.reshape(-1, _FOLDS)

    def forget_folds(self) -> None:
        """Training is over: what is counted of all rows stays."""
        self.numbers = self.numbers[:, -1:].clone()
        self.rows, self.folds = self.rows[:0].clone(), self.folds[:0].clone()
        self._sum_up()

    def _sum_up(self) -> None:
        """What follows from the numbers of the cells."""
        context = self.cells // self.vocab
        shape = (len(self.contexts), self.numbers.shape[1])
        empty = torch.zeros(shape, dtype=torch.int32, device=self.cells.device)
        self.totals = empty.index_add(0, context, self.numbers)
        self.kinds = empty.index_add(0, context, (self.numbers > 0).int())
        self.begins = torch.searchsorted(context, torch.arange(len(self.contexts) + 1, device=context.device))

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        """Tables are as large as what was counted."""
        for name in ("contexts", "cells", "numbers", "rows", "folds"):
            if prefix + name in state_dict:
                setattr(self, name, getattr(self, name).new_zeros(state_dict[prefix + name].shape))
        super()._load_from_state_dict(state_dict, prefix, *rest)
        self._sum_up()

    # -- looking up

    def _reach(self, read: Tensor) -> Tensor:
        """How many symbols of its own item each of `(B, n)` can look back on, itself included."""
        at = torch.arange(read.shape[1], device=read.device)
        return at + 1 - at.where(read == self.start, 0).cummax(1).values

    def _keys(self, read: Tensor, reach: Tensor) -> Tensor:
        """Hashes of the contexts that end with each symbol of `(B, n)`, `(B, n, order + 1)`; −1 beyond the reach."""
        key = torch.zeros_like(read)
        keys = [key]
        for order in range(1, self.order + 1):
            shifted = F.pad(read, (order - 1, 0))[:, : read.shape[1]]
            key = key + (shifted + 1) * self.factors[order - 1]
            keys.append((key + self.salts[order]).where(reach >= order, -1))
        return torch.stack(keys, dim=-1)

    def _find(self, key: Tensor) -> tuple[Tensor, Tensor]:
        """Which contexts those are, and whether they are any."""
        at = torch.searchsorted(self.contexts, key).clamp(max=max(0, len(self.contexts) - 1))
        if not len(self.contexts):
            return at, torch.zeros_like(key, dtype=torch.bool)
        return at, (self.contexts[at] == key) & (key != -1)

    def columns(self, x: Tensor, *, without_own: bool) -> Tensor:
        """Which column of the counts rows `(B, n)` are told: that of all, or that without a training row's own fold."""
        last = torch.full((len(x),), self.numbers.shape[1] - 1, device=x.device)
        if not without_own or not len(self.rows):
            return last
        key = _row_keys(x)
        at = torch.searchsorted(self.rows, key).clamp(max=len(self.rows) - 1)
        return self.folds[at].where(self.rows[at] == key, last)

    def tally(self, read: Tensor, target: Tensor, column: Tensor) -> Tally:
        """What is counted of each `target` after what ends with each of `read`, both `(B, n)`."""
        key = self._keys(read, self._reach(read))
        recent = self._of_the_item(key[..., self.recent], read, target)
        context, found = self._find(key)
        if not len(self.contexts):
            nothing = torch.zeros(found.shape, device=read.device)
            return Tally(nothing, nothing, nothing, *recent)
        column = column[:, None, None]
        cell = context * self.vocab + target.unsqueeze(-1)
        at = torch.searchsorted(self.cells, cell).clamp(max=len(self.cells) - 1)
        number = self.numbers[at, column] * (found & (self.cells[at] == cell))
        total, kinds = self.totals[context, column] * found, self.kinds[context, column] * found
        return Tally(total.float(), kinds.float(), number.float(), *recent)

    def _of_the_item(self, key: Tensor, read: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """How often each context of `key` `(B, n, recent orders)` was there before in its item, and with the target."""
        item, place = (read == self.start).cumsum(1), torch.arange(read.shape[1], device=read.device)
        totals, numbers = [], []
        for now in place.split(_AT_ONCE):
            past = slice(0, int(now[-1]))
            earlier = (place[past] < now[:, None]) & (item[:, now, None] == item[:, None, past])
            same = (key[:, now, None] == key[:, None, past]) & (key[:, now, None] != -1) & earlier.unsqueeze(-1)
            totals.append(same.sum(2))
            numbers.append((same & (target[:, now, None] == target[:, None, past]).unsqueeze(-1)).sum(2))
        return torch.cat(totals, 1).float(), torch.cat(numbers, 1).float()

    def tallies(self, window: Tensor, length: Tensor) -> Tally:
        """What is counted of every symbol after the ends of rows `(B, m)`, of which the last `length` `(B,)` count."""
        key, recent = self._of_the_end(window, length)
        context, found = self._find(key)
        numbers = torch.zeros(*key.shape, self.vocab, device=window.device)
        if not len(self.contexts):
            nothing = torch.zeros(key.shape, device=window.device)
            return Tally(nothing, nothing, numbers, *recent)
        begin = self.begins[context]
        many = (self.begins[context + 1] - begin) * found
        inside = torch.arange(int(many.max()), device=window.device)
        at = (begin.unsqueeze(-1) + inside).clamp(max=len(self.cells) - 1)
        here = inside < many.unsqueeze(-1)
        numbers.scatter_add_(2, self.cells[at] % self.vocab, self.numbers[at, -1] * here.float())
        total, kinds = self.totals[context, -1] * found, self.kinds[context, -1] * found
        return Tally(total.float(), kinds.float(), numbers, *recent)

    def _of_the_end(self, window: Tensor, length: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """What `_keys` has for the last symbol of each row, and what followed the same ends in the row, before."""
        count, reach = window.shape[1], self.order
        inside = torch.arange(count, device=window.device) >= count - length[:, None]
        padded = F.pad(window.where(inside, -1), (reach, 0), value=-1)
        end = padded[:, -reach:]
        key = F.pad(((end.flip(1) + 1) * self.factors).cumsum(1), (1, 0))[:, : self.order + 1] + self.salts
        key = key.where(self.orders <= length[:, None], -1)
        # Of each place before the last one, how the symbols up to it agree with the end, from the last on.
        equal = padded[:, :-1].unfold(1, reach, 1)[:, 1:] == end.unsqueeze(1)
        same = equal.flip(2).cumprod(2)[..., self.reaches].transpose(1, 2).float()  # (B, recent orders, count - 1)
        followed = window[:, None, 1:].expand(same.shape)
        numbers = torch.zeros(*same.shape[:2], self.vocab, device=window.device).scatter_add_(2, followed, same)
        return key, (same.sum(2), numbers)

    # -- mixing

    def _gates(self, hidden: Tensor, tally: Tally) -> Tensor:
        """ln of the shares of the network, of each order, and of each in the item itself."""
        totals = torch.cat((tally.total, tally.own_total), dim=-1)
        told = torch.cat((hidden, totals.log1p().to(hidden), tally.kinds.log1p().to(hidden)), dim=-1)
        absent = F.pad(totals == 0, (1, 0))  # the network is always there
        return self.head(told).float().masked_fill(absent, -torch.inf).log_softmax(dim=-1)

    def _counted(self, shares: Tensor, tally: Tally) -> Tensor:
        """The part of README, equation 3, that counts have: of a symbol each, or of all; `shares` of their guesses."""
        discounts, levels = self.discount.sigmoid(), self.order + 1
        total = tally.total.clamp(min=1)
        # Of its share an order hands so much down to the one below it, in equation 4.
        handed = (discounts * tally.kinds / total).where(tally.total > 0, 1.0)
        carried, weights = torch.zeros_like(shares[..., 0]), []
        for share, down in zip(reversed(shares[..., :levels].unbind(-1)), reversed(handed.unbind(-1)), strict=True):
            carried = carried + share
            weights.append(carried)
            carried = carried * down
        weight = torch.stack(weights[::-1], dim=-1) / total
        own_weight = shares[..., levels:] / tally.own_total.clamp(min=1)
        number, own_number = tally.number, tally.own_number
        if wide := number.dim() > total.dim():  # of all symbols
            discounts, weight, own_weight, carried = (
                one.unsqueeze(-1) for one in (discounts, weight, own_weight, carried)
            )
        axis = -2 if wide else -1
        discounted = (weight * (number - discounts).clamp(min=0)).sum(axis)
        return discounted + (own_weight * own_number).sum(axis) + carried / self.vocab

    def nats(self, hidden: Tensor, own: Tensor, tally: Tally) -> Tensor:
        """−ln of the mixture `(B, n)`, where `own` is the network's −ln p of the same symbols."""
        shares = self._gates(hidden, tally)
        counted = self._counted(shares[..., 1:].exp(), tally)
        return -torch.logaddexp(shares[..., 0] - own, counted.clamp(min=_NOTHING).log())

    def logits(self, hidden: Tensor, own: Tensor, tally: Tally) -> Tensor:
        """ln of the mixture `(B, vocab)`, where `own` are the network's logits."""
        shares = self._gates(hidden, tally)
        counted = self._counted(shares[..., 1:].exp(), tally)
        return torch.logaddexp(shares[..., :1] + own.log_softmax(dim=-1), counted.clamp(min=_NOTHING).log())


def _row_keys(x: Tensor) -> Tensor:
    """A hash of each row `(B, n)`."""
    return ((x + 1) * torch.full((x.shape[1],), _FACTOR, device=x.device).cumprod(0)).sum(1)


def _wrapped(number: int) -> int:
    """A whole number as one of 64 bits with a sign."""
    return (number + 2**63) % 2**64 - 2**63
