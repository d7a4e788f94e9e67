"""The import table of the architecture, read from the syntax trees: an import points only down."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

from morphogen import core

ROOT = Path(core.__file__).parents[1]

# The rows of the table, lowest first; below them the version, a constant. `testing` judges all that is below it: only
# tests and plug-ins import it.
ROWS = [
    {"version"},
    {"core"},
    {"nn", "sampling"},
    {"families", "modalities", "data", "safety"},
    {"pipeline", "samples", "through", "card", "training", "evaluation", "latents", "anomaly"},
    {"cli", "serve", "testing"},
]
LEVEL = {package: level for level, row in enumerate(ROWS) for package in row}
FACE = len(ROWS)  # morphogen/__init__.py and __main__.py may import anything
CORE_MAY_IMPORT = {"torch", "numpy", "pydantic", "safetensors", *sys.stdlib_module_names}


def imported(source: str, module: str, is_package: bool) -> set[tuple[str, str]]:
    """Every absolute (module, name) that a module imports, wherever in it; name is '' for `import x`."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {(alias.name, "") for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = module.split(".") if is_package else module.split(".")[:-1]
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            full = ".".join(part for part in (base, node.module or "") if part)
            found |= {(full, alias.name) for alias in node.names}
    return found


def violations(source: str, module: str, is_package: bool = False, modules: frozenset[str] = frozenset()) -> list[str]:
    """What a module of the package imports against the table; `modules` are all that exist."""
    parts = module.split(".")
    mine = parts[1] if len(parts) > 1 else ""
    level = LEVEL.get(mine, FACE)
    wrong = []
    for target, name in sorted(imported(source, module, is_package)):
        root = target.split(".")[0]
        if root != "morphogen":
            if mine == "core" and root not in CORE_MAY_IMPORT:
                wrong.append(f"{module} imports {root}; core may import only torch, numpy, pydantic and safetensors")
            if root == "accelerate" and mine != "training":
                wrong.append(f"{module} imports accelerate; only training may")
            continue
        # `from ..training import loop` reaches the module loop where there is one, else a name of the package's face.
        full = f"{target}.{name}" if f"{target}.{name}" in modules else target
        there = full.split(".")
        other = there[1] if len(there) > 1 else ""
        if mine == other:
            if mine in ("families", "modalities") and len(parts) > 2 and len(there) > 2 and parts[2] != there[2]:
                wrong.append(f"{module} imports {full}; {mine} never import each other")
            continue
        height = LEVEL.get(other, FACE)
        if level == FACE or height < level:
            continue
        face_only = height == level and level >= LEVEL["pipeline"] and len(there) == 2
        if not face_only:
            wrong.append(f"{module} imports {full}; imports point only down")
    return wrong


def source_files() -> dict[str, Path]:
    files = {}
    for file in sorted(ROOT.rglob("*.py")):
        if file.name.startswith("test_") or file.name == "conftest.py":
            continue
        parts = file.relative_to(ROOT).with_suffix("").parts
        files[".".join(("morphogen", *parts)).removesuffix(".__init__")] = file
    return files


def test_every_import_points_down():
    files = source_files()
    unknown = {module.split(".")[1] for module in files if module.count(".")} - set(LEVEL) - {"__main__"}
    assert not unknown, f"{unknown} have no row in the table"
    wrong = [
        line
        for module, file in files.items()
        for line in violations(file.read_text("utf-8"), module, file.name == "__init__.py", frozenset(files))
    ]
    assert not wrong, "\n".join(wrong)


def test_planted_violations_are_caught():
    modules = frozenset({"morphogen.training.loop", "morphogen.training", "morphogen.families.vae.model"})

    def caught(source: str, module: str) -> bool:
        return bool(violations(source, module, modules=modules))

    assert caught("from ..families.vae import model", "morphogen.core.noise")
    assert caught("def f():\n    from ..nn import unet", "morphogen.core.noise")
    assert caught("import pandas", "morphogen.core.noise")
    assert caught("from ...modalities.image import codec", "morphogen.families.vae.model")
    assert caught("from ...families.vae import model", "morphogen.modalities.image.codec")
    assert caught("from ..diffusion.model import Diffusion", "morphogen.families.vae.model")
    assert caught("from ..sampling import path", "morphogen.nn.unet")
    assert caught("from .training.loop import run", "morphogen.pipeline")
    assert caught("from .training import loop", "morphogen.pipeline")
    assert caught("import morphogen.cli", "morphogen.training.fit")
    assert caught("from accelerate import Accelerator", "morphogen.families.vae.model")
    assert caught("from morphogen.testing import check_model", "morphogen.training.fit")
    assert caught("from .. import load", "morphogen.training.fit")

    assert not caught("from .training import fit", "morphogen.pipeline")
    assert not caught("from ...core import noise\nimport torch", "morphogen.families.vae.model")
    assert not caught("from accelerate import Accelerator", "morphogen.training.loop")
    assert not caught("from .prior import Prior", "morphogen.families.vae.model")
    assert not caught("from morphogen.core.space import Space", "morphogen.sampling.path")
