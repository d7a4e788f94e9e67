"""The public face: these names and no others, imported when they are used."""

from __future__ import annotations

import subprocess
import sys
from importlib import resources

import pytest

import morphogen

NAMES = [
    "Evaluation",
    "Interrupted",
    "Pipeline",
    "TrainOptions",
    "UserError",
    "__version__",
    "anomaly",
    "evaluate",
    "fit",
    "latents",
    "likelihood",
    "load",
    "resume",
]


def loaded_modules(code: str, *modules: str) -> set[str]:
    """Return which of the modules a fresh interpreter has loaded after some code."""
    code += f"\nprint('loaded:', *({set(modules)!r} & set(sys.modules)))"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(process.stdout.splitlines()[-1].split()[1:])


def test_the_names_are_pinned() -> None:
    assert morphogen.__all__ == NAMES
    assert dir(morphogen) == NAMES
    for name in NAMES:
        assert getattr(morphogen, name) is not None
    with pytest.raises(AttributeError, match="'morphogen' has no attribute 'train'"):
        _ = morphogen.train


def test_importing_it_loads_nothing_heavy() -> None:
    heavy = ("torch", "numpy", "pydantic", "sklearn", "PIL", "accelerate")
    assert loaded_modules("import sys, morphogen", *heavy) == set()
    assert loaded_modules("import sys, morphogen; morphogen.fit", *heavy) >= {"torch"}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["fit", "--help"], ["sample", "--help"]])
def test_help_needs_no_torch(arguments: list[str]) -> None:
    code = f"import sys\nfrom morphogen.cli import run\ntry:\n    run({arguments!r})\nexcept SystemExit as stop:\n"
    assert loaded_modules(f"{code}    assert not stop.code", "torch", "accelerate", "sklearn") == set()


def test_the_package_is_marked_as_typed() -> None:
    assert (resources.files("morphogen") / "py.typed").is_file()
