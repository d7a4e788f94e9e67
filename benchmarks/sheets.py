"""Filling in, completing and enlarging pictures of Fashion-MNIST: sheets to look at, and figures beside floors.

Run: python benchmarks/sheets.py      fits four models; sheets in .work/sheets, figures in results/sheets.json
The judge of `images.py` has to be there.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
from contest import pictures, prepare, write_json
from images_classifier import Judge
from images_measure import COMPARED
from ours import fit
from PIL import Image

import morphogen
from morphogen import Pipeline
from morphogen.evaluation.metrics.frechet import Frechet

HERE = Path(__file__).resolve().parent
MASKS = ("middle", "left", "bottom")
FACTOR, DRAWS, ROWS = 4, 4, 10


def hole(mask: str) -> np.ndarray:
    """`(28, 28)`, true where pixels are to be filled in."""
    found = np.zeros((28, 28), bool)
    found[{"middle": np.s_[7:21, 7:21], "left": np.s_[:, :14], "bottom": np.s_[14:, :]}[mask]] = True
    return found


def stack(found: list[Image.Image]) -> np.ndarray:
    return np.stack([np.asarray(picture.convert("L")) for picture in found])


def sheet(rows: list[list[np.ndarray]], path: Path) -> None:
    """Pictures in rows, three times their size."""
    padded = [np.concatenate([np.pad(one, 1, constant_values=128) for one in row], axis=1) for row in rows]
    whole = Image.fromarray(np.concatenate(padded))
    whole.resize((whole.width * 3, whole.height * 3), Image.Resampling.NEAREST).save(path)


class Figures:
    """What the judge makes of pictures that stand for real ones."""

    def __init__(self, judge: Judge, test: np.ndarray, labels: np.ndarray) -> None:
        self.judge, self.labels, (self.real, _) = judge, labels, judge.look(test[COMPARED:])  # other ones

    def of(self, made: np.ndarray) -> dict[str, float]:
        features, classes = self.judge.look(made)
        metric = Frechet()
        metric.update(self.real, real=True)
        metric.update(features, real=False)
        accuracy = float((classes.numpy() == self.labels[: len(made)]).mean())
        return {"frechet": round(metric.compute()["frechet"], 2), "class_accuracy": round(accuracy, 3)}


def fill_in(pipe: Pipeline, test: np.ndarray, figures: Figures, mean: np.ndarray, name: str, out: Path) -> Any:
    """Sheets and figures of one model and all masks it can fill."""
    found: dict[str, Any] = {}
    for mask in MASKS:
        missing = hole(mask)
        holes = [Image.fromarray(missing.astype(np.uint8) * 255)] * COMPARED
        items = [Image.fromarray(one) for one in test[:COMPARED]]
        draws = [stack(pipe.impute(items[:ROWS], holes[:ROWS], seed=1000 * draw)) for draw in range(DRAWS)]
        filled = stack(pipe.impute(items, holes, batch=250))
        shown = np.where(missing, 128, test[:ROWS]).astype(np.uint8)
        rows = [[test[row], shown[row], *(draw[row] for draw in draws)] for row in range(ROWS)]
        sheet(rows, out / f"{name}-{mask}.png")
        found[mask] = {
            "filled_in": figures.of(filled),
            "floor_mean_picture": figures.of(np.where(missing, mean, test[:COMPARED]).astype(np.uint8)),
            "largest_change_of_what_was_given": int(
                np.abs(filled.astype(int) - test[:COMPARED])[:, ~missing].max(initial=0)
            ),
            "deviation_between_draws": round(float(np.stack(draws).std(0)[:, missing].mean()), 1),
        }
        print(name, mask, found[mask], flush=True)
    return found


def enlarge(pipe: Pipeline, test: np.ndarray, figures: Figures, out: Path) -> Any:
    """A sheet and figures of pictures made from versions FACTOR times smaller."""
    codec = pipe.conditions["small"]  # reduces as in training

    def reduce(found: np.ndarray) -> list[Image.Image]:
        return codec.decode(codec.encode([Image.fromarray(one) for one in found]))

    small = reduce(test[:COMPARED])
    draws = [stack(pipe.sample(ROWS, seed=1000 * draw, condition={"small": small[:ROWS]})) for draw in range(DRAWS)]
    made = stack(pipe.sample(COMPARED, batch=250, condition={"small": small}))
    cubic = stack([one.resize((28, 28), Image.Resampling.BICUBIC) for one in small])
    shown = stack([one.resize((28, 28), Image.Resampling.NEAREST) for one in small[:ROWS]])
    rows = [[test[row], shown[row], cubic[row], *(draw[row] for draw in draws)] for row in range(ROWS)]
    sheet(rows, out / "enlarged.png")

    def reduced(found: np.ndarray) -> float:
        """Root mean squared difference, once reduced again, from what was enlarged."""
        again = stack(reduce(found))
        return round(float(np.sqrt(((again.astype(float) - stack(small)) ** 2).mean())), 2)

    found = {
        "enlarged": figures.of(made) | {"difference_when_reduced": reduced(made)},
        "floor_bicubic": figures.of(cubic) | {"difference_when_reduced": reduced(cubic)},
        "deviation_between_draws": round(float(np.stack(draws).std(0).mean()), 1),
    }
    print("enlarged", found, flush=True)
    return found


def main() -> None:
    default = Path(os.environ.get("MORPHOGEN_DATA", HERE.parent.parent / "shared" / "data"))
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--data", type=Path, default=default, help="the folder above fashion-mnist")
    found.add_argument("--work", type=Path, default=HERE / ".work")
    found.add_argument("--results", type=Path, default=HERE / "results" / "sheets.json")
    found.add_argument("--minutes", type=float, default=5, help="of each of the four fits")
    found.add_argument("--threads", type=int, default=2)
    arguments = found.parse_args()
    prepare(arguments.threads, 0)
    data, out = arguments.data / "fashion-mnist", arguments.work.resolve() / "sheets"
    out.mkdir(parents=True, exist_ok=True)
    test, labels = pictures(data, "test")
    figures = Figures(Judge(arguments.work / "images" / "judge"), test, labels)
    mean = pictures(data, "train")[0].mean(0)

    minutes, through = arguments.minutes, ["--through", str(out / "vq"), "--options.fill", "0.5"]
    fit(out / "diffusion", data, "diffusion", minutes, ["--options.fill", "0.5"])
    fit(out / "vq", data, "vq", minutes, [])
    fit(out / "autoregressive", data, "autoregressive", minutes, through)
    fit(out / "enlarging", data, "diffusion", minutes, ["--enlarge", str(FACTOR)])
    results: dict[str, Any] = {"minutes": minutes, "extractor": f"FD[{figures.judge.name}]", "pictures": COMPARED}
    results["real"] = figures.of(test[:COMPARED])
    for family in ("diffusion", "autoregressive"):
        results[family] = fill_in(morphogen.load(out / family), test, figures, mean, family, out)
    results["enlarging"] = enlarge(morphogen.load(out / "enlarging"), test, figures, out)
    write_json(arguments.results, results)


if __name__ == "__main__":
    main()
