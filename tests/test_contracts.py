"""Every family, modality, solver and metric, built in or installed, keeps its contract; all are discovered by name."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pytest
from pydantic import ValidationError, create_model

from morphogen.core import plugins
from morphogen.core.config import Frozen, ReadIf, build
from morphogen.core.errors import UserError
from morphogen.core.modality import modalities, modality
from morphogen.core.space import Grid, Row, Space, Tokens, TokenSequence
from morphogen.metrics.base import Metric
from morphogen.sampling.solvers.base import Solver
from morphogen.testing import check_metric, check_modality, check_model, check_solver
from morphogen.testing.keywords import check_keywords

KINDS: tuple[type[Space], ...] = (Grid, Tokens, TokenSequence, Row)
FAMILIES = list(plugins.known("families"))
PAIRS = [(family, kind) for family in FAMILIES for kind in plugins.models(family)]
BY_NAME = [pytest.param(family, kind, id=f"{family}-{kind.__name__}") for family, kind in PAIRS]


def tiny(options: type[Frozen]) -> dict[str, int]:
    """The narrowest network worth training: options that end in `width` or `channels` are 16 where they are read."""
    return options().read_fields({name: 16 for name in options.model_fields if name.endswith(("width", "channels"))})


def test_all_are_discovered() -> None:
    assert {"vae", "diffusion", "gan", "vq", "autoregressive", "masked_diffusion"} <= set(FAMILIES)
    assert {"image", "text", "table"} <= set(modalities())
    assert {"euler", "heun", "ddim", "dpm_solver", "ancestral", "adaptive"} <= set(plugins.known("solvers"))
    assert {kind for _, kind in PAIRS} == set(KINDS)
    assert {kind for one in modalities().values() for kind in one.spaces} == set(KINDS)


@pytest.mark.parametrize(("family", "kind"), BY_NAME)
def test_family(family: str, kind: type[Space]) -> None:
    model = plugins.model_for(family, kind)
    controls = {"steps": 4} if "steps" in model.Controls.model_fields else {}
    steps = 120 if kind is TokenSequence else 40  # of training; sequences learn last
    check_model(model, tiny(model.Options), controls=controls, steps=steps)


def settings(part: str) -> dict[tuple[str, type[Space]], set[str]]:
    """The names of the options or controls of every pair of a family and a kind of space."""
    return {(family, kind): set(getattr(plugins.entry_for(family, kind), part).model_fields) for family, kind in PAIRS}


@pytest.mark.parametrize("part", ["Options", "Controls"])
@pytest.mark.parametrize(("family", "kind"), BY_NAME)
def test_a_setting_of_another_model_is_refused_by_name(family: str, kind: type[Space], part: str) -> None:
    known = settings(part)
    own_settings = known[family, kind]
    others = set().union(*known.values()) - own_settings
    assert others, "no other model has a setting that this one has not"
    entry = plugins.entry_for(family, kind)
    for name in sorted(others):
        with pytest.raises(UserError, match=f"unknown field of {part.lower()} '{name}'"):
            build(getattr(entry, part), {name: 1}, part.lower())
        with pytest.raises(ValidationError):
            getattr(entry, part)(**{name: 1})


@pytest.mark.parametrize(("family", "kind"), BY_NAME)
def test_every_setting_is_read(family: str, kind: type[Space]) -> None:
    """A model reads every option and control that it declares: its name stands in the code of its family or below."""
    entry = plugins.entry_for(family, kind)
    module = plugins.load("families", family, "options")
    folder = Path(module.__file__ or "").parent
    root = Path(plugins.__file__ or "").parents[1]
    files = [*folder.glob("*.py"), *(root / "nn").rglob("*.py"), *(root / "sampling").rglob("*.py")]
    code = "\n".join(file.read_text("utf-8") for file in files if not file.name.startswith(("test_", "options")))
    code += "\n".join(line for line in (folder / "options.py").read_text("utf-8").splitlines() if "self." in line)
    for settings in (entry.Options, entry.Controls):
        unread = [name for name in settings.model_fields if f".{name}" not in code]
        assert not unread, f"{family} for {kind.plural} declares {unread} and reads none of them"


RULES = [
    pytest.param(part, kind, rule, name, id=f"{family}-{space.__name__}-{name} if {rule.setting}")
    for family, space in PAIRS
    for part in ("Options", "Controls")
    for kind in [getattr(plugins.entry_for(family, space), part)]
    for rule in kind.read_if
    for name in rule.fields
]


@pytest.mark.parametrize(("part", "kind", "rule", "name"), RULES)
def test_a_setting_that_another_makes_void_is_refused(part: str, kind: type[Frozen], rule: ReadIf, name: str) -> None:
    """Both ways: a value that is not the default is refused where the rule does not hold, and taken where it does."""
    part = part.lower()
    reading = [value for value in possible(kind, rule.setting) if rule.holds(value)]
    void = [value for value in possible(kind, rule.setting) if not rule.holds(value)]
    other = next(value for value in possible(kind, name) if value != kind.default(name))
    assert reading
    assert void
    for value in reading:
        others = {one.setting: read_value(kind, one) for one in kind.read_if if name in one.fields}
        assert getattr(build(kind, {**others, rule.setting: value, name: other}, part), name) == other
    for value in void:
        assert build(kind, {rule.setting: value, name: kind.default(name)}, part)
        message = f"^{part}.{name} has no effect with {rule.setting} {value}; drop it, or use {rule.setting} "
        with pytest.raises(UserError, match=message + re.escape(rule.expected)):
            build(kind, {rule.setting: value, name: other}, part)


def possible(kind: type[Frozen], name: str) -> list[Any]:
    """Some values that a field can have: all of a choice, numbers around the default of a number."""
    annotation, default = kind.model_fields[name].annotation, kind.default(name)
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    if isinstance(default, tuple):
        return [default, (2, 3)]
    values = [default, *((default + 8, 0, 1) if isinstance(default, int) else (default / 2, default + 0.5, 0.0))]
    return [value for value in dict.fromkeys(values) if fits(kind, name, value)]


def fits(kind: type[Frozen], name: str, value: Any) -> bool:
    """Whether a field takes a value, other fields aside."""
    try:
        kind(**{name: value})
    except ValidationError as error:
        return not error.errors()[0]["loc"]
    return True


def read_value(kind: type[Frozen], rule: ReadIf) -> Any:
    return next(value for value in possible(kind, rule.setting) if rule.holds(value))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_kind_that_a_family_has_not_is_refused(family: str) -> None:
    for kind in set(KINDS) - set(plugins.models(family)):
        able = ", ".join(name for name in FAMILIES if kind in plugins.models(name))
        with pytest.raises(UserError, match=f"the family '{family}' cannot model {kind.plural}; choose one of {able}"):
            plugins.model_for(family, kind)
        with pytest.raises(UserError, match="cannot model"):
            plugins.kind_for(family, (kind,))


@pytest.mark.parametrize("name", modalities())
def test_modality(name: str, tmp_path: Path) -> None:
    items, mask = EXAMPLES[name]()
    own_modality = modality(name)
    assert own_modality.Mask is not None
    check_modality(own_modality, items, tmp_path, mask=own_modality.Mask(**mask))


@pytest.mark.parametrize("field", ["prompt", "mask", "seed"])
def test_a_control_with_the_name_of_something_else_is_seen(field: str) -> None:
    """`check_model` and `check_modality` look for it in every pair of a family and a modality."""
    controls = create_model("Controls", __base__=Frozen, **{field: (str, "")})  # type: ignore[call-overload]
    with pytest.raises(AssertionError, match=f"the control '{field}' is"):
        check_keywords(controls, modality("text"), "here")


@pytest.mark.parametrize("name", plugins.known("solvers"))
def test_solver(name: str) -> None:
    check_solver(plugins.sole(plugins.load("solvers", name), Solver)())


@pytest.mark.parametrize("name", plugins.known("metrics"))
def test_metric(name: str) -> None:
    check_metric(plugins.sole(plugins.load("metrics", name), Metric))


def test_settings_need_no_torch() -> None:
    """`morphogen --help` reads all Options, Controls, Queries, Masks and solvers."""
    modules = [f"{dotted}.options" for dotted in plugins.known("families").values()]
    modules += [f"{dotted}.modality" for dotted in plugins.known("modalities").values()]
    modules += list(plugins.known("solvers").values())
    code = "\n".join([*(f"import {module}" for module in modules), "import sys", "sys.exit('torch' in sys.modules)"])
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0, modules


def _pictures() -> tuple[Any, dict[str, Any]]:
    from PIL import Image

    random = np.random.default_rng(0)
    items = [Image.fromarray(random.integers(0, 256, (8, 8), dtype=np.uint8)) for _ in range(7)]
    return items, {"mask": "left"}


def _texts() -> tuple[Any, dict[str, Any]]:
    return ["a short _", "_é", "two_\nlines", "漢字 _ and 🙂", "x" * 300 + "_", " spaces _ ", "the la_t"], {"mask": "_"}


def _rows() -> tuple[Any, dict[str, Any]]:
    import pyarrow as arrow

    columns = {
        "a": [1, 2, 3, 1, None, 3, 2],
        "b": ["x", "y", "x", "y", "x", None, "y"],
        "c": [True, False] * 3 + [True],
    }
    return arrow.table(columns), {"mask": "b"}


EXAMPLES = {"image": _pictures, "table": _rows, "text": _texts}  # an installed modality is tested by its own package
