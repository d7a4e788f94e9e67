"""Frozen settings, and files that are written whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from safetensors import SafetensorError

from .errors import UserError, unknown
from .files import guard, read_bytes


class ReadIf(NamedTuple):
    """Fields that are read only where another one, `setting`, has one of `values`, or is a number above `above`."""

    fields: tuple[str, ...]
    setting: str
    values: tuple[Any, ...] = ()
    above: float | None = None

    def holds(self, value: Any) -> bool:
        """Return whether the fields are read where the setting has this value."""
        return value in self.values if self.above is None else value > self.above

    @property
    def expected(self) -> str:
        """Return the values of the setting with which the fields are read, in words."""
        return " or ".join(str(value) for value in self.values) if self.above is None else f"above {self.above:g}"


class VoidField(ValueError):
    """A field has no effect because of another one; the message begins with its name."""


class Frozen(BaseModel):
    """Base of every Options, Controls and solver: immutable, and an unknown field is an error.

    So is a field that another one makes void, unless it has its default. A subclass declares such fields in `read_if`,
    after those of its base.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    read_if: ClassVar[tuple[ReadIf, ...]] = ()

    @classmethod
    def default(cls, name: str) -> Any:
        """Return the default of a field."""
        return cls.model_fields[name].get_default(call_default_factory=True)

    def read_fields(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return those of the values, changes to these settings, whose fields are read."""
        void = {name for rule in self.read_if if not rule.holds(getattr(self, rule.setting)) for name in rule.fields}
        return {name: value for name, value in values.items() if name not in void}

    @model_validator(mode="after")
    def _numbers_have_64_bits(self) -> Self:
        for name, value in self:
            if isinstance(value, int) and not -(2**63) <= value < 2**63:
                raise ValueError(f"{name} is {value!s:.30}, which is beyond 64 bits")
        return self

    @model_validator(mode="after")
    def _no_field_is_void(self) -> Self:
        for rule in self.read_if:
            setting = getattr(self, rule.setting)
            for name in rule.fields if not rule.holds(setting) else ():
                if getattr(self, name) != self.default(name):
                    raise VoidField(
                        f"{name} has no effect with {rule.setting} {setting}; drop it, or use {rule.setting} "
                        f"{rule.expected}"
                    )
        return self


# Of a disk: full, over a quota or a limit, read-only, broken, or gone.
_REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EACCES, errno.ENOENT)

_WITHOUT_VALUE = {"missing": "is missing", "extra_forbidden": "is unknown"}  # of pydantic

Settings = TypeVar("Settings", bound=Frozen)


def build(kind: type[Settings], values: Mapping[str, Any], name: str) -> Settings:
    """Return settings with the values that a user wrote; `name` stands in messages, such as `options`.

    Raises UserError that names the field, its value and what was expected, or the nearest known field.
    """
    if not isinstance(values, Mapping):
        example = f"{{'{next(iter(kind.model_fields), 'name')}': …}}"
        raise UserError(f"{name} is {values!r:.60}; expected values by name, such as {example}")
    for field in values:
        if field not in kind.model_fields:
            raise unknown(f"field of {name}", field, kind.model_fields)
    try:
        return kind(**values)
    except ValidationError as error:
        raise invalid(error, f"{name}.") from None


def invalid(error: ValidationError, prefix: str) -> UserError:
    """Return the error for what pydantic refused first, in one line; `prefix` stands before the field's name."""
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ")
    if isinstance(first.get("ctx", {}).get("error"), VoidField):
        return UserError(f"{prefix}{message}")
    if not first["loc"]:  # fields that contradict each other
        return UserError(f"{prefix.rstrip('.')}: {message}")
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] in _WITHOUT_VALUE:
        return UserError(f"{prefix}{field} {_WITHOUT_VALUE[first['type']]}")
    return UserError(f"{prefix}{field} is {first['input']!r:.80}: {message[:1].lower()}{message[1:]}")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its place only if the block ends well.

    Raises UserError where the disk refuses (full, read-only), naming the file; nothing half-written is left.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise UserError(f"could not write {path}: {error.strerror}; choose another --out") from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        # Only what a disk says of writing: an error of reading, say, is not ours to explain.
        if isinstance(error, OSError) and error.errno not in _REFUSALS:
            raise
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"could not write {path}: {reason}; free some space or choose another --out") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, data: Any) -> None:
    """Write `data` as indented JSON, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Return what is in a JSON file. Raises UserError that names the file where it is absent or broken."""
    if not path.exists():
        raise UserError(f"{path} is missing; expected a folder or record that morphogen wrote")
    with guard(path, "is not readable JSON", "the folder is damaged, restore it or fit again"):
        return json.loads(read_bytes(path, path, UserError).decode("utf-8"))


def read_toml(path: Path) -> dict[str, Any]:
    """Return what is in a TOML file. Raises UserError that names the file where it is absent or broken."""
    if not path.exists():
        raise UserError(f"{path} does not exist; expected a TOML file")
    if path.is_dir():
        raise UserError(f"{path} is a folder; expected a TOML file")
    with guard(path, "is not valid TOML", "correct it"):
        return tomllib.loads(read_bytes(path, path, UserError).decode("utf-8"))
