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
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError

from .errors import UserError, unknown


class Frozen(BaseModel):
    """Base of every Options, Controls and solver: immutable, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# Of a disk: full, over a quota or a limit, read-only, broken, or gone.
_REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EACCES, errno.ENOENT)

Settings = TypeVar("Settings", bound=Frozen)


def build(kind: type[Settings], values: Mapping[str, Any], name: str) -> Settings:
    """Settings from values that a user wrote; `name` is what they are called, such as `options`.

    Raises UserError that names the field, what was found and what was expected, or the nearest known field.
    """
    for field in values:
        if field not in kind.model_fields:
            raise unknown(f"field of {name}", field, kind.model_fields)
    try:
        return kind(**values)
    except ValidationError as error:
        raise invalid(error, f"{name}.") from None


def invalid(error: ValidationError, prefix: str) -> UserError:
    """What pydantic refused first, in one line; `prefix` stands before the field's name."""
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:  # fields that contradict each other
        return UserError(f"{prefix.rstrip('.')}: {message}")
    field = ".".join(str(part) for part in first["loc"])
    return UserError(f"{prefix}{field} is {first['input']!r}: {message[:1].lower()}{message[1:]}")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place only if the block ends well.

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
    """Read a JSON file. Raises UserError that names the file where it is absent or broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing; expected a morphogen model folder") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} is not readable JSON ({error}); the folder is damaged, restore it or fit again"
        ) from None


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML recipe. Raises UserError that names the file where it is absent or broken."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"recipe {path} does not exist") from None
    except OSError as error:
        raise UserError(f"recipe {path} cannot be read: {error.strerror}; expected a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"recipe {path} is not valid TOML: {error}") from None
