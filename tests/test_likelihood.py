"""Likelihoods of raw items, from a pipeline."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from morphogen import Pipeline, UserError
from morphogen.artifact import Artifact
from morphogen.core import plugins
from morphogen.core.modality import modality
from morphogen.core.space import Grid, Space, Tokens
from morphogen.likelihood import bits_per_dimension, log_likelihood

PICTURES = [Image.fromarray(one) for one in np.random.default_rng(0).integers(0, 256, (4, 6, 6), dtype=np.uint8)]


def pipeline(family: str, kind: type[Space], density: bool = False, levels: int = 256, **options: Any) -> Pipeline:
    """Return an untrained model; with `density` of pictures whose values are not quantised."""
    images = modality("image")
    codec = images.fit([PICTURES], kind, images.Options(levels=levels))
    if density:
        codec.space = replace(codec.space, step=0.0)
    torch.manual_seed(0)
    model_class = plugins.model_for(family, kind)
    model = model_class(codec.space, {}, model_class.Options(**options))
    return Pipeline(Artifact(family=family, modality="image", model=model, codec=codec, conditions={}))


@pytest.mark.parametrize("levels", [2, 16, 256])
def test_an_untrained_model_of_tokens_costs_all_bits(levels: int) -> None:
    """Before training each token is as likely as any other."""
    pipe = pipeline("autoregressive", Tokens, levels=levels, width=16, layers=1)
    assert bits_per_dimension(pipe, PICTURES).tolist() == pytest.approx([np.log2(levels)] * 4, rel=1e-5)


def test_bits_are_the_negative_likelihood_of_each_pixel() -> None:
    pipe = pipeline("vae", Grid, width=8, prior_width=8)
    nats = log_likelihood(pipe, PICTURES, seed=3)
    assert bits_per_dimension(pipe, PICTURES, seed=3).tolist() == pytest.approx((-nats / 36 / np.log(2)).tolist())


def test_bits_of_a_density_are_refused() -> None:
    with pytest.raises(UserError, match="density"):
        bits_per_dimension(pipeline("vae", Grid, density=True, width=8, prior_width=8), PICTURES)


def test_a_family_without_likelihood_is_refused() -> None:
    with pytest.raises(UserError, match="no likelihood"):
        bits_per_dimension(pipeline("gan", Grid, width=8), PICTURES)
