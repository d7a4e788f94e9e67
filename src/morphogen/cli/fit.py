"""Train a generative model on your data and write a model folder."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import tyro
from pydantic import Field

from ..core import plugins
from ..core.config import Frozen, build, read_json, read_toml
from ..core.errors import UserError, unknown
from ..core.files import as_path
from ..core.log import say
from ..core.modality import Modality
from ..core.modality import modality as modality_of
from ..core.space import Space, space_from_json
from ..training.options import TrainOptions, check_names, model_options
from ._flags import Repeatable, early_values, flag, flag_value, given, group, parse, positional, with_schema_flag
from ._source import COLUMN_HELP, SEPARATOR_HELP, SOURCE_HELP, open_argument

if TYPE_CHECKING:
    from ..artifact import Artifact
    from ..data.base import Source

_SOURCE: Any = tyro.conf.Positional[str | None]  # type: ignore[misc]
# The keys of a recipe, each with the types of its values, and these in words.
_KEYS: dict[str, tuple[Any, str]] = {
    "source": (str, "a path"),
    "out": (str, "a path"),
    "family": (str, "a name"),
    "modality": (str, "a name"),
    "minutes": (int | float, "a number"),
    "condition": (str | list, "a name or a list of names"),
    "autoencoder": (str, "a path"),
    "super_resolution": (int, "a whole number"),
    "column": (str, "a name"),
    "separator": (str, "a name"),
    "train": (dict, "a table, [train]"),
    "options": (dict, "a table, [options]"),
    "codec": (dict, "a table, [codec]"),
}
_MORE = (
    "The options of a model and of its codec depend on the data and the family; list them with: "
    "morphogen fit SOURCE --family FAMILY --help"
)


class Further(Frozen):
    """What few fits need."""

    super_resolution: int | None = Field(
        None, description="Learn to enlarge items by this factor: the small version is the condition low_res."
    )
    column: str | None = Field(None, description=COLUMN_HELP)
    separator: str | None = Field(None, description=SEPARATOR_HELP)
    recipe: Path | None = Field(None, description="TOML file with any of these settings; flags override it.")


class Context(NamedTuple):
    """What decides which options there are; each is None where it is not known."""

    source: Source | None
    autoencoder: Artifact | None
    family: str | None
    named_family: str | None  # by the user
    modality: Modality[Any] | None
    kind: type[Space] | None  # of space that is modelled


def run(arguments: list[str]) -> int:
    """Run the verb; return the exit code."""
    started = time.monotonic()  # to load torch takes seconds, too
    arguments = with_schema_flag(arguments)
    recipe = _recipe(flag_value(arguments, "recipe"))
    resume = "--resume" in arguments
    if resume:
        _refuse_with_resume(arguments)
    _override(recipe, arguments)
    context = _context(arguments, recipe, open_it=not resume)
    if context.family and context.kind:
        check_names(context.family, context.kind, sorted(given(arguments, "options.")))
    parsed = parse(_command(context, recipe), arguments, "fit")
    if not resume and context.source is None:
        raise UserError("the source is missing; expected: morphogen fit SOURCE --out DIR, or --resume --out DIR")
    from ..training.fit import fit
    from ..training.fit import resume as resume_fit
    from ..training.signals import Interrupted

    try:
        if resume:
            resume_fit(parsed.out, say=say)
            return 0
        fit(
            context.source,
            out=parsed.out,
            family=context.named_family,
            condition=parsed.condition,
            minutes=parsed.minutes,
            train=TrainOptions(**_chosen(parsed, "train", recipe, arguments)),
            options=_chosen(parsed, "options", recipe, arguments),
            codec=_chosen(parsed, "codec", recipe, arguments),
            autoencoder=context.autoencoder,
            super_resolution=parsed.further.super_resolution,
            started=started,
            say=say,
        )
    except Interrupted as error:
        if os.environ.get("RANK", "0") == "0":  # all processes stop together, and one reports it
            print(f"morphogen: {error}", file=sys.stderr)
        return 128 + error.signal
    return 0


def _context(arguments: Sequence[str], recipe: dict[str, Any], *, open_it: bool) -> Context:
    """Open the source and read the autoencoder, once; torch is imported for no more than these need."""
    helps = bool({"-h", "--help"} & set(arguments))
    name = flag_value(arguments, "modality") or recipe.get("modality")
    if open_it:
        _check_latents(*(flag_value(arguments, flag) or recipe.get(flag) for flag in ("autoencoder", "family")))
    source = open_argument(arguments, recipe) if open_it and not (helps and name) else None
    name = source.modality if source is not None else name
    own = modality_of(name) if name else None
    folder = flag_value(arguments, "autoencoder") or recipe.get("autoencoder")
    enlarges = flag_value(arguments, "super-resolution") or recipe.get("super_resolution")
    named = flag_value(arguments, "family") or recipe.get("family")
    family = plugins.spelled(named) if named else own.default_family if own else None
    if source is not None and own and not (named or folder or enlarges):
        from ..data.first_family import first_family

        family = first_family(source, early_values(arguments, own.Options, "codec.", recipe.get("codec", {}))).name
    if family:
        plugins.models(family)  # an unknown family is refused, whatever the source
    autoencoder, kind = None, None
    if folder and own and family and open_it:
        from ..model_folder import load_artifact
        from ..training.resolve import kind_to_model

        autoencoder = load_artifact(folder)
        kind = kind_to_model(family, own, autoencoder)
    elif own and family:
        kind = plugins.kind_for(family, own.spaces)
    return Context(source, autoencoder, family, named, own, kind)


def _check_latents(folder: str | None, family: str | None) -> None:
    """Raise UserError, before anything is opened, where a family cannot model the latents of an autoencoder."""
    if not folder or not family or not (file := as_path(folder, "--autoencoder") / "config.json").is_file():
        return  # loading it says what is wrong
    config = read_json(file)
    if isinstance(config, dict) and config.get("latent") is not None:
        plugins.kind_for(plugins.spelled(family), (type(space_from_json(config["latent"])),))


def _command(context: Context, recipe: dict[str, Any]) -> type[Any]:
    """Return the dataclass whose fields are the flags, with the recipe's values as defaults."""
    families = ", ".join(plugins.known("families"))
    by_default = "" if context.modality else "; None: the modality's first choice"
    flags: list[tuple[str, Any, str, Any]] = [
        ("source", _SOURCE, SOURCE_HELP, None),
        ("out", Path, "Folder for the model.", dataclasses.MISSING),
        ("family", str | None, f"Kind of model: {families}{by_default}.", context.family),
        ("modality", str | None, "Kind of data; None: inferred from the source.", None),
        ("minutes", float | None, "Minutes for everything; 10 where --train.steps is not given either.", None),
        ("condition", Repeatable, "Column to condition on, such as label; repeatable.", ()),
        ("autoencoder", Path | None, "Folder of a trained autoencoder, whose latents are modelled.", None),
        ("resume", bool, "Continue the interrupted fit in --out, with its settings.", False),
    ]
    fields = []
    for name, kind, purpose, default in flags:
        value = recipe.get(name, default)
        value = Path(value) if kind in (Path, Path | None) and isinstance(value, str) else value
        metavar = {"metavar": "SOURCE"} if name == "source" else {}
        fields.append((name, flag(kind, purpose, **metavar), value))
    further = build(Further, {name: recipe[name] for name in Further.model_fields if name in recipe}, "recipe")
    fields.append(("further", *group(further, "further")))
    train = build(TrainOptions, recipe.get("train", {}), "train")
    fields.append(("train", *group(train, "training", "train.")))
    if context.family and context.kind:
        options = model_options(context.family, context.kind, recipe.get("options", {}))
        fields.append(("options", *group(options, context.family, "options.")))
    if context.modality:
        codec = build(context.modality.Options, recipe.get("codec", {}), "codec")
        fields.append(("codec", *group(codec, f"{context.modality.name} codec", "codec.")))
    command = dataclasses.make_dataclass(
        "Fit", [(name, kind, dataclasses.field(default=default)) for name, kind, default in fields], kw_only=True
    )
    command.__doc__ = __doc__ if context.kind else f"{__doc__}\n\n{_MORE}"
    return command


def _chosen(parsed: Any, name: str, recipe: dict[str, Any], arguments: Sequence[str]) -> dict[str, Any]:
    """Return the settings that flags or the recipe give; all others are left to the probe and the data."""
    settings = getattr(parsed, name, None)
    if settings is None:
        return {}
    names = (given(arguments, f"{name}.") | set(recipe.get(name, {}))) & set(type(settings).model_fields)
    return {field: getattr(settings, field) for field in sorted(names)}


def _refuse_with_resume(arguments: Sequence[str]) -> None:
    flags = [argument.partition("=")[0] for argument in arguments if argument.startswith("-")]
    others = [name for name in flags if name not in ("--resume", "--out", "-h", "--help")]
    if other := next(iter(others), positional(arguments)):
        raise UserError(f"--resume continues with the settings of the interrupted fit; drop {other}")


def _override(recipe: dict[str, Any], arguments: Sequence[str]) -> None:
    """Drop what a flag replaces although it has another name, or would be added to."""
    if flag_value(arguments, "train.steps"):
        recipe.pop("minutes", None)  # the two exclude each other
    if flag_value(arguments, "minutes"):
        recipe.get("train", {}).pop("steps", None)
    if flag_value(arguments, "condition"):
        recipe.pop("condition", None)


def _recipe(path: str | None) -> dict[str, Any]:
    """Return the settings in a recipe. Raises UserError on a key that is unknown or of another type."""
    recipe = read_toml(Path(path)) if path else {}
    for name, value in recipe.items():
        if name not in _KEYS:
            raise unknown("key of the recipe", name, _KEYS)
        kinds, expected = _KEYS[name]
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise UserError(f"recipe {path}: {name} is {value!r}; expected {expected}")
    names = recipe.get("condition", [])
    names = [names] if isinstance(names, str) else names
    if not all(isinstance(name, str) for name in names):
        raise UserError(f"recipe {path}: condition is {names!r}; expected a name or a list of names")
    if names:
        recipe["condition"] = tuple(names)
    return recipe
