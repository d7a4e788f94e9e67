"""Names that are suggested for unknown ones."""

from __future__ import annotations

import pytest

from .errors import unknown
from .suggest import decided_by, suggest

FIT = ["--out", "--minutes", "--train.steps", "--train.lr", "--train.batch", "--condition", "--options.width"]
FIT += ["--family", "--options.condition-dropout", "--train.seed", "--codec.size", "--resume"]
SAMPLE = ["--n", "--out", "--seed", "--batch", "--steps", "--guidance", "--max-length", "--temperature"]


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("--epochs", FIT, ["--minutes", "--train.steps"]),
        ("--lr", FIT, ["--train.lr"]),
        ("--learning_rate", FIT, ["--train.lr"]),
        ("--batch-size", FIT, ["--train.batch"]),
        ("--output", FIT, ["--out"]),
        ("-o", FIT, ["--out"]),
        ("--width", FIT, ["--options.width"]),
        ("--widht", FIT, ["--options.width"]),
        ("--dropout", FIT, ["--options.condition-dropout"]),
        ("--image-size", FIT, ["--codec.size"]),
        ("--batch-size", SAMPLE, ["--batch"]),
        ("--n-samples", SAMPLE, ["--n"]),
        ("--num-samples", SAMPLE, ["--n"]),
        ("--cfg_scale", SAMPLE, ["--guidance"]),
        ("--max-new-tokens", SAMPLE, ["--max-length"]),
        ("--temperatur", SAMPLE, ["--temperature"]),
        ("max_length", ["max-length"], ["max-length"]),
        ("train", ["fit", "sample"], ["fit"]),
        ("xyz", FIT, []),
        ("", [], []),
    ],
)
def test_the_nearest_names(name: str, known: list[str], expected: list[str]) -> None:
    assert suggest(name, known) == expected


def test_an_error_names_the_nearest_or_all() -> None:
    assert str(unknown("flag", "--epochs", FIT)) == (
        "unknown flag '--epochs'; did you mean '--minutes' or '--train.steps'?"
    )
    assert str(unknown("verb", "zz", ["fit", "sample"])) == "unknown verb 'zz'; known: fit, sample"


def test_what_is_no_setting_is_decided_elsewhere() -> None:
    for name in ("--device", "gpu", "--cuda", "--cpu", "train.device", "--no-cuda"):
        answer = decided_by(name)
        assert answer is not None
        assert "CUDA_VISIBLE_DEVICES" in answer
    assert "torchrun --nproc-per-node" in str(decided_by("--gpus"))
    assert decided_by("--out") is None
    assert "CUDA_VISIBLE_DEVICES" in str(unknown("field of train", "device", ["steps", "lr"]))
    column = str(unknown("column", "device", ["devices", "age"]))
    assert column == "unknown column 'device'; did you mean 'devices'?"
