"""Tables: what a row is, how tables are read, written, shown and judged. Imports no torch and no pyarrow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, final

from morphogen.core.errors import BadItem
from morphogen.core.modality import Modality, Record
from morphogen.core.space import Row, Space

from . import files, options

if TYPE_CHECKING:
    from PIL import Image

    from morphogen.core.judge import Judge

    from .codec import TableCodec

_UCI = (".data", ".data.gz", ".test", ".test.gz")  # suffixes of the UCI Machine Learning Repository
_ROWS = 0.5  # less than a claim on a column of pictures or of long texts
_MANY_COLUMNS = 0.85  # more than on long texts, and less than on a column that is called text


@final
class Table(Modality[Any]):
    """Rows of columns of any kind. A collection of rows is an Arrow table."""

    name: ClassVar[str] = "table"
    noun: ClassVar[str] = "row"
    plural: ClassVar[str] = "rows"
    spaces: ClassVar[tuple[type[Space], ...]] = (Row,)
    default_family: ClassVar[str] = "autoregressive"
    Options = options.Options
    Query = options.TableQuery
    Mask = options.Mask
    accepts: ClassVar[Mapping[str, str]] = {
        "rows": "the rows of a csv or parquet file or a data frame",
        "object": "a data frame of pandas or polars, or an Arrow table",
    }
    fits_to_all: ClassVar[bool] = True
    single_files: ClassVar[tuple[str, ...]] = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")

    def claims(self, record: Record) -> float:
        """Files of the UCI repository and data frames are claimed with certainty, other tables with less."""
        if record.kind == "rows":
            if record.name.lower().endswith(_UCI):
                return 1.0
            return _MANY_COLUMNS if _no_column_prevails(record.example) else _ROWS
        return float(record.kind == "object" and files.is_frame(record.example))

    def read(self, raw: Any, name: str) -> Any:
        """Return the Arrow table in a csv or parquet file, or of a data frame. Raises BadItem where there is none."""
        if isinstance(raw, (str, Path)):
            return files.read(raw)
        if files.is_frame(raw):
            return files.from_frame(raw)
        raise BadItem(f"{name} is a {type(raw).__name__}; expected a csv or parquet file, or a data frame")

    def write(self, parts: Iterable[Any], folder: Path) -> list[Path]:
        """Write tables, one after the other, to one csv or parquet file, like the one that the codec was fitted to."""
        return files.write((files.as_table(part) for part in parts), folder)

    def write_file(self, parts: Iterable[Any], path: Path) -> None:
        """Write tables, one after the other, to a csv or parquet file: a csv file like the one of training, if any."""
        files.write_file(path, (files.as_table(part) for part in parts))

    def fit(self, chunks: Iterable[Any], kind: type[Space], options: Any) -> TableCodec:
        from .codec import TableCodec

        return TableCodec.fit(chunks, kind, options)

    def load_codec(self, folder: Path) -> TableCodec:
        from .codec import TableCodec

        return TableCodec.load(folder)

    def preview(self, items: Any) -> Image.Image:
        from .preview import render

        return render(files.as_table(items))

    def judge(self) -> Judge[Any]:
        from .judge import JUDGE

        return JUDGE

    def mask(self, items: Any, mask: options.Mask) -> Any:
        """Return bool `(rows, columns of the table)`: the missing cells of the columns in `mask`, or of all columns."""
        from .mask import missing_cells

        return missing_cells(files.as_table(items), mask.mask)

    def collect(self, items: Sequence[Any]) -> Any:
        return self.concatenate(items)

    def concatenate(self, parts: Sequence[Any]) -> Any:
        """Return several tables as one in the form of the first. Raises UserError where a column cannot be."""
        import pyarrow as arrow

        from .formats.frames import in_form_of

        return arrow.concat_tables([in_form_of(part, parts[0]) for part in parts])

    def take(self, items: Any, indices: Sequence[int]) -> Any:
        if not len(indices):
            return items.slice(0, 0)
        if isinstance(indices, range) and indices.step == 1:
            return items.slice(indices.start, len(indices))
        return items.take(list(indices))

    def consensus(self, draws: Sequence[Any], codec: Any) -> Any:
        """Return the rows whose cells are the mode or the lower median of the draws."""
        from .consensus import consensus

        return consensus(draws)

    def differing(self, items: Any, others: Any, codec: Any) -> list[int]:
        """Return the rows in which any cell differs; NaN equals NaN, and a missing cell another one."""
        import numpy as np
        import pyarrow.compute as compute
        import pyarrow.types as types

        from .cells import plain

        differ = np.zeros(len(items), dtype=np.bool_)
        tables = codec.align(items), codec.align(others)
        for name in codec.schema.names:
            one, other = (table.column(name) for table in tables)
            one, other = plain(one.combine_chunks()), plain(other.combine_chunks())
            if types.is_null(one.type):
                continue
            equal = compute.fill_null(compute.equal(one, other), False)
            alike = compute.and_(compute.is_null(one), compute.is_null(other))
            if types.is_floating(one.type):
                nan = compute.and_(compute.is_nan(one), compute.is_nan(other))
                alike = compute.or_(alike, compute.fill_null(nan, False))
            differ |= ~np.asarray(compute.or_(equal, alike).to_numpy(zero_copy_only=False), dtype=np.bool_)
        return list(np.flatnonzero(differ).tolist())

    def weigh(self, item: Any) -> int:
        return int(item.nbytes)


MODALITY = Table()


def _no_column_prevails(table: Any) -> bool:
    """Return whether there are several columns, none with most of the characters, as a remark in each row has not."""
    if table is None or table.num_columns < 4:
        return False
    lengths = [sum(len(str(cell)) for cell in column.to_pylist() if cell is not None) for column in table.columns]
    return max(lengths) < sum(lengths) / 2
