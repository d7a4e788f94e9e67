"""Families in the latents of a trained autoencoder: one folder that is saved, loaded, hashed and moved as one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import morphogen
from morphogen import Pipeline, UserError, latents, likelihood
from morphogen.cli import run
from morphogen.core.noise import Noise
from morphogen.core.space import Grid, Tokens, space_from_json
from morphogen.data.sources import open_source

STEPS = {"steps": 8, "batch": 16, "precision": "fp32", "previews": 1}
SMALL = {
    "vae": {"width": 8, "prior": "normal"},
    "vq": {"width": 8, "levels": (4, 4)},
    "diffusion": {"width": 8},
    "gan": {"width": 8},
    "autoregressive": {"width": 16, "layers": 1},
}
PAIRS = [("diffusion", "vae"), ("gan", "vae"), ("vae", "vae"), ("vq", "vae"), ("autoregressive", "vq")]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny vae and a tiny vq on digits."""
    folder = tmp_path_factory.mktemp("autoencoders")
    for family in ("vae", "vq"):
        morphogen.fit("digits", out=folder / family, family=family, train=STEPS, options=SMALL[family], say=None)
    return folder


def fit(runs: Path, family: str, autoencoder: Path | Pipeline, **more: object) -> Path:
    out = runs / f"{family}-{len(list(runs.iterdir()))}"
    settings = {"train": STEPS, "options": SMALL[family], "say": None, "autoencoder": autoencoder, **more}
    morphogen.fit("digits", out=out, family=family, **settings)  # type: ignore[arg-type]
    return out


@pytest.mark.parametrize(("family", "inner"), PAIRS)
def test_fit_save_load_move_sample(runs: Path, family: str, inner: str, tmp_path: Path) -> None:
    out = fit(runs, family, runs / inner)
    pipe = morphogen.load(out)
    before = np.stack([np.asarray(picture) for picture in pipe.sample(3, seed=5)])
    assert before.shape == (3, 8, 8)
    original, latent = morphogen.load(runs / inner), pipe.model.space
    assert latent == original.model.latent  # type: ignore[attr-defined]

    shutil.copytree(out, tmp_path / "moved")
    moved = morphogen.load(tmp_path / "moved")
    assert moved.hash == pipe.hash
    assert np.array_equal(before, np.stack([np.asarray(picture) for picture in moved.sample(3, seed=5)]))
    assert np.array_equal(before[2], np.asarray(moved.sample(1, seed=7)[0]))

    weights = dict(moved.codec.artifact.model.named_parameters())  # type: ignore[attr-defined]
    assert not set(map(id, weights.values())) & set(map(id, moved.model.parameters()))
    with torch.no_grad():
        next(iter(weights.values())).add_(1)
    assert moved.hash != pipe.hash


def test_grids_of_latents_are_standardised(runs: Path) -> None:
    out = fit(runs, "diffusion", morphogen.load(runs / "vae"))
    pipe = morphogen.load(out)
    digits = open_source("digits")
    items = [digits.read(index) for index in range(0, len(digits), 9)]
    z = pipe.codec.encode(items)
    assert isinstance(pipe.model.space, Grid)
    autoencoder = morphogen.load(runs / "vae")
    raw = latents.encode(autoencoder, items)
    assert (raw.std((0, 2, 3)) - 1).abs().max() > 0.2
    assert z.mean((0, 2, 3)).abs().max() < 0.2
    assert (z.std((0, 2, 3)) - 1).abs().max() < 0.1
    decoded = pipe.codec.decode(z, Noise.consecutive(0, len(z)))
    again = latents.reconstruct(autoencoder, items)
    difference = [
        np.abs(np.asarray(a, float) - np.asarray(b, float)).max() for a, b in zip(decoded, again, strict=True)
    ]
    assert max(difference) <= 1


def test_latent_tokens_pass_unchanged(runs: Path) -> None:
    pipe = morphogen.load(fit(runs, "autoregressive", runs / "vq", condition="label"))
    inner = morphogen.load(runs / "vq")
    items = inner.sample(5, seed=0)
    assert pipe.model.space == Tokens(16, (2, 2))
    assert torch.equal(pipe.codec.encode(items), latents.encode(inner, items))
    pipe.sample(2, condition={"label": "3"}, guidance=2.0, top_p=0.9)
    assert likelihood.log_likelihood(pipe, items, condition={"label": "3"}).shape == (5,)
    with pytest.raises(UserError, match="density"):
        likelihood.log_likelihood(morphogen.load(fit(runs, "vae", runs / "vae")), items)


def test_an_autoencoder_of_latents(runs: Path) -> None:
    middle = fit(runs, "vae", runs / "vae")
    pipe = morphogen.load(fit(runs, "diffusion", middle))
    assert pipe.sample(1)[0].size == (8, 8)


def test_known_pixels_come_back(runs: Path) -> None:
    """A latent is known where all pixels under it are, and pixels that were given come back as they were."""
    pipe = morphogen.load(fit(runs, "diffusion", runs / "vae", options={"width": 8, "inpaint_prob": 0.5}))
    items = pipe.sample(3, seed=0, steps=2)
    filled = pipe.impute(items, mask="left", seed=4, steps=2)
    for before, after in zip(items, filled, strict=True):
        assert (np.asarray(before)[:, 4:] == np.asarray(after)[:, 4:]).all()
    assert any((np.asarray(a) != np.asarray(b)).any() for a, b in zip(items, filled, strict=True))
    assert np.array_equal(pipe.impute(items[2:], mask="left", seed=6, steps=2)[0], filled[2])


@pytest.mark.parametrize(
    ("family", "inner", "message"),
    [
        ("autoregressive", "vae", "cannot model grids of numbers"),
        ("diffusion", "vq", "cannot model grids of tokens"),
        ("diffusion", "diffusion", "no encoder"),
        ("diffusion", "absent", "no model folder"),
    ],
)
def test_pairs_that_do_not_fit_are_refused(runs: Path, family: str, inner: str, message: str) -> None:
    if inner == "diffusion" and not (runs / inner).exists():
        morphogen.fit("digits", out=runs / inner, family=inner, train=STEPS, options=SMALL[inner], say=None)
    with pytest.raises(UserError, match=message):
        fit(runs, family, runs / inner)


def test_an_autoencoder_with_a_condition_is_refused(runs: Path) -> None:
    morphogen.fit(
        "digits", out=runs / "by-label", family="vae", condition="label", train=STEPS, options=SMALL["vae"], say=None
    )
    with pytest.raises(UserError, match="needs condition 'label' to decode; refit it without --condition"):
        fit(runs, "diffusion", runs / "by-label")


def test_a_codec_option_does_not_apply(runs: Path) -> None:
    with pytest.raises(UserError, match=r"codec\.levels"):
        fit(runs, "diffusion", runs / "vae", codec={"levels": 8})


def test_an_autoencoder_that_was_changed_is_refused(runs: Path) -> None:
    out = fit(runs, "autoregressive", runs / "vq")
    shutil.copy(fit(runs, "vq", runs / "vae") / "model.safetensors", out / "codec" / "model" / "other.safetensors")
    morphogen.load(out)  # another file beside them does not matter
    inner = morphogen.load(out / "codec" / "model")
    with torch.no_grad():
        next(inner.model.parameters()).add_(0.5)
    inner.save(out / "codec" / "model")
    with pytest.raises(UserError, match="was changed or damaged after the model was saved"):
        morphogen.load(out)


@pytest.mark.parametrize("family", ["vae", "vq"])
def test_a_folder_says_what_latents_it_has(runs: Path, family: str, tmp_path: Path) -> None:
    latent = morphogen.load(runs / family).model.latent  # type: ignore[attr-defined]
    config = json.loads((runs / family / "config.json").read_text())
    assert space_from_json(config["latent"]) == latent
    shutil.copytree(runs / family, tmp_path / "model")
    config["latent"] = {"kind": "grid", "channels": 77, "size": [], "axes": [], "step": 0.0}
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="describes latents that this model does not have; restore the folder"):
        morphogen.load(tmp_path / "model")
    del config["latent"]  # as older folders
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    assert morphogen.load(tmp_path / "model").hash == morphogen.load(runs / family).hash


def test_a_family_that_cannot_model_latents_is_refused_before_anything_is_opened(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = tmp_path / "absent"
    arguments = ["fit", str(absent), "--family", "autoregressive", "--autoencoder", str(runs / "vae")]
    assert run([*arguments, "--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert "'autoregressive' cannot model grids of numbers" in message
    assert str(absent) not in message
