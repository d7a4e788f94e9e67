"""The output folder of a fit, used by one fit at a time."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Self

from ..core.errors import UserError
from .checkpoint import latest_checkpoint
from .spec import Probed


class OutputLock:
    """Locks an output folder within the block. Raises UserError where it is in use or holds something else."""

    def __init__(self, out: Path, resume: bool) -> None:
        self.out, self.resume = out, resume

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
        # A fit that fails before its first checkpoint leaves nothing behind.
        if kind is not None and not self.resume and latest_checkpoint(self.out / "training") is None:
            shutil.rmtree(self.out, ignore_errors=True)
