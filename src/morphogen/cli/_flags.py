"""Flags from settings: the fields of a pydantic model become dotted or bare flags under a heading of their own."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
import types
from collections.abc import Mapping, Sequence
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import tyro
from pydantic import Field, ValidationError, create_model

from ..core import plugins
from ..core.config import Frozen, VoidField, invalid
from ..core.errors import UserError
from ..core.suggest import decided_by, suggest
from ..sampling.solvers.base import Solver, resolve

_REFUSED = 2  # the exit code of the parser
Repeatable: Any = tyro.conf.UseAppendAction[tuple[str, ...]]
# Flags of any verb that take no value, by which the words of a command line are told apart before it is parsed.
_SWITCHES = ("-h", "--help", "--resume", "--train.compile", "--stream", "--json", "--best", "--quick", "--show-real")


def flag(kind: Any, purpose: str, **more: Any) -> Any:
    """Return the type of a dataclass field that is a flag."""
    return Annotated[kind, tyro.conf.arg(help=purpose, **more)]


def group(settings: Frozen, heading: str, prefix: str = "") -> tuple[Any, Any]:
    """Return the type and the default of a dataclass field whose settings are flags `--PREFIXname`.

    `settings` holds the defaults. `--help` lists the flags under "HEADING options", below the first paragraph of the
    docstring: `group(Options(), "diffusion", "options.")` has `--options.width` under "diffusion options". Settings
    inside settings are a group of their own. The value that is parsed is an instance of the class of `settings`.
    """
    kind = type(settings)
    fields: dict[str, Any] = {}
    values = {}
    for name, field in kind.model_fields.items():
        value: Any = getattr(settings, name, tyro.MISSING)
        annotation: Any = field.annotation
        if isinstance(value, Frozen) and isinstance(annotation, type) and isinstance(value, annotation):
            annotation, value = group(value, f"{heading} {name}", f"{prefix}{name}.")
            fields[name] = (annotation, value)
        else:
            own = tyro.conf.arg(name=prefix + name.replace("_", "-"))
            markers = [one for one in field.metadata if type(one).__module__.startswith("tyro")]
            fields[name] = (Annotated[(annotation, own, *markers)], field)
        values[name] = value
    purpose = (kind.__doc__ or "").strip().partition("\n\n")[0]
    flags: Any = create_model(kind.__name__, __base__=kind, __doc__=purpose, __module__=kind.__module__, **fields)
    flags.flag_prefix = prefix  # type: ignore[attr-defined]
    title = tyro.conf.arg(name=heading.replace("_", " "))
    return Annotated[flags, tyro.conf.OmitArgPrefixes, title], flags.model_construct(**values)


def plain_settings(kind: type[Frozen], leave_out: Sequence[str] = ()) -> Frozen:
    """Return the defaults of settings with the types that a command line can spell.

    Where a field takes a text or a collection, a flag takes the text; a flag of several texts may be given again.
    """
    fields: dict[str, Any] = {}
    for name, field in kind.model_fields.items():
        if name not in leave_out:
            default = field.get_default(call_default_factory=True)
            fields[name] = (_plain_type(field.annotation), Field(default, description=field.description))
    return create_model(kind.__name__, __base__=Frozen, __doc__=kind.__doc__, **fields).model_construct()


def _plain_type(annotation: Any) -> Any:
    if get_origin(annotation) in (tuple, list) and get_args(annotation)[0] is str:
        return Repeatable
    if get_origin(annotation) in (Union, types.UnionType):
        members = [one for one in get_args(annotation) if get_origin(one) not in (tuple, list, dict)]
        if set(members) <= {type(None)}:
            return _plain_type(next(one for one in get_args(annotation) if one is not type(None)))
        return Union[tuple(members)]  # noqa: UP007
    return annotation


def with_solvers(controls: type[Frozen], arguments: Sequence[str]) -> tuple[type[Frozen], list[str]]:
    """Return Controls whose solvers are those named on the command line, and the arguments without these names."""
    rest, fields = list(arguments), {}
    for name, field in controls.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if isinstance(default, Solver):
            value = flag_value(rest, name)
            solver = resolve(value) if value else default
            rest = without_flag(rest, name)
            fields[name] = (type(solver), solver)
    if not fields:
        return controls, rest
    lines = [
        f"--{name} NAME is one of {', '.join(plugins.known('solvers'))}; now {solver.name}, its settings are below."
        for name, (_, solver) in fields.items()
    ]
    purpose = " ".join([(controls.__doc__ or "").strip().partition("\n\n")[0], *lines])
    return create_model("Controls", __base__=controls, __doc__=purpose, **fields), rest  # type: ignore[call-overload]


def flag_value(arguments: Sequence[str], name: str) -> str | None:
    """Return the value of the last `--name VALUE` or `--name=VALUE`, read before all flags are known."""
    value = None
    for argument, after in zip(arguments, [*arguments[1:], None], strict=True):
        if argument == f"--{name}":
            value = after
        elif argument.startswith(f"--{name}="):
            value = argument.partition("=")[2]
    return value


def early_values(
    arguments: Sequence[str], kind: type[Frozen], prefix: str, values: Mapping[str, Any]
) -> dict[str, Any]:
    """Return settings of `kind` by name, from flags under `prefix` and else `values`, before all flags are known.

    A flag that is no value of its field by itself is left to the parser.
    """
    settings = dict(values)
    for name in kind.model_fields:
        value = flag_value(arguments, f"{prefix}{name.replace('_', '-')}")
        with contextlib.suppress(ValidationError):
            settings |= {} if value is None else {name: getattr(kind(**{name: value}), name)}
    return settings


def with_schema_flag(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with `--schema`, by its full name."""
    return [re.sub(r"^--schema(?==|$)", "--codec.schema-file", argument) for argument in arguments]


def positional(arguments: Sequence[str]) -> str | None:
    """Return the first argument that is neither a flag nor the value of one; None: there is none."""
    previous = ""
    for argument in arguments:
        is_value = previous.startswith("-") and "=" not in previous and previous not in _SWITCHES
        if not argument.startswith("-") and not is_value and not _is_number(argument):
            return argument
        previous = argument
    return None


def _is_number(argument: str) -> bool:
    """Return whether an argument is a number, such as one of several values of a flag, and names no file."""
    try:
        float(argument)
    except ValueError:
        return False
    return not Path(argument).exists()


def without_flag(arguments: Sequence[str], name: str) -> list[str]:
    """Return the arguments without `--name VALUE`."""
    rest, skip = [], False
    for argument in arguments:
        if skip:
            skip = False
        elif argument == f"--{name}":
            skip = True
        elif not argument.startswith(f"--{name}="):
            rest.append(argument)
    return rest


def given(arguments: Sequence[str], prefix: str = "") -> set[str]:
    """Return the names of the flags under `prefix` that were given, with underscores.

    A flag of nested settings counts as these: with the prefix `codec.`, `--codec.columns.width` gives `columns`.
    """
    start = f"--{prefix}"
    names = {argument.partition("=")[0] for argument in arguments if argument.startswith(start)}
    return {name.removeprefix(start).partition(".")[0].replace("-", "_") for name in names}


def parse(kind: type[Any], arguments: Sequence[str], verb: str) -> Any:
    """Return an instance of the dataclass `kind`. Raises UserError on an unknown flag, with the nearest known one."""
    purpose = (kind.__doc__ or "").strip()
    _check_names(kind, arguments, verb)
    stderr = io.StringIO()
    try:
        with contextlib.redirect_stderr(stderr):
            parsed, rest = tyro.cli(
                kind,
                args=list(arguments),
                prog=f"morphogen {verb}",
                description=purpose,
                return_unknown_args=True,
                config=(tyro.conf.FlagCreatePairsOff, tyro.conf.HelptextFromCommentsOff),
            )
    except ValidationError as error:
        raise invalid_flag(error) from None
    except SystemExit as stop:
        if stop.code != _REFUSED:
            raise  # after --help, or by a signal
        raise _refusal(stop, stderr.getvalue(), kind, verb) from None
    if rest:
        raise UserError(f"'{rest[0]}' was not expected; see morphogen {verb} --help")
    return parsed


def _check_names(kind: type[Any], arguments: Sequence[str], verb: str) -> None:
    """Raise UserError on the first flag that the dataclass does not have, with those that are probably meant."""
    known = [f"--{name}" for name in _flag_names(kind)]
    for argument in arguments:
        name = argument.partition("=")[0]
        short = len(name) == 2 and name[0] == "-" and name[1].isalpha()
        if not (short or name.startswith("--")) or name in ("-h", "--help", "--"):
            continue
        if name.replace("_", "-") in known or (short and f"-{name}" in known):
            continue
        if answer := decided_by(name):
            raise UserError(f"unknown flag '{name}'; {answer}")
        nearest = " or ".join(f"'{one[1:] if len(one) == 3 else one}'" for one in suggest(name, known))
        hint = f"did you mean {nearest}?" if nearest else f"see morphogen {verb} --help"
        raise UserError(f"unknown flag '{name}'; {hint}")


def invalid_flag(error: ValidationError, prefix: str = "") -> UserError:
    """Return what pydantic refused first of the flags under a prefix, in one line."""
    first = error.errors()[0]
    void = isinstance(first.get("ctx", {}).get("error"), VoidField)
    name, separator, reason = str(invalid(error, f"--{prefix}")).partition(" has " if void else " is ")
    if not first["loc"] and not void:  # fields that contradict each other
        return UserError(first["msg"].removeprefix("Value error, "))
    return UserError(name.replace("_", "-") + separator + reason)


def _refusal(stop: BaseException, message: str, kind: type[Any], verb: str) -> UserError:
    """Return what tyro said in a box as one line, and what pydantic refused in our words."""
    # A title, a rule where the terminal is plain, what is wrong, a rule, general help.
    lines = [line.strip("│ ") for line in message.splitlines()[1:]]
    below = dropwhile(lambda line: not line.strip("─-"), lines)
    words = " ".join(takewhile(lambda line: not line or line.strip("─-"), below)).strip()
    name = words.removeprefix("Error parsing ").partition(":")[0] if words.startswith("Error parsing ") else ""
    cause: BaseException | None = stop
    while cause and not isinstance(cause, ValidationError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, ValidationError):
        settings: Any = kind
        for part in name.split("."):
            settings = getattr(settings, part, None)
        return invalid_flag(cause, getattr(settings, "flag_prefix", ""))
    words = words.replace(f"Missing from morphogen {verb}:", "missing:").removeprefix("Error parsing ")
    reason = words.partition("  Got errors")[0].rstrip(".")
    return UserError(f"{reason[:1].lower()}{reason[1:]}; see morphogen {verb} --help")


def _flag_names(kind: type[Any]) -> list[str]:
    """Return the name of every flag of a dataclass, dotted where it is that of a group with a prefix."""
    names = []
    for field in dataclasses.fields(kind):
        if isinstance(field.default, Frozen):
            names.extend(_names_in(field.default))
        elif "Positional" not in str(field.type):
            names.append(field.name.replace("_", "-"))
    return names


def _names_in(settings: Frozen) -> list[str]:
    names: list[str] = []
    prefix = getattr(settings, "flag_prefix", "")
    for name in type(settings).model_fields:
        value = getattr(settings, name, None)
        inner = isinstance(value, Frozen) and hasattr(value, "flag_prefix")
        names.extend(_names_in(value) if inner else [prefix + name.replace("_", "-")])  # type: ignore[arg-type]
    return names
