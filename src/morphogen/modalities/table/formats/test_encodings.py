"""Csv files in the encodings that spreadsheets write: read, said, and written back byte by byte."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import pyarrow as arrow
import pytest

from morphogen.core.encodings import text_encoding
from morphogen.core.errors import BadItem
from morphogen.core.noise import Noise
from morphogen.core.space import Row
from morphogen.data.sources import open_source
from morphogen.modalities.table import files
from morphogen.modalities.table.codec import TableCodec
from morphogen.modalities.table.formats import csv_file
from morphogen.modalities.table.options import Options

TEXT = 'Straße;Größe;Preis\r\nÄgidiplatz;1,5;3 €\r\n"Rue ""Été""";2,25;12 €\r\n'
BYTES = {
    "utf-8": TEXT.encode(),
    "utf-8 with a mark": TEXT.encode("utf-8-sig"),
    "utf-16-le": ("\ufeff" + TEXT.replace(";", "\t")).encode("utf-16-le"),
    "utf-16-be": ("\ufeff" + TEXT).encode("utf-16-be"),
    "cp1252": TEXT.encode("cp1252"),
    "latin-1": TEXT.replace("€", "\x81").encode("latin-1"),
}


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
@pytest.mark.parametrize("name", BYTES)
def test_a_file_comes_back_in_its_encoding(name: str, suffix: str, tmp_path: Path) -> None:
    source, target = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    source.write_bytes(gzip.compress(BYTES[name]) if suffix.endswith(".gz") else BYTES[name])
    table = files.read(source)
    assert text_encoding(source) == files.form_of(table).dialect.encoding == name.split()[0]
    assert table.column_names == ["Straße", "Größe", "Preis"]
    assert table.column("Straße").to_pylist() == ["Ägidiplatz", 'Rue "Été"']
    assert table.column("Größe").to_pylist() == [1.5, 2.25]
    files.write_file(target, [table])
    written = gzip.decompress(target.read_bytes()) if suffix.endswith(".gz") else target.read_bytes()
    assert written == BYTES[name]
    assert sorted(tmp_path.iterdir()) == [source, target]


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16-le"])
def test_the_first_letter_above_ascii_may_stand_anywhere(
    encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("morphogen.core.encodings._BLOCK", 7)  # so that characters are cut
    monkeypatch.setattr(csv_file, "_HEAD", 33)
    monkeypatch.setattr(csv_file, "_BLOCK", 5)
    mark = "\ufeff" if encoding == "utf-16-le" else ""
    data = (mark + "name,n\n" + "".join(f"anna,{n}\n" for n in range(50)) + "Zoë €,7\n" * 9).encode(encoding)
    (tmp_path / "a.csv").write_bytes(data)
    table = files.read(tmp_path / "a.csv")
    assert files.form_of(table).dialect.encoding == encoding
    assert table.column("name").to_pylist()[-9:] == ["Zoë €"] * 9
    files.write_file(tmp_path / "b.csv", [table.slice(0, 30), table.slice(30)])
    assert (tmp_path / "b.csv").read_bytes() == data


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)), "is no text"),
        (random.Random(0).randbytes(3000), "is no text"),
        ("\ufeffa,b\n1,2\n".encode("utf-16-le") + b"\0\xd8", "marked as UTF-16 and is not"),
        ("\ufeffa\0b\n".encode("utf-16-be"), "NUL"),
        ("a,b\nGröße,1\nÄhre,2\nStraße,3\n".encode() + b"caf\xe9,4\nplain,5\n", "line 5 is not UTF-8, though the rest"),
    ],
)
def test_what_is_no_text_is_refused_in_one_line(data: bytes, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(data)
    with pytest.raises(BadItem, match=complaint) as refusal:
        files.read(tmp_path / "a.csv")
    assert "\n" not in str(refusal.value)
    with pytest.raises(BadItem, match=complaint):
        open_source(str(tmp_path / "a.csv"))


def test_random_bytes_are_a_table_or_refused(tmp_path: Path) -> None:
    refusals = []
    for seed in range(100):
        noise = random.Random(seed)
        (tmp_path / "a.csv").write_bytes(bytes(noise.choices(b'a,;"\n\r\t1\x81\x85\xe9\xc3\xa9\xff\xfe\0', k=40)))
        try:
            files.read(tmp_path / "a.csv")
        except BadItem as refusal:
            refusals.append(str(refusal))
    assert len(refusals) > 50
    assert not [one for one in refusals if "\n" in one]


def test_a_character_that_the_encoding_lacks_makes_it_utf_8(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.csv").write_bytes("name,n\nZoë,1\nAnna,2\n".encode("cp1252"))
    table = files.read(tmp_path / "a.csv")
    other = arrow.table({"name": ["Łukasz"], "n": arrow.array([3], table.schema.field("n").type)})
    with caplog.at_level("INFO", "morphogen"):
        files.write_file(tmp_path / "b.csv", [table, files.with_form(other, files.form_of(table))])
    assert (tmp_path / "b.csv").read_text(encoding="utf-8") == "name,n\nZoë,1\nAnna,2\nŁukasz,3\n"
    assert "written as UTF-8, since Windows-1252 has no 'Ł'" in caplog.text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "b.csv"]


def test_samples_have_the_encoding_of_the_file_and_the_notes_say_it(tmp_path: Path) -> None:
    data = ("Ort;n\n" + "".join(f"{('Köln', 'Zürich')[n % 2]};{n % 5}\n" for n in range(60))).encode("cp1252")
    (tmp_path / "a.csv").write_bytes(data)
    table = files.read(tmp_path / "a.csv")
    codec = TableCodec.fit([table], Row, Options(rare=1))
    assert [line for line in codec.notes if "Windows-1252" in line] == [
        "  read as Windows-1252, and written in it; if letters look wrong, save the file as UTF-8"
    ]
    codec = TableCodec.from_state(*codec.state())
    files.write_file(tmp_path / "b.csv", [codec.decode(codec.encode(table), Noise.consecutive(0, 60))])
    assert (tmp_path / "b.csv").read_bytes() == data


def test_a_column_of_texts_is_read_in_its_encoding(tmp_path: Path) -> None:
    rows = "".join(f"Ein Satz über Größe Nummer {n}, und noch einer,{n % 2}\n".replace(", ", " ") for n in range(30))
    for encoding in ("cp1252", "utf-16"):
        (tmp_path / "a.csv").write_bytes(f"text,label\n{rows}".encode(encoding))
        source = open_source(str(tmp_path / "a.csv"), "text")
        assert source.read(3) == "Ein Satz über Größe Nummer 3 und noch einer"


def test_an_encoding_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown encoding 'rot13'"):
        csv_file.Dialect(encoding="rot13")
