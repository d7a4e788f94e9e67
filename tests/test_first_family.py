"""The family that a fit begins with: by the size of pictures, said aloud; and a fit in two parts, resumed in either."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import morphogen
from morphogen.cli import run
from morphogen.data.sources import open_source
from morphogen.training.resolve import choose_family
from morphogen.training.signals import Interrupted
from morphogen.training.tracker import Tracker

LATENT = "latent_diffusion"
TINY = {"width": 16, "autoencoder_width": 16}


def pictures(side: int, count: int = 24) -> Any:
    return np.random.default_rng(0).integers(0, 256, (count, side, side), dtype=np.uint8)


def chosen(items: Any, family: str | None = None, minutes: float | None = 5, **codec: Any) -> tuple[str, str]:
    """Return the family, and what is said of it."""
    lines: list[str] = []
    return choose_family(family, open_source(items), codec, minutes, lines.append, whole=True), "\n".join(lines)


def test_large_pictures_begin_with_a_model_of_latents_and_it_says_so() -> None:
    family, words = chosen(pictures(48))
    assert family == LATENT
    for part in (f"family {LATENT}", "48x48", "expect", "--family"):
        assert part in words
    assert chosen(pictures(32)) == ("vae", "")
    assert chosen(pictures(48), size=16) == ("vae", "")
    assert chosen(["one text", "another"]) == ("autoregressive", "")


def test_a_model_of_every_pixel_in_few_minutes_says_what_to_expect() -> None:
    family, words = chosen(pictures(48), "diffusion")
    assert family == "diffusion"
    assert "48x48" in words
    assert f"--family {LATENT}" in words
    assert chosen(pictures(48), "diffusion", minutes=600) == ("diffusion", "")
    assert chosen(pictures(48), "diffusion", minutes=None) == ("diffusion", "")
    assert chosen(pictures(32), "diffusion") == ("diffusion", "")
    assert chosen(pictures(48), "vae") == ("vae", ""), "it models latents, too"


def test_a_hyphen_is_an_underscore() -> None:
    assert chosen(pictures(32), "latent-diffusion") == (LATENT, "")
    assert chosen(["a text"] * 3, "masked-diffusion")[0] == "masked_diffusion"


def test_the_flags_are_those_of_the_family_that_the_pictures_begin_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    for index, picture in enumerate(pictures(48)):
        Image.fromarray(picture).save(tmp_path / f"{index}.png")
    for flags, expected in (([], True), (["--codec.size", "16"], False), (["--family", "vae"], False)):
        with pytest.raises(SystemExit):
            run(["fit", str(tmp_path), *flags, "--help"])
        assert ("--options.autoencoder-width" in capsys.readouterr().out) == expected
    assert run(["fit", str(tmp_path), "--options.prior-width", "8", "--out", str(tmp_path / "out")]) == 2
    assert "prior_width" in capsys.readouterr().err


@pytest.mark.parametrize("step", [3, 9])  # of 12: the autoencoder's, and the denoiser's
def test_a_fit_that_is_stopped_in_either_part_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    settings: dict[str, Any] = {
        "family": "latent-diffusion",
        "options": TINY,
        "train": {"steps": 12, "batch": 8, "threads": 1, "precision": "fp32", "previews": 0},
        "say": None,
    }
    whole = morphogen.fit(pictures(16), out=tmp_path / "whole", **settings)
    phases: list[str] = []
    record = Tracker.step

    def stop(self: Tracker, one: Any) -> None:
        record(self, one)
        phases.append(one.phase)
        if one.number == step:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Tracker, "step", stop)
        with pytest.raises(Interrupted, match=f"stopped at step {step}"):
            morphogen.fit(pictures(16), out=tmp_path / "out", **settings)
    assert phases[-1] == ("autoencoder" if step < 5 else "denoiser")
    resumed = morphogen.resume(tmp_path / "out", say=None)
    assert resumed.artifact.hash == whole.artifact.hash
    assert resumed.artifact.family == LATENT
