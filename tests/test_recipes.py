"""A recipe is a command line in a file: what is wrong in it is named, and flags override it."""

from __future__ import annotations

from pathlib import Path

import pytest

from morphogen.cli import run

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.toml"))


def refusal(recipe: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    """Return the error of `fit` with a recipe; with --help the source is not needed."""
    assert run(["fit", "--recipe", str(recipe), "--modality", "image", "--help", *more]) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_valid(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run(["fit", "--recipe", str(recipe), "--modality", "image", "--help"])
    assert stop.value.code == 0
    assert not capsys.readouterr().err


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
        ('minutes = "ten"', "minutes is 'ten'; expected a number"),
        ("minutes = true", "minutes is True; expected a number"),
        ("out = 3", "out is 3; expected a path"),
        ("autoencoder = 3", "autoencoder is 3; expected a path"),
        ("train = 3", "train is 3; expected a table, [train]"),
    ],
)
def test_what_is_wrong_is_named(text: str, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(text)
    message = refusal(recipe, capsys)
    assert complaint in message
    assert message.count("\n") == 1


def test_a_recipe_that_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "does not exist" in refusal(tmp_path / "none.toml", capsys)
    assert "is a folder; expected a TOML file" in refusal(tmp_path, capsys)


def test_flags_override_a_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('source = "digits"\nfamily = "vea"\nminutes = 3')
    assert "unknown family" in refusal(recipe, capsys)
    arguments = [
        "fit",
        "--recipe",
        str(recipe),
        "--family",
        "vae",
        "--train.steps",
        "0",
        "--out",
        str(tmp_path / "out"),
    ]
    assert run(arguments) == 2
    assert "--train.steps is 0" in capsys.readouterr().err, "steps replace the recipe's minutes"
