"""Counts of n-grams in the training items, mixed into the network's predictions. Equations: README.md, 3 to 5."""

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
_LOCAL_ORDERS = (2, 3, 4, 6)  # that are also counted within the item itself
_CHUNK = 256  # positions of an item that are compared with earlier ones at once, to bound memory
_TINY = 1e-30  # a probability with a logarithm, where there are no counts
_MIN_COUNT = 2  # a context that occurred once belongs to one place of one item


class NGramCounts(NamedTuple):
    """Counts after the context of each order, of one next token or of all of them."""

    total: Tensor  # (…, order + 1) how often the context occurred
    types: Tensor  # (…, order + 1) how many different tokens followed it
    token_count: Tensor  # (…, order + 1) or (…, order + 1, vocab) how often the token followed it
    local_total: Tensor  # (…, local orders) how often the context occurred before within the item
    local_token_count: Tensor  # (…, local orders) or (…, local orders, vocab)


class NetworkPrediction(NamedTuple):
    """What the network says of one token after each of N positions, or (B, n)."""

    hidden: Tensor  # (N, width)
    nats: Tensor  # (N,) −ln p of the token
    end_nats: Tensor  # (N,) −ln p of the item's end


class NGramMixture(nn.Module):
    """Mixes the network's distribution with n-gram estimates of orders 0 to `order`, counted in training.

    A training example reads counts without its own eighth of the examples (its fold), so that the network learns how
    far to trust counts on text that is not among them.
    """

    contexts: Tensor  # (C,) hashes, ascending
    entries: Tensor  # (E,) context · vocab + token, ascending
    counts: Tensor  # (E, folds + 1): without each fold, and of all
    examples: Tensor  # (R,) hashes of the examples counted, ascending
    folds: Tensor  # (R,) their folds
    totals: Tensor  # (C, folds + 1)
    types: Tensor  # (C, folds + 1)
    offsets: Tensor  # (C + 1,) where the entries of a context begin
    factors: Tensor  # (order,) of the hashes: of the last token, the one before it, …
    salts: Tensor  # (order + 1,) of the hashes of each order
    orders: Tensor  # (order + 1,) 0, 1, …
    reaches: Tensor  # (local orders,) each less one

    def __init__(self, vocab: int, width: int, order: int, *, start: int, end: int) -> None:
        super().__init__()
        self.vocab, self.order, self.start, self.end = vocab, order, start, end
        self.local_orders = [one for one in _LOCAL_ORDERS if one <= order]
        self.discount = nn.Parameter(torch.full((order + 1,), 2.0))  # before a sigmoid
        levels = order + 1
        # Weights of the network, of each order, and of each local order.
        self.head = nn.Linear(width + 2 * levels + len(self.local_orders), 1 + levels + len(self.local_orders))
        nd.zero(self.head)
        with torch.no_grad():
            self.head.bias[levels] = 2.0
        factors = [_FACTOR]
        for _ in range(1, order):
            factors.append(_wrapped(factors[-1] * _FACTOR))
        for name, values in (
            ("factors", factors),
            ("salts", [0, *(_wrapped(one * _SALT) for one in range(1, levels))]),
            ("orders", list(range(levels))),
            ("reaches", [one - 1 for one in self.local_orders]),
        ):
            self.register_buffer(name, torch.tensor(values, dtype=torch.int64), persistent=False)
        for name in ("contexts", "entries", "examples", "folds"):
            self.register_buffer(name, torch.zeros(0, dtype=torch.int64))
        self.register_buffer("counts", torch.zeros(0, 1, dtype=torch.int32))
        for name in ("totals", "types", "offsets"):
            self.register_buffer(name, torch.zeros(0), persistent=False)
        self._sum_up()

    # -- counting

    @torch.no_grad()
    def fit(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Count the tokens of examples `(B, n)` that a bool mask `(B, n)` selects."""
        keys, targets, hashes, owners, seen = [], [], [], [], 0
        for x, mask in batches:
            inside = mask[:, 1:]
            keys.append(self._keys(x[:, :-1], self._reach(x[:, :-1]))[inside].cpu())
            targets.append(x[:, 1:][inside].cpu())
            owners.append((seen + torch.arange(len(x)))[:, None].expand(inside.shape)[inside.cpu()])
            hashes.append(_example_keys(x).cpu())
            seen += len(x)
        if not seen:
            return
        fold = torch.arange(seen) * _FOLDS // seen
        key, target, of = torch.cat(keys).numpy(), torch.cat(targets).numpy(), fold[torch.cat(owners)].numpy()
        tables = [self._entries_of(key[:, order], target, of) for order in range(self.order + 1)]
        contexts = np.concatenate([table[0] for table in tables])
        ascending = np.argsort(contexts)
        place = np.empty_like(ascending)
        place[ascending] = np.arange(len(ascending))
        offsets = np.cumsum([0, *(len(table[0]) for table in tables)])
        entries = np.concatenate(
            [
                place[entry // self.vocab + offset] * self.vocab + entry % self.vocab
                for (_, entry, _), offset in zip(tables, offsets, strict=False)
            ]
        )
        counts = np.concatenate([table[2] for table in tables])
        sorted_entries = np.argsort(entries)
        device = self.discount.device
        self.contexts = torch.from_numpy(contexts[ascending]).to(device)
        self.entries = torch.from_numpy(entries[sorted_entries]).to(device)
        by_fold = torch.from_numpy(counts[sorted_entries])
        total = by_fold.sum(1, keepdim=True)
        self.counts = torch.cat((total - by_fold, total), dim=1).int().to(device)
        examples, first = np.unique(torch.cat(hashes).numpy(), return_index=True)
        self.examples = torch.from_numpy(examples).to(device)
        self.folds = fold[torch.from_numpy(first)].to(device)
        self._sum_up()

    def _entries_of(
        self, key: NDArray[np.int64], target: NDArray[np.int64], fold: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return the frequent contexts of one order, their entries, and the counts of each fold."""
        contexts, context, frequency = np.unique(key, return_inverse=True, return_counts=True)
        frequent = (frequency >= _MIN_COUNT) & (contexts != -1)
        inside = frequent[context]
        number = np.cumsum(frequent) - 1
        entries, entry = np.unique(number[context[inside]] * self.vocab + target[inside], return_inverse=True)
        counts = np.bincount(entry * _FOLDS + fold[inside], minlength=len(entries) * _FOLDS)
        return contexts[frequent], entries, counts.reshape(-1, _FOLDS)

    def drop_folds(self) -> None:
        """Keep only the counts over all examples, once training is over."""
        self.counts = self.counts[:, -1:].clone()
        self.examples, self.folds = self.examples[:0].clone(), self.folds[:0].clone()
        self._sum_up()

    def _sum_up(self) -> None:
        """Compute what follows from the entries."""
        context = self.entries // self.vocab
        shape = (len(self.contexts), self.counts.shape[1])
        empty = torch.zeros(shape, dtype=torch.int32, device=self.entries.device)
        self.totals = empty.index_add(0, context, self.counts)
        self.types = empty.index_add(0, context, (self.counts > 0).int())
        self.offsets = torch.searchsorted(context, torch.arange(len(self.contexts) + 1, device=context.device))

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        """Resize the tables to those that are loaded."""
        for name in ("contexts", "entries", "counts", "examples", "folds"):
            if prefix + name in state_dict:
                setattr(self, name, getattr(self, name).new_zeros(state_dict[prefix + name].shape))
        super()._load_from_state_dict(state_dict, prefix, *rest)
        self._sum_up()

    # -- looking up

    def _reach(self, x: Tensor) -> Tensor:
        """Return how many tokens of its own item, itself included, stand up to each of x `(B, n)`."""
        at = torch.arange(x.shape[1], device=x.device)
        return at + 1 - at.where(x == self.start, 0).cummax(1).values

    def _keys(self, x: Tensor, reach: Tensor) -> Tensor:
        """Return hashes of the contexts that end with each token of x, `(B, n, order + 1)`; −1 beyond reach."""
        key = torch.zeros_like(x)
        keys = [key]
        for order in range(1, self.order + 1):
            shifted = F.pad(x, (order - 1, 0))[:, : x.shape[1]]
            key = key + (shifted + 1) * self.factors[order - 1]
            keys.append((key + self.salts[order]).where(reach >= order, -1))
        return torch.stack(keys, dim=-1)

    def _find(self, key: Tensor) -> tuple[Tensor, Tensor]:
        """Return the index of each context, and whether it exists."""
        at = torch.searchsorted(self.contexts, key).clamp(max=max(0, len(self.contexts) - 1))
        if not len(self.contexts):
            return at, torch.zeros_like(key, dtype=torch.bool)
        return at, (self.contexts[at] == key) & (key != -1)

    def columns(self, x: Tensor, *, hold_out: bool) -> Tensor:
        """Return the column of `counts` that examples `(B, n)` read: of all, or in training without their own fold."""
        last = torch.full((len(x),), self.counts.shape[1] - 1, device=x.device)
        if not hold_out or not len(self.examples):
            return last
        key = _example_keys(x)
        at = torch.searchsorted(self.examples, key).clamp(max=len(self.examples) - 1)
        return self.folds[at].where(self.examples[at] == key, last)

    def target_counts(self, x: Tensor, target: Tensor, column: Tensor) -> NGramCounts:
        """Return the counts of each `target` after the contexts that end with each of x, both `(B, n)`."""
        key = self._keys(x, self._reach(x))
        local = self._local_counts(key[..., self.local_orders], x, target)
        context, exists = self._find(key)
        if not len(self.contexts):
            zeros = torch.zeros(exists.shape, device=x.device)
            return NGramCounts(zeros, zeros, zeros, *local)
        column = column[:, None, None]
        entry = context * self.vocab + target.unsqueeze(-1)
        at = torch.searchsorted(self.entries, entry).clamp(max=len(self.entries) - 1)
        count = self.counts[at, column] * (exists & (self.entries[at] == entry))
        total, types = self.totals[context, column] * exists, self.types[context, column] * exists
        return NGramCounts(total.float(), types.float(), count.float(), *local)

    def _local_counts(self, key: Tensor, x: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return how often contexts `key` `(B, n, local orders)` occurred before in their item, and with `target`."""
        item, place = (x == self.start).cumsum(1), torch.arange(x.shape[1], device=x.device)
        totals, counts = [], []
        for now in place.split(_CHUNK):
            past = slice(0, int(now[-1]))
            earlier = (place[past] < now[:, None]) & (item[:, now, None] == item[:, None, past])
            same = (key[:, now, None] == key[:, None, past]) & (key[:, now, None] != -1) & earlier.unsqueeze(-1)
            totals.append(same.sum(2))
            counts.append((same & (target[:, now, None] == target[:, None, past]).unsqueeze(-1)).sum(2))
        return torch.cat(totals, 1).float(), torch.cat(counts, 1).float()

    def next_counts(self, window: Tensor, length: Tensor) -> NGramCounts:
        """Return the counts of every next token after the last `length` `(B,)` tokens of `window` `(B, m)`."""
        key, local = self._at_end(window, length)
        context, exists = self._find(key)
        counts = torch.zeros(*key.shape, self.vocab, device=window.device)
        if not len(self.contexts):
            zeros = torch.zeros(key.shape, device=window.device)
            return NGramCounts(zeros, zeros, counts, *local)
        begin = self.offsets[context]
        many = (self.offsets[context + 1] - begin) * exists
        inside = torch.arange(int(many.max()), device=window.device)
        at = (begin.unsqueeze(-1) + inside).clamp(max=len(self.entries) - 1)
        valid = inside < many.unsqueeze(-1)
        counts.scatter_add_(2, self.entries[at] % self.vocab, self.counts[at, -1] * valid.float())
        total, types = self.totals[context, -1] * exists, self.types[context, -1] * exists
        return NGramCounts(total.float(), types.float(), counts, *local)

    def _at_end(self, window: Tensor, length: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return what `_keys` has for the last token of each example, and the local counts of every next token."""
        columns, reach = window.shape[1], self.order
        inside = torch.arange(columns, device=window.device) >= columns - length[:, None]
        padded = F.pad(window.where(inside, -1), (reach, 0), value=-1)
        end = padded[:, -reach:]
        key = F.pad(((end.flip(1) + 1) * self.factors).cumsum(1), (1, 0))[:, : self.order + 1] + self.salts
        key = key.where(self.orders <= length[:, None], -1)
        # For each earlier position, how many tokens up to it equal those up to the end, from the last one back.
        equal = padded[:, :-1].unfold(1, reach, 1)[:, 1:] == end.unsqueeze(1)
        same = equal.flip(2).cumprod(2)[..., self.reaches].transpose(1, 2).float()  # (B, local orders, columns - 1)
        followed = window[:, None, 1:].expand(same.shape)
        counts = torch.zeros(*same.shape[:2], self.vocab, device=window.device).scatter_add_(2, followed, same)
        return key, (same.sum(2), counts)

    # -- mixing

    def _log_weights(self, hidden: Tensor, ngrams: NGramCounts) -> Tensor:
        """Return ln of the mixture weights of the network, each order and each local order."""
        totals = torch.cat((ngrams.total, ngrams.local_total), dim=-1)
        features = torch.cat((hidden, totals.log1p().to(hidden), ngrams.types.log1p().to(hidden)), dim=-1)
        absent = F.pad(totals == 0, (1, 0))  # the network is always present
        return self.head(features).float().masked_fill(absent, -torch.inf).log_softmax(dim=-1)

    def _ngram_part(self, weights: Tensor, ngrams: NGramCounts) -> Tensor:
        """Return the part of equation 3 that the counts of training contribute, of one token each or of all."""
        discounts, levels = self.discount.sigmoid(), self.order + 1
        total = ngrams.total.clamp(min=1)
        # The mass that each order backs off to the next lower one in equation 4.
        backoff = (discounts * ngrams.types / total).where(ngrams.total > 0, 1.0)
        carried, weight_list = torch.zeros_like(weights[..., 0]), []
        for weight, down in zip(reversed(weights[..., :levels].unbind(-1)), reversed(backoff.unbind(-1)), strict=True):
            carried = carried + weight
            weight_list.append(carried)
            carried = carried * down
        order_weight, count = torch.stack(weight_list[::-1], dim=-1) / total, ngrams.token_count
        if all_tokens := count.dim() > total.dim():
            discounts, order_weight, carried = (value.unsqueeze(-1) for value in (discounts, order_weight, carried))
        discounted = (order_weight * (count - discounts).clamp(min=0)).sum(-2 if all_tokens else -1)
        return discounted + carried / self.vocab

    def _local_part(self, weights: Tensor, ngrams: NGramCounts, end: Tensor, ends: Tensor) -> Tensor:
        """Return the part of equation 3 that the counts within the item contribute, by equation 5.

        `end` is the network's probability that the item ends here, `ends` whether a token is the end: of one token each
        or, `(vocab,)`, of all.
        """
        own = weights[..., self.order + 1 :]
        share, mass = own / ngrams.local_total.clamp(min=1), own.sum(-1)
        if all_tokens := ngrams.local_token_count.dim() > ngrams.local_total.dim():
            share, mass, end = (value.unsqueeze(-1) for value in (share, mass, end))
        counted = (share * ngrams.local_token_count).sum(-2 if all_tokens else -1)
        return (mass * end).where(ends, (1 - end) * counted)

    def nats(self, network: NetworkPrediction, ends: Tensor, ngrams: NGramCounts) -> Tensor:
        """Return −ln of the mixture `(B, n)`; bool `ends` says which of the tokens are the end of their item."""
        weights = self._log_weights(network.hidden, ngrams)
        own = weights[..., 1:].exp()
        counted = self._ngram_part(own, ngrams) + self._local_part(own, ngrams, network.end_nats.neg().exp(), ends)
        return -torch.logaddexp(weights[..., 0] - network.nats, counted.clamp(min=_TINY).log())

    def logits(self, hidden: Tensor, network_logits: Tensor, ngrams: NGramCounts) -> Tensor:
        """Return ln of the mixture `(B, vocab)` from the network's logits."""
        weights, log_p = self._log_weights(hidden, ngrams), network_logits.log_softmax(dim=-1)
        ends = torch.arange(self.vocab, device=hidden.device) == self.end
        own = weights[..., 1:].exp()
        counted = self._ngram_part(own, ngrams) + self._local_part(own, ngrams, log_p[..., self.end].exp(), ends)
        return torch.logaddexp(weights[..., :1] + log_p, counted.clamp(min=_TINY).log())


def _example_keys(x: Tensor) -> Tensor:
    """Return a hash of each example `(B, n)`."""
    return ((x + 1) * torch.full((x.shape[1],), _FACTOR, device=x.device).cumprod(0)).sum(1)


def _wrapped(value: int) -> int:
    """Return an integer modulo 2**64 as a signed one of 64 bits."""
    return (value + 2**63) % 2**64 - 2**63
