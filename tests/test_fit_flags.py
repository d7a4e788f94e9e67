"""The command line of fit: its help, and what it refuses before anything is encoded."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

import morphogen
from morphogen import UserError
from morphogen.cli import run
from morphogen.core import plugins
from morphogen.core.modality import modalities
from morphogen.data import sources
from morphogen.training.options import TrainOptions
from morphogen.training.spec import FitSpec, Probed

PAIRS = [
    (family, own.name)
    for own in modalities().values()
    for family in plugins.known("families")
    if any(kind in plugins.models(family) for kind in own.spaces)
]


def boxes(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, list[str]]:
    """Return the flags under each heading of the help."""
    with pytest.raises(SystemExit) as stop:
        run(["fit", *arguments, "--help"])
    assert stop.value.code == 0
    # Without a terminal a heading is a line with a rule below it.
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    flags: dict[str, list[str]] = {}
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        if below and not below.strip("-") and line.endswith(("options", "arguments")):
            flags[line] = []
        elif flags and (flag := re.match(r"(-h|--\w[\w.-]*|SOURCE)", line)):
            flags[list(flags)[-1]].append(flag[1])
    return flags


def test_help_begins_with_the_flags_that_people_need(capsys: pytest.CaptureFixture[str]) -> None:
    headings = boxes(capsys)
    assert headings.pop("positional arguments") == ["SOURCE"]
    first = ["-h", "--out", "--family", "--modality", "--minutes", "--condition", "--autoencoder", "--resume"]
    assert headings.pop("options") == first
    assert list(headings) == ["further options", "training options"], "options of a model depend on the data"


def test_every_model_has_its_own_options_under_its_own_name(capsys: pytest.CaptureFixture[str]) -> None:
    for family, name in PAIRS:
        headings = boxes(capsys, "--family", family, "--modality", name)
        own = modalities()[name]
        options = plugins.entry_for(family, plugins.kind_for(family, own.spaces)).Options.model_fields
        expected = {"--options." + field.replace("_", "-") for field in options}
        assert set(headings.get(f"{family.replace('_', ' ')} options", [])) == expected
        codec = {"--codec." + field.replace("_", "-") for field in own.Options.model_fields}
        assert set(headings.get(f"{name} codec options", [])) == codec


def test_an_option_of_another_model_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For every model of every family, each option that only the family's other models have."""
    checked = 0
    for family in plugins.known("families"):
        for kind, entry in plugins.models(family).items():
            foreign = {
                name: other.plural
                for other, entry_of_other in plugins.models(family).items()
                for name in entry_of_other.Options.model_fields
                if name not in entry.Options.model_fields
            }
            name = next((one.name for one in modalities().values() if kind in one.spaces), None)
            offered = name and plugins.kind_for(family, modalities()[name].spaces)
            for option in foreign if offered is kind else ():
                flag = f"--options.{option.replace('_', '-')}"
                arguments = ["--modality", str(name), "--family", family, flag, "1", "--help"]
                assert run(["fit", *arguments]) == 2
                message = capsys.readouterr().err
                assert f"the {family} model of {kind.plural} has no option '{option}'" in message
                checked += 1
    assert checked > 10


def test_what_a_model_cannot_do_is_refused_with_those_that_can(tmp_path: Path) -> None:
    pictures, table = np.zeros((20, 8, 8), np.uint8), pandas.DataFrame({"a": [1.5, 2.5] * 20, "b": [2.5, 3.5] * 20})

    def refused(source: Any, *words: str, **settings: Any) -> None:
        with pytest.raises(UserError) as error:
            morphogen.fit(source, out=tmp_path / "out", say=None, **settings)
        for word in words:
            assert word in str(error.value)
        assert not (tmp_path / "out").exists()

    labels = (pictures, ["a", "b"] * 10)
    refused(labels, "vq", "trained without conditions", "choose autoregressive or", family="vq", condition="label")
    refused(pictures, "low resolution", "choose diffusion, or", family="gan", super_resolution=2)
    refused(pictures, "--super-resolution is 1", family="diffusion", super_resolution=1)
    refused(table, "cannot model rows", "autoregressive", family="gan")
    constraints = {"constraints": ("a <= b",)}
    refused(table, "cannot keep the constraints", "choose autoregressive", family="vae", codec=constraints)
    refused(table, "autoregressive", "without conditions", "when sampling", family="autoregressive", condition="a")
    refused(pictures, "--minutes is 0", minutes=0)
    refused(pictures, "not both", minutes=1, train={"steps": 1})


def test_the_source_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened_sources = []
    original = sources._open

    def recording_open(*arguments: Any) -> Any:
        opened_sources.append(arguments[0])
        return original(*arguments)

    monkeypatch.setattr(sources, "_open", recording_open)
    assert run(["fit", "digits", "--condition", "no-such-column", "--out", str(tmp_path / "out")]) == 2
    assert opened_sources == ["digits"]


def test_records_are_read_as_they_were_written(tmp_path: Path) -> None:
    (tmp_path / "training").mkdir()
    spec = FitSpec(
        source="../data",
        modality="image",
        family="vae",
        conditions=("label",),
        super_resolution=2,
        options={"width": 16},
        codec={"size": 8},
        train=TrainOptions(steps=3),
    )
    assert FitSpec.read(spec.write(tmp_path) and tmp_path) == spec
    assert spec.condition_names == ("label", "low_res")
    record = tmp_path / "training" / "spec.json"
    for field, value, message in (("famly", "vae", "famly is unknown"), ("minutes", "2", "minutes is '2': input")):
        record.write_text(json.dumps({**spec.model_dump(mode="json"), field: value}))
        with pytest.raises(UserError, match=rf"spec\.json cannot be read .*{message}"):
            FitSpec.read(tmp_path)
    with pytest.raises(UserError, match=r"probed\.json"):
        Probed.read(tmp_path)


@pytest.mark.parametrize(
    ("flag", "nearest"),
    [
        ("--epochs", "'--minutes' or '--train.steps'"),
        ("--lr", "'--train.lr'"),
        ("--batch-size", "'--train.batch'"),
        ("--output", "'--out'"),
        ("-o", "'--out'"),
        ("--widht", "'--options.width'"),
        ("--image_size", "'--codec.size'"),
    ],
)
def test_flags_of_other_programs(flag: str, nearest: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["fit", "digits", flag, "3"]) == 2
    assert capsys.readouterr().err == f"morphogen: unknown flag '{flag}'; did you mean {nearest}?\n"


@pytest.mark.parametrize(
    ("flag", "answer"),
    [
        ("--device", "CUDA_VISIBLE_DEVICES=-1 the CPU"),
        ("--gpu", "CUDA_VISIBLE_DEVICES=1 chooses the second GPU"),
        ("--cuda", "a CUDA GPU is used where PyTorch finds one"),
        ("--cpu", "CUDA_VISIBLE_DEVICES=-1 the CPU"),
        ("--gpus", "torchrun --nproc-per-node 2 -m morphogen"),
    ],
)
def test_the_device_is_no_flag(flag: str, answer: str, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["fit", "digits", flag, "cuda"], ["sample", "model", f"{flag}=1"]):
        assert run(arguments) == 2
        line = capsys.readouterr().err
        if arguments[0] == "fit":
            assert line.startswith(f"morphogen: unknown flag '{flag}'; ")
            assert answer in line
            assert "did you mean" not in line


def test_flags_and_verbs_of_other_programs_for_other_verbs(
    fitted: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(fitted("gan"))
    for arguments, known in (
        (["sample", model, "--num-samples", "3"], "flag '--num-samples'; did you mean '-n'?"),
        (["sample", model, "--truncatoin", "1"], "flag '--truncatoin'; did you mean '--truncation'?"),
        (["evaluate", model, "--fast"], "flag '--fast'; did you mean '--quick'?"),
        (["train", "digits"], "verb 'train'; did you mean 'fit'?"),
        (["generate", model], "verb 'generate'; did you mean 'sample'?"),
    ):
        assert run(arguments) == 2
        assert capsys.readouterr().err == f"morphogen: unknown {known}\n"
