"""A package from outside, installed, adds a family, a modality and a metric without an edit here."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import CPU_ENVIRONMENT

from morphogen.core import plugins
from morphogen.core.modality import modalities, modality
from morphogen.core.model import Loss, Partial
from morphogen.core.space import Grid
from morphogen.testing import check_codec, check_modality, check_model

PLUGIN = Path(__file__).parent / "plugin"
STEPS, STOP = 12, 7  # time steps of a series, and the first one that is missing in `impute`


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toys, installed in a folder of their own, with their entry points."""
    root = tmp_path_factory.mktemp("installed")
    source, target = root / "source", root / "site"
    shutil.copytree(PLUGIN, source)  # setuptools builds in place
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    pip += ["--no-deps", "--no-build-isolation", "--target", str(target), str(source)]
    installed = subprocess.run(pip, capture_output=True, text=True, check=False)
    assert installed.returncode == 0, installed.stderr
    return target


def with_toys(site: Path, code: str, *arguments: str | Path) -> str:
    """Run Python with the toys installed; return what it prints, on both streams."""
    process = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**CPU_ENVIRONMENT, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout + process.stderr


CHECK = """
import sys
from pathlib import Path
import numpy as np
from morphogen.core import plugins
from morphogen.core.errors import UserError
from morphogen.core.modality import modality
from morphogen.core.space import Grid
from morphogen.testing import check_metric, check_modality, check_model

print(*check_model(plugins.model_for("gaussian", Grid)), sep="\\n")
mask = modality("readings").Mask(start=3, stop=6)
items = [np.round(np.sin(np.arange(12) + row), 1) for row in range(9)]
print(*check_modality(modality("readings"), items, Path(sys.argv[1]), mask=mask), sep="\\n")
check_metric(plugins.load("metrics", "mean_gap").MeanGap)
for group, name in (("families", "gausian"), ("modalities", "readins"), ("metrics", "mean_gapp")):
    try:
        plugins.load(group, name)
    except UserError as error:
        print(error)
"""


def test_installed_parts_are_discovered_and_keep_the_contracts(site: Path, tmp_path: Path) -> None:
    output = with_toys(site, CHECK, tmp_path)
    assert "ReadingsCodec to Tokens" in output
    for name in ("gaussian", "readings", "mean_gap"):
        assert f"did you mean '{name}'" in output


VERBS = """
import sys
from morphogen.cli import run

for line in sys.stdin if len(sys.argv) < 2 else open(sys.argv[1], encoding="utf-8"):
    words = line.split()
    print(">", *words, flush=True)
    code = run(words)
    print("code", code, flush=True)
"""


def series(seed: int, rising: bool) -> Any:
    noise = np.random.default_rng(seed).normal(size=STEPS)
    return np.round(np.linspace(-2, 2, STEPS) * (1 if rising else -1) + 0.3 * noise, 1)


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Two classes of series: files in class folders, one array in a file, and an array with labels in another."""
    for rising in (False, True):
        folder = tmp_path / "sensor" / ("rising" if rising else "falling")
        folder.mkdir(parents=True)
        for number in range(40):
            np.save(folder / f"{number:02d}.npy", series(number, rising))
    stack = np.stack([series(number, number % 2 == 0) for number in range(60)])
    np.save(tmp_path / "stack.npy", stack)
    np.savez(tmp_path / "stack.npz", x=stack, y=np.arange(60) % 2)
    return tmp_path


def test_a_modality_and_a_family_from_outside_through_every_verb(site: Path, recordings: Path) -> None:
    train = "--train.steps 60 --train.batch 32 --train.precision fp32 --train.previews 1"
    briefly = train.replace("60", "4")
    lines = f"""\
inspect sensor
inspect stack.npy
inspect stack.npz
inspect sensor/rising/00.npy
fit sensor --condition label {train} --out model
sample model -n 6 --condition label=rising --temperature 0.1 --out samples
impute model sensor/rising/00.npy --start {STOP} --imputations 2 --out imputed
impute model sensor --start {STOP} --out all
evaluate model -n 80
replay model samples
fit stack.npz --condition label {briefly} --out from-arrays
fit stack.npy --family autoregressive --options.width 16 --options.layers 1 {briefly} --out tokens
sample tokens -n 2 --out token-samples
impute model sensor/rising/00.npy --start 99 --out nothing
fit names.txt --family gaussian --out none
"""
    (recordings / "names.txt").write_text("\n".join(f"name{number}" for number in range(40)))
    (recordings / "verbs").write_text(lines)
    code = f"import os; os.chdir({str(recordings)!r})\n{VERBS}"
    output = with_toys(site, code, "verbs")
    verbs = output.split("> ")[1:]
    results = {verb.partition("\n")[0]: verb for verb in verbs}
    refused_lines = [line for line in lines.splitlines() if line.endswith(("nothing", "none"))]
    for line in lines.splitlines():
        assert f"code {2 if line in refused_lines else 0}" in results[line], output
    check_outputs(recordings, results)
    assert "so nothing is missing" in output
    assert "the family 'gaussian' cannot model token sequences; choose one of autoregressive" in output


def check_outputs(root: Path, results: dict[str, str]) -> None:
    """The files that the verbs wrote."""
    for source in ("sensor", "stack.npy", "stack.npz", "sensor/rising/00.npy"):
        assert "taken for modality 'readings'" in results[f"inspect {source}"]
        assert "12 time steps" in results[f"inspect {source}"]
    assert "label from 2 sub-folders" in results["inspect sensor"]
    assert "column 'label': 2 classes" in results["inspect stack.npz"]
    samples = [np.load(path) for path in sorted((root / "samples").glob("0*.npy"))]
    assert len(samples) == 6
    assert all(sample[-1] > sample[0] for sample in samples)  # of the class `rising`
    known = np.load(root / "sensor" / "rising" / "00.npy")[:STOP]
    imputed = [np.load(root / "imputed" / f"imputation-{number}" / "00000.npy") for number in (1, 2)]
    for one in imputed:
        assert one.shape == (STEPS,)
        assert np.array_equal(one[:STOP], known)
    assert not np.array_equal(*imputed)
    assert len(list((root / "all").glob("0*.npy"))) == 80
    metrics = json.loads((root / "model" / "metrics.json").read_text())
    keys = {figure["key"] for figure in metrics["evaluation"]["figures"]}
    assert {"roughness", "mean_gap"} <= keys
    assert (root / "model" / "report.html").exists()
    assert json.loads((root / "model" / "config.json").read_text())["modality"] == "readings"
    assert len(list((root / "token-samples").glob("0*.npy"))) == 2


MEMORY = """
import sys
import numpy as np
import morphogen
from morphogen.data.sources import open_source

series = np.linspace(-3, 5, 40).reshape(10, 4)
source = open_source(series)
assert source.modality == "readings", source.modality
assert np.array_equal(source.read(3), series[3])
assert open_source([row for row in series]).modality == "readings"
train = {"steps": 4, "batch": 8, "precision": "fp32", "previews": 0}
pipe = morphogen.fit(series, out=sys.argv[1], train=train, say=None)
assert pipe.family == "gaussian"
items = pipe.sample(3, seed=0, temperature=0.5)
filled = pipe.impute(items, start=1, stop=3)
for before, after in zip(items, filled):
    assert (before[[0, 3]] == after[[0, 3]]).all()
"""


def test_arrays_in_memory(site: Path, tmp_path: Path) -> None:
    with_toys(site, MEMORY, tmp_path / "model")


# The checks themselves: each broken promise is seen.


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a part of the toys, which are known by name in this process."""
    names = {"families": "gaussian", "modalities": "readings"}
    known = plugins.known
    monkeypatch.setattr(plugins, "known", lambda group: known(group) | _dotted(names.get(group)))
    monkeypatch.syspath_prepend(str(PLUGIN))
    _forget()
    yield lambda part: import_module(f"morphogen_toys.{part}")
    _forget()
    for name in [name for name in sys.modules if name.startswith("morphogen_toys")]:
        del sys.modules[name]


def _dotted(name: str | None) -> dict[str, str]:
    return {name: f"morphogen_toys.{name}"} if name else {}


def _forget() -> None:
    modality.cache_clear()
    modalities.cache_clear()


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


def indifferent(log_likelihood: Any) -> Any:
    def broken(self: Any, batch: Any, noise: Any = None) -> torch.Tensor:
        nats: torch.Tensor = log_likelihood(self, batch)
        return nats if noise is None else torch.zeros_like(nats)  # training needs none

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
        ("log_likelihood", indifferent, "corrupted items are as likely as those it was trained on"),
    ],
)
def test_a_broken_model_is_seen(toys: Any, monkeypatch: Any, method: str, sabotage: Any, complaint: str) -> None:
    model = toys("gaussian.grid").Gaussian
    monkeypatch.setattr(model, method, sabotage(getattr(model, method)))
    with pytest.raises(AssertionError, match=complaint):
        check_model(model, steps=20)


def scaled_by_batch(encode: Any) -> Any:
    return lambda self, items: encode(self, items) / (1 + len(items))


def shifted(decode: Any) -> Any:
    return lambda self, x, noise: decode(self, x + 0.3, noise)


def forgetful(state: Any) -> Any:
    return lambda self: ({**state(self)[0], "low": -9.0}, {})


@pytest.mark.parametrize(
    ("method", "sabotage", "complaint"),
    [
        ("encode", scaled_by_batch, "another code alone than in a batch|moves the codes"),
        ("decode", shifted, "moves the codes"),
        ("state", forgetful, "after loading"),
    ],
)
def test_a_broken_codec_is_seen(toys: Any, monkeypatch: Any, method: str, sabotage: Any, complaint: str) -> None:
    codec = toys("readings.codec").ReadingsCodec
    monkeypatch.setattr(codec, method, sabotage(getattr(codec, method)))
    with pytest.raises(AssertionError, match=complaint):
        check_codec(codec, [series(number, number % 2 == 0) for number in range(9)], (Grid,))


def rounded(write: Any) -> Any:
    return lambda self, parts, folder: write(self, ([np.rint(item) for item in part] for part in parts), folder)


def greedy(claims: Any) -> Any:
    return lambda self, record: 1.0


def blind(mask: Any) -> Any:
    return lambda self, items, mask: [np.zeros(len(item), dtype=bool) for item in items]


@pytest.mark.parametrize(
    ("method", "sabotage", "complaint"),
    [
        ("write", rounded, "written and loaded have other codes"),
        ("claims", greedy, "claims file of anything"),
        ("mask", blind, "all is known in spite of the mask"),
    ],
)
def test_a_broken_modality_is_seen(
    toys: Any, monkeypatch: Any, tmp_path: Path, method: str, sabotage: Any, complaint: str
) -> None:
    one = toys("readings.modality").MODALITY
    monkeypatch.setattr(type(one), method, sabotage(getattr(type(one), method)))
    items = [series(number, number % 2 == 0) for number in range(9)]
    with pytest.raises(AssertionError, match=complaint):
        check_modality(one, items, tmp_path, mask=one.Mask(start=3))
