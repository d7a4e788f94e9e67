"""Train a family on your data and write a model folder."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import tyro

from ..core import plugins
from ..core.config import Frozen, build, read_toml
from ..core.errors import UserError, unknown
from ..training.options import TrainOptions
from ._flags import flag_value, given, parse
from ._source import taken_for

_Names: Any = tyro.conf.UseAppendAction[tuple[str, ...]]
_NESTED = ("train", "options", "codec")


def run(arguments: list[str]) -> int:
    recipe = _recipe(flag_value(arguments, "recipe"))
    modality = str(flag_value(arguments, "modality") or recipe.get("modality") or taken_for(arguments, recipe))
    codec = plugins.load("modalities", modality, "options")
    family = str(flag_value(arguments, "family") or recipe.get("family") or getattr(codec, "FAMILY", "vae"))
    kinds: dict[str, type[Frozen]] = {
        "train": TrainOptions,
        "options": plugins.load("families", family, "options").Options,
        "codec": codec.Options,
    }
    if flag_value(arguments, "train.steps"):
        recipe.pop("minutes", None)  # a flag overrides the recipe, and the two exclude each other
    if flag_value(arguments, "minutes"):
        recipe.get("train", {}).pop("steps", None)
    if flag_value(arguments, "condition"):
        recipe.pop("condition", None)  # else the flag's would be added to the recipe's
    command = _command(kinds, recipe, family)
    parsed = parse(command, arguments, "fit")
    if not parsed.resume and parsed.source is None:
        raise UserError("no source was given; expected: morphogen fit SOURCE --out DIR, or --resume --out DIR")
    # Only what was asked for: the rest is left to the probe, which may size it.
    explicit = {
        name: {
            field: getattr(getattr(parsed, name), field)
            for field in (given(arguments, f"{name}.") | set(recipe.get(name, {}))) & set(kinds[name].model_fields)
        }
        for name in _NESTED
    }
    from ..training.fit import fit
    from ..training.signals import Interrupted

    try:
        fit(
            parsed.source,
            out=parsed.out,
            family=family,
            modality=parsed.modality,
            condition=parsed.condition,
            minutes=parsed.minutes,
            train=parsed.train,
            options=explicit["options"],
            codec=explicit["codec"],
            through=parsed.through,
            enlarge=parsed.enlarge,
            column=parsed.column,
            separator=parsed.separator,
            resume=parsed.resume,
            say=lambda line: print(line, file=sys.stderr, flush=True),
        )
    except Interrupted as error:
        if os.environ.get("RANK", "0") == "0":  # all processes stop together, and one says so
            print(f"morphogen: {error}", file=sys.stderr)
        return 128 + error.signal
    return 0


def _command(kinds: dict[str, type[Frozen]], recipe: dict[str, Any], family: str) -> type[Any]:
    """The dataclass whose fields are the flags, with a recipe's values as defaults."""
    plain: list[tuple[str, Any, Any, str]] = [
        ("out", Path, dataclasses.MISSING, "Model folder to write."),
        ("family", str, family, "Family: " + ", ".join(plugins.known("families")) + "."),
        ("modality", str | None, None, "Modality; inferred where not given."),
        ("condition", _Names, (), "Column to condition on, such as label; may be given again for one more."),
        ("through", Path | None, None, "Folder of a trained vae or vq: its latents are what is modelled."),
        ("enlarge", int | None, None, "Learn to make items from versions this many times smaller: condition small."),
        ("minutes", float | None, None, "Budget of wall-clock minutes; 10 where no steps are given either."),
        ("recipe", Path | None, None, "TOML file with any of these settings; flags override it."),
        ("column", str | None, None, "Column that holds the items, in a table with several."),
        ("separator", str | None, None, "What parts the documents of a text file: line, blank, none, or a text."),
        ("resume", bool, False, "Continue the interrupted fit in --out."),
    ]
    for name in recipe:
        if name not in (*_NESTED, "source", *(one[0] for one in plain)):
            raise unknown("key of the recipe", name, [*_NESTED, "source", *(one[0] for one in plain)])
    source = tyro.conf.Positional[str | None]
    words = tyro.conf.arg(help="A folder, a file, a Hub id, or digits.", metavar="SOURCE")
    fields: list[Any] = [("source", Annotated[source, words], dataclasses.field(default=recipe.get("source")))]
    for name, kind, default, purpose in plain:
        value = recipe.get(name, default)
        value = Path(value) if kind in (Path, Path | None) and isinstance(value, str) else value
        flag: Any = Annotated[kind, tyro.conf.arg(help=purpose)]
        field = dataclasses.field() if value is dataclasses.MISSING else dataclasses.field(default=value)
        fields.append((name, flag, field))
    for name, nested in kinds.items():
        default = build(nested, recipe.get(name, {}), name)
        fields.append((name, nested, dataclasses.field(default=default)))
    command = dataclasses.make_dataclass("Fit", fields, kw_only=True)
    command.__doc__ = __doc__
    return command


def _recipe(path: str | None) -> dict[str, Any]:
    recipe = read_toml(Path(path)) if path else {}
    for name in _NESTED:
        if not isinstance(recipe.get(name, {}), dict):
            raise UserError(f"recipe {path}: {name} is {recipe[name]!r}; expected a table, [{name}]")
    names = recipe.get("condition", [])
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"recipe {path}: condition is {names!r}; expected a name or a list of names")
    if names:
        recipe["condition"] = tuple(names)
    for name in ("family", "modality"):
        if not isinstance(recipe.get(name, ""), str):
            raise UserError(f"recipe {path}: {name} is {recipe[name]!r}; expected a name")
    return recipe
