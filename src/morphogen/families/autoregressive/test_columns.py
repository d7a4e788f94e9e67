"""Rows of columns: what is drawn against the network's own distribution, counted out."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from morphogen.core.errors import UserError
from morphogen.core.model import Batch, Evidence, Partial, Request
from morphogen.core.noise import Noise
from morphogen.core.space import Tokens
from morphogen.families.autoregressive.model import Autoregressive
from morphogen.families.autoregressive.options import ColumnOptions, Options

SPACE = Tokens((3, 4, 5, 2, 97, 8), (6,), parts=(1, 2, 1), even=2)
NEUTRAL = Autoregressive.Controls()


def model(seed: int = 0) -> Autoregressive:
    """Random weights, and a distribution in which columns matter to each other."""
    torch.manual_seed(seed)
    found = Autoregressive(SPACE, {}, Options(columns=ColumnOptions(width=32, embedding=32)))
    assert found.columns is not None
    for head in found.columns.heads:
        head.data.normal_(0, 0.3)
    for position, size in enumerate((3, 4, 5, 2)):
        begin = int(found.columns.begins[position])
        found.columns.embed.data[begin : begin + size].normal_(0, 3)
    return found.eval()


def joint(network: Autoregressive, order: tuple[int, ...]) -> Tensor:
    """p(x) of all rows when positions are drawn in that order, `(3, 4, 5, 2)`."""
    columns = network.columns
    assert columns is not None
    rows = torch.tensor(list(product(range(3), range(4), range(5), range(2))))
    visible = torch.zeros(len(rows), 4, 4, dtype=torch.bool)
    for number, position in enumerate(order):
        visible[:, columns.slot[position], list(order[:number])] = True
    with torch.no_grad():
        return (-columns.nats(rows, visible).sum(0)).exp().double().reshape(3, 4, 5, 2)


def drawn(network: Autoregressive, count: int, **request: object) -> Tensor:
    return list(network.generate(Request(Noise.count(5, count), **request), NEUTRAL))[-1].x  # type: ignore[arg-type]


def test_rows_follow_the_likelihood() -> None:
    network = model()
    p = joint(network, (0, 1, 2, 3))
    assert p.sum().item() == pytest.approx(1, abs=1e-5)
    x = drawn(network, 20_000)
    counts = np.bincount(np.ravel_multi_index(x[:, :4].T.numpy(), (3, 4, 5, 2)), minlength=120)
    expected = p.flatten().numpy() * len(x) / p.sum().item()
    large = expected > 5
    observed = [*counts[large], counts[~large].sum()]
    assert stats.chisquare(observed, [*expected[large], expected[~large].sum()]).pvalue > 0.01
    nats = network.log_likelihood(Batch(x[:50]), Noise.count(0, 50))
    assert torch.allclose(nats.double().exp(), p[tuple(x[:50, :4].T)], rtol=1e-3)
    # What is drawn evenly is drawn evenly, and the same wherever it stands.
    assert stats.chisquare(np.bincount(x[:, 5], minlength=8)).pvalue > 0.01
    assert torch.equal(drawn(network, 100), x[:100])


def test_two_conditions_at_once_are_met_exactly() -> None:
    """One on a column of two symbols that cuts through a cell, one that few rows meet; by Bayes' rule."""
    network = model(1)
    first, second = torch.tensor([0.0, 1, 1, 0]), torch.zeros(4, 5)
    second[1], second[2] = torch.tensor([0, 0, 0.25, 1, 1]), torch.tensor([1, 0.5, 0, 0, 0])
    other = torch.tensor([0.0, 1, 0])
    evidence = Evidence({1: first, 2: second, 0: other})
    x = drawn(network, 10_000, evidence=evidence)
    assert (x[:, 0] == 1).all()
    assert (second[x[:, 1], x[:, 2]] > 0).all()
    # The positions that are asked for come first, in either order of the parts, each of which the network may be in.
    pvalues = []
    for order in ((0, 1, 2, 3), (1, 2, 0, 3)):
        p = joint(network, order) * other[:, None, None, None] * second[None, :, :, None]
        expected = (p / p.sum()).flatten().numpy() * len(x)
        counts = np.bincount(np.ravel_multi_index(x[:, :4].T.numpy(), (3, 4, 5, 2)), minlength=120)
        large = expected > 5
        observed, wanted = [*counts[large], counts[~large].sum()], [*expected[large], expected[~large].sum()]
        if wanted[-1] == 0:
            observed, wanted = observed[:-1], wanted[:-1]
        pvalues.append(stats.chisquare(observed, np.array(wanted) * sum(observed) / sum(wanted)).pvalue)
    assert max(pvalues) > 0.01
    # A row is the same alone.
    assert torch.equal(drawn(network, 1, evidence=evidence), x[:1])


def test_what_no_row_can_be_is_refused() -> None:
    with pytest.raises(UserError, match="no row can meet"):
        drawn(model(), 2, evidence=Evidence({0: torch.zeros(3)}))


def test_what_is_given_comes_back_and_the_rest_follows_from_it() -> None:
    network = model(2)
    count = 8000
    x, known = torch.zeros(count, 6, dtype=torch.int64), torch.zeros(count, 6, dtype=torch.bool)
    x[:, 3], known[:, 3] = 1, True
    known[: count // 2, 1:3], x[: count // 2, 1:3] = True, torch.tensor([2, 3])
    found = drawn(network, count, given=Partial(x, known))
    assert torch.equal(found[known], x[known])
    p = joint(network, (3, 1, 2, 0))[:, 2, 3, 1]
    counts = np.bincount(found[: count // 2, 0], minlength=3)
    assert stats.chisquare(counts, (p / p.sum()).numpy() * counts.sum()).pvalue > 0.01


def test_a_rare_symbol_that_no_row_has_is_not_drawn() -> None:
    network = Autoregressive(SPACE, {}, Options(columns=ColumnOptions(width=16, embedding=16)))
    x = torch.stack([torch.randint(size - 1, (500,)) for size in (3, 4, 5, 2, 97, 8)], dim=1)
    network.begin("model", [Batch(x)])
    assert (drawn(network.eval(), 5000)[:, :4] < torch.tensor([2, 3, 4, 1])).all()


def test_it_learns_what_columns_have_to_do_with_each_other() -> None:
    torch.manual_seed(0)
    network = Autoregressive(SPACE, {}, Options(columns=ColumnOptions(width=32, embedding=32, dropout=0.0)))
    x = torch.stack([torch.randint(size, (2000,)) for size in (3, 4, 5, 2, 97, 8)], dim=1)
    x[:, 3] = x[:, 0] % 2
    network.begin("model", [Batch(x)])
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
    for step in range(150):
        network(Batch(x[(step * 200) % 2000 :][:200])).total.backward()
        optimizer.step()
        optimizer.zero_grad()
    found = drawn(network.eval(), 1000)
    assert (found[:, 3] == found[:, 0] % 2).float().mean() > 0.98


def test_wide_rows_learn_of_some_positions_at_a_time() -> None:
    space = Tokens((*[3] * 100, 16), (101,), parts=(1,) * 100, even=1)
    network = Autoregressive(space, {}, Options(columns=ColumnOptions(width=16, embedding=16)))
    x = torch.randint(3, (64, 101))
    loss = network(Batch(x)).total
    loss.backward()
    assert loss.item() == pytest.approx(np.log(3), rel=0.05)
    network.eval()
    assert network.log_likelihood(Batch(x), Noise.count(0, 64)).mean().item() == pytest.approx(
        -100 * np.log(3), rel=0.05
    )
