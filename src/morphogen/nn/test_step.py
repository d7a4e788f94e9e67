"""Steps of single cells, against the transformer that reads all at once."""

from __future__ import annotations

import pytest
import torch

from ..core.errors import UserError
from . import products
from .products import Weights, product
from .step import Step
from .test_transformer import network


@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize(("weights", "tolerance"), [("fp32", 1e-6), ("bf16", 0.02), ("int8", 0.04)])
def test_it_goes_on_where_the_transformer_would(
    batch: int, weights: Weights, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "bf16_is_emulated", lambda: False)  # as right there, if slow
    x = torch.randn(batch, 12, 64)
    model = network(True)
    cache, step = model.cache(batch, x), Step(model, weights)
    with torch.no_grad():
        parts = [model(x[:, :3], cache), *(step(x[:, at], cache)[:, None] for at in range(3, 12))]
        whole = model(x)
    assert (torch.cat(parts, 1) - whole).norm() < tolerance * whole.norm()


def test_rows_of_their_own_lengths() -> None:
    x = torch.randn(3, 12, 64)
    model = network(True)
    lengths = [4, 1, 6]
    rows, step = model.rows(3, x), Step(model, "fp32")
    rows.begin([0, 1, 2], lengths)
    with torch.no_grad():
        model(x[:, :6], rows)
        whole = model(x)
        for _ in range(4):
            found = step(torch.stack([x[row, length] for row, length in enumerate(lengths)]), rows)
            expected = torch.stack([whole[row, length] for row, length in enumerate(lengths)])
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
            lengths = [length + 1 for length in lengths]


def test_small_numbers_are_normalised_as_in_training() -> None:
    model = network(True)
    x = 1e-5 * torch.randn(2, 2, 64)
    cache, step = model.cache(2, x), Step(model, "fp32")
    with torch.no_grad():
        model(x[:, :1], cache)
        torch.testing.assert_close(step(x[:, 1], cache), model(x)[:, 1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("least", [0, 2**17])
@pytest.mark.parametrize("rows", [1, 3, 20])
def test_a_product_is_that_of_linear(rows: int, least: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_LARGE", least)
    weight, x = torch.randn(30, 64), torch.randn(2 * rows, 64)[::2]
    torch.testing.assert_close(product(weight, "fp32")(x), x @ weight.T)
    torch.testing.assert_close(product(weight, "fp32", relu=True)(x), (x @ weight.T).relu())


@pytest.mark.parametrize("rows", [1, 3, 20])
def test_weights_of_eight_bits_are_off_by_half_a_step_at_most(rows: int) -> None:
    weight = torch.randn(30, 64, generator=torch.Generator().manual_seed(0))
    weight[3] = 0
    found = product(weight, "int8")(torch.eye(64)[:rows]).float()
    step, expected = weight.abs().amax(1) / 127, weight.T[:rows]
    assert ((found - expected).abs() <= 0.51 * step + 0.01 * expected.abs()).all()  # bf16 rounds what is found, too


def test_what_the_processor_does_not_do_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "bf16_is_emulated", lambda: True)
    with pytest.raises(UserError, match="fp32"):
        product(torch.ones(2, 2), "bf16")
