"""The waist: no name of a family or a modality stands outside its own folder; everything else asks for a capability.

A stranger's modality and family through every verb: tests/test_plugin.py.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from morphogen import core

ROOT = Path(core.__file__).parents[1]


def folders(group: str) -> dict[str, Path]:
    """Return the folder of every family, or modality, by its name."""
    return {path.name: path for path in (ROOT / group).iterdir() if (path / "__init__.py").exists()}


def mentions(source: str, name: str, family: bool) -> Iterator[tuple[int, str]]:
    """Yield the lines of code that depend on a family or a modality by its name, with what is wrong.

    Of both these count: a string that is the name, alone, as a part of a dotted or slashed path, or after a flag
    (`--modality image`), pieces of f-strings included; and an import from its folder. The names of families are terms:
    theirs count also as a word in any other string, and as an identifier or a part of one between underscores. Those of
    modalities are common words (`text` may name any string), which say nothing in a sentence or an identifier.
    Docstrings do not count, nor do `default_family` and `large_family` in the body of a class, by which a modality
    declares where it begins.
    """
    tree = ast.parse(source)
    ignored = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and _is_string(node.value)}
    bodies = [node.body for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    ignored |= {id(node.value) for body in bodies for node in body if _declares_default(node)}  # type: ignore[attr-defined]
    for node in ast.walk(tree):
        if id(node) in ignored:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if _names(node.value, name, family):
                yield node.lineno, f"the string {node.value!r:.60}"
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            module = getattr(node, "module", None) or ""
            parts = [f"{module}.{alias.name}".split(".") for alias in node.names]
            if any(name in one and {"families", "modalities"} & set(one) for one in parts):
                yield node.lineno, f"an import from {module or 'the package'}"
        elif family:
            yield from (
                (node.lineno, f"the identifier {one}")  # type: ignore[attr-defined]
                for one in _identifiers(node)
                if re.search(rf"(^|_){name}(_|$)", one, re.IGNORECASE)
            )


def _names(text: str, name: str, family: bool) -> bool:
    if family and re.search(rf"(?<!\w){name}(?!\w)", text):
        return True
    if re.search(rf"--\w+[ =]{name}(?!\w)", text):
        return True
    words = text.split()
    return any(name in re.split(r"[./]", word) for word in words if len(words) == 1 or re.search(r"\w[./]\w", word))


def _is_string(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _declares_default(node: ast.AST) -> bool:
    target = (
        node.target if isinstance(node, ast.AnnAssign) else node.targets[0] if isinstance(node, ast.Assign) else None
    )
    return isinstance(target, ast.Name) and target.id in ("default_family", "large_family")


def _identifiers(node: ast.AST) -> list[str]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [node.name]
    if isinstance(node, ast.arg):
        return [node.arg]
    if isinstance(node, ast.Name):
        return [node.id]
    return [node.attr] if isinstance(node, ast.Attribute) else []


def test_no_name_of_a_family_or_a_modality_outside_its_folder() -> None:
    files = [
        one for one in sorted(ROOT.rglob("*.py")) if not one.name.startswith("test_") and one.name != "conftest.py"
    ]
    sources = {file: file.read_text("utf-8") for file in files}
    wrong = []
    for group in ("families", "modalities"):
        for name, folder in folders(group).items():
            for file, source in sources.items():
                if folder not in file.parents:
                    lines = mentions(source, name, family=group == "families")
                    wrong += [f"{file.relative_to(ROOT)}:{line}: {what} (of {name})" for line, what in lines]
    assert not wrong, "\n".join(wrong)


def test_what_counts() -> None:
    both = (
        'f(modality="X")',
        'if name == "X": pass',
        'x = {"X": 3}',
        'load("morphogen.modalities.X.codec")',
        'path = "modalities/X"',
        'raise E(f"fit with --modality X, {x}")',
        'raise E(f"fit with --family X or {x}")',
        "from .modalities.X import codec",
        "from .modalities import X",
        "import morphogen.families.X.options",
    )
    of_families = (
        'E("go through vq first")',
        "def is_vq(): pass",
        "VQ = 3",
        "def f(vq): pass",
        "x.vq",
        "class VQ_3: pass",
        'def f():\n    default_family = "vq"',
    )
    neither = (
        'def f():\n    """Return an X.\n\n    X\n    """',
        'class M:\n    default_family = "X"',
        'class M:\n    default_family: str = "X"',
        'x = "Xs"',
        'help = "an Xed item. Next"',
        "from PIL import Image",
    )
    for code in both:
        assert list(mentions(code.replace("X", "text"), "text", family=False)), code
        assert list(mentions(code.replace("X", "vq"), "vq", family=True)), code
    for code in of_families:
        assert list(mentions(code, "vq", family=True)), code
    for code in neither:
        assert not list(mentions(code.replace("X", "text"), "text", family=False)), code
        assert not list(mentions(code.replace("X", "vq"), "vq", family=True)), code
    for code in ('help = "Write an image of all samples."', "image = Image.open(x)", "def is_image(): pass"):
        assert not list(mentions(code, "image", family=False)), code
