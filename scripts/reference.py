"""Write docs/reference/*.md from the code: every flag, option, control, setting and public function.

usage: python scripts/reference.py
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import textwrap
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints
from unittest import mock

import morphogen
from morphogen import anomaly, cli, latents, likelihood
from morphogen.core import errors, plugins, results
from morphogen.core.config import Frozen
from morphogen.core.modality import modality
from morphogen.sampling.solvers.base import Solver
from morphogen.training.options import TrainOptions

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"
NOTE = "<!-- Written by scripts/reference.py; change the code, then run it. -->"
_SIGNS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "multiple_of": "multiple of"}
_PIPELINE = ("stream", "sample", "drafts", "impute", "stream_imputed", "save")
_TRAINING = "How the model is trained: `fit --train.NAME`, in Python `fit(train={…})`, in a recipe `[train]`."
_VERBS = (
    "Flags of every verb. Those that depend on the data and the family are listed with the [families](families.md), "
    "[modalities](modalities.md) and [solvers](solvers.md); `morphogen VERB … --help` lists all that apply."
)
_FAMILIES = (
    "Each family has a model for each kind of space. *Options* say how it is built: `fit --options.NAME`, in Python "
    "`fit(options={…})`, in a recipe `[options]`. *Controls* say how it samples: `sample --NAME`, in Python "
    "`sample(NAME=…)`. Underscores are dashes on the command line. Where the default is `None`, the model, the data or "
    "the start-up probe decides."
)
_MODALITIES = (
    "*Options* say how items are encoded: `fit --codec.NAME`, in Python `fit(codec={…})`, in a recipe `[codec]`. The "
    "*query* says what samples have to satisfy: `sample --NAME`, in Python `sample(NAME=…)`. The *mask* says what "
    "`impute` fills in."
)
_SOLVERS = (
    "How `diffusion` integrates from noise to data: `sample --solver NAME --solver.SETTING VALUE`, in Python "
    "`sample(solver={'name': NAME, SETTING: VALUE})`. The *order* is that of the error in the step size; 0: stochastic."
)


def pages() -> dict[str, str]:
    """Return the text of every page by the name of its file."""
    parts = {
        "command-line.md": ("Command line: every flag", _VERBS, verbs()),
        "training.md": ("Training options", _TRAINING, iter([fields(TrainOptions)])),
        "families.md": ("Families: options and controls", _FAMILIES, families()),
        "modalities.md": ("Modalities: options, queries, masks", _MODALITIES, modalities()),
        "solvers.md": ("Solvers", _SOLVERS, solvers()),
        "python.md": ("Python: every public function", "`import morphogen as mg`", python()),
    }
    return {
        name: "\n\n".join([NOTE, f"# {title}", textwrap.fill(intro, 120), *body]) + "\n"
        for name, (title, intro, body) in parts.items()
    }


def verbs() -> Iterator[str]:
    for verb in cli.verbs():
        module = importlib.import_module(f"morphogen.cli.{verb}")
        yield f"## `morphogen {verb}`"
        yield (module.__doc__ or "").strip()
        yield table(("flag", "type", "default", "meaning"), flags(command(verb)))


def command(verb: str) -> type[Any]:
    """Return the dataclass of a verb's flags, as it is parsed where neither data nor a model is known."""
    seen: list[type[Any]] = []

    def keep(kind: type[Any], *_: Any) -> None:
        seen.append(kind)
        raise SystemExit

    module = importlib.import_module(f"morphogen.cli.{verb}")
    owner = module if hasattr(module, "parse") else importlib.import_module("morphogen.cli._model")
    with mock.patch.object(owner, "parse", keep), suppress(SystemExit):
        module.run(["--help"])
    return seen[0]


def flags(kind: type[Any]) -> list[tuple[str, str, str, str]]:
    """Return the rows of a table of flags; groups of settings that have a page of their own are left out."""
    found = []
    hints = get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        annotation, *metadata = get_args(hints[field.name]) or [hints[field.name]]
        if isinstance(field.default, TrainOptions):
            found.append(("`--train.…`", "", "", "[training options](training.md)"))
        elif isinstance(field.default, Frozen):
            settings: Any = type(field.default).__mro__[1]
            found += [row(f"--{name.replace('_', '-')}", *describe(settings, name)) for name in settings.model_fields]
        else:
            positional = "Positional" in str(hints[field.name])
            name = field.name.upper() if positional else f"--{field.name.replace('_', '-')}"
            arg = next((one for one in metadata if hasattr(one, "help")), None)
            help_text = (arg.help if arg is not None else "") or document(kind, field.name)
            names = ", ".join([*(getattr(arg, "aliases", None) or ()), name])
            default = "required" if field.default is dataclasses.MISSING else plain(field.default)
            found.append(row(names, spell(annotation), default, help_text))
    return found


def document(kind: type[Any], name: str) -> str:
    """Return the text under a field of a class, as editors show it."""
    lines = [line.strip() for line in inspect.getsource(kind).splitlines()]
    at = next(number for number, line in enumerate(lines) if line.startswith(f"{name}:"))
    return lines[at + 1].strip('"')


def families() -> Iterator[str]:
    for name in built_in("families"):
        yield f"## `{name}`"
        yield f"[What it is, with its equations](../families/{name}.md)."
        for kind, entry in plugins.models(name).items():
            yield from group(f"{name}: options for {kind.plural}", entry.Options)
            yield from group(f"{name}: controls for {kind.plural}", entry.Controls)


def modalities() -> Iterator[str]:
    for name in built_in("modalities"):
        own = modality(name)
        yield f"## `{name}`"
        offered = " or ".join(kind.plural for kind in own.spaces)
        yield f"Modelled as {offered}. Family by default: `{own.default_family}`."
        yield from group(f"{name}: options", own.Options)
        yield from group(f"{name}: query", own.Query)
        if own.Mask is not None:
            yield from group(f"{name}: mask", own.Mask)


def solvers() -> Iterator[str]:
    for name in built_in("solvers"):
        solver = plugins.sole(plugins.load("solvers", name), Solver)
        yield f"## `{name}`"
        yield f"{inspect.getdoc(solver)}\n\nOrder {solver.order}, evaluations per step {solver.evaluations_per_step}."
        if solver.model_fields:
            yield fields(solver)


def python() -> Iterator[str]:
    for name in ("fit", "resume", "load", "evaluate"):
        yield from function(f"mg.{name}", getattr(morphogen, name))
    yield "## `mg.Pipeline`"
    yield inspect.getdoc(morphogen.Pipeline) or ""
    names = [name for name, value in vars(morphogen.Pipeline).items() if isinstance(value, property)]
    yield f"Properties: {', '.join(f'`{name}`' for name in names)}."
    for name in _PIPELINE:
        yield from function(f"Pipeline.{name}", getattr(morphogen.Pipeline, name), level=3)
    for module, members in ((latents, latents.__all__), (anomaly, anomaly.__all__), (likelihood, LIKELIHOOD)):
        short = module.__name__.rpartition(".")[2]
        yield f"## `mg.{short}`"
        yield inspect.getdoc(module) or ""
        for name in members:
            yield from function(f"mg.{short}.{name}", getattr(module, name), level=3)
    yield "## What `evaluate` returns"
    kinds = (results.Grade, results.Sharing, results.Check, results.Figure, results.ClassResult, results.ColumnResult)
    for kind in (morphogen.Evaluation, *kinds, results.Dependence, results.NotMeasured):
        yield from group(kind.__name__, kind)
    yield "## Errors"
    for error in (morphogen.UserError, morphogen.Interrupted, errors.BadItem):
        yield f"- `{error.__name__}`: {(inspect.getdoc(error) or '').replace(chr(10), ' ')}"


LIKELIHOOD = ("log_likelihood", "bits_per_dimension")


def function(name: str, value: Callable[..., Any], level: int = 2) -> Iterator[str]:
    """Yield a function's name, its signature with types, and its docstring."""
    signature = inspect.signature(value)
    own = [one for one in signature.parameters.values() if one.name != "self"]
    lines, starred = [], False
    for one in own:
        if one.kind is inspect.Parameter.KEYWORD_ONLY and not starred:
            lines.append("    *,")
            starred = True
        default = " = log" if callable(one.default) and one.name == "say" else ""
        text = str(one.replace(default=inspect.Parameter.empty)) + default if default else str(one)
        lines.append(f"    {text},".replace("'", "", 2))  # annotations are strings
    returned = "" if signature.return_annotation is inspect.Signature.empty else f" -> {signature.return_annotation}"
    yield f"{'#' * level} `{name}`"
    yield "\n".join([f"```py\n{name}(", *lines, f"){returned}\n```"])
    yield inspect.getdoc(value) or ""


def group(title: str, kind: type[Frozen]) -> Iterator[str]:
    """Yield a heading, the first paragraph of the docstring, and a table of the fields, if there are any."""
    if kind.model_fields:
        yield f"### {title}"
        yield (inspect.getdoc(kind) or "").partition("\n\n")[0]
        yield fields(kind)


def fields(kind: type[Frozen]) -> str:
    names = kind.model_fields
    rows = [row(name, *describe(kind, name)) for name in names]
    return table(("name", "type", "default", "meaning"), rows)


def describe(kind: type[Frozen], name: str) -> tuple[str, str, str]:
    """Return the type of a field with its bounds, its default, and what it means."""
    field = kind.model_fields[name]
    bounds = [
        f"{sign} {getattr(one, key)}"
        for one in field.metadata
        for key, sign in _SIGNS.items()
        if getattr(one, key, None) is not None
    ]
    rules = [rule for rule in kind.read_if if name in rule.fields]
    meaning = " ".join([field.description or "", *(f"Only with `{one.setting}` {one.expected}." for one in rules)])
    default = "required" if field.is_required() else plain(field.get_default(call_default_factory=True))
    return ", ".join([spell(field.annotation), *bounds]), default, meaning.strip()


def spell(annotation: Any) -> str:
    """Return a type in a few words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return spell(arguments[0])
    if origin is Literal:
        return " or ".join(f"`{one}`" for one in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(spell(one) for one in arguments if one is not type(None))
    if origin in (tuple, list):
        return f"list of {spell(arguments[0])}"
    if origin is dict:
        return f"{spell(arguments[1])} by name"
    names = {Any: "value", bool: "yes or no", int: "whole number", float: "number", str: "text", Path: "path"}
    return names.get(annotation) or getattr(annotation, "__name__", str(annotation)).lower()


def plain(value: Any) -> str:
    if isinstance(value, Solver):
        return value.name
    return "" if value in ((), {}, []) else str(value)


def row(name: str, kind: str, default: str, meaning: str) -> tuple[str, str, str, str]:
    return f"`{name}`", kind, f"`{default}`" if default and default != "required" else default, meaning


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [
        head,
        ["---"] * len(head),
        *([cell.replace("|", "\\|").replace("\n", " ") for cell in one] for one in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def built_in(kind: str) -> list[str]:
    """Return the names of what comes with the package, without installed plug-ins."""
    return [name for name, module in plugins.known(kind).items() if module.startswith("morphogen.")]


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(f"wrote docs/reference/{name}")


if __name__ == "__main__":
    main()
