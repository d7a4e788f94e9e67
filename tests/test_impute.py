"""Imputation and super-resolution: what is known comes back, and what is missing follows from it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import morphogen
from morphogen import Pipeline, UserError
from morphogen.cli import run
from morphogen.core import plugins
from morphogen.core.model import Partial
from morphogen.core.space import Grid, Tokens
from morphogen.modalities.image.codec import ImageCodec
from morphogen.modalities.image.mask import Mask, find_masks
from morphogen.testing import check_model

QUICK = {"steps": 30, "batch": 32, "precision": "fp32", "previews": 1}


def picture(seed: int, size: tuple[int, int] = (8, 8)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 17, size, dtype=np.uint8) * np.uint8(15))


@pytest.fixture(scope="module")
def filler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A diffusion model of digits that was trained to inpaint, and to enlarge."""
    out = tmp_path_factory.mktemp("fill") / "model"
    morphogen.fit(
        "digits",
        out=out,
        family="diffusion",
        train=QUICK,
        options={"width": 16, "inpaint_prob": 0.5},
        super_resolution=2,
        say=None,
    )
    return out


@pytest.mark.parametrize("where", ["left", "right", "top", "bottom", "middle"])
def test_what_was_given_comes_back(filler: Path, where: str) -> None:
    pipe = morphogen.load(filler)
    low_res = picture(0, (4, 4))
    items = pipe.sample(3, seed=9, condition={"low_res": low_res})
    masks = find_masks(items, Mask(mask=where))
    imputed = pipe.impute(items, mask=where, seed=1, condition={"low_res": low_res}, steps=3)
    again = pipe.impute(items[1:2], masks[1:2], seed=2, condition={"low_res": low_res}, steps=3)
    any_change = False
    for before, mask, after in zip(items, masks, imputed, strict=True):
        missing = np.asarray(mask) > 0
        assert 0 < missing.sum() < missing.size
        assert np.array_equal(np.asarray(before)[~missing], np.asarray(after)[~missing])
        any_change |= not np.array_equal(np.asarray(before)[missing], np.asarray(after)[missing])
    assert any_change
    assert np.array_equal(np.asarray(imputed[1]), np.asarray(again[0]))


@pytest.mark.parametrize("kind", [Grid, Tokens])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_cell_is_missing_where_a_mask_touches_it(kind: type, mode: str) -> None:
    items = [picture(seed, (16, 16)).convert(mode) for seed in range(3)]
    codec = ImageCodec.fit([[item.resize((8, 8)) for item in items]], kind)
    mask = Image.new("L", (16, 16))
    mask.putpixel((6, 2), 1)
    known = codec.observe(items, [mask] * 3).known.expand(3, *codec.space.shape)
    row = known[0].reshape(-1, 8, 8)[0] if kind is Grid else known[0].reshape(8, 8, -1)[..., 0]
    assert not row[1, 3]
    assert row[4:].all()
    assert row[:, 6:].all()


def test_masks(tmp_path: Path) -> None:
    clear = picture(0).convert("RGBA")
    clear.putpixel((2, 5), (0, 0, 0, 0))
    (mask,) = find_masks([clear], Mask())
    assert np.argwhere(np.asarray(mask)).tolist() == [[5, 2]]
    Image.new("L", (8, 8)).save(tmp_path / "black.png")
    for items, where, message in (
        ([picture(0)], None, "no transparent part"),
        ([picture(0)], str(tmp_path / "absent.png"), "is no file"),
        ([picture(0)], str(tmp_path / "black.png"), "all black"),
    ):
        with pytest.raises(UserError, match=message):
            find_masks(items, Mask(mask=where))


def test_a_mask_of_the_wrong_size(filler: Path) -> None:
    with pytest.raises(UserError, match="mask 0 is 9x8; its picture is 8x8"):
        morphogen.load(filler).impute(
            [picture(0)], [Image.new("L", (9, 8), 255)], condition={"low_res": picture(0, (4, 4))}
        )


def test_models_that_cannot(tmp_path: Path) -> None:
    for family, message in (("vae", "cannot fill in"), ("diffusion", r"options\.inpaint-prob")):
        pipe = morphogen.fit(
            "digits", out=tmp_path / family, family=family, train={**QUICK, "steps": 2}, options={"width": 16}, say=None
        )
        with pytest.raises(UserError, match=message):
            pipe.impute([picture(0)], mask="top")


def test_a_model_trained_to_inpaint_keeps_the_contract() -> None:
    model = plugins.model_for("diffusion", Grid)
    check_model(model, {"width": 16, "inpaint_prob": 0.5}, controls={"steps": 4}, steps=60)


def test_what_is_missing_follows_from_what_is_known() -> None:
    """Items of one value each, in all cells: what is missing takes the value around it, which no free sample would."""
    from morphogen.core.model import Batch, Request
    from morphogen.core.noise import Noise

    torch.manual_seed(0)
    kind = plugins.model_for("diffusion", Grid)
    model = kind(Grid(1, (8, 8)), {}, kind.Options(width=16, inpaint_prob=0.9))
    x = (2 * torch.rand(256, 1, 1, 1) - 1).expand(-1, 1, 8, 8).contiguous()
    model.initialize("model", [Batch(x)])
    optimiser = torch.optim.AdamW(model.parameters(), lr=4e-3)
    for step in range(300):
        optimiser.zero_grad()
        model(Batch(x[torch.randint(256, (64,))])).total.backward()
        optimiser.step()
        for group in optimiser.param_groups:
            group["lr"] = 4e-3 * (1 - step / 300)
    known = torch.ones(64, 1, 8, 8, dtype=torch.bool)
    known[:, :, 2:6, 2:6] = False
    request = Request(Noise.consecutive(0, 64), given=Partial(x[:64], known))
    *_, draft = model.eval().generate(request, kind.Controls(steps=10))
    error = (draft.x - x[:64])[~known].abs().mean()
    assert error < 0.15  # the deviation of the data is .58
    assert torch.equal(draft.x[known], x[:64][known])


def test_super_resolution(filler: Path, tmp_path: Path) -> None:
    pipe = morphogen.load(filler)
    assert pipe.conditions["low_res"].space == Grid(1, (4, 4), step=pipe.model.space.step)
    small = [picture(seed, (4, 4)) for seed in range(2)]
    for number, one in enumerate(small):
        one.save(tmp_path / f"{number}.png")
    from_memory = pipe.sample(4, condition={"low_res": [*small, *small]}, steps=3)
    names = [str(tmp_path / f"{number}.png") for number in (0, 1)] * 2
    from_files = pipe.sample(4, condition={"low_res": names}, steps=3)
    assert all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(from_memory, from_files, strict=True))
    other = pipe.sample(4, condition={"low_res": small[0]}, steps=3)
    assert np.array_equal(np.asarray(other[0]), np.asarray(from_memory[0]))
    assert not np.array_equal(np.asarray(other[1]), np.asarray(from_memory[1]))
    with pytest.raises(UserError, match="this model needs the condition low_res=PICTURE"):
        pipe.sample(1, steps=3)


def test_super_resolution_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read"):
        morphogen.fit("digits", out=tmp_path / "out", family="vae", super_resolution=2, train=QUICK, say=None)
    with pytest.raises(UserError, match="factor of 2"):
        morphogen.fit("digits", out=tmp_path / "out", family="diffusion", super_resolution=1, train=QUICK, say=None)


def test_the_command_line(filler: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    for seed in range(3):
        picture(seed).save(tmp_path / "in" / f"{seed}.png")
    (tmp_path / "in" / "1b.png").write_bytes(b"no picture")
    imputed = tmp_path / "imputed"
    command = ["impute", str(filler), str(tmp_path / "in"), "--mask", "bottom", "--steps", "3"]
    command += ["--condition", f"low_res={tmp_path / 'in' / '0.png'}", "--out", str(imputed)]
    assert run(command) == 0, capfd.readouterr().err
    assert len(list(imputed.glob("0*.png"))) == 3
    assert (imputed / "sheet.png").exists()
    record = json.loads((imputed / "imputed.json").read_text())
    assert record["files"] == {"00000.png": "0.png", "00001.png": "1.png", "00002.png": "2.png"}
    assert len(record["skipped"]) == 1
    assert "1b.png" in record["skipped"][0]
    assert "skipped 1 of 4 items that cannot be read: " in capfd.readouterr().err
    (tmp_path / "in" / "1b.png").unlink()
    best = [*command[:-1], str(tmp_path / "best"), "--best"]
    assert run(best) == 0, capfd.readouterr().err
    assert run([*command[:-1], str(tmp_path / "both"), "--best", "--imputations", "2"]) == 2
    assert "--best is the consensus of several imputations; drop --imputations" in capfd.readouterr().err
    after = np.asarray(Image.open(imputed / "00001.png"))
    assert np.abs(after[:4].astype(int) - np.asarray(picture(1))[:4]).max() <= 8  # the codec has 17 levels
    one = [*command[:2], str(tmp_path / "in" / "0.png"), *command[3:-1], str(tmp_path / "one")]
    assert run(one) == 0, capfd.readouterr().err
    assert run(command) == 2
    assert "not empty" in capfd.readouterr().err
    enlarged = ["sample", str(filler), "-n", "6", "--condition", f"low_res={tmp_path / 'in'}", "--steps", "3"]
    assert run([*enlarged, "--out", str(tmp_path / "enlarged")]) == 0, capfd.readouterr().err
    assert run(["replay", str(filler), str(tmp_path / "enlarged")]) == 0
    picture(9).save(tmp_path / "in" / "2.png")
    capfd.readouterr()
    assert run(["replay", str(filler), str(tmp_path / "enlarged")]) == 2
    assert "2.png was changed after" in capfd.readouterr().err


def test_completion_by_tokens(tmp_path: Path, flags: Callable[[str], list[str]]) -> None:
    """With an autoencoder: the top is the same to the pixel, the bottom continues its tokens."""
    quick = {**QUICK, "steps": 4}
    morphogen.fit("digits", out=tmp_path / "vq", family="vq", train=quick, options={"width": 16, "patch": 1}, say=None)
    pipe: Pipeline = morphogen.fit(
        "digits",
        out=tmp_path / "ar",
        family="autoregressive",
        autoencoder=tmp_path / "vq",
        train=quick,
        options={"width": 16, "layers": 1},
        say=None,
    )
    items = pipe.sample(2, seed=3)
    imputed = pipe.impute(items, mask="bottom", seed=5)
    for before, after in zip(items, imputed, strict=True):
        assert np.array_equal(np.asarray(before)[:4], np.asarray(after)[:4])
    with pytest.raises(UserError, match=r"options\.inpaint.prob"):
        pipe.impute(items, mask="top")
