"""The pages of the documentation: their commands in order, made small, and the files that they speak of."""

from __future__ import annotations

import logging
import os
import re
import shlex
import string
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from morphogen.cli import run
from morphogen.data.sources import open_source

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_NEEDS_WIDTH = "--train.steps 2 --train.batch 16 --train.previews 0 --options.width 16"


class Block(NamedTuple):
    """Commands (`sh`) or Python of a page; all of them run. A block in another language, such as `text`, does not."""

    language: str
    text: str


def blocks(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page that run, without those that include a file, which other tests run."""
    for language, text in _BLOCK.findall(page.read_text(encoding="utf-8")):
        if not text.startswith("--8<--"):
            yield Block(language, text)


class Place:
    """A folder with the files of the pages, in which they run one after the other, as a reader would run them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.done: set[str] = set()  # lines and blocks that have run: the same one on another page is not run again
        _photos(folder / "photos")
        _stories(folder)
        _people(folder)

    def run(self, page: Path) -> None:
        """Run a page's blocks in their order. Raises AssertionError that names the page and the line."""
        names: dict[str, Any] = {}
        for language, text in blocks(page):
            for part in [text] if language == "python" else text.splitlines():
                if part in self.done:
                    continue
                self.done.add(part)
                if language == "python":
                    exec(compile(_small_python(text), str(page), "exec"), names)
                    logging.getLogger("morphogen").setLevel(logging.NOTSET)  # a page silences it
                else:
                    self._command(part, page)

    def _command(self, line: str, page: Path) -> None:
        program, *arguments = shlex.split(line, comments=True)
        if program == "morphogen":
            code = run(_small(arguments, line))
        elif program == "python":
            code = subprocess.run([sys.executable, str(ROOT / arguments[0]), *arguments[1:]], check=False).returncode
        else:
            assert os.access(ROOT / program, os.X_OK), f"{program} is not a program of this repository"
            code = 0  # scripts/test is this
        assert code == 0, f"{page.name}: {line}"


def _small(arguments: list[str], line: str) -> list[str]:
    """Return a command that takes a moment: a fit of two steps, an evaluation of 60 items."""
    small, minutes = re.subn(r"--minutes \S+", _NEEDS_WIDTH, shlex.join(arguments))
    is_fit = arguments[0] == "fit" and "--resume" not in arguments
    assert minutes == is_fit, f"{line}: a fit without --minutes would take ten"
    small = re.sub(r"--max-length \d+", "--max-length 60", small)
    return shlex.split(small + (" -n 60" if arguments[0] == "evaluate" else ""))


def _small_python(text: str) -> str:
    options = "{'width': 16, 'prior_width': 16}" if "vae" in text else "{'width': 16}"
    small = re.sub(r"minutes=\d+", f"train={{'steps': 2, 'batch': 16, 'previews': 0}}, options={options}", text)
    return re.sub(r"(mg\.evaluate\(.*?)(count=\d+|quick=True)", r"\1count=60, quick=True", small)


def _photos(folder: Path) -> None:
    """Real pictures in class sub-folders, and one with a hole."""
    digits = open_source("digits")
    for index in range(40):
        path = folder / digits.columns["label"][index] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        digits.read(index).save(path)


def _stories(folder: Path) -> None:
    """A text of many documents, and one text with speakers; both have all letters and signs."""
    letters = string.ascii_letters + string.punctuation
    random = np.random.default_rng(0)
    places = ("home", "away", "to the sea")
    sentences = [f"One day {who} went {where}." for who in ("Ann", "Bob", "Eve", "Tom") for where in places]
    stories = [" ".join(random.permutation(sentences)[:5]) for _ in range(60)]
    (folder / "stories.txt").write_text("\n\n".join([letters, *stories]))
    speeches = [f"{who}:\nWhat says my {what}?\n" for who in ("ROMEO", "JULIET", "NURSE") for what in ("lord", "heart")]
    (folder / "shakespeare.txt").write_text("\n".join([letters, *(speeches[n % 6] for n in range(150))]))


def _people(folder: Path) -> None:
    """A table, and the same with holes."""
    random = np.random.default_rng(0)
    lines, holed = ["name,age,city,income,savings"], ["name,age,city,income,savings"]
    for number in range(300):
        age, city = int(random.integers(18, 70)), str(random.choice(["Rome", "Oslo", "Lima"]))
        income = 50 * age + int(random.integers(0, 500))
        lines.append(f"p{number:05d},{age},{city},{income},{int(random.integers(0, income))}")
        holed.append(f"p{number:05d},{age if number % 3 else ''},{city if number % 5 else ''},,")
    (folder / "people.csv").write_text("\n".join(lines) + "\n")
    (folder / "people-with-holes.csv").write_text("\n".join(holed) + "\n")
