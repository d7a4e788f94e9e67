"""What strangers send: small model folders, folders of samples, interrupted fits and sources, and what reads each."""

from __future__ import annotations

import gzip
import json
import shutil
import struct
import zipfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet
import torch
from items import COUNT, rows, shades, smooth_pictures, words

import morphogen
from morphogen import UserError
from morphogen.cli import run
from morphogen.core.files import file_hash
from morphogen.evaluation.default_judge import DefaultJudge
from morphogen.evaluation.splits import open_splits
from morphogen.training.checkpoint import latest_checkpoint, load_checkpoint
from morphogen.training.dataset import open_dataset
from morphogen.training.loop import TrainState
from morphogen.training.spec import FitSpec, Prepared, Probed

Read = Callable[[Path], object]  # raises UserError, or nothing
_TRAIN: dict[str, Any] = {"steps": 2, "batch": 8, "precision": "fp32", "previews": 0}


def cases(folder: Path) -> dict[str, tuple[Path, Read]]:
    """Return by name a file or folder to damage, and what reads a folder with the damaged copy."""
    folder.mkdir(parents=True, exist_ok=True)
    models = {name: _model(folder / "models" / name, name) for name in ("pictures", "texts", "rows", "latents")}
    all_cases: dict[str, tuple[Path, Read]] = {f"model of {name}": (path, _load) for name, path in models.items()}
    for name in ("pictures", "texts", "rows"):
        all_cases[f"samples of {name}"] = (_samples(models[name], folder / "samples" / name), _replaying(models[name]))
    for name in ("pictures", "texts"):
        all_cases[f"signed model of {name}"] = (_codecs(models[name], folder / "signed" / name), _load_signed)
    all_cases["fit"] = (_interrupted(folder / "fit"), _read_fit)
    for path in _sources(folder / "sources"):
        all_cases[f"source {path.name}"] = (path, _inspect)
    all_cases["recipe"] = (_recipe(folder / "recipe.toml"), _read_recipe)
    return all_cases


def _model(out: Path, name: str) -> Path:
    photos = [(item, "ab"[number % 2]) for number, item in enumerate(shades())]
    small: dict[str, Any] = {"train": _TRAIN, "say": None, "out": out}
    if name == "pictures":
        pictures, labels = map(list, zip(*photos, strict=True))
        few = {"width": 16, "blocks": (1, 1)}
        morphogen.fit((pictures, labels), family="diffusion", condition="label", options=few, **small)
    elif name == "texts":
        few = {"width": 32, "layers": 1}
        morphogen.fit(words(), family="autoregressive", options=few, **small)
    elif name == "rows":
        few = {"width": 16, "embedding": 16}
        morphogen.fit(rows(), family="autoregressive", options=few, **small)
    else:
        autoencoder = out.parent / "autoencoder"
        morphogen.fit(shades(), family="vae", options={"width": 16}, **{**small, "out": autoencoder})
        few = {"width": 16, "blocks": (1, 1)}
        morphogen.fit(shades(), family="diffusion", options=few, autoencoder=autoencoder, **small)
    return out


def _samples(model: Path, out: Path) -> Path:
    _refused_or_done(["sample", str(model), "-n", "3", "--out", str(out)])
    return out


def _codecs(model: Path, out: Path) -> Path:
    """Return the same model with its JSON alone open to damage: weights that agree with their hash say anything."""
    shutil.copytree(model, out)
    for name in ("README.md", "metrics.json", "split.json"):
        (out / name).unlink()
    return out


def _interrupted(out: Path) -> Path:
    """Return the folder of a fit that was stopped before it was finished."""
    labels = ["ab"[number % 2] for number in range(COUNT)]
    few: dict[str, Any] = {"condition": "label", "options": {"width": 16, "blocks": (1, 1)}, "train": _TRAIN}
    with suppress(KeyboardInterrupt), patch("morphogen.training.fit._finish", side_effect=KeyboardInterrupt):
        morphogen.fit((shades(), labels), family="diffusion", out=out, say=None, **few)
    assert latest_checkpoint(out / "training")
    return out


def _load(folder: Path) -> None:
    """Load a model, sample from it, read what was held out, and show the help of its flags."""
    pipeline = morphogen.load(folder)
    pipeline.sample(2)
    open_splits(pipeline, DefaultJudge(pipeline.modality), data=shades() if pipeline.modality == "image" else None)
    _refused_or_done(["sample", str(folder), "--seed", "1", "--out", str(folder.parent / "out")])
    shutil.rmtree(folder.parent / "out", ignore_errors=True)


def _replaying(model: Path) -> Read:
    return lambda folder: _refused_or_done(["replay", str(model), str(folder)])


def _read_fit(out: Path) -> None:
    """Read what a fit that goes on reads, without training."""
    spec, prepared, probed = FitSpec.read(out), Prepared.read(out), Probed.read(out)
    codec, conditions, dataset = open_dataset(out, spec, prepared)
    dataset.head(4, torch.device("cpu"))
    from morphogen.core import plugins
    from morphogen.core.config import build
    from morphogen.training.probe import build_model

    kind = plugins.model_for(spec.family, type(codec.space))
    spaces = {name: condition.space for name, condition in conditions.items()}
    model = build_model(kind, codec.space, spaces, spec.train.seed)(build(kind.Options, probed.options, "options"))
    if checkpoint := latest_checkpoint(out / "training"):
        load_checkpoint(checkpoint, TrainState.create(model, spec.train, probed.precision))


def sign(folder: Path) -> None:
    """Write the hashes of all files into config.json, so that they agree with whatever is there."""
    file = folder / "config.json"
    with suppress(ValueError, TypeError, KeyError, AttributeError, OSError, RecursionError):
        config = json.loads(file.read_text())
        config["files"] = {name: file_hash(folder / name) for name in config["files"]}
        file.write_text(json.dumps(config))


def _load_signed(folder: Path) -> None:
    """Load a model whose codecs were changed, and the hashes with them."""
    sign(folder)
    _load(folder)


def _inspect(folder: Path) -> None:
    files = list(folder.iterdir())
    _refused_or_done(["inspect", str(files[0] if len(files) == 1 else folder)])


def _recipe(path: Path) -> Path:
    path.write_text(
        'source = "nowhere"\nfamily = "vae"\nminutes = 2\ncondition = ["label"]\nautoencoder = "x"\n'
        "[train]\nlr = 1e-3\nsteps = 3\n[options]\nwidth = 16\n[codec]\nsize = 8\n"
    )
    return path


def _read_recipe(folder: Path) -> None:
    (recipe,) = folder.iterdir()
    _refused_or_done(["fit", "--recipe", str(recipe), "--out", str(folder.parent / "out")])


def _refused_or_done(arguments: list[str]) -> None:
    """Run the command line. Raises UserError with what it prints where it refuses."""
    errors = StringIO()
    with redirect_stderr(errors), redirect_stdout(StringIO()):
        code = run(arguments)
    if code == 2:
        raise UserError(errors.getvalue().removesuffix("\n"))


def _sources(folder: Path) -> list[Path]:
    folder.mkdir(parents=True)
    items = np.stack([np.asarray(item) for item in shades()])
    labels = np.arange(len(items)) % 3
    np.savez(folder / "stored.npz", x=items, y=labels)
    np.savez_compressed(folder / "packed.npz", x=items, y=labels)
    np.save(folder / "array.npy", items)
    idx = struct.pack(">HBB3I", 0, 8, 3, *items.shape) + items.tobytes()
    (folder / "items.idx").write_bytes(idx)
    (folder / "items.idx.gz").write_bytes(gzip.compress(idx))
    lines = "\n".join(words()) + "\n"
    (folder / "texts.txt").write_text(lines)
    (folder / "texts.txt.gz").write_bytes(gzip.compress(lines.encode()))
    records = "".join(json.dumps({"text": one, "label": "ab"[n % 2]}) + "\n" for n, one in enumerate(words()))
    (folder / "texts.jsonl").write_text(records)
    (folder / "texts.jsonl.gz").write_bytes(gzip.compress(records.encode()))
    table = rows()
    parquet.write_table(table, folder / "rows.parquet")
    cells = "a,b\n" + "".join(f"{one['a']:.3f},{one['b']}\n" for one in table.to_pylist())
    (folder / "rows.csv").write_text(cells)
    (folder / "rows.csv.gz").write_bytes(gzip.compress(cells.encode()))
    colours = smooth_pictures(*[(12, 12)] * 4)
    for suffix in ("png", "jpg", "gif", "tif", "webp", "bmp", "ppm", "jp2", "avif"):
        colours[0].save(folder / f"picture.{suffix}")
    encoded = [(folder / "picture.png").read_bytes()] * 12
    parquet.write_table(arrow.table({"image": encoded, "label": ["a", "b"] * 6}), folder / "pictures.parquet")
    (folder / "photos").mkdir()
    for number, one in enumerate(colours):
        one.save(folder / "photos" / f"{number}.png")
    with zipfile.ZipFile(folder / "photos.zip", "w") as file:
        file.write(folder / "picture.png", "picture.png")
    return sorted(folder.iterdir())
