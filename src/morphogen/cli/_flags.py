"""Flags from settings: a pydantic model's fields become dotted or bare flags, and values know who gave them."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Mapping, Sequence
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import Any

import tyro
from pydantic import ValidationError, create_model

from ..core.config import Frozen, invalid
from ..core.errors import UserError, unknown
from ..sampling.solvers.base import Solver, resolve


def flag_value(arguments: Sequence[str], name: str) -> str | None:
    """The value of the last `--name VALUE` or `--name=VALUE`, read before all flags are known."""
    value = None
    for argument, after in zip(arguments, [*arguments[1:], None], strict=False):
        if argument == f"--{name}":
            value = after
        elif argument.startswith(f"--{name}="):
            value = argument.partition("=")[2]
    return value


def positional(arguments: Sequence[str]) -> str | None:
    """The model folder among the arguments, else the first that is neither a flag nor its one value."""
    for argument in arguments:
        if not argument.startswith("-") and Path(argument, "config.json").is_file():
            return argument
    before = ["", *arguments]
    for previous, argument in zip(before, arguments, strict=False):
        if not argument.startswith("-") and (not previous.startswith("-") or "=" in previous):
            return argument
    return None


def without_flag(arguments: Sequence[str], name: str) -> list[str]:
    """The arguments less `--name VALUE`."""
    kept, skip = [], False
    for argument in arguments:
        if skip:
            skip = False
        elif argument == f"--{name}":
            skip = True
        elif not argument.startswith(f"--{name}="):
            kept.append(argument)
    return kept


def given(arguments: Sequence[str], prefix: str = "") -> set[str]:
    """The names of the flags under `prefix` that were given, with underscores; of `columns.width` it is `columns`."""
    start = f"--{prefix}"
    names = {argument.partition("=")[0] for argument in arguments if argument.startswith(start)}
    return {name.removeprefix(start).partition(".")[0].replace("-", "_") for name in names}


def parse(kind: type[Any], arguments: Sequence[str], verb: str) -> Any:
    """An instance of the dataclass `kind`. Raises UserError on an unknown flag, with the nearest known one."""
    purpose = (kind.__doc__ or "").strip()
    spoken = io.StringIO()
    try:
        with contextlib.redirect_stderr(spoken):
            parsed, rest = tyro.cli(
                kind,
                args=list(arguments),
                prog=f"morphogen {verb}",
                description=purpose,
                return_unknown_args=True,
                config=(tyro.conf.FlagCreatePairsOff, tyro.conf.HelptextFromCommentsOff),
            )
    except ValidationError as error:
        raise invalid(error, "--") from None
    except SystemExit as stop:
        if not stop.code:
            raise  # after --help
        raise _refusal(stop, spoken.getvalue(), verb) from None
    if rest:
        flags = [f"--{name}" for name in _names(kind, "")]
        if not rest[0].startswith("-"):
            raise UserError(f"'{rest[0]}' was not expected; morphogen {verb} --help tells what is")
        raise unknown("flag", rest[0].partition("=")[0], flags)
    return parsed


def with_solvers(controls: type[Frozen], arguments: Sequence[str]) -> tuple[type[Frozen], list[str]]:
    """Controls whose solvers are those named on the command line, and the arguments less those names."""
    rest, fields = list(arguments), {}
    for name, field in controls.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if isinstance(default, Solver):
            chosen = flag_value(rest, name)
            solver = resolve(chosen) if chosen else default
            rest = without_flag(rest, name)
            kind = _brief(type(solver))
            fields[name] = (kind, kind(**solver.model_dump()))
    return create_model("Controls", __base__=controls, **fields) if fields else controls, rest  # type: ignore[call-overload]


def _brief(kind: type[Solver]) -> type[Solver]:
    """The same solver with no more than the first line of its docstring, which help prints whole."""
    purpose = (kind.__doc__ or "").strip().partition("\n")[0]
    return create_model(kind.__name__, __base__=kind, __doc__=purpose, __module__=kind.__module__)


def _refusal(stop: BaseException, spoken: str, verb: str) -> UserError:
    """What tyro said in a box, as one line; what pydantic refused, in our words."""
    # A title, a rule where the terminal is plain, what is wrong, a rule, general help.
    lines = [line.strip("│ ") for line in spoken.splitlines()[1:]]
    below = dropwhile(lambda line: not line.strip("─-"), lines)
    words = " ".join(takewhile(lambda line: not line or line.strip("─-"), below)).strip()
    name = words.removeprefix("Error parsing ").partition(":")[0] if words.startswith("Error parsing ") else ""
    cause: BaseException | None = stop
    while cause and not isinstance(cause, ValidationError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, ValidationError):
        bare = name.removeprefix("controls").removeprefix(".")
        return invalid(cause, f"--{bare}." if bare else "--")
    words = words.replace(f"Missing from morphogen {verb}:", "missing:").removeprefix("Error parsing ")
    reason = words.partition("  Got errors")[0].rstrip(".")
    return UserError(f"{reason[:1].lower()}{reason[1:]}; see morphogen {verb} --help")


def _names(kind: type[Any], prefix: str) -> list[str]:
    """Every flag, dotted where it is nested; controls are bare."""
    found = []
    annotated: Mapping[str, Any]
    if dataclasses.is_dataclass(kind):
        annotated = {
            field.name: type(field.default) if isinstance(field.default, Frozen) else field.default_factory
            for field in dataclasses.fields(kind)
            if "Positional" not in str(field.type)
        }
    else:
        annotated = {name: field.annotation for name, field in kind.model_fields.items()}
    for name, inner in annotated.items():
        if isinstance(inner, type) and issubclass(inner, Frozen):
            bare = name == "controls"
            found.extend(_names(inner, prefix if bare else f"{prefix}{name}."))
        else:
            found.append(prefix + name.replace("_", "-"))
    return found
