"""A package from outside, installed, adds a family and a modality without an edit here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from morphogen.core.model import Loss, Partial
from morphogen.core.space import Continuous
from morphogen.testing import check_codec, check_model

PLUGIN = Path(__file__).parent / "plugin"

CHECK = """
from morphogen.core import plugins
from morphogen.core.codec import Codec
from morphogen.core.errors import UserError
from morphogen.core.model import GenerativeModel
from morphogen.core.space import Continuous, Tokens
from morphogen.testing import check_codec, check_model

assert {"gaussian", "vae", "diffusion"} <= set(plugins.known("families")), plugins.known("families")
assert {"readings", "image"} <= set(plugins.known("modalities")), plugins.known("modalities")
model = plugins.sole(plugins.load("families", "gaussian", "model"), GenerativeModel)
print(*check_model(model), sep="\\n")
module = plugins.load("modalities", "readings", "codec")
print(*check_codec(plugins.sole(module, Codec), module.examples(9), (Continuous, Tokens)), sep="\\n")
try:
    plugins.load("families", "gausian")
except UserError as error:
    assert "did you mean 'gaussian'" in str(error)
"""


def test_an_installed_package_is_discovered_and_keeps_the_contracts(tmp_path: Path) -> None:
    source, site = tmp_path / "source", tmp_path / "site"
    shutil.copytree(PLUGIN, source)  # setuptools builds in place
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    pip += ["--no-deps", "--no-build-isolation", "--target", str(site), str(source)]
    installed = subprocess.run(pip, capture_output=True, text=True, check=False)
    assert installed.returncode == 0, installed.stderr
    checked = subprocess.run(
        [sys.executable, "-W", "error", "-c", CHECK],
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
    assert "ReadingCodec to Tokens" in checked.stdout


# The checks themselves: each broken promise is seen.


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(PLUGIN))
    yield lambda part: import_module(f"morphogen_toys.{part}")
    for name in [name for name in sys.modules if name.startswith("morphogen_toys")]:
        del sys.modules[name]


def by_batch(generate: Any) -> Any:
    def broken(self: Any, request: Any, controls: Any) -> Iterator[Partial]:
        for draft in generate(self, request, controls):
            yield Partial(draft.x - draft.x.mean(0), draft.known)

    return broken


def without_condition(generate: Any) -> Any:
    def broken(self: Any, request: Any, controls: Any) -> Iterator[Partial]:
        return generate(self, type(request)(request.noise, given=request.given), controls)

    return broken


def without_given(generate: Any) -> Any:
    def broken(self: Any, request: Any, controls: Any) -> Iterator[Partial]:
        return generate(self, type(request)(request.noise, request.condition), controls)

    return broken


def unfinished(generate: Any) -> Any:
    def broken(self: Any, request: Any, controls: Any) -> Iterator[Partial]:
        for draft in generate(self, request, controls):
            yield Partial(draft.x, ~draft.known)

    return broken


def frozen(forward: Any) -> Any:
    def broken(self: Any, batch: Any, phase: str = "model") -> Loss:
        return Loss(0 * forward(self, batch, phase).total + 1)

    return broken


def infinite(forward: Any) -> Any:
    def broken(self: Any, batch: Any, phase: str = "model") -> Loss:
        return Loss(forward(self, batch, phase).total + torch.inf)

    return broken


@pytest.mark.parametrize(
    ("method", "sabotage", "complaint"),
    [
        ("generate", by_batch, "not the same alone and in a batch"),
        ("generate", without_condition, "the condition does not change the output"),
        ("generate", without_given, "what was given does not come back"),
        ("generate", unfinished, "the last draft is not all known"),
        ("forward", frozen, "does not overfit one batch"),
        ("forward", infinite, "the loss is inf"),
    ],
)
def test_a_broken_model_is_seen(toys: Any, monkeypatch: Any, method: str, sabotage: Any, complaint: str) -> None:
    model = toys("gaussian.model").Gaussian
    monkeypatch.setattr(model, method, sabotage(getattr(model, method)))
    with pytest.raises(AssertionError, match=complaint):
        check_model(model, steps=20)


def scaled_by_batch(encode: Any) -> Any:
    return lambda self, items: encode(self, items) / (1 + len(items))


def shifted(decode: Any) -> Any:
    return lambda self, x: decode(self, x + 0.3)


def forgetful(state: Any) -> Any:
    return lambda self: ({**state(self)[0], "low": -1.0}, {})


@pytest.mark.parametrize(
    ("method", "sabotage", "complaint"),
    [
        ("encode", scaled_by_batch, "another code alone than in a batch|moves the codes"),
        ("decode", shifted, "moves the codes"),
        ("state", forgetful, "after loading"),
    ],
)
def test_a_broken_codec_is_seen(toys: Any, monkeypatch: Any, method: str, sabotage: Any, complaint: str) -> None:
    module = toys("readings.codec")
    monkeypatch.setattr(module.ReadingCodec, method, sabotage(getattr(module.ReadingCodec, method)))
    with pytest.raises(AssertionError, match=complaint):
        check_codec(module.ReadingCodec, module.examples(9), (Continuous,))
