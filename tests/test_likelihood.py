"""Likelihoods of raw items, from a pipeline."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from morphogen import Pipeline, UserError
from morphogen.core import plugins
from morphogen.core.codec import Codec
from morphogen.core.model import GenerativeModel
from morphogen.modalities.image.codec import ImageCodec
from morphogen.modalities.image.options import Options

PICTURES = [Image.fromarray(one) for one in np.random.default_rng(0).integers(0, 256, (4, 6, 6), dtype=np.uint8)]


def pipeline(family: str, codec: Codec[Any], **options: Any) -> Pipeline:
    """Untrained."""
    torch.manual_seed(0)
    kind = plugins.sole(plugins.load("families", family, "model"), GenerativeModel)
    model = kind(codec.space, {}, kind.Options(**options))
    return Pipeline(family=family, modality="image", model=model, codec=codec, conditions={})


@pytest.mark.parametrize("levels", [2, 16, 256])
def test_not_knowing_anything_costs_all_bits(levels: int) -> None:
    """Before training each symbol is as likely as any other."""
    kind = plugins.sole(plugins.load("families", "autoregressive", "model"), GenerativeModel)
    codec = ImageCodec.fit([PICTURES], kind.accepts[0], Options(levels=levels))
    found = pipeline("autoregressive", codec, width=16, layers=1).bits_per_dimension(PICTURES)
    assert found.tolist() == pytest.approx([np.log2(levels)] * 4, rel=1e-5)


def test_a_bound_of_quantised_numbers_is_in_bits_too() -> None:
    kind = plugins.sole(plugins.load("families", "vae", "model"), GenerativeModel)
    pipe = pipeline("vae", ImageCodec.fit([PICTURES], kind.accepts[0]), width=8, prior_width=8)
    nats = pipe.log_likelihood(PICTURES, seed=3)
    assert pipe.bits_per_dimension(PICTURES, seed=3).tolist() == pytest.approx((-nats / 36 / np.log(2)).tolist())


def test_a_density_is_refused() -> None:
    kind = plugins.sole(plugins.load("families", "vae", "model"), GenerativeModel)
    codec = ImageCodec.fit([PICTURES], kind.accepts[0])
    codec.space = type(codec.space)(1, (6, 6))  # type: ignore[call-arg]
    with pytest.raises(UserError, match="density"):
        pipeline("vae", codec, width=8, prior_width=8).bits_per_dimension(PICTURES)


def test_a_family_without_likelihood_says_so() -> None:
    kind = plugins.sole(plugins.load("families", "gan", "model"), GenerativeModel)
    with pytest.raises(UserError, match="no likelihood"):
        pipeline("gan", ImageCodec.fit([PICTURES], kind.accepts[0]), width=8).bits_per_dimension(PICTURES)
