"""Calibration on validation items mends a network that is too sure, and harms nothing."""

from __future__ import annotations

import torch
from torch import Tensor

from morphogen.core.model import Batch

from .calibration import MixtureInputs, calibrate
from .ngram import NetworkPrediction, NGramMixture
from .test_ngram import END, START, documents, fit_mixture
from .test_sequence_model import random_model

WIDTH = 16


def inputs(mixture: NGramMixture, x: Tensor, nats: float) -> MixtureInputs:
    """For rows `(B, n)`, where the network's −ln p is `nats`, whatever the token."""
    counts = mixture.target_counts(x[:, :-1], x[:, 1:], mixture.columns(x, hold_out=False))
    same = torch.full(x[:, 1:].shape, nats)
    network = NetworkPrediction(torch.zeros(*same.shape, WIDTH), same, same)
    all_inputs = MixtureInputs(network, x[:, 1:] == END, counts)
    return all_inputs.select(torch.ones_like(x[:, 1:], dtype=torch.bool))


def random_rows(seed: int) -> Tensor:
    x = torch.randint(0, 3, (40, 12), generator=torch.Generator().manual_seed(seed))
    x[:, 0] = START
    return x


def halves(count: int) -> Tensor:
    return torch.arange(count) < count // 2


def test_a_network_that_is_sure_and_wrong_loses_its_weight() -> None:
    mixture = fit_mixture(documents(40))
    with torch.no_grad():
        mixture.head.bias[0] = 6.0
    validation, other = inputs(mixture, random_rows(1), nats=4.0), inputs(mixture, random_rows(2), nats=4.0)
    with torch.no_grad():
        before = mixture.nats(*other).mean()
        calibrate(mixture, validation, halves(len(validation.ends)))
        after = mixture.nats(*other).mean()
    assert before > 2.5
    assert after < 1.4  # three tokens, as likely as each other, are 1.1 nats


def test_nothing_changes_where_the_halves_contradict_each_other() -> None:
    mixture = fit_mixture(documents(40))
    good, bad = inputs(mixture, random_rows(1), nats=0.01), inputs(mixture, random_rows(1), nats=12.0)
    both = MixtureInputs.concatenate([good, bad])
    initial = {name: value.clone() for name, value in mixture.state_dict().items()}
    with torch.no_grad():
        mixture.head.bias.zero_()
        initial["head.bias"].zero_()
        calibrate(mixture, both, halves(len(both.ends)))
    for name, value in mixture.state_dict().items():
        assert torch.equal(value, initial[name]), name


def test_validation_rows_become_likelier() -> None:
    model = random_model(12)
    x = torch.randint(0, 3, (32, 12), generator=torch.Generator().manual_seed(5))
    x[:, 0] = START - 1  # as that model has it
    with torch.no_grad():
        before = model(Batch(x)).total
        model.calibrate([Batch(x[:16]), Batch(x[16:])])
        assert model(Batch(x)).total < before - 0.1
        calibrated = {name: value.clone() for name, value in model.state_dict().items()}
        model.calibrate([Batch(x[:1])])  # no two halves
    for name, value in model.state_dict().items():
        assert torch.equal(value, calibrated[name]), name
