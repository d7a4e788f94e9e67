"""The data of sizes.py: pictures of nine kinds and three texts, each in a part to train on and one to judge with."""

from __future__ import annotations

import gzip
import io
import subprocess
import tarfile
import wave
from collections.abc import Callable
from pathlib import Path

import emoji64
import numpy as np
import pyarrow.parquet as parquet
from contest import pictures
from peers import environment
from PIL import Image

Pair = tuple[np.ndarray, np.ndarray]  # to train on, to judge with: uint8 (N, H, W) or (N, H, W, 3)
_CROPS = 40  # of a circuit board
_CLIP = 6  # frames
_FRAMES = """
import sys, av, numpy
frames = [frame.to_ndarray(format="rgb24")[::2, ::2] for frame in av.open(sys.argv[1]).decode(video=0)]
numpy.save(sys.argv[2], numpy.stack(frames))
"""


def _fashion(data: Path, work: Path) -> Pair:
    return pictures(data / "fashion-mnist", "train")[0], pictures(data / "fashion-mnist", "test")[0]


def _fashion_few(data: Path, work: Path) -> Pair:
    train, test = _fashion(data, work)
    return train[:2000], test


def _emoji(side: int) -> Callable[[Path, Path], Pair]:
    def read(data: Path, work: Path) -> Pair:
        folder = work / "emoji64"
        emoji64.write(data / "emoji64" / "emojitwo64.parquet", folder)
        parts = pictures(folder, "train")[0], pictures(folder, "test")[0]
        return _resized(parts[0], side), _resized(parts[1], side)

    return read


def _resized(images: np.ndarray, side: int) -> np.ndarray:
    if images.shape[1] == side:
        return images
    return np.stack([np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BOX)) for image in images])


def _faces(side: int) -> Callable[[Path, Path], Pair]:
    """Return a reader of faces of 32 persons, and of 8 others."""

    def read(data: Path, work: Path) -> Pair:
        images = np.load(data / "olivetti64" / "olivetti64.npz")["images"]
        images = images if images.dtype == np.uint8 else (255 * images).round().astype(np.uint8)
        return _resized(images[:320], side), _resized(images[320:], side)

    return read


def _boards(data: Path, work: Path) -> Pair:
    """Return parts of circuit boards, 32 x 32 at half the resolution, from other boards in either part."""
    parts = []
    for name in ("trainval", "test"):
        column = parquet.read_table(data / "deeppcb" / f"{name}.parquet", columns=["template_png"])["template_png"]
        boards = [np.asarray(Image.open(io.BytesIO(png)).convert("L").reduce(2)) for png in column.to_pylist()]
        parts.append(_crops(boards, 32))
    return parts[0][:20_000], parts[1][:5000]


def _film(data: Path, work: Path) -> Pair:
    """Return 32 x 32 parts of the frames of a film at half the resolution; each fifth clip is judged with."""
    file = work / "film.npy"
    if not file.exists():
        python, _ = environment.make("video")
        subprocess.run([python, "-c", _FRAMES, data / "video" / "bigbuckbunny.mp4", file], check=True)
    frames = list(np.load(file, mmap_mode="r"))
    train = [frame for number, frame in enumerate(frames) if number // _CLIP % 5 != 4]
    judged = [frame for number, frame in enumerate(frames) if number // _CLIP % 5 == 4]
    return _crops(train, 32, 50_000 // len(train) + 1)[:50_000], _crops(judged, 32, 5000 // len(judged) + 1)[:5000]


def _digits_spoken(data: Path, work: Path) -> Pair:
    """Return spectrograms of spoken digits, 32 bands from 0 to 4 kHz over 32 steps of time, 80 dB from black to white.

    Recordings 0 to 4 of each digit and speaker are judged with.
    """
    parts: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    with tarfile.open(data / "fsdd" / "fsdd.tar.xz") as archive:
        for member in archive:
            if not member.name.endswith(".wav"):
                continue
            file = archive.extractfile(member)
            assert file is not None
            with wave.open(file) as stream:
                sound = np.frombuffer(stream.readframes(stream.getnframes()), "<i2") / 2**15
            test = int(member.name.rsplit("_", 1)[1].removesuffix(".wav")) < 5
            parts[not test].append(_spectrogram(sound, 32))
    return np.stack(parts[1]), np.stack(parts[0])


def _spectrogram(sound: np.ndarray, side: int) -> np.ndarray:
    """Return the logarithm of the power by band and time, both of `side` steps, low frequencies at the bottom."""
    window = np.hanning(8 * side)
    begins = np.linspace(0, max(0, len(sound) - len(window)), side).astype(int)
    padded = np.pad(sound, (0, max(0, len(window) - len(sound))))
    frames = np.stack([padded[begin : begin + len(window)] for begin in begins]) * window
    power = np.abs(np.fft.rfft(frames)[:, 1:]) ** 2
    decibel = 10 * np.log10(power.reshape(side, side, -1).mean(2) + 1e-12)
    grey = 255 * (1 + (decibel - decibel.max()) / 80)
    return np.flipud(grey.clip(0, 255).round().astype(np.uint8).T)


def _crops(images: list[np.ndarray], side: int, count: int = _CROPS) -> np.ndarray:
    """Return random parts of pictures, shuffled."""
    random, parts = np.random.default_rng(0), []
    for image in images:
        for _ in range(count):
            top, left = (int(random.integers(size - side + 1)) for size in image.shape[:2])
            parts.append(image[top : top + side, left : left + side])
    return np.stack(parts)[random.permutation(len(parts))]


PICTURES: dict[str, Callable[[Path, Path], Pair]] = {
    "fashion-28-grey-60000": _fashion,
    "fashion-28-grey-2000": _fashion_few,
    "emoji-32-colour-1600": _emoji(32),
    "emoji-64-colour-1600": _emoji(64),
    "faces-32-grey-320": _faces(32),
    "faces-64-grey-320": _faces(64),
    "boards-32-grey-20000": _boards,
    "film-32-colour-50000": _film,
    "spoken-32-grey-2700": _digits_spoken,
}

TEXTS = {"shakespeare": "tinyshakespeare.txt", "names": "names.txt", "stories": "tinystories_sample.txt"}


def text(name: str, data: Path) -> str:
    """Return a whole text."""
    file = data / "text" / TEXTS[name]
    opener = gzip.open if file.suffix == ".gz" else open
    with opener(file, "rt", encoding="utf-8") as stream:
        return stream.read()
