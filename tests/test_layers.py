"""The import table of the architecture, read from the syntax trees: an import points only down, and no two files
import each other."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

from morphogen import core

ROOT = Path(core.__file__).parents[1]

# The rows of the table, lowest first. `testing` checks all that is below it: only tests and plug-ins import it.
LAYERS = [
    {"version"},
    {"core"},
    {"nn", "sampling", "metrics"},
    {"families", "modalities", "data"},
    {"artifact"},
    {"latent_codec"},
    {"model_folder"},
    {"request_builder"},
    {"pipeline"},
    {"samples", "card"},
    {"training", "evaluation", "latents", "likelihood", "anomaly"},
    {"cli", "testing"},
]
LEVEL = {package: level for level, row in enumerate(LAYERS) for package in row}
CAPABILITIES = LEVEL["training"]  # among these only through the other's __init__
FACE = len(LAYERS)  # morphogen/__init__.py and __main__.py may import anything
CORE_MAY_IMPORT = {"torch", "numpy", "pydantic", "safetensors", *sys.stdlib_module_names}


def imports(source: str, module: str, is_package: bool, types: bool = True) -> set[tuple[str, str]]:
    """Return every absolute (module, name) that a module imports, wherever in it; name is '' for `import x`.

    Without `types`, imports under `if TYPE_CHECKING` are left out.
    """
    pairs: set[tuple[str, str]] = set()
    tree = ast.parse(source)
    skipped: set[ast.AST] = set()
    if not types:
        guards = (
            node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        )
        skipped = {inner for guard in guards for inner in ast.walk(guard)}
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            pairs |= {(alias.name, "") for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = module.split(".") if is_package else module.split(".")[:-1]
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            full = ".".join(part for part in (base, node.module or "") if part)
            pairs |= {(full, alias.name) for alias in node.names}
    return pairs


def target_of(pair: tuple[str, str], modules: frozenset[str]) -> str:
    """Return the module that an import reaches: `from ..training import loop` is the module loop where there is one."""
    full = ".".join(part for part in pair if part)
    return full if full in modules else pair[0]


def violations(source: str, module: str, is_package: bool = False, modules: frozenset[str] = frozenset()) -> list[str]:
    """Return what a module of the package imports against the table; `modules` are all that exist."""
    parts = module.split(".")
    mine = parts[1] if len(parts) > 1 else ""
    level = LEVEL.get(mine, FACE)
    wrong = []
    at_runtime = imports(source, module, is_package, types=False)
    for pair in sorted(imports(source, module, is_package)):
        root = pair[0].split(".")[0]
        if root != "morphogen":
            if mine == "core" and root not in CORE_MAY_IMPORT and pair in at_runtime:
                wrong.append(f"{module} imports {root}; core may import only torch, numpy, pydantic and safetensors")
            if root == "accelerate" and mine != "training":
                wrong.append(f"{module} imports accelerate; only training may")
            continue
        target = target_of(pair, modules)
        there = target.split(".")
        other = there[1] if len(there) > 1 else ""
        if mine == other:
            siblings = mine in ("families", "modalities") and len(parts) > 2 and len(there) > 2 and parts[2] != there[2]
            if siblings:
                wrong.append(f"{module} imports {target}; {mine} never import each other")
            continue
        height = LEVEL.get(other, FACE)
        if level == FACE or height < level:
            continue
        if not (height == level == CAPABILITIES and len(there) == 2):
            wrong.append(f"{module} imports {target}; imports point only down")
    return wrong


def source_files() -> dict[str, Path]:
    files = {}
    for file in sorted(ROOT.rglob("*.py")):
        if file.name.startswith("test_") or file.name == "conftest.py":
            continue
        parts = file.relative_to(ROOT).with_suffix("").parts
        files[".".join(("morphogen", *parts)).removesuffix(".__init__")] = file
    return files


def mutual(sources: dict[str, tuple[str, bool]]) -> list[str]:
    """Return the pairs of modules that import each other, types included."""
    modules = frozenset(sources)
    targets = {
        module: {target_of(pair, modules) for pair in imports(text, module, is_package)} & modules - {module}
        for module, (text, is_package) in sources.items()
    }
    return sorted(f"{a} and {b}" for a in targets for b in targets[a] if a < b and a in targets[b])


def test_every_import_points_down() -> None:
    files = source_files()
    unknown = {module.split(".")[1] for module in files if module.count(".")} - set(LEVEL) - {"__main__"}
    assert not unknown, f"{unknown} have no row in the table"
    wrong = [
        line
        for module, file in files.items()
        for line in violations(file.read_text("utf-8"), module, file.name == "__init__.py", frozenset(files))
    ]
    assert not wrong, "\n".join(wrong)


def test_no_two_files_import_each_other() -> None:
    sources = {name: (file.read_text("utf-8"), file.name == "__init__.py") for name, file in source_files().items()}
    assert not mutual(sources), "\n".join(mutual(sources))


def test_planted_violations_are_caught() -> None:
    modules = frozenset({"morphogen.training.loop", "morphogen.training", "morphogen.families.vae.grid"})

    def violates(source: str, module: str) -> bool:
        return bool(violations(source, module, modules=modules))

    assert violates("from ..families.vae import grid", "morphogen.core.noise")
    assert violates("def f():\n    from ..nn import unet", "morphogen.core.noise")
    assert violates("import pandas", "morphogen.core.noise")
    assert violates("from ...modalities.image import codec", "morphogen.families.vae.grid")
    assert violates("from ...families.vae import grid", "morphogen.modalities.image.codec")
    assert violates("from ..diffusion.grid import Diffusion", "morphogen.families.vae.grid")
    assert violates("from ..sampling import schedule", "morphogen.nn.unet")
    assert violates("from .training.loop import run", "morphogen.pipeline")
    assert violates("from .training import loop", "morphogen.pipeline")
    assert violates("from .model_folder import load_artifact", "morphogen.artifact")
    assert violates("import morphogen.cli", "morphogen.training.fit")
    assert violates("from accelerate import Accelerator", "morphogen.families.vae.grid")
    assert violates("from morphogen.testing import check_model", "morphogen.training.fit")
    assert violates("from .. import load", "morphogen.training.fit")
    assert violates("from ..training.loop import train", "morphogen.evaluation.evaluate")

    assert not violates("from ..training import fit", "morphogen.evaluation.evaluate")
    assert not violates("from ...core import noise\nimport torch", "morphogen.families.vae.grid")
    assert not violates("from accelerate import Accelerator", "morphogen.training.loop")
    assert not violates("from .prior import Prior", "morphogen.families.vae.grid")
    assert not violates("from morphogen.core.space import Space", "morphogen.sampling.schedule")

    pair = {"morphogen.a": ("from .b import x", False), "morphogen.b": ("def f():\n    from . import a", False)}
    assert mutual(pair) == ["morphogen.a and morphogen.b"]
