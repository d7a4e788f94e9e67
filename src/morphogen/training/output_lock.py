"""The output folder of a fit, used by one fit at a time."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Self

from ..core.errors import UserError
from .checkpoint import latest_checkpoint
from .spec import Probed

_MADE = ("training", "codec", "conditions", "logs", "previews")  # folders that a fit makes in its output folder
_WRITTEN = ("split.json",)


class OutputLock:
    """Locks an output folder within the block. Raises UserError where it is in use or holds something else.

    A fit that fails before its first checkpoint leaves nothing behind, and deletes nothing that it did not make.
    """

    def __init__(self, out: Path, resume: bool) -> None:
        self.out, self.resume, self._is_new = out, resume, not out.exists()

    def __enter__(self) -> Self:
        training = self.out / "training"
        resumable = (training / Probed.file).exists()
        if self.resume:
            if (self.out / "config.json").exists():
                raise UserError(f"the fit in {self.out} has finished; nothing to resume")
            if not resumable:
                raise UserError(f"{self.out} holds no interrupted fit; start one without --resume")
        elif self.out.exists() and (not self.out.is_dir() or any(self.out.iterdir())):
            if (training / "lock").exists():
                self._acquire(training)
                self._lock.close()
            hint = "continue it with --resume or" if resumable else "delete it or"
            raise UserError(f"--out {self.out} already exists and is not empty; {hint} choose another folder")
        try:
            training.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--out {self.out} cannot be written: {error.strerror}") from None
        self._acquire(training)
        return self

    def _acquire(self, training: Path) -> None:
        import fcntl

        try:
            self._lock = (training / "lock").open("w")
        except OSError as error:
            raise UserError(f"--out {self.out} cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise UserError(
                f"--out {self.out} is in use by another fit; wait for it or choose another folder"
            ) from None

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._lock.close()
        if kind is not None and not self.resume and latest_checkpoint(self.out / "training") is None:
            self._clean_up()

    def _clean_up(self) -> None:
        for name in _MADE:
            shutil.rmtree(self.out / name, ignore_errors=True)
        for name in _WRITTEN:
            (self.out / name).unlink(missing_ok=True)
        if self._is_new:
            with suppress(OSError):  # somebody else put something there
                self.out.rmdir()
