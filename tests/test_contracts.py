"""Every family, modality, solver and metric, built in or installed, keeps its contract; found by itself."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from morphogen.core import plugins
from morphogen.core.codec import Codec
from morphogen.core.errors import UserError
from morphogen.core.model import GenerativeModel
from morphogen.core.space import Continuous, Tokens
from morphogen.sampling.solvers.base import Solver
from morphogen.testing import check_codec, check_metric, check_model, check_solver

GROUPS = {
    group: list(plugins.known(group))
    for group in ("families", "modalities", "solvers", "metrics")
    if importlib.util.find_spec(plugins._FOLDERS[group])
}


def tiny(options: Any) -> dict[str, int]:
    """The narrowest network worth training: an option whose name ends in `width` is a number of channels."""
    return {name: 16 for name in options.model_fields if name.endswith("width")}


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print("\nfound:", *(f"{group}: {', '.join(names)}" for group, names in GROUPS.items()), sep="\n  ")
    assert {"vae", "diffusion"} <= set(GROUPS["families"])
    assert {"euler", "heun", "ddim", "dpm_solver", "ancestral", "adaptive"} <= set(GROUPS["solvers"])


@pytest.mark.parametrize("name", GROUPS["families"])
def test_family(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    model = plugins.sole(plugins.load("families", name, "model"), GenerativeModel)
    done = check_model(model, tiny(model.Options))
    with capsys.disabled():
        print(f"\n{name}:", *done, sep="\n  ")


@pytest.mark.parametrize("name", GROUPS["modalities"])
def test_modality(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = plugins.load("modalities", name, "codec")
    items = module.examples(7) if hasattr(module, "examples") else EXAMPLES[name]()
    codec = plugins.sole(module, Codec)
    offered = []
    for kind in (Continuous, Tokens):
        try:
            codec.fit(iter([items]), kind, None)
        except UserError:
            continue
        offered.append(kind)
    assert offered, f"the modality '{name}' offers no space"
    done = check_codec(codec, items, offered)
    with capsys.disabled():
        print(f"\n{name}:", *done, sep="\n  ")


@pytest.mark.parametrize("name", GROUPS["solvers"])
def test_solver(name: str) -> None:
    check_solver(plugins.sole(plugins.load("solvers", name), Solver)())


@pytest.mark.parametrize("name", GROUPS["metrics"])
def test_metric(name: str) -> None:
    from morphogen.evaluation.metrics.base import Metric

    check_metric(plugins.sole(plugins.load("metrics", name), Metric))


def test_settings_need_no_torch() -> None:
    """`morphogen --help` reads all Options, Controls and solvers."""
    modules = [f"{plugins.known('families')[name]}.options" for name in GROUPS["families"]]
    modules += [plugins.known("solvers")[name] for name in GROUPS["solvers"]]
    code = "\n".join([*(f"import {module}" for module in modules), "import sys", "sys.exit('torch' in sys.modules)"])
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0, modules


def _pictures() -> list[Any]:
    from PIL import Image

    random = np.random.default_rng(0)
    return [Image.fromarray(random.integers(0, 256, (8, 8), dtype=np.uint8)) for _ in range(7)]


def _texts() -> list[str]:
    return ["a short one", "é", "two\nlines", "漢字 and 🙂", "x" * 300, " spaces  ", "the last"]


def _rows() -> Any:
    import pyarrow as arrow

    return arrow.table(
        {"a": [1, 2, 3, 1, None, 3, 2], "b": ["x", "y", "x", "y", "x", None, "y"], "c": [True, False] * 3 + [True]}
    )


# Items of the built-in modalities; an installed one has `examples(count)` beside its codec.
EXAMPLES = {"image": _pictures, "table": _rows, "text": _texts}
