"""Files that anybody may have written: one guard for all readers, bounds on memory, and no way out of a folder."""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import BadItem, UserError, one_line

_BLOCK = 1 << 20
_SMALL = 1 << 26  # bytes that are always there
_LONGEST_NAME = 200  # bytes of a file name that may still get a suffix
_CONTAINER = Path("/sys/fs/cgroup")
_DEFAULT_MEMORY = 8 << 30  # bytes, where the system does not say


@contextmanager
def guard(name: object, problem: str, advice: str, kind: type[UserError] = UserError) -> Iterator[None]:
    """Turn any exception of the block, which reads what others wrote, into one line: NAME PROBLEM (REASON); ADVICE.

    Decoders raise anything at all on damaged bytes. A UserError passes as it is, and so does being interrupted.
    """
    try:
        yield
    except (UserError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except FileNotFoundError as error:
        raise kind(f"{name} does not exist") from error
    except MemoryError as error:
        raise kind(f"{name} {problem} (it needs more memory than there is); {advice}") from error
    except BaseException as error:  # panics of Rust are no Exception
        raise kind(f"{name} {problem} ({one_line(error)}); {advice}") from error


def as_path(value: object, name: str) -> Path:
    """Return a path that a caller gives as a str or a Path. Raises UserError, under `name`, on anything else."""
    if not isinstance(value, (str, Path)):
        raise UserError(f"{name} is {value!r:.60}; expected the path of a folder")
    try:
        os.stat(value)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return Path(value)
    except (OSError, ValueError) as error:  # a name that is too long, or holds what no name can
        reason = getattr(error, "strerror", None) or one_line(error)
        raise UserError(f"{name} is '{value!s:.100}', which is no path ({reason}); choose another one") from None
    return Path(value)


def inside(folder: Path, name: str) -> Path:
    """Return the path of the file or folder `name` directly inside `folder`.

    Raises UserError where the name is no plain file name, or where a link leads out of the folder.
    """
    if not is_plain_name(name):
        raise UserError(
            f"'{name:.60}' cannot be the name of a file in {folder}: expected at most {_LONGEST_NAME} bytes without "
            "'/', and not '.' or '..'; rename it"
        )
    path = folder / name
    check_link(path, folder)
    return path


def is_plain_name(name: str) -> bool:
    """Return whether a name stands for a file directly in a folder, on any system."""
    try:
        size = len(os.fsencode(name))
    except UnicodeEncodeError:
        return False
    return 0 < size <= _LONGEST_NAME and name not in (".", "..") and not any(one in name for one in "/\\\0")


def check_link(path: Path, folder: Path) -> None:
    """Raise UserError where a path below `folder` leads out of it by a link."""
    if not path.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"{path} is a link that leads out of {folder}; put a copy of the file in its place")


def check_memory(size: int, name: object, kind: type[UserError] = UserError) -> None:
    """Raise `kind` where that many bytes, as a header claims them, are more than the memory that is left."""
    if size > _SMALL and size > (left := memory_left()):
        raise kind(f"{name} needs {size / 2**30:,.1f} GiB of memory, and {left / 2**30:,.1f} GiB are free")


def memory_left() -> int:
    """Return the bytes of memory that a process may still take, on the machine and in its container."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError, IndexError):
        free = _DEFAULT_MEMORY
    return min(free, _left_in_container(free))


def _left_in_container(default: int) -> int:
    """Return the bytes left below the limit of a control group (version 2), `default` where there is none."""
    try:
        limit = int((_CONTAINER / "memory.max").read_text())
        used = int((_CONTAINER / "memory.current").read_text())
        lines = (_CONTAINER / "memory.stat").read_text().splitlines()
        cached = next(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
    except (OSError, StopIteration, ValueError, IndexError):
        return default
    return max(0, limit - used + cached)


def read_bytes(path: Path, name: object, kind: type[UserError] = BadItem) -> bytes:
    """Return the content of a file, unpacked where its name ends with .gz, as far as memory allows."""
    if path.suffix.lower() != ".gz":
        check_memory(path.stat().st_size, name, kind)
        return path.read_bytes()
    parts, size, most = [], 0, _SMALL  # the parts, and the whole of them
    with gzip.open(path) as file:
        while part := file.read(_BLOCK):
            size += len(part)
            most = max(most, memory_left() // 2) if size > most else most
            if size > most:
                raise kind(f"{name} unpacks to more than the {most / 2**30:,.1f} GiB of memory that are free")
            parts.append(part)
    return b"".join(parts)


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
