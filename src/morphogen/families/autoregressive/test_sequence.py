"""Sequences of any length: likelihoods, packed rows, and draws that do not depend on the rows beside them."""

from __future__ import annotations

import itertools

import pytest
import torch

from morphogen.core.errors import UserError
from morphogen.core.model import Batch, Partial, Request
from morphogen.core.noise import Noise
from morphogen.core.space import Tokens

from .model import Autoregressive
from .options import Controls, Options

START, END = 4, 3


def model(context: int = 8, classes: int = 0) -> Autoregressive:
    """With random weights, so that no two symbols are alike."""
    torch.manual_seed(0)
    conditions = {"label": Tokens(classes, (1,))} if classes else {}
    space = Tokens(5, (context,), end=END, start=START)
    made = Autoregressive(space, conditions, Options(width=32, layers=2, counts=3))
    begun = torch.randint(0, 4, (40, context), generator=torch.Generator().manual_seed(2))
    begun[::2, 0] = START
    made.begin("model", [Batch(begun[:16]), Batch(begun[16:])])
    made.eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    with torch.no_grad():
        made.head.bias[END] += 1
    return made


def after(made: Autoregressive, read: torch.Tensor) -> torch.Tensor:
    """Logits of what follows rows `(B, n)`."""
    hidden = made.transformer(made.embed(read) + made.conditioner({}, read).vector[:, None])[:, -1]
    assert made.counts is not None
    tally = made.counts.tallies(read, torch.full((len(read),), read.shape[1]))
    return made.counts.logits(hidden, made.head(hidden), tally)


def prompts(rows: list[list[int]]) -> Partial:
    width = max(map(len, rows)) + 1
    x = torch.tensor([[START, *row, *[END] * (width - 1 - len(row))] for row in rows])
    return Partial(x, torch.arange(width) < torch.tensor([[len(row) + 1] for row in rows]))


def texts(
    made: Autoregressive, given: Partial, seed: int = 0, condition: object = None, **controls: float
) -> list[list[int]]:
    """What was drawn, up to its end."""
    noise = Noise.count(seed, len(given.x))
    *_, draft = made.generate(Request(noise, condition or {}, given=given), Controls(**controls))  # type: ignore[arg-type]
    return [list(itertools.takewhile(lambda symbol: symbol != END, row[1:])) for row in draft.x.tolist()]


def test_probabilities_of_all_sequences_sum_to_one() -> None:
    made = model()
    rows = [[START, *word, END, *[END] * (3 - n)] for n in range(4) for word in itertools.product(range(3), repeat=n)]
    nats = made.log_likelihood(Batch(torch.tensor(rows)), Noise.count(0, len(rows)))
    longer = [[START, *word, 0] for word in itertools.product(range(3), repeat=4)]
    # Those that are longer than three, by what begins them; a start is drawn by nobody, and has its own probability.
    with torch.no_grad():
        beginnings = made.nats_of_sequences(torch.tensor(longer), {})[:, :5].sum(1)
        starts = 0.0
        for n in range(4):
            words = torch.tensor([[START, *word, START] for word in itertools.product(range(3), repeat=n)])
            before = made.nats_of_sequences(words, {})[:, :-1].sum(1)
            starts += float((-before + after(made, words[:, :-1])[:, START]).exp().sum())
    assert float(nats.exp().sum() + (-beginnings).exp().sum()) + starts == pytest.approx(1, abs=1e-5)


def test_rows_that_share_a_line_do_not_see_each_other() -> None:
    made = model(12)
    alone = torch.tensor([[START, 0, 1, END, END, END, END, END], [START, 2, 2, 1, 0, END, END, END]])
    packed = torch.tensor([[START, 0, 1, END, START, 2, 2, 1, 0, END, END, END]])
    with torch.no_grad():
        apart, together = made.nats_of_sequences(alone, {}), made.nats_of_sequences(packed, {})
    torch.testing.assert_close(together[0, 1:4], apart[0, 1:4])
    torch.testing.assert_close(together[0, 5:10], apart[1, 1:6])
    assert (together[0, [0, 4, 10, 11]] == 0).all()
    assert made(Batch(packed)).total.item() == pytest.approx(float(together.sum() / 8))


@pytest.mark.parametrize("context", [8, 9])
def test_each_symbol_of_a_long_item_is_counted_once_and_told_half_a_context(context: int) -> None:
    made = model(context)
    half = context // 2
    x = torch.randint(0, 3, (1, 31), generator=torch.Generator().manual_seed(1))
    x[0, 0], x[0, -1] = START, END
    expected = 0.0
    for at in range(1, 31):
        begin = max(0, (at - context) // half + 1) * half
        with torch.no_grad():
            expected -= float(made.nats_of_sequences(x[:, begin : at + 1], {})[0, -1])
    padded = torch.cat((x, torch.full((1, 9), END)), dim=1)
    both = made.log_likelihood(Batch(torch.cat((padded, padded))), Noise.count(0, 2))
    assert both.tolist() == pytest.approx([expected, expected], rel=1e-5)


def test_samples_have_the_frequencies_of_the_likelihood() -> None:
    made = model()
    found = texts(made, prompts([[]] * 4000), max_length=2)
    rows = [[START, *word, END] for word in itertools.product(range(3), repeat=2)]
    with torch.no_grad():
        first_two = made.nats_of_sequences(torch.tensor(rows), {})[:, :3].sum(1).neg().exp()
    counts = torch.tensor([sum(word == list(row[1:3]) for word in found) for row in rows]) / 4000
    # The start is never drawn, so that what is left has a little more.
    assert (counts / counts.sum() - first_two / first_two.sum()).abs().max() < 0.05


@pytest.mark.parametrize("context", [8, 9])
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_a_sequence_is_the_same_alone_and_beside_others(context: int, guidance: float) -> None:
    """Of other lengths, past the context, and with rows that end before."""
    made = model(context, classes=2)
    rows = [[], [0, 1], [2] * 11, [1, 0, 2, 1, 1], [0] * 25]
    label = torch.tensor([[0], [1], [0], [1], [1]])
    controls = {"max_length": 30, "guidance": guidance}
    together = texts(made, prompts(rows), seed=5, condition={"label": label}, **controls)
    for number, row in enumerate(rows):
        alone = texts(
            made, prompts([row]), seed=5 + number, condition={"label": label[number : number + 1]}, **controls
        )
        assert alone == [together[number]]
        assert together[number][: len(row)] == row
    assert len({len(row) - len(given) for row, given in zip(together, rows, strict=True)}) > 1


def test_greedy_draws_are_what_reading_all_anew_finds_likeliest() -> None:
    made = model(8)
    (found,) = texts(made, prompts([[1]]), temperature=0.0, max_length=25)
    x = torch.tensor([[START, *found]])
    for at in range(2, x.shape[1]):
        begin = max(0, (at - 8) // 4 + 1) * 4
        with torch.no_grad():
            logits = after(made, x[:, begin:at])
        logits[:, START] = -torch.inf
        assert int(logits.argmax()) == x[0, at]


def test_nothing_given_is_the_start() -> None:
    made = model()
    *_, free = made.generate(Request(Noise.count(3, 2)), Controls(max_length=6))
    *_, begun = made.generate(Request(Noise.count(3, 2), given=prompts([[], []])), Controls(max_length=6))
    assert torch.equal(free.x, begun.x)


def test_drafts_grow_by_a_symbol() -> None:
    made = model()
    given = prompts([[0], [1, 1, 2]])
    request = Request(Noise.count(0, 2), given=given, drafts=True)
    known = [draft.known.sum(1).tolist() for draft in made.generate(request, Controls(max_length=4))]
    assert known[0] == [3, 5]
    assert all(sum(after) > sum(before) for before, after in itertools.pairwise(known[:-1]))


def test_a_gap_is_refused() -> None:
    given = Partial(torch.zeros(1, 4, dtype=torch.int64), torch.tensor([[True, False, True, False]]))
    with pytest.raises(UserError, match="masked_diffusion"):
        texts(model(), given)
    with pytest.raises(UserError, match=r"options\.fill"):
        Autoregressive(Tokens(5, (8,), end=END, start=START), {}, Options(width=32, layers=1, fill=0.5))
