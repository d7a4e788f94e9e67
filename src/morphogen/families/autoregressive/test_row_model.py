"""Rows: what is sampled against the network's own distribution, enumerated."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from morphogen.core.errors import UserError
from morphogen.core.model import Batch, Evidence, Partial, Request
from morphogen.core.noise import Noise
from morphogen.core.space import Field, Row, Tokens
from morphogen.nn import field_tokens

from . import any_order_mlp
from .options import RowControls, RowOptions
from .row import AutoregressiveRow

# With the constants below: one token of 3, two tokens of 4 and 5, one of 2.
SPACE, SIZES = Row((Field(3), Field(13, ordered=12), Field(2))), (3, 4, 5, 2)
CELLS = tuple(field.size for field in SPACE.fields)


@pytest.fixture(autouse=True)
def _short_fields_take_two_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(field_tokens, "_SPLIT", 12)
    monkeypatch.setattr(field_tokens, "FINE", 4)


def random_model(seed: int = 0) -> AutoregressiveRow:
    """With random weights, and fields that depend on each other."""
    torch.manual_seed(seed)
    model = AutoregressiveRow(SPACE, {}, RowOptions(width=32, embedding=32))
    for head in model.network.heads:
        head.data.normal_(0, 0.3)
    for begin, size in zip(model.network.begins.tolist(), SIZES, strict=True):
        model.network.embed.data[begin : begin + size].normal_(0, 3)
    return model.eval()


def every_row() -> Tensor:
    """The tokens of all rows, `(120, 4)`."""
    return torch.tensor(list(product(*map(range, SIZES))))


def token_joint(model: AutoregressiveRow, order: tuple[int, ...]) -> Tensor:
    """p of every row's tokens when positions are predicted in that order, `(3, 4, 5, 2)`."""
    tokens = every_row()
    visible = torch.zeros(len(tokens), 4, 4, dtype=torch.bool)
    for number, position in enumerate(order):
        visible[:, model.network.slot[position], list(order[:number])] = True
    with torch.no_grad():
        return (-model.network.nats(tokens, visible).sum(0)).exp().double().reshape(SIZES)


def cell_joint(model: AutoregressiveRow, p: Tensor) -> Tensor:
    """The same of cells, `(3, 13, 2)`: several tokens may stand for one."""
    flat = np.ravel_multi_index(model.tokens.decode(every_row()).T.numpy(), CELLS)
    return torch.zeros(78, dtype=torch.float64).index_add_(0, torch.from_numpy(flat), p.flatten()).reshape(CELLS)


def sample(model: AutoregressiveRow, count: int, **request: Any) -> Tensor:
    (draft,) = model.generate(Request(Noise.consecutive(5, count), **request), RowControls())
    assert draft.known.all()
    return draft.x


def pvalue(x: Tensor, p: Tensor) -> float:
    """Of a chi-squared test that rows x have the distribution p, rare rows taken together."""
    counts = np.bincount(np.ravel_multi_index(x.T.numpy(), CELLS), minlength=78)
    expected = (p / p.sum()).flatten().numpy() * len(x)
    large = expected > 5
    observed_counts = [*counts[large], counts[~large].sum()]
    expected_counts = [*expected[large], expected[~large].sum()]
    if expected_counts[-1] == 0:
        assert observed_counts.pop() == 0
        expected_counts.pop()
    return float(stats.chisquare(observed_counts, expected_counts).pvalue)


def test_autocast_changes_no_sample() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        x = sample(random_model(), 200)
    assert torch.equal(x, sample(random_model(), 200))


def test_samples_follow_the_likelihood() -> None:
    model = random_model()
    joint = token_joint(model, (0, 1, 2, 3))
    assert joint.sum().item() == pytest.approx(1, abs=1e-5)
    x = sample(model, 20_000)
    assert pvalue(x, cell_joint(model, joint)) > 0.01
    nats = model.log_likelihood(Batch(x[:50]), Noise.consecutive(0, 50))
    assert torch.allclose(nats.double().exp(), joint[tuple(model.tokens.encode(x[:50]).T)], rtol=1e-3)
    assert torch.equal(sample(model, 100), x[:100])


def test_the_likelihood_of_a_field_given_all_others() -> None:
    model = random_model()
    joint = token_joint(model, (0, 3, 1, 2))  # both tokens of the field last
    given_others = joint / joint.sum((1, 2), keepdim=True)
    x = torch.tensor([[0, 5, 1], [2, 12, 0]])
    tokens = model.tokens.encode(x)
    torch.testing.assert_close(model.field_nll(x)[:, 1], -given_others[tuple(tokens.T)].log().float())
    alone = token_joint(model, (1, 2, 3, 0))
    alone = alone / alone.sum(0)
    torch.testing.assert_close(model.field_nll(x)[:, 0], -alone[tuple(tokens.T)].log().float())


class Excludes:
    """A constraint between the first two fields: the second is at least four times the first, or special."""

    fields = frozenset({0, 1})

    def allowed(self, field: int, x: Tensor, known: Tensor) -> Tensor | None:
        other = 1 - field
        if not bool(known[:, other].any()):
            return None
        mine, others = torch.arange(CELLS[field]), x[:, other, None]
        first, second = (mine, others) if field == 0 else (others, mine)
        return (second >= 4 * first) | (second == 12) | ~known[:, other, None]

    def holds(self) -> Tensor:
        first, second = torch.arange(3)[:, None], torch.arange(13)
        return (second >= 4 * first) | (second == 12)


@pytest.mark.parametrize("constrained", [False, True])
def test_two_conditions_at_once_are_met_exactly(constrained: bool) -> None:
    """One that cuts through groups of cells, one that few rows satisfy; by Bayes' rule."""
    model = random_model(1)
    second = torch.tensor([0, 0, 0, 0, 0, 0, 0.25, 1, 1, 0.5, 0, 0, 0])
    first = torch.tensor([0.0, 1, 0.5])
    constraints = (Excludes(),) if constrained else ()
    evidence = Evidence({1: second, 0: first}, constraints)
    x = sample(model, 10_000, evidence=evidence)
    weight = first[:, None, None] * second[:, None]
    if constrained:
        weight = weight * Excludes().holds()[..., None]
    assert (weight[tuple(x.T[:2])] > 0).all()
    # The fields of the evidence come first, in either order. Tokens that stand for no cell have no weight.
    valid = torch.zeros(SIZES)
    cells = torch.tensor(list(product(*map(range, CELLS))))
    valid[tuple(model.tokens.encode(cells).T)] = weight.expand(CELLS).reshape(-1)
    joints = [cell_joint(model, token_joint(model, order) * valid) for order in ((0, 1, 2, 3), (1, 2, 0, 3))]
    assert max(pvalue(x, joint) for joint in joints) > 0.01
    # A row is the same alone.
    assert torch.equal(sample(model, 1, evidence=evidence), x[:1])


def test_a_constraint_holds_in_every_row() -> None:
    model = random_model()
    x = sample(model, 2000, evidence=Evidence(constraints=(Excludes(),)))
    assert Excludes().holds()[tuple(x.T[:2])].all()
    assert x[:, 1].unique().numel() > 5


def test_impossible_requests_are_refused() -> None:
    model = random_model()
    with pytest.raises(UserError, match="no row satisfies"):
        sample(model, 2, evidence=Evidence({0: torch.zeros(3)}))
    given = Partial(torch.tensor([[2, 3, 0]]), torch.tensor([True, False, False]))

    class Nothing(Excludes):
        def allowed(self, field: int, x: Tensor, known: Tensor) -> Tensor | None:
            return torch.zeros(1, CELLS[field], dtype=torch.bool)

    with pytest.raises(UserError, match="contradict a constraint"):
        sample(model, 1, given=given, evidence=Evidence(constraints=(Nothing(),)))
    with pytest.raises(UserError, match="both given fields and conditions"):
        sample(model, 1, given=given, evidence=Evidence({1: torch.ones(13)}))
    with pytest.raises(UserError, match="fit without --condition label"):
        AutoregressiveRow(SPACE, {"label": Tokens(3, (1,))}, RowOptions())


def test_given_cells_come_back_and_the_rest_follows_from_them() -> None:
    model = random_model(2)
    count = 8000
    x, known = torch.zeros(count, 3, dtype=torch.int64), torch.zeros(count, 3, dtype=torch.bool)
    x[:, 2], known[:, 2] = 1, True
    known[: count // 2, 1], x[: count // 2, 1] = True, 2 * 4 + 3
    rows = sample(model, count, given=Partial(x, known))
    assert torch.equal(rows[known], x[known])
    p = token_joint(model, (3, 1, 2, 0))[:, 2, 3, 1]
    counts = np.bincount(rows[: count // 2, 0], minlength=3)
    assert stats.chisquare(counts, (p / p.sum()).numpy() * counts.sum()).pvalue > 0.01


def test_a_cell_that_no_row_has_is_not_sampled() -> None:
    model = AutoregressiveRow(SPACE, {}, RowOptions(width=16, embedding=16))
    x = torch.stack([torch.randint(size - 1, (500,)) for size in CELLS], dim=1)
    model.initialize("model", [Batch(x)])
    assert (sample(model.eval(), 5000) < torch.tensor(CELLS) - 1).all()


def test_it_learns_how_fields_depend_on_each_other() -> None:
    torch.manual_seed(0)
    model = AutoregressiveRow(SPACE, {}, RowOptions(width=32, embedding=32, dropout=0.0))
    x = torch.stack([torch.randint(size, (2000,)) for size in CELLS], dim=1)
    x[:, 2] = x[:, 0] % 2
    model.initialize("model", [Batch(x)])
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for step in range(150):
        model(Batch(x[(step * 200) % 2000 :][:200])).total.backward()
        optimizer.step()
        optimizer.zero_grad()
    rows = sample(model.eval(), 1000)
    assert (rows[:, 2] == rows[:, 0] % 2).float().mean() > 0.98


def test_calibration_matches_the_frequencies_of_the_data() -> None:
    torch.manual_seed(3)
    sizes = (3, 9, 2, 5, 2)
    model = AutoregressiveRow(Row(tuple(Field(size) for size in sizes)), {}, RowOptions(width=32, embedding=32)).eval()
    x = torch.stack([torch.multinomial(torch.arange(1.0, size + 1), 4000, True) for size in sizes], dim=1)
    model.initialize("model", [Batch(x)])
    for head in model.network.heads:
        head.data.normal_(0, 0.3)

    def error() -> float:
        rows = sample(model, 20_000)
        return max(
            float((generated.bincount(minlength=size) / 20_000 - data.bincount(minlength=size) / 4000).abs().max())
            for generated, data, size in zip(rows.T, x.T, sizes, strict=True)
        )

    assert error() > 0.05
    model.calibrate([])
    assert error() < 0.012


def test_rows_of_many_fields_predict_some_at_a_time() -> None:
    model = AutoregressiveRow(Row((Field(3),) * 100), {}, RowOptions(width=16, embedding=16))
    x = torch.randint(3, (64, 100))
    loss = model(Batch(x)).total
    loss.backward()
    assert loss.item() == pytest.approx(np.log(3), rel=0.05)
    model.eval()
    likelihood = model.log_likelihood(Batch(x), Noise.consecutive(0, 64)).mean().item()
    assert likelihood == pytest.approx(-100 * np.log(3), rel=0.05)


def test_options_depend_on_the_number_of_rows() -> None:
    def resolved(rows: int, **options: Any) -> tuple[Any, ...]:
        return tuple(dict(AutoregressiveRow.resolve_options(RowOptions(**options), SPACE, rows)).values())[:4]

    assert resolved(100) == resolved(200) == (64, 64, 0.4, 8.0)
    assert resolved(800) == (64, 64, 0.4, 3.0)
    assert resolved(3_000) == (128, 128, 0.4, 0.8)
    assert resolved(8_000) == resolved(30_000) == resolved(0) == (256, 256, 0.4, 0.3)
    assert resolved(120_000) == (256, 256, 0.2, 0.075)
    assert resolved(800, width=32, dropout=0.1, weight_decay=0.0) == (32, 64, 0.1, 0.0)
    many = AutoregressiveRow.resolve_options(RowOptions(), SPACE, 120_000)
    assert AutoregressiveRow(SPACE, {}, many).phases()[0].weight_decay == 0.075


def test_a_few_random_rows_are_not_learned_by_heart() -> None:
    """Their fields do not depend on each other; training rows must not get likelier than new ones."""
    random = torch.Generator().manual_seed(0)
    space = Row((Field(8),) * 8)
    train, new = (torch.randint(8, (200, 8), generator=random) for _ in range(2))

    def gap(**options: Any) -> float:
        torch.manual_seed(0)
        model = AutoregressiveRow(space, {}, RowOptions(**options).resolve(len(train)))
        (phase,) = model.phases()
        model.initialize("model", [Batch(train)])
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=phase.lr, betas=phase.betas, weight_decay=phase.weight_decay
        )
        for _ in range(120):
            model(Batch(train[torch.randint(200, (32,))])).total.backward()
            optimizer.step()
            optimizer.zero_grad()
        model.eval()
        known, unknown = (model.log_likelihood(Batch(x), Noise.consecutive(0, 200)).mean().item() for x in (train, new))
        return known - unknown

    assert gap(width=256, embedding=256, weight_decay=0.3) > 2
    assert gap() < 1


def test_calibration_keeps_to_its_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A first round shows how many rows the seconds suffice for; here a round takes 1e-4 seconds a row."""
    model = AutoregressiveRow(SPACE, {}, RowOptions(width=16, embedding=16))
    now, rounds = [0.0], list[int]()

    def calibrate_round(network: object, rows: int, random: object) -> None:
        now[0] += rows * 1e-4
        rounds.append(rows)

    monkeypatch.setattr(any_order_mlp, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(any_order_mlp, "_calibrate_round", calibrate_round)
    for seconds, expected in (
        (None, [32768, 32768]),
        (60.0, [2048, 32768, 32768]),
        (2.0, [2048, 8976, 8976]),
        (0.1, [2048]),
    ):
        rounds.clear()
        now[0] = 0.0
        model.calibrate([], seconds)
        assert rounds == pytest.approx(expected, abs=1)
        assert seconds is None or now[0] <= max(seconds, 0.21)
