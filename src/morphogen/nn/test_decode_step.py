"""Decoding position by position, against the transformer that reads all at once."""

from __future__ import annotations

import pytest
import torch

from ..core.errors import UserError
from . import quantized_linear as quantization
from .decode_step import DecodeStep
from .quantized_linear import Weights, quantized_linear
from .test_transformer import network


@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize(("weights", "tolerance"), [("fp32", 1e-6), ("bf16", 0.02), ("int8", 0.04)])
def test_it_continues_as_the_transformer_does(
    batch: int, weights: Weights, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantization, "bf16_is_emulated", lambda: False)  # emulated, it is as exact
    x = torch.randn(batch, 12, 64)
    model = network(True)
    cache, step = model.cache(batch, x), DecodeStep(model, weights)
    with torch.no_grad():
        parts = [model(x[:, :3], cache), *(step(x[:, at], cache)[:, None] for at in range(3, 12))]
        whole = model(x)
    assert (torch.cat(parts, 1) - whole).norm() < tolerance * whole.norm()


def test_rows_of_different_lengths() -> None:
    x = torch.randn(3, 12, 64)
    model = network(True)
    lengths = [4, 1, 6]
    cache, step = model.ragged_cache(3, x), DecodeStep(model, "fp32")
    cache.begin([0, 1, 2], lengths)
    with torch.no_grad():
        model(x[:, :6], cache)
        whole = model(x)
        for _ in range(4):
            hidden = step(torch.stack([x[row, length] for row, length in enumerate(lengths)]), cache)
            expected = torch.stack([whole[row, length] for row, length in enumerate(lengths)])
            torch.testing.assert_close(hidden, expected, rtol=1e-5, atol=1e-5)
            lengths = [length + 1 for length in lengths]


def test_small_numbers_are_normalised_as_in_training() -> None:
    model = network(True)
    x = 1e-5 * torch.randn(2, 2, 64)
    cache, step = model.cache(2, x), DecodeStep(model, "fp32")
    with torch.no_grad():
        model(x[:, :1], cache)
        torch.testing.assert_close(step(x[:, 1], cache), model(x)[:, 1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("min_packed", [0, 2**17])
@pytest.mark.parametrize("rows", [1, 3, 20])
def test_a_linear_map_is_the_product_with_its_weight(
    rows: int, min_packed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantization, "_MIN_PACKED", min_packed)
    weight, x = torch.randn(30, 64), torch.randn(2 * rows, 64)[::2]
    torch.testing.assert_close(quantized_linear(weight, "fp32")(x), x @ weight.T)
    torch.testing.assert_close(quantized_linear(weight, "fp32", relu=True)(x), (x @ weight.T).relu())


@pytest.mark.parametrize("rows", [1, 3, 20])
def test_int8_weights_are_off_by_half_a_quantisation_step_at_most(rows: int) -> None:
    weight = torch.randn(30, 64, generator=torch.Generator().manual_seed(0))
    weight[3] = 0
    result = quantized_linear(weight, "int8")(torch.eye(64)[:rows]).float()
    step, expected = weight.abs().amax(1) / 127, weight.T[:rows]
    assert ((result - expected).abs() <= 0.51 * step + 0.01 * expected.abs()).all()  # bf16 rounds the result, too


def test_bf16_is_refused_where_it_is_emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantization, "bf16_is_emulated", lambda: True)
    with pytest.raises(UserError, match="fp32"):
        quantized_linear(torch.ones(2, 2), "bf16")
