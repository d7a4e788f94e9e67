"""A recipe is the command line in a file: read in full, refused by name where it is wrong, overridden by flags."""

from __future__ import annotations

from pathlib import Path

import pytest

from morphogen.cli import run

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.toml"))


def refusal(recipe: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    """What `fit` says of a recipe, asked to resume what does not exist: the recipe is read in full before that."""
    out = recipe.parent / "no-such-fit"
    assert run(["fit", "--recipe", str(recipe), "--resume", "--out", str(out), *more]) == 2
    assert not out.exists()
    return capsys.readouterr().err


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_understood(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "holds no interrupted fit" in refusal(recipe, capsys)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('famly = "vae"', "unknown key of the recipe 'famly'; did you mean 'family'?"),
        ('family = "vea"', "unknown family 'vea'; did you mean 'vae'?"),
        ("[train]\nstep = 3", "unknown field of train 'step'; did you mean 'steps'?"),
        ("[train]\nsteps = 0", "train.steps is 0"),
        ('[train]\nsteps = "many"', "train.steps is 'many'"),
        ("[options]\nwidht = 16", "unknown field of options 'widht'; did you mean 'width'?"),
        ('[codec]\nmode = "CMYK"', "codec.mode is 'CMYK'"),
        ("minutes = ", "is not valid TOML"),
        ("condition = 3", "condition is 3; expected a name or a list of names"),
        ("family = 3", "family is 3; expected a name"),
        ("train = 3", "train is 3; expected a table, [train]"),
    ],
)
def test_what_is_wrong_is_named(text: str, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(text)
    said = refusal(recipe, capsys)
    assert complaint in said
    assert said.count("\n") == 1


def test_a_recipe_that_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "does not exist" in refusal(tmp_path / "none.toml", capsys)
    assert "cannot be read" in refusal(tmp_path, capsys)


def test_flags_come_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('source = "digits"\nfamily = "vea"\nminutes = 3')
    assert "holds no interrupted fit" in refusal(recipe, capsys, "--family", "vae")
