"""What a program sees of the package: descriptions, signatures, messages, and a process left as it was."""

from __future__ import annotations

import gc
import inspect
import logging
import os
import pydoc
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tiny import TRAIN, tiny

import morphogen
from morphogen import UserError
from morphogen.core.log import say
from morphogen.core.noise import Noise

PEOPLE = pd.DataFrame({"age": [20, 20, 20, 30, 40, 50, 50, 50] * 15, "city": (["Rome"] * 4 + ["Oslo"] * 4) * 15})


@pytest.fixture(scope="module")
def people() -> morphogen.Pipeline:
    """A model of rows in a temporary folder."""
    return morphogen.fit(PEOPLE, train={"steps": 150, "batch": 64, "precision": "fp32"}, say=None)


def process_state() -> dict[str, Any]:
    return {
        "random": random.getstate(),
        "numpy": str(np.random.get_state()),
        "torch": torch.get_rng_state().tolist(),
        "threads": torch.get_num_threads(),
        "grad": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "dtype": torch.get_default_dtype(),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
        "denormal": float(torch.tensor(2.0**-1050, dtype=torch.float64) * 0.5),
        "handlers": [list(logging.getLogger(name).handlers) for name in ("", "morphogen")],
        "folder": os.getcwd(),
    }


def test_a_fit_leaves_the_process_as_it_was() -> None:
    random.seed(3)
    np.random.seed(3)
    torch.manual_seed(3)
    threads = torch.get_num_threads()
    try:
        torch.set_default_dtype(torch.float64)
        torch.set_num_threads(1)
        with torch.inference_mode():
            before = process_state()
            pipe = morphogen.fit("digits", family="gan", train=TRAIN, options=tiny("gan"), say=None)
            pipe.sample(1)
            *_, last = pipe.drafts(seed=1)
            assert last.tobytes() == pipe.sample(1, seed=1)[0].tobytes()
            assert process_state() == before
        with pytest.raises(UserError):
            morphogen.fit("digits", family="gan", train={**TRAIN, "batch": 10**8}, say=None)
        assert process_state()["dtype"] == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_num_threads(threads)


def test_a_temporary_folder_lives_as_long_as_its_pipeline(tmp_path: Path) -> None:
    lines: list[str] = []
    pipe = morphogen.fit("digits", family="gan", train=TRAIN, options=tiny("gan"), say=lines.append)
    folder = pipe.folder
    assert folder is not None
    assert (folder / "split.json").exists()
    assert "save(FOLDER)" in lines[-1]
    pipe.save(tmp_path / "kept")
    assert pipe.folder == tmp_path / "kept"
    assert {"README.md", "split.json", "config.json"} <= {path.name for path in pipe.folder.iterdir()}
    assert morphogen.load(tmp_path / "kept").hash == pipe.hash
    del pipe
    gc.collect()
    assert not folder.exists()


def test_a_saved_model_finds_its_source(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("\n".join(f"name {number}" for number in range(60)))
    options = {"width": 16, "layers": 1}
    pipe = morphogen.fit(tmp_path / "names.txt", out=tmp_path / "first", train=TRAIN, options=options, say=None)
    pipe.save(tmp_path / "other" / "place")
    from morphogen.core.config import read_json

    spec = read_json(tmp_path / "other" / "place" / "split.json")["spec"]
    assert (tmp_path / "other" / "place" / spec).resolve() == tmp_path / "names.txt"


def test_a_pipeline_describes_itself(people: morphogen.Pipeline, fitted: Callable[[str], Path]) -> None:
    text = repr(people)
    for part in ("family: autoregressive", "modality: table", "parameters: ", " MB", "source: a data frame", "folder:"):
        assert part in text
    pipe = morphogen.load(fitted("diffusion"))
    assert "conditions: label (10 classes)" in repr(pipe)


def test_signatures_list_the_fields_of_the_model(people: morphogen.Pipeline, fitted: Callable[[str], Path]) -> None:
    pipe = morphogen.load(fitted("diffusion"))
    parameters = inspect.signature(pipe.sample).parameters
    assert list(parameters)[:4] == ["count", "seed", "batch", "progress"]
    assert parameters["guidance"].annotation is float
    assert parameters["guidance"].default == 1.6
    assert parameters["guidance_interval"].annotation == tuple[float, float]
    assert "keywords" not in parameters
    assert "guidance: Classifier-free guidance" in pydoc.render_doc(pipe.sample)
    assert "top_k" in inspect.signature(people.sample).parameters
    assert "mask" in inspect.signature(pipe.impute).parameters
    assert inspect.signature(morphogen.Pipeline.sample).parameters.keys() >= {"count", "keywords"}


def test_messages_go_to_the_logger(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    say("not set up")
    assert capsys.readouterr().err == "not set up\n"
    logger = logging.getLogger("morphogen")
    try:
        logger.setLevel(logging.WARNING)
        say("too quiet")
        assert capsys.readouterr() == ("", "")
        logger.setLevel(logging.INFO)
        say("100 % of it")
        assert [record.getMessage() for record in caplog.records] == ["100 % of it"]
        assert capsys.readouterr() == ("", "")
    finally:
        logger.setLevel(logging.NOTSET)


def test_the_consensus_of_imputations(people: morphogen.Pipeline) -> None:
    holes = PEOPLE.astype({"age": "Int64"})
    holes.loc[holes.index % 3 == 0, "age"] = pd.NA
    holes.loc[holes.index % 3 == 1, "city"] = None
    best, one = people.impute(holes, best=True, seed=1), people.impute(holes, seed=1)
    assert isinstance(best, pd.DataFrame)
    assert not best.isna().any().any()
    known = holes.notna().to_numpy()
    assert (best.to_numpy() == PEOPLE.to_numpy())[known].all()
    right, one_right = ((frame.to_numpy() == PEOPLE.to_numpy())[~known].mean() for frame in (best, one))
    assert right >= one_right
    again = people.impute(holes.iloc[:3], best=True, seed=1)
    assert len(again) == 3


@pytest.mark.parametrize(
    ("controls", "message"),
    [
        ({"guidance": 1.0, "guidance_interval": (0.2, 2.0)}, "guidance_interval has no effect with guidance 1; drop"),
        ({"stepz": 3}, "unknown argument 'stepz'; did you mean 'steps'?"),
        ({"num_inference_steps": 3}, "unknown argument 'num_inference_steps'; did you mean 'steps'?"),
        ({"cfg_scale": 3}, "unknown argument 'cfg_scale'; did you mean 'guidance'?"),
    ],
)
def test_refused_keywords(controls: dict[str, Any], message: str, fitted: Callable[[str], Path]) -> None:
    with pytest.raises(UserError, match=message):
        morphogen.load(fitted("diffusion")).sample(1, **controls)


def test_settings_that_contradict_each_other_are_refused() -> None:
    from morphogen.core import plugins
    from morphogen.core.space import TokenSequence

    for family in ("autoregressive", "masked_diffusion"):
        controls = plugins.entry_for(family, TokenSequence).Controls
        with pytest.raises(ValueError, match="min_length is 9 and max_length 4"):
            controls(min_length=9, max_length=4)
        assert controls(min_length=9, max_length=9)
    with pytest.raises(UserError, match=r"options\.condition_dropout has no effect without a condition"):
        morphogen.fit("digits", family="diffusion", options={"condition_dropout": 0.2}, train=TRAIN, say=None)


def test_the_consensus_of_items_without_parts_is_one_of_them() -> None:
    from morphogen.core.modality import modality
    from morphogen.core.space import TokenSequence

    own = modality("text")
    codec = own.fit([["abc", "abd", "xyz"]], TokenSequence, own.Options())
    assert own.consensus([["abc", "x"], ["abd", "x"], ["xyz", "z"], ["abc", "x"]], codec) == ["abc", "x"]
    assert codec.decode(codec.encode(["abc"]), Noise([0])) == ["abc"]
