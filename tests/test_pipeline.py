"""Pipelines of untrained models: which controls are refused, and one way from a request to items."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as arrow
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from morphogen import Pipeline, UserError
from morphogen.artifact import Artifact
from morphogen.card import write_card
from morphogen.core import plugins
from morphogen.core.codec import Codec
from morphogen.core.condition import LabelCodec
from morphogen.core.modality import modality
from morphogen.core.model import Partial, Request
from morphogen.core.noise import Noise
from morphogen.core.space import Grid, Row, Space, TokenSequence
from morphogen.likelihood import log_likelihood
from morphogen.sampling.token_controls import LogitControls

PICTURES = [Image.fromarray(one) for one in np.random.default_rng(0).integers(0, 256, (3, 8, 8), dtype=np.uint8)]
TABLE = arrow.table({"a": [1, 2, 3, 1, 2, 3] * 4, "b": ["x", "y", "x", "y", "x", "x"] * 4})
TEXTS = ["a short sentence", "another one"] * 4


def pipeline(
    family: str, kind: type[Space], items: Any, *, name: str = "image", low_res: bool = False, **options: Any
) -> Pipeline:
    """Return an untrained model of items; with `low_res` of pictures under smaller ones."""
    own = modality(name)
    codec = own.fit([items], kind, own.Options())
    conditions: dict[str, Codec[Any]] = {"low_res": codec.downscaled(2)} if low_res else {}
    torch.manual_seed(0)
    model_class = plugins.model_for(family, kind)
    spaces = {name: condition.space for name, condition in conditions.items()}
    model = model_class(codec.space, spaces, model_class.Options(**options))
    return Pipeline(Artifact(family=family, modality=name, model=model, codec=codec, conditions=conditions))


@pytest.mark.parametrize(
    ("family", "options", "controls", "reason"),
    [
        ("vae", {"prior": "normal"}, {"steps": 3}, "prior normal"),
        ("vae", {"prior": "mixture"}, {"guidance": 2.0}, "prior mixture"),
        ("vae", {}, {"guidance": 2.0}, "a model without conditions"),
        ("diffusion", {}, {"guidance": 2.0}, "a model without conditions"),
        ("diffusion", {}, {"steps": 3, "solver": "adaptive"}, "solver adaptive, which chooses its own steps"),
    ],
)
def test_a_control_that_the_model_does_not_read_is_refused(
    family: str, options: dict[str, Any], controls: dict[str, Any], reason: str
) -> None:
    artifact = pipeline(family, Grid, PICTURES, width=8, **options).artifact
    name = next(iter(controls))
    with pytest.raises(UserError, match=f"^controls.{name} has no effect with {reason}; drop it$"):
        artifact.controls(controls)
    default = type(artifact.controls({})).default(name)
    assert artifact.controls({**controls, name: default})


@pytest.mark.parametrize(
    ("options", "controls"),
    [({"schedule": "edm"}, {"sigma_max": 40.0}), ({}, {"sigma_max": 40.0})],
)
def test_a_control_that_the_model_reads_is_taken(options: dict[str, Any], controls: dict[str, Any]) -> None:
    assert pipeline("diffusion", Grid, PICTURES, width=8, **options).artifact.controls(controls)


def test_a_prompt_for_a_family_that_takes_none_is_refused() -> None:
    pipe = pipeline("vae", TokenSequence, TEXTS, name="text", width=16, layers=1)
    assert len(pipe.sample(2, prompt="")) == 2
    with pytest.raises(UserError, match=r"cannot continue a prompt.*--family autoregressive or masked_diffusion"):
        pipe.sample(2, prompt="a ")


def test_what_is_known_of_all_items_alike_stays_when_a_request_is_split() -> None:
    x = torch.arange(20).reshape(5, 4)
    known = torch.tensor([[True, False, True, False]])
    parts = list(Request(Noise.consecutive(0, 5), given=Partial(x, known)).split(2))
    assert [len(part) for part in parts] == [2, 2, 1]
    given = [part.given for part in parts if part.given is not None]
    assert torch.equal(torch.cat([one.x for one in given]), x)
    assert all(torch.equal(one.known, known) for one in given)


def test_the_likelihood_under_a_picture() -> None:
    """A condition that is a picture is needed, and changes the likelihood."""
    pipe = pipeline("diffusion", Grid, PICTURES, low_res=True, width=8)
    with torch.no_grad():
        for parameter in pipe.model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))  # an untrained network predicts 0
    dark, bright = (Image.new("L", (4, 4), value) for value in (0, 255))
    below = log_likelihood(pipe, PICTURES, condition={"low_res": dark})
    above = log_likelihood(pipe, PICTURES, condition={"low_res": [bright] * 3})
    assert below.shape == (3,)
    assert below.isfinite().all()
    assert not torch.allclose(below, above, rtol=1e-4)
    with pytest.raises(UserError, match="this model needs the condition low_res=PICTURE"):
        log_likelihood(pipe, PICTURES)


def test_the_last_draft_of_a_row_is_the_sample() -> None:
    pipe = pipeline("diffusion", Row, TABLE, name="table", width=16, layers=1)
    drafts = list(pipe.drafts(seed=8, steps=4))
    assert len(drafts) > 1
    assert drafts[-1].equals(pipe.sample(1, seed=8, steps=4))


def test_a_mask_may_be_a_path(tmp_path: Path) -> None:
    """A bare path is the mask of all pictures: white where they are filled in."""
    mask = Image.new("L", (8, 8))
    mask.paste(255, (0, 0, 4, 8))
    mask.save(tmp_path / "mask.png")
    pipe = pipeline("diffusion", Grid, PICTURES, width=8, inpaint_prob=0.5)
    by_path = pipe.impute(PICTURES, tmp_path / "mask.png", steps=2)
    by_name = pipe.impute(PICTURES, "left", steps=2)
    for before, after, same in zip(PICTURES, by_path, by_name, strict=True):
        assert np.array_equal(np.asarray(after), np.asarray(same))
        assert np.array_equal(np.asarray(after)[:, 4:], np.asarray(before)[:, 4:])
        assert not np.array_equal(np.asarray(after)[:, :4], np.asarray(before)[:, :4])


def test_a_family_without_models_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "stranger", ModuleType("stranger"))
    monkeypatch.setitem(sys.modules, "stranger.options", ModuleType("stranger.options"))
    monkeypatch.setattr(plugins, "known", lambda group: {"stranger": "stranger"})
    with pytest.raises(UserError, match=r"^stranger\.options must define MODELS$"):
        plugins.models("stranger")
    with pytest.raises(UserError, match="must define MODELS"):
        plugins.kind_for("stranger", (Grid,))


def test_the_card_of_a_model_names_the_condition_that_it_needs(tmp_path: Path) -> None:
    write_card(tmp_path, pipeline("diffusion", Grid, PICTURES, low_res=True, width=8))
    command = f"morphogen sample {tmp_path.name} -n 16 --condition low_res=PICTURE --out samples\n"
    assert command in (tmp_path / "README.md").read_text("utf-8")


def test_the_hash_is_of_the_codec_whatever_a_condition_is_called() -> None:
    """Two codecs of one space, both with the condition `codec`."""
    own = modality("image")
    hashes = set()
    for background in ("white", "black"):
        codec = own.fit([PICTURES], Grid, own.Options(background=background))
        conditions: dict[str, Codec[Any]] = {"codec": LabelCodec(["a", "b"])}
        model_class = plugins.model_for("diffusion", Grid)
        torch.manual_seed(0)
        model = model_class(codec.space, {"codec": conditions["codec"].space}, model_class.Options(width=8))
        artifact = Artifact(family="diffusion", modality="image", model=model, codec=codec, conditions=conditions)
        hashes.add(artifact.hash)
    assert len(hashes) == 2


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_no_setting_but_an_open_interval_is_infinite(value: float) -> None:
    for family in plugins.known("families"):
        for entry in plugins.models(family).values():
            for settings in (entry.Options, entry.Controls):
                numbers = [name for name, field in settings.model_fields.items() if field.annotation is float]
                for name in numbers:
                    with pytest.raises(ValidationError, match=name):
                        settings(**{name: value})


def test_a_bias_may_ban_a_token() -> None:
    assert LogitControls(logit_bias={3: float("-inf")}).logit_bias == {3: float("-inf")}
    for value in (float("inf"), float("nan")):
        with pytest.raises(ValidationError, match="logit_bias"):
            LogitControls(logit_bias={3: value})
