"""Samples and imputed rows in one file that the user names, and the record beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.csv as arrow_csv
import pyarrow.parquet as parquet
import pytest
from command_line import refused

from morphogen.cli import run

COMMAS = "Ort;Größe;Tag\n" + "".join(
    f"{('Köln', 'Zürich', '')[n % 3]};{n % 5},50;{n % 28 + 1:02d}.04.2017\n" for n in range(90)
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model of rows that Excel wrote in Germany."""
    folder = tmp_path_factory.mktemp("single")
    (folder / "rows.csv").write_bytes(COMMAS.encode("cp1252"))
    small = ["--train.steps", "1", "--train.batch", "8", "--train.precision", "fp32", "--options.width", "16"]
    assert run(["fit", str(folder / "rows.csv"), *small, "--out", str(folder / "model")]) == 0
    return str(folder / "model")


@pytest.mark.parametrize("name", ["new/x.csv", "x.csv.gz", "x.tsv", "X.PARQUET"])
def test_samples_go_to_the_file_that_is_named(
    model: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / name
    assert run(["sample", model, "-n", "20", "--seed", "3", "--out", str(out)]) == 0, capsys.readouterr().err
    record = out.with_name(f"{out.name}.samples.json")
    assert sorted(out.parent.iterdir()) == [out, record]
    assert json.loads(record.read_text())["files"] == [out.name]
    assert json.loads(record.read_text())["seeds"] == {"first": 3, "count": 20}
    for samples in (out, record):
        assert run(["replay", model, str(samples)]) == 0, capsys.readouterr().err
        assert "all 20 samples match" in capsys.readouterr().out
    refused(capsys, ["sample", model, "--out", out], "already exists and is not empty")
    out.unlink()
    refused(capsys, ["sample", model, "--out", out], f"{record.name} already exists")
    record.unlink()
    refused(capsys, ["replay", model, out.with_name("x.csv")], "x.csv.samples.json is missing")


def test_a_file_has_the_form_that_its_name_says(model: str, tmp_path: Path) -> None:
    for name in ("rows", "x.csv", "x.tsv", "x.parquet"):
        assert run(["sample", model, "-n", "20", "--out", str(tmp_path / name)]) == 0
    text = (tmp_path / "x.csv").read_bytes()
    assert text == (tmp_path / "rows" / "rows.csv").read_bytes()
    assert text.startswith("Ort;Größe;Tag\n".encode("cp1252"))
    assert (tmp_path / "x.tsv").read_bytes() == text.replace(b";", b"\t")
    table = parquet.read_table(tmp_path / "x.parquet")
    assert not table.schema.metadata
    assert [str(kind) for kind in table.schema.types] == ["string", "double", "date32[day]"]
    options = arrow_csv.ReadOptions(encoding="cp1252")
    written = arrow_csv.read_csv(tmp_path / "x.csv", options, arrow_csv.ParseOptions(delimiter=";"))
    sizes = [float(cell.replace(",", ".")) for cell in written.column("Größe").to_pylist()]
    assert table.column("Größe").to_pylist() == sizes


def test_a_folder_of_such_a_name_stays_a_folder(model: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").mkdir()
    assert run(["sample", model, "-n", "3", "--out", str(tmp_path / "x.csv")]) == 0
    assert (tmp_path / "x.csv" / "rows.csv").is_file()


def test_imputed_rows_go_to_the_file_that_is_named(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "holes.csv", tmp_path / "x.csv"
    source.write_bytes("Ort;Größe;Tag\nKöln;;01.04.2017\nZürich;2,50;\n".encode("cp1252"))
    assert run(["impute", model, str(source), "--out", str(out)]) == 0, capsys.readouterr().err
    lines = out.read_bytes().decode("cp1252").splitlines()
    assert lines[0] == "Ort;Größe;Tag"
    assert lines[1].startswith("Köln;")
    assert lines[1].endswith(",50;01.04.2017")
    assert lines[2].startswith("Zürich;2,50;")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["holes.csv", "x.csv"]
    arguments = ["impute", model, source, "--imputations", "2", "--out", tmp_path / "y.csv"]
    refused(capsys, arguments, "writes a folder for each")
