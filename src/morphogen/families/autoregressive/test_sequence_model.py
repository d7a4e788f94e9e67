"""Token sequences: likelihoods, packed rows, and samples that do not depend on the rows beside them."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import pytest
import torch

from morphogen.core.errors import UserError
from morphogen.core.model import Batch, Partial, Request
from morphogen.core.noise import Noise
from morphogen.core.space import Tokens, TokenSequence

from .options import SequenceControls, SequenceOptions
from .sequence import AutoregressiveSequence
from .sequence_sampler import SequenceNetwork, SequenceSampler

START, END = 4, 3


def random_model(context: int = 8, classes: int = 0) -> AutoregressiveSequence:
    """With random weights, so that no two tokens are alike."""
    torch.manual_seed(0)
    conditions = {"label": Tokens(classes, (1,))} if classes else {}
    space, options = TokenSequence(5, context, START, END), SequenceOptions(width=32, layers=2, ngram_order=3)
    model = AutoregressiveSequence(space, conditions, options)
    x = torch.randint(0, 4, (40, context), generator=torch.Generator().manual_seed(2))
    x[::2, 0] = START
    model.initialize("model", [Batch(x[:16]), Batch(x[16:])])
    model.eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    with torch.no_grad():
        model.head.bias[END] += 1
    return model


def next_logits(model: AutoregressiveSequence, x: torch.Tensor) -> torch.Tensor:
    """The logits of what follows rows `(B, n)`."""
    hidden = model.transformer(model.embed(x) + model.conditioner({}, x).vector[:, None])[:, -1]
    assert model.ngrams is not None
    counts = model.ngrams.next_counts(x, torch.full((len(x),), x.shape[1]))
    return model.ngrams.logits(hidden, model.head(hidden), counts)


def prompts(rows: list[list[int]]) -> Partial:
    width = max(map(len, rows)) + 1
    x = torch.tensor([[START, *row, *[END] * (width - 1 - len(row))] for row in rows])
    return Partial(x, torch.arange(width) < torch.tensor([[len(row) + 1] for row in rows]))


def texts(
    model: AutoregressiveSequence, given: Partial, seed: int = 0, condition: object = None, **controls: float
) -> list[list[int]]:
    """The tokens of each sample between start and end."""
    noise = Noise.consecutive(seed, len(given.x))
    *_, draft = model.generate(Request(noise, condition or {}, given=given), SequenceControls(**controls))  # type: ignore[arg-type]
    return [list(itertools.takewhile(lambda token: token != END, row[1:])) for row in draft.x.tolist()]


def test_probabilities_of_all_sequences_sum_to_one() -> None:
    model = random_model()
    rows = [[START, *word, END, *[END] * (3 - n)] for n in range(4) for word in itertools.product(range(3), repeat=n)]
    nats = model.log_likelihood(Batch(torch.tensor(rows)), Noise.consecutive(0, len(rows)))
    longer = [[START, *word, 0] for word in itertools.product(range(3), repeat=4)]
    # Longer ones by their beginning; a start is never sampled, but has a probability.
    with torch.no_grad():
        beginnings = model.token_nats(torch.tensor(longer), {})[:, :5].sum(1)
        starts = 0.0
        for n in range(4):
            words = torch.tensor([[START, *word, START] for word in itertools.product(range(3), repeat=n)])
            before = model.token_nats(words, {})[:, :-1].sum(1)
            starts += float((-before + next_logits(model, words[:, :-1])[:, START]).exp().sum())
    assert float(nats.exp().sum() + (-beginnings).exp().sum()) + starts == pytest.approx(1, abs=1e-5)


def test_items_of_one_row_do_not_see_each_other() -> None:
    model = random_model(12)
    alone = torch.tensor([[START, 0, 1, END, END, END, END, END], [START, 2, 2, 1, 0, END, END, END]])
    packed = torch.tensor([[START, 0, 1, END, START, 2, 2, 1, 0, END, END, END]])
    with torch.no_grad():
        separate, together = model.token_nats(alone, {}), model.token_nats(packed, {})
    torch.testing.assert_close(together[0, 1:4], separate[0, 1:4])
    torch.testing.assert_close(together[0, 5:10], separate[1, 1:6])
    assert (together[0, [0, 4, 10, 11]] == 0).all()
    assert model(Batch(packed)).total.item() == pytest.approx(float(together.sum() / 8))


@pytest.mark.parametrize("context", [8, 9])
def test_each_token_of_a_long_item_counts_once_and_reads_half_a_context(context: int) -> None:
    model = random_model(context)
    half = context // 2
    x = torch.randint(0, 3, (1, 31), generator=torch.Generator().manual_seed(1))
    x[0, 0], x[0, -1] = START, END
    expected = 0.0
    for at in range(1, 31):
        begin = max(0, (at - context) // half + 1) * half
        with torch.no_grad():
            expected -= float(model.token_nats(x[:, begin : at + 1], {})[0, -1])
    padded = torch.cat((x, torch.full((1, 9), END)), dim=1)
    both = model.log_likelihood(Batch(torch.cat((padded, padded))), Noise.consecutive(0, 2))
    assert both.tolist() == pytest.approx([expected, expected], rel=1e-5)


def test_samples_have_the_frequencies_of_the_likelihood() -> None:
    model = random_model()
    samples = texts(model, prompts([[]] * 4000), max_length=2)
    rows = [[START, *word, END] for word in itertools.product(range(3), repeat=2)]
    with torch.no_grad():
        first_two = model.token_nats(torch.tensor(rows), {})[:, :3].sum(1).neg().exp()
    counts = torch.tensor([sum(word == list(row[1:3]) for word in samples) for row in rows]) / 4000
    # The start is never sampled, so that the others have a little more.
    assert (counts / counts.sum() - first_two / first_two.sum()).abs().max() < 0.05


@pytest.mark.parametrize("context", [8, 9])
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_a_sequence_is_the_same_alone_and_beside_others(context: int, guidance: float) -> None:
    """With other lengths, past the context, and with rows that end earlier."""
    model = random_model(context, classes=2)
    rows = [[], [0, 1], [2] * 11, [1, 0, 2, 1, 1], [0] * 25]
    label = torch.tensor([[0], [1], [0], [1], [1]])
    controls = {"max_length": 30, "guidance": guidance}
    together = texts(model, prompts(rows), seed=5, condition={"label": label}, **controls)
    for number, row in enumerate(rows):
        alone = texts(
            model, prompts([row]), seed=5 + number, condition={"label": label[number : number + 1]}, **controls
        )
        assert alone == [together[number]]
        assert together[number][: len(row)] == row
    assert len({len(row) - len(given) for row, given in zip(together, rows, strict=True)}) > 1


def test_greedy_samples_are_likeliest_without_a_cache() -> None:
    model = random_model(8)
    (text,) = texts(model, prompts([[1]]), temperature=0.0, max_length=25)
    x = torch.tensor([[START, *text]])
    for at in range(2, x.shape[1]):
        begin = max(0, (at - 8) // 4 + 1) * 4
        with torch.no_grad():
            logits = next_logits(model, x[:, begin:at])
        logits[:, START] = -torch.inf
        assert int(logits.argmax()) == x[0, at]


@pytest.mark.parametrize("context", [8, 9])
def test_next_logits_are_those_of_the_window_read_anew(context: int) -> None:
    """The cache, which is filled with the last half of the context where that is full, changes nothing."""
    model = random_model(context)
    parts = (model.space, model.embed, model.conditioner, model.transformer, model.head, model.ngrams)
    prompt = [2, 0] * 7  # longer than the context
    request, random = Request(Noise.consecutive(0, 1), given=prompts([prompt])), torch.Generator().manual_seed(5)
    with torch.no_grad():
        sampler = SequenceSampler(SequenceNetwork(*parts), request, SequenceControls(max_length=40))
        logits, x = sampler.read([0]), torch.tensor([[START, *prompt]])
        for _ in range(40):
            begin = max(0, (x.shape[1] - context) // (context // 2) + 1) * (context // 2)
            expected = next_logits(model, x[:, begin:])
            torch.testing.assert_close(logits.log_softmax(1), expected.log_softmax(1), atol=1e-4, rtol=1e-4)
            token = torch.randint(0, 3, (1,), generator=random)
            sampler.follow(torch.tensor([0]), token)
            x, logits = torch.cat((x, token[None]), dim=1), sampler.next_logits()


def test_the_space_says_how_long_samples_are_at_most() -> None:
    model = random_model(8)
    model.space = dataclasses.replace(model.space, max_length=30)
    never: dict[str, Any] = {"logit_bias": {END: -math.inf}}
    assert [len(text) for text in texts(model, prompts([[], [1] * 12]), **never)] == [30, 42]
    assert [len(text) for text in texts(model, prompts([[]]), min_length=33, **never)] == [33]
    assert [len(text) for text in texts(model, prompts([[]]), max_length=5, **never)] == [5]
    free = texts(model, prompts([[]] * 200))
    assert max(map(len, free)) > 8
    assert [text[:8] for text in free] == texts(model, prompts([[]] * 200), max_length=8)


def test_training_begins_with_the_frequencies_of_the_tokens_without_the_ends_that_fill_a_row() -> None:
    space = TokenSequence(5, 8, START, END)
    model = AutoregressiveSequence(space, {}, SequenceOptions(width=32, layers=1, ngram_order=2))
    x = torch.tensor([[START, 0, 0, 1, END, END, END, END]] * 300)
    model.initialize("model", [Batch(x)])
    assert torch.allclose(model.head.bias.exp(), torch.tensor([0.5, 0.25, 0.0, 0.25, 0.0]), atol=0.01)


def test_nothing_given_is_a_start() -> None:
    model = random_model()
    *_, free = model.generate(Request(Noise.consecutive(3, 2)), SequenceControls(max_length=6))
    *_, started = model.generate(
        Request(Noise.consecutive(3, 2), given=prompts([[], []])), SequenceControls(max_length=6)
    )
    assert torch.equal(free.x, started.x)


def test_drafts_grow_by_a_token() -> None:
    model = random_model()
    given = prompts([[0], [1, 1, 2]])
    request = Request(Noise.consecutive(0, 2), given=given, drafts=True)
    known = [draft.known.sum(1).tolist() for draft in model.generate(request, SequenceControls(max_length=4))]
    assert known[0] == [3, 5]
    assert all(sum(after) > sum(before) for before, after in itertools.pairwise(known[:-1]))


def test_tokens_after_a_gap_are_refused() -> None:
    given = Partial(torch.zeros(1, 4, dtype=torch.int64), torch.tensor([[True, False, True, False]]))
    with pytest.raises(UserError, match=r"given after a gap.*--family masked_diffusion"):
        texts(random_model(), given)


def test_without_ngrams_the_network_alone_predicts() -> None:
    torch.manual_seed(0)
    model = AutoregressiveSequence(
        TokenSequence(5, 8, START, END), {}, SequenceOptions(width=32, layers=1, ngram_order=0)
    )
    x = torch.tensor([[START, 0, 1, 2, 0, 1, 2, END]]).repeat(8, 1)
    model.initialize("model", [Batch(x)])
    assert model.ngrams is None
    p = (x[:, 1:].flatten().bincount(minlength=5) + 1) / (x[:, 1:].numel() + 5)
    expected = -p[x[:, 1:]].log().mean().item()
    assert model(Batch(x)).total.item() == pytest.approx(expected, rel=1e-5)
    assert model.eval().embeddings(Batch(x)).shape == (8, 32)
