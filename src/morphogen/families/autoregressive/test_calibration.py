"""Trust in counts, fitted to what was kept from training: it mends a network that is too sure, and harms nothing."""

from __future__ import annotations

import torch
from torch import Tensor

from morphogen.core.model import Batch

from .calibration import Parts, calibrate
from .counts import Counts
from .test_counts import START, counted, documents
from .test_sequence import model

WIDTH = 16


def parts(counts: Counts, x: Tensor, own: float) -> Parts:
    """Of rows `(B, n)`, where the network's −ln p is `own`, whatever the symbol."""
    tally = counts.tally(x[:, :-1], x[:, 1:], counts.columns(x, without_own=False))
    told = Parts(torch.zeros(*x[:, 1:].shape, WIDTH), torch.full(x[:, 1:].shape, own), tally)
    return told.select(torch.ones_like(x[:, 1:], dtype=torch.bool))


def fresh(seed: int) -> Tensor:
    x = torch.randint(0, 3, (40, 12), generator=torch.Generator().manual_seed(seed))
    x[:, 0] = START
    return x


def halves(count: int) -> Tensor:
    return torch.arange(count) < count // 2


def test_a_network_that_is_sure_and_wrong_loses_its_share() -> None:
    counts = counted(documents(40))
    with torch.no_grad():
        counts.head.bias[0] = 6.0
    kept, other = parts(counts, fresh(1), own=4.0), parts(counts, fresh(2), own=4.0)
    with torch.no_grad():
        before = counts.nats(*other).mean()
        calibrate(counts, kept, halves(len(kept.own)))
        after = counts.nats(*other).mean()
    assert before > 2.5
    assert after < 1.4  # three symbols, as likely as each other, are 1.1 nats


def test_nothing_changes_where_one_half_speaks_against_the_other() -> None:
    counts = counted(documents(40))
    good, bad = parts(counts, fresh(1), own=0.01), parts(counts, fresh(1), own=12.0)
    both = Parts.joined([good, bad])
    begun = {name: value.clone() for name, value in counts.state_dict().items()}
    with torch.no_grad():
        counts.head.bias.zero_()
        begun["head.bias"].zero_()
        calibrate(counts, both, halves(len(both.own)))
    for name, value in counts.state_dict().items():
        assert torch.equal(value, begun[name]), name


def test_rows_kept_from_training_become_likelier() -> None:
    made = model(12)
    x = torch.randint(0, 3, (32, 12), generator=torch.Generator().manual_seed(5))
    x[:, 0] = START - 1  # as that model has it
    with torch.no_grad():
        before = made(Batch(x)).total
        made.calibrate([Batch(x[:16]), Batch(x[16:])])
        assert made(Batch(x)).total < before - 0.1
        calibrated = {name: value.clone() for name, value in made.state_dict().items()}
        made.calibrate([Batch(x[:1])])  # no two halves
    for name, value in made.state_dict().items():
        assert torch.equal(value, calibrated[name]), name
