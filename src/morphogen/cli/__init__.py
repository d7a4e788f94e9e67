"""The command line: one file per verb, found by name. Exit code 2 is the user's mistake, 1 is ours."""

from __future__ import annotations

import errno
import gc
import importlib
import io
import os
import pkgutil
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from ..core.errors import UserError, unknown
from ..version import __version__

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG)
_BROKEN_PIPE = 141  # as a shell reports the end by SIGPIPE


def verbs() -> list[str]:
    """Return the names of all verbs."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def main(argv: Sequence[str] | None = None) -> None:
    """Run a verb and exit."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, _terminate)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a console may lack a character
    try:
        try:
            code = run(list(sys.argv[1:] if argv is None else argv))
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # as `| head` does it; what is left to write goes nowhere
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        code = _BROKEN_PIPE
    gc.freeze()  # at exit Python would visit every object of torch: seconds beside other programs
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run a verb; return the exit code."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview())
        return 0
    if arguments[0] in ("-V", "--version"):
        print(f"morphogen {__version__}")
        return 0
    try:
        verb, *rest = arguments
        if verb not in verbs():
            raise unknown("verb", verb, verbs())
        return importlib.import_module(f".{verb}", __name__).run(rest)
    except UserError as error:
        print(f"morphogen: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in _DISK:
            raise
        reason = f"{error.filename or 'a file'} could not be written or read: {error.strerror}"
        print(f"morphogen: {reason}; free some space or choose another folder", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("morphogen: stopped", file=sys.stderr)
        return 130


def _terminate(number: int, frame: FrameType | None) -> None:
    """Exit on a signal by an exception, so that temporary files are removed."""
    sys.exit(128 + number)


def _overview() -> str:
    lines = ["usage: morphogen VERB …   (morphogen VERB --help tells more)", ""]
    for verb in verbs():
        purpose = (importlib.import_module(f".{verb}", __name__).__doc__ or "").splitlines()[0]
        lines.append(f"  {verb:10} {purpose}")
    return "\n".join(lines)
