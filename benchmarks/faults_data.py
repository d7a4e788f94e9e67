"""The data of the fault benchmark: training items, held-out items, a healthy generator, and faults of this data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from morphogen.core.codec import Codec
from morphogen.core.modality import Modality, modality
from morphogen.data.sources import open_source

HERE = Path(__file__).resolve().parent
Fault = Callable[[int], Any]  # the generator's items, with the fault, for a seed


@dataclass(frozen=True)
class Setting:
    """Training items, held-out items, a codec fitted to the training items, and a generator of other real items."""

    name: str
    modality: Modality[Any]
    source: Any  # the training items, then the held-out ones
    train: Any
    held_out: Any
    codec: Codec[Any]
    count: int  # of items that the generator returns
    fresh: Callable[[int], Any]  # that many other real items, by a seed
    flags: dict[str, Any] = field(default_factory=dict)  # of the evaluation
    faults: dict[str, dict[str, Fault]] = field(default_factory=dict)  # of this data only, by name and strength

    def join(self, *parts: Any) -> Any:
        return self.modality.concatenate(parts)

    def some(self, items: Any, count: int, seed: int) -> Any:
        """Return that many random items."""
        return self.modality.take(items, choose(np.arange(len(items)), count, seed))


def choose(indices: np.ndarray, count: int, seed: int) -> list[int]:
    """Return that many of the indices, at random."""
    return np.random.default_rng(seed).choice(indices, count, replace=False).tolist()


def fit_codec(own: Modality[Any], items: Any) -> Codec[Any]:
    """Return the modality's codec, of the kind of space that it prefers."""
    return own.fit([items], own.spaces[0], own.Options())


def pictures(data: Path) -> Setting:
    """Return Fashion-MNIST: 10,000 training pictures, 2,000 held out, 1,000 of the other 58,000 generated."""
    own, source = modality("image"), open_source(str(data / "fashion-mnist"))
    order = np.random.default_rng(0).permutation(len(source)).tolist()
    items, labels = [source.read(index) for index in order], [source.columns["label"][index] for index in order]

    def chosen(seed: int) -> list[int]:
        return choose(np.arange(12_000, len(items)), 1000, seed)

    def without(number: int, seed: int) -> list[Image.Image]:
        missing = {str(label) for label in choose(np.arange(10), number, seed)}
        return [items[index] for index in chosen(seed) if labels[index] not in missing]

    def brighter(by: int, seed: int) -> list[Image.Image]:
        pixels = [np.asarray(items[index]).astype(int) + by for index in chosen(seed)]
        return [Image.fromarray(np.clip(one, 0, 255).astype(np.uint8)) for one in pixels]

    def blurred(share: float, seed: int) -> list[Image.Image]:
        return [items[index].filter(ImageFilter.GaussianBlur(share * items[index].width)) for index in chosen(seed)]

    def confetti(seed: int) -> list[Image.Image]:
        noise = np.random.default_rng(seed).integers(0, 256, (1000, 28, 28), dtype=np.uint8)
        return [Image.fromarray(one) for one in noise]

    return Setting(
        name="pictures",
        modality=own,
        source=(items[:12_000], labels[:12_000]),
        train=items[:10_000],
        held_out=items[10_000:12_000],
        codec=fit_codec(own, items[:10_000]),
        count=1000,
        fresh=lambda seed: [items[index] for index in chosen(seed)],
        faults={
            "missing classes": {f"{n} of 10": lambda seed, n=n: without(n, seed) for n in (1, 2)},
            "brighter": {f"{by} of 255": lambda seed, by=by: brighter(by, seed) for by in (3, 10)},
            "blurred": {
                f"{share:.0%} of the side": lambda seed, share=share: blurred(share, seed) for share in (0.03, 0.06)
            },
            "confetti": {"independent uniform pixels": confetti},
        },
    )


def rows(data: Path) -> Setting:
    """Return Adult: 10,000 training rows, 3,000 held out, 3,000 of the other 35,842 generated."""
    import pyarrow as arrow
    import tables_data

    own = modality("table")
    train, test = tables_data.write("adult", data, HERE / ".work" / "faults" / "adult")
    table = arrow.concat_tables([train, test.cast(train.schema)]).combine_chunks()
    table = table.take(np.random.default_rng(0).permutation(len(table)))

    def fresh(seed: int) -> Any:
        return table.take(choose(np.arange(13_000, len(table)), 3000, seed))

    def permuted(share: float, seed: int) -> Any:
        """Exchange the values of one column among that share of the rows."""
        items, name, random = fresh(seed), "education-num", np.random.default_rng(seed)
        order = np.arange(len(items))
        chosen = random.choice(len(items), round(share * len(items)), replace=False)
        order[chosen] = random.permutation(chosen)
        return items.set_column(items.column_names.index(name), name, items.column(name).take(order))

    return Setting(
        name="rows",
        modality=own,
        source=table.slice(0, 13_000),
        train=table.slice(0, 10_000),
        held_out=table.slice(10_000, 3_000),
        codec=fit_codec(own, table.slice(0, 10_000)),
        count=3000,
        fresh=fresh,
        flags={"target": "income"},
        faults={
            "one column permuted": {
                f"in {share:.0%} of the rows": lambda seed, share=share: permuted(share, seed) for share in (0.2, 1)
            }
        },
    )


def texts(data: Path) -> Setting:
    """Return TinyStories: passages of 400 characters of the whole text, in random order."""
    own, source = modality("text"), open_source(str(data / "text" / "tinystories_sample.txt"))
    whole = "\n".join(source.read(index) for index in range(len(source)))
    passages = [whole[start : start + 400] for start in range(0, len(whole) - 400, 400)]
    passages = [passages[index] for index in np.random.default_rng(0).permutation(len(passages))]
    count = len(passages)
    train, held_out = passages[: count // 2], passages[count // 2 : count * 7 // 10]
    rest = passages[count * 7 // 10 :]
    size = min(500, len(rest) * 2 // 3)
    return Setting(
        name="texts",
        modality=own,
        source=train + held_out,
        train=train,
        held_out=held_out,
        codec=fit_codec(own, passages),
        count=size,
        fresh=lambda seed: [rest[index] for index in choose(np.arange(len(rest)), size, seed)],
    )


def weather(data: Path) -> Setting:
    """Return hours of weather in Beijing: 3,000 training rows, 1,500 held out, 1,500 of the other 39,324 generated."""
    import pandas as pd
    import pyarrow as arrow

    own = modality("table")
    frame = pd.read_csv(data / "tables" / "PRSA_data_2010.1.1-2014.12.31.csv.gz")
    parts = ["year", "month", "day", "hour"]
    frame["time"] = pd.to_datetime(frame[parts])
    frame = frame.drop(columns=["No", *parts]).sample(frac=1, random_state=0)
    table = arrow.Table.from_pandas(frame, preserve_index=False)

    def fresh(seed: int) -> Any:
        return table.take(choose(np.arange(4_500, len(table)), 1500, seed))

    def without_cycle(seed: int) -> Any:
        rows, random = fresh(seed).to_pandas(), np.random.default_rng(seed)
        hours = pd.to_timedelta(random.permutation(rows["time"].dt.hour.to_numpy()), unit="h")
        rows["time"] = rows["time"].dt.normalize() + hours
        return arrow.Table.from_pandas(rows, schema=table.schema, preserve_index=False)

    def impossible(share: float, seed: int) -> Any:
        rows, random = fresh(seed).to_pandas(), np.random.default_rng(seed)
        chosen = random.random(len(rows)) < share
        rows.loc[chosen, "DEWP"] = (rows.loc[chosen, "TEMP"] + 2).astype(int)
        return arrow.Table.from_pandas(rows, schema=table.schema, preserve_index=False)

    return Setting(
        name="weather",
        modality=own,
        source=table.slice(0, 4_500),
        train=table.slice(0, 3_000),
        held_out=table.slice(3_000, 1_500),
        codec=fit_codec(own, table.slice(0, 3_000)),
        count=1500,
        fresh=fresh,
        faults={
            "daily cycle lost": {"hours permuted": without_cycle},
            "dew point above temperature": {
                f"in {share:.0%} of the rows": lambda seed, share=share: impossible(share, seed)
                for share in (0.02, 0.1)
            },
        },
    )


SETTINGS = {"pictures": pictures, "rows": rows, "texts": texts, "weather": weather}
