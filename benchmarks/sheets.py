"""Inpainting and super-resolution of Fashion-MNIST: sheets to look at, and figures beside simple baselines.

Run: python benchmarks/sheets.py      fits four models; sheets in .work/sheets, figures in results/sheets.json
It needs the judge of `images.py`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from contest import DATA, pictures, prepare, write_json
from images_classifier import Judge
from images_measure import COMPARED
from ours import fit
from PIL import Image

import morphogen
from morphogen import Pipeline
from morphogen.core.noise import Noise
from morphogen.metrics.frechet import Frechet

HERE = Path(__file__).resolve().parent
MASKS = ("middle", "left", "bottom")
FACTOR, SAMPLES, SHOWN = 4, 4, 10  # of the super-resolution; samples of one picture; pictures on a sheet


def missing_pixels(mask: str) -> np.ndarray:
    """Return which pixels are missing, bool `(28, 28)`."""
    missing = np.zeros((28, 28), bool)
    missing[{"middle": np.s_[7:21, 7:21], "left": np.s_[:, :14], "bottom": np.s_[14:, :]}[mask]] = True
    return missing


def images_of(array: np.ndarray) -> list[Image.Image]:
    """Return the pictures in `(N, H, W)`."""
    return [Image.fromarray(image) for image in array]


def array_of(images: list[Image.Image]) -> np.ndarray:
    """Return grey pictures as `(N, H, W)`."""
    return np.stack([np.asarray(image.convert("L")) for image in images])


def write_sheet(lines: list[list[np.ndarray]], path: Path) -> None:
    """Write lines of pictures, three times their size."""
    padded = [np.concatenate([np.pad(image, 1, constant_values=128) for image in line], axis=1) for line in lines]
    sheet = Image.fromarray(np.concatenate(padded))
    sheet.resize((sheet.width * 3, sheet.height * 3), Image.Resampling.NEAREST).save(path)


class Figures:
    """The judge's figures of generated versions of the first test pictures, compared with the other test pictures."""

    def __init__(self, judge: Judge, test: np.ndarray, labels: np.ndarray) -> None:
        self.judge, self.labels, (self.real, _) = judge, labels, judge.predict(test[COMPARED:])

    def of(self, images: np.ndarray) -> dict[str, float]:
        """Return the Fréchet distance, and the accuracy of the class."""
        features, classes = self.judge.predict(images)
        metric = Frechet()
        metric.update(self.real, real=True)
        metric.update(features, real=False)
        accuracy = float((classes.numpy() == self.labels[: len(images)]).mean())
        return {"frechet": round(metric.compute()["frechet"], 2), "class_accuracy": round(accuracy, 3)}


def inpaint(pipe: Pipeline, test: np.ndarray, figures: Figures, mean: np.ndarray, name: str, out: Path) -> Any:
    """Write a sheet for each mask, and return the figures of one model."""
    results: dict[str, Any] = {}
    for mask in MASKS:
        missing = missing_pixels(mask)
        masks = [Image.fromarray(missing.astype(np.uint8) * 255)] * COMPARED
        items = images_of(test[:COMPARED])
        samples = [array_of(pipe.impute(items[:SHOWN], masks[:SHOWN], seed=1000 * n)) for n in range(SAMPLES)]
        inpainted = array_of(pipe.impute(items, masks, batch=250))
        given = np.where(missing, 128, test[:SHOWN]).astype(np.uint8)
        lines = [[test[n], given[n], *(sample[n] for sample in samples)] for n in range(SHOWN)]
        write_sheet(lines, out / f"{name}-{mask}.png")
        change = np.abs(inpainted.astype(int) - test[:COMPARED])[:, ~missing]
        results[mask] = {
            "inpainted": figures.of(inpainted),
            "baseline_mean_picture": figures.of(np.where(missing, mean, test[:COMPARED]).astype(np.uint8)),
            "largest_change_of_given_pixels": int(change.max(initial=0)),
            "deviation_between_samples": round(float(np.stack(samples).std(0)[:, missing].mean()), 1),
        }
        print(name, mask, results[mask], flush=True)
    return results


def enlarge(pipe: Pipeline, test: np.ndarray, figures: Figures, out: Path) -> Any:
    """Write a sheet, and return the figures, of pictures generated from versions FACTOR times smaller."""
    codec = pipe.conditions["low_res"]  # scales down as in training

    def scaled_down(array: np.ndarray) -> list[Image.Image]:
        return codec.decode(codec.encode(images_of(array)), Noise.consecutive(0, len(array)))

    low_res = scaled_down(test[:COMPARED])
    samples = [
        array_of(pipe.sample(SHOWN, seed=1000 * n, condition={"low_res": low_res[:SHOWN]})) for n in range(SAMPLES)
    ]
    enlarged = array_of(pipe.sample(COMPARED, batch=250, condition={"low_res": low_res}))
    bicubic = array_of([image.resize((28, 28), Image.Resampling.BICUBIC) for image in low_res])
    given = array_of([image.resize((28, 28), Image.Resampling.NEAREST) for image in low_res[:SHOWN]])
    lines = [[test[n], given[n], bicubic[n], *(sample[n] for sample in samples)] for n in range(SHOWN)]
    write_sheet(lines, out / "super-resolution.png")

    def error(array: np.ndarray) -> float:
        """Return the root mean square difference from the given pictures, once scaled down again."""
        again = array_of(scaled_down(array))
        return round(float(np.sqrt(((again.astype(float) - array_of(low_res)) ** 2).mean())), 2)

    results = {
        "enlarged": figures.of(enlarged) | {"error_when_scaled_down": error(enlarged)},
        "baseline_bicubic": figures.of(bicubic) | {"error_when_scaled_down": error(bicubic)},
        "deviation_between_samples": round(float(np.stack(samples).std(0).mean()), 1),
    }
    print("super-resolution", results, flush=True)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder above fashion-mnist")
    parser.add_argument("--work", type=Path, default=HERE / ".work")
    parser.add_argument("--results", type=Path, default=HERE / "results" / "sheets.json")
    parser.add_argument("--minutes", type=float, default=5, help="of each of the four fits")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    prepare(options.threads, 0)
    data, out = options.data / "fashion-mnist", options.work.resolve() / "sheets"
    out.mkdir(parents=True, exist_ok=True)
    test, labels = pictures(data, "test")
    figures = Figures(Judge(options.work / "images" / "judge"), test, labels)
    mean = pictures(data, "train")[0].mean(0)

    minutes, inpaints = options.minutes, ["--options.inpaint-prob", "0.5"]
    fit(out / "diffusion", data, "diffusion", minutes, inpaints)
    fit(out / "vq", data, "vq", minutes, [])
    fit(out / "autoregressive", data, "autoregressive", minutes, ["--autoencoder", str(out / "vq"), *inpaints])
    fit(out / "super-resolution", data, "diffusion", minutes, ["--super-resolution", str(FACTOR)])
    results: dict[str, Any] = {"minutes": minutes, "extractor": f"FD[{figures.judge.name}]", "pictures": COMPARED}
    results["real_data"] = figures.of(test[:COMPARED])
    for family in ("diffusion", "autoregressive"):
        results[family] = inpaint(morphogen.load(out / family), test, figures, mean, family, out)
    results["super_resolution"] = enlarge(morphogen.load(out / "super-resolution"), test, figures, out)
    write_json(options.results, results)


if __name__ == "__main__":
    main()
