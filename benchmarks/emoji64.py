"""EmojiTwo's 64 x 64 pictures on white, as PNG files in `train/CATEGORY` and `test/CATEGORY`.

A fifth is for testing, split by the first code point: skin tones of one gesture are near duplicates, and so are flags
with the same first letter. A hash decides about each group, so that the split is the same on every machine.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pyarrow.parquet as parquet
from PIL import Image

TEST_SHARE = 0.2


def write(table: Path, out: Path) -> None:
    """Write the folder if it does not exist yet."""
    if (out / "done").exists():
        return
    for row in parquet.read_table(table, columns=["image", "codepoints", "category"]).to_pylist():
        group = row["codepoints"].split("-")[0]
        position = int.from_bytes(hashlib.blake2b(group.encode(), digest_size=8).digest(), "little") / 2**64
        folder = out / ("test" if position < TEST_SHARE else "train") / (row["category"] or "none")
        folder.mkdir(parents=True, exist_ok=True)
        picture = Image.open(io.BytesIO(row["image"])).convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        Image.alpha_composite(white, picture).convert("RGB").save(folder / f"{row['codepoints']}.png")
    (out / "done").touch()
