import gzip
import json
import os
import tracemalloc
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from morphogen.core.errors import BadItem, UserError
from morphogen.core.modality import modality
from morphogen.core.noise import Noise
from morphogen.core.space import TokenSequence
from morphogen.data.base import content_name
from morphogen.data.encode import chunks
from morphogen.data.sources import open_source
from morphogen.data.split import split_by_hash
from morphogen.modalities.text import documents

PLAY = "FIRST: speak.\n\nALL: speak, speak.\n\nFIRST: you are all resolved rather to die than to famish?\n" * 30
NAMES = [f"name{number}" for number in range(50)]


def shared(name: str) -> Path:
    root = Path(os.environ.get("MORPHOGEN_DATA", Path(__file__).parents[4].parent / "shared" / "data"))
    if not (root / name).exists():
        pytest.skip(f"the shared data {name} is absent; MORPHOGEN_DATA names its folder")
    return root / name


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix.lower() == ".gz" else text.encode())
    return path


def everything(source) -> list[str]:
    return [source.read(index) for index in range(len(source))]


def held_out(source) -> list[bool]:
    return source.test.tolist()


@pytest.mark.parametrize("ending", [".txt", ".txt.gz", ".TXT.GZ", ".md"])
def test_one_text_is_split_by_its_last_part(tmp_path, ending):
    source = open_source(put(tmp_path / f"play{ending}", PLAY))
    assert source.modality == "text"
    assert everything(source) == [PLAY[: int(0.9 * len(PLAY))], PLAY[int(0.9 * len(PLAY)) :]]
    assert held_out(source) == [False, True]
    assert source.item_name(0) == f"play{ending}, the first 90 %"
    assert f"one text of {len(PLAY):,} characters, its last tenth held out" in source.description
    assert "--separator line, blank or a text of your own cuts it" in source.description


@settings(max_examples=80, deadline=None)
@given(text=st.text("aé漢🙂", min_size=10, max_size=60))
def test_the_split_is_at_a_character(tmp_path_factory, text):
    documents._BLOCK, block = 5, documents._BLOCK
    try:
        source = open_source(put(tmp_path_factory.mktemp("x") / "x.txt", text))
    finally:
        documents._BLOCK = block
    assert everything(source) == [text[: int(0.9 * len(text))], text[int(0.9 * len(text)) :]]


def test_a_whole_file_is_one_document(tmp_path):
    path = put(tmp_path / "names.txt", "\n".join(NAMES))
    source = open_source(path, whole=True)
    assert everything(source) == ["\n".join(NAMES)]
    assert source.test is None
    assert everything(open_source(tmp_path, whole=True)) == ["\n".join(NAMES)]


def test_a_list_is_a_document_a_line(tmp_path):
    source = open_source(put(tmp_path / "names.txt", "\n".join(NAMES) + "\n\n"))
    assert everything(source) == NAMES
    assert source.test is None
    assert source.item_name(3) == "name3"
    assert "50 lines, each a document (--separator none takes all as one text)" in source.description
    assert len(open_source(tmp_path / "names.txt", separator="none")) == 2
    many = put(tmp_path / "many.txt", "".join(f"{name}-{number}\r\n" for number in range(60) for name in NAMES))
    assert len(open_source(many)) == 3000
    assert open_source(many).read(51) == "name1-1"


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(NAMES[:15]),  # few
        "\n".join(["yes", "no"] * 40),  # the same again and again
        "\n".join(name * 20 for name in NAMES),  # long lines
        "\n".join([*NAMES, "x" * 500]),  # one very long line
        "\n".join([*NAMES, " ", *NAMES]),  # a blank line
    ],
)
def test_what_is_no_list_is_one_text(tmp_path, text):
    assert len(open_source(put(tmp_path / "x.txt", text))) == 2


def test_separators(tmp_path):
    path = put(tmp_path / "x.txt", "\n\none\ntwo\n\n \t\nthree\n---\n\n\nfour\n\n")
    for separator, expected in (
        ("line", ["one", "two", "three", "---", "four"]),
        ("blank", ["one\ntwo", "three\n---", "four"]),
        ("---", ["one\ntwo\n\n \t\nthree", "four"]),
        ("\\n---\\n", ["one\ntwo\n\n \t\nthree", "four"]),
        ("t", ["one", "wo\n\n \t", "hree\n---\n\n\nfour"]),
    ):
        source = open_source(path, separator=separator)
        assert everything(source) == expected
        assert f"{len(expected)} " in source.description
        assert "each a document" in source.description
    for separator in ("<|endoftext|>", "\\t\\t"):
        with pytest.raises(UserError, match=r"x\.txt does not contain --separator .* between two documents"):
            open_source(path, separator=separator)
    with pytest.raises(UserError, match="--separator is empty"):
        open_source(path, separator="")
    for other in (["a", "b"], "digits"):
        with pytest.raises(UserError, match="--separator splits a single text file; this source is none"):
            open_source(other, separator="line")


def test_bad_text_files(tmp_path):
    path = tmp_path / "x.txt"
    for data, message in (
        (b"", "is empty"),
        (b"a\nb\xe9", "line 2 holds the byte 0xE9"),
        (b"a\0b", "NUL"),
        (b"short", "holds 5 characters; a text to learn from has thousands"),
    ):
        path.write_bytes(data)
        with pytest.raises(UserError, match=message) as raised:
            open_source(path)
        assert "x.txt" in str(raised.value)
    (tmp_path / "y.txt.gz").write_bytes(b"not gzip")
    with pytest.raises(UserError, match=r"y\.txt\.gz cannot be read"):
        open_source(tmp_path / "y.txt.gz")
    put(tmp_path / "z.txt.gz", PLAY).write_bytes((tmp_path / "z.txt.gz").read_bytes()[:-9])
    with pytest.raises(UserError, match=r"z\.txt\.gz cannot be read"):
        open_source(tmp_path / "z.txt.gz")


def test_folders_of_texts(tmp_path):
    for name, text in (("de/a.txt", "ja"), ("de/b.md", "nein\r\n"), ("en/c.txt", "no"), ("en/d.txt", "caf\xe9")):
        put(tmp_path / name, text)
    (tmp_path / "en/d.txt").write_bytes(b"caf\xe9")
    source = open_source(tmp_path)
    assert source.modality == "text"
    assert source.columns == {"label": ["de", "de", "en", "en"]}
    assert [source.read(index) for index in range(3)] == ["ja", "nein\n", "no"]
    with pytest.raises(BadItem, match=r"d\.txt: line 1 holds the byte 0xE9"):
        source.read(3)
    put(tmp_path / "alone" / "input.txt", PLAY)
    alone = open_source(tmp_path / "alone")
    assert held_out(alone) == [False, True]
    assert len(open_source(tmp_path / "alone", separator="blank")) == 61


def test_captions_do_not_outweigh_pictures(tmp_path):
    for number in range(2):
        put(tmp_path / f"{number}.txt", "a caption")
        Image.new("L", (8, 8)).save(tmp_path / f"{number}.png")
    assert open_source(tmp_path).modality == "image"
    assert open_source(tmp_path, "text").read(0) == "a caption"


def test_texts_in_memory(tmp_path):
    source = open_source(["one", "two\r\nlines", "", "one"])
    assert source.modality == "text"
    assert source.read(1) == "two\nlines"
    assert source.item_name(0) == source.item_name(3) == "one"
    with pytest.raises(BadItem, match="item 2 is empty"):
        source.read(2)
    assert open_source(np.array(["a", "b"])).read(1) == "b"
    labelled = open_source((["one", "two"], ["x", "y"]))
    assert (labelled.modality, labelled.columns) == ("text", {"label": ["x", "y"]})
    path = put(tmp_path / "a.txt", "in a file")
    for item in (path, str(path)):
        assert open_source([item, item]).read(1) == "in a file"
    with pytest.raises(BadItem, match=r"b\.txt does not exist"):
        open_source([str(path), str(tmp_path / "b.txt")]).read(1)
    assert open_source(["a.txt"]).read(0) == "a.txt"  # no such file: a text
    assert open_source(["a.png"]).modality == "image"
    with pytest.raises(UserError, match="there is no file or folder"):
        open_source("just a text")
    with pytest.raises(UserError, match=r"item 0 has the type ndarray .*; expected a str"):
        open_source([np.zeros(3)], "text")


def test_equal_texts_stay_on_one_side(tmp_path):
    source = open_source(put(tmp_path / "x.txt", "\n".join([*NAMES, *NAMES[:40]])))
    test = split_by_hash([source.item_name(index) for index in range(len(source))])
    assert test[:40].tolist() == test[50:].tolist()
    assert test.any()
    assert content_name("a" * 50) != content_name("a" * 51)


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz", ".ndjson"])
def test_jsonl(tmp_path, ending):
    rows = [json.dumps({"id": number, "text": f"né {number}\r\n", "kind": "ab"[number % 2]}) for number in range(30)]
    rows[4], rows[5], rows[6] = "{", '"text"', '{"kind": "b"}'
    rows[7], rows[8], rows[9] = '{"text": "\\ud83d"}', '{"text": ""}', '{"text": 3}'
    path = put(tmp_path / f"x{ending}", "\ufeff" + "\n".join([*rows[:3], "", *rows[3:]]))
    source = open_source(path)
    assert len(source) == 30
    assert source.modality == "text"
    assert source.read(0) == "né 0\n"
    assert source.read(29) == "né 29\n"
    assert source.columns == {"kind": [*"abab", "", "", "b", "", "", "", *("ab" * 10)]}
    assert "30 rows, texts in column 'text'" in source.description
    for index, message in (
        (4, r"line 6 is not JSON"),
        (5, r"line 7 is no JSON object"),
        (6, "row 6 is empty"),
        (7, "row 7 holds half a character"),
        (8, "row 8 is empty"),
        (9, "row 9 holds 3; expected a string"),
    ):
        with pytest.raises(BadItem, match=rf"x{ending} {message}") as raised:
            source.read(index)
        assert "\n" not in str(raised.value)
        assert source.item_name(index) == f"x{ending} row {index}"


def test_jsonl_columns(tmp_path):
    rows = [{"title": "a title", "body": "words " * 20, "score": 1.5, "tags": ["x"]} for _ in range(3)]
    path = put(tmp_path / "x.jsonl", "\n".join(map(json.dumps, rows)))
    source = open_source(path)
    assert source.read(0) == "words " * 20
    assert source.columns == {"title": ["a title"] * 3}
    assert open_source(path, column="title").read(0) == "a title"
    with pytest.raises(UserError, match="unknown column 'bodi'; did you mean 'body'"):
        open_source(path, column="bodi")
    for text, message in (
        ("", "is empty"),
        ("nope\n[1]", r"has no readable row: x\.jsonl line 1 is not JSON"),
        ('{"a": 1}', "has the columns a, none of them with pictures or texts"),
    ):
        with pytest.raises(UserError, match=message):
            open_source(put(path, text))


def test_csv_with_texts(tmp_path):
    long = "x" * 200_000
    body = f'id,kind,text\n1,a,"two\nlines, and ""more"""\n2,b,{long}\n3,a,\n4,b,plain\n'
    source = open_source(put(tmp_path / "x.csv", body))
    assert (source.modality, len(source)) == ("text", 4)
    assert source.read(0) == 'two\nlines, and "more"'
    assert source.read(1) == long
    assert source.columns == {"kind": ["a", "b", "a", "b"]}
    with pytest.raises(BadItem, match=r"x\.csv row 2 is empty"):
        source.read(2)
    short = put(tmp_path / "y.csv", "name,n\nemma,1\nava,2\n")
    assert open_source(short).modality == "table"
    with pytest.raises(UserError, match="has the columns name, n, none of them with pictures; expected"):
        open_source(short, "image")
    assert open_source(short, "text").read(1) == "ava"
    assert open_source(short, column="name").read(1) == "ava"
    put(tmp_path / "a.txt", "in a file")
    paths = put(tmp_path / "z.csv", "file,kind\na.txt,x\na.txt,y\n")
    assert open_source(paths).read(1) == "in a file"
    assert "texts in column 'file'" in open_source(paths).description


def test_parquet_with_texts(tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    texts = [f"{'words ' * 10}{number}" for number in range(40)]
    stream = BytesIO()
    Image.new("L", (8, 8)).save(stream, "PNG")
    picture = stream.getvalue()
    table = {"text": [*texts, None, ""], "kind": ["a", "b"] * 21, "picture": [picture] * 42}
    parquet.write_table(arrow.table(table), tmp_path / "x.parquet", row_group_size=13)
    source = open_source(tmp_path / "x.parquet", "text")
    assert [source.read(index) for index in range(40)] == texts
    assert source.item_name(3) == content_name(texts[3])
    assert source.columns == {"kind": ["a", "b"] * 21}
    for index in (40, 41):
        with pytest.raises(BadItem, match=rf"x\.parquet row {index} is empty"):
            source.read(index)
        assert source.item_name(index) == f"x.parquet row {index}"
    assert open_source(tmp_path / "x.parquet").modality == "image"
    parquet.write_table(arrow.table({"text": texts}), tmp_path / "y.parquet")
    assert open_source(tmp_path / "y.parquet").modality == "text"


def test_a_hub_data_set_of_texts(monkeypatch):
    datasets = pytest.importorskip("datasets")
    from morphogen.data import hub

    def part(count):
        rows = {"text": [f"{'words ' * 10}{n}" for n in range(count)], "label": [n % 2 for n in range(count)]}
        names = datasets.ClassLabel(names=["bad", "good"])
        return datasets.Dataset.from_dict(rows, features=datasets.Features(text=datasets.Value("string"), label=names))

    monkeypatch.setattr(hub, "_check_reachable", lambda identifier: None)
    monkeypatch.setattr(datasets, "load_dataset", lambda name: datasets.DatasetDict(train=part(4), test=part(2)))
    source = open_source("hub:someone/reviews")
    assert (source.modality, len(source)) == ("text", 6)
    assert source.read(5) == f"{'words ' * 10}1"
    assert source.columns == {"label": ["bad", "good", "bad", "good", "bad", "good"]}
    assert held_out(source) == [False] * 4 + [True] * 2


def test_memory_stays_near_the_files_size(tmp_path):
    line = "a line of some length, number {}\n"
    path = put(tmp_path / "x.txt", "".join(line.format(number) for number in range(60_000)))
    tracemalloc.start()
    source = open_source(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(source) == 60_000
    assert peak < 3 * path.stat().st_size


def test_names():
    source = open_source(shared("text/names.txt"))
    assert len(source) == 32033
    codec = modality("text").fit(chunks(source, range(32033)), TokenSequence, None)
    assert codec.space == TokenSequence(28, 17, end=27, start=26)
    assert codec.decode(codec.encode([source.read(0)]), Noise.consecutive(0, 1)) == ["emma"]


def test_tiny_shakespeare():
    path = shared("text/tinyshakespeare.txt")
    source, text = open_source(path), path.read_text()
    assert source.read(0) == text[:1003854]
    assert source.read(1) == text[1003854:]
    codec = modality("text").fit(chunks(source, [0]), TokenSequence, None)
    assert codec.space == TokenSequence(67, 256, end=66, start=65)
    examples, _ = codec.pack([source.read(1)], alone=False)
    assert examples.shape == (-(-(len(text) - 1003854 + 2 - 256) // 128) + 1, 256)


STORY = (
    "Once upon a time {a} and {b} lived near a {c}. One day {a} lost a {d} there. {b} looked for the {d} with {a} "
    "until night, and found it under the {c}."
)
WORDS = ["apple", "river", "drum", "lantern", "goat", "window", "kite", "bridge", "whistle", "barrel", "candle"]


def told(count: int, *, paragraphs: int = 1) -> list[str]:
    """Return stories, each about its own people and things in all its paragraphs."""
    random = np.random.default_rng(0)
    stories = []
    for number in range(count):
        names = {"a": f"Ann{number}", "b": f"Bob{number}"} | dict(
            zip("cd", random.choice(WORDS, 2, replace=False), strict=True)
        )
        stories.append("\n\n".join([STORY.format(**names)] * paragraphs))
    return stories


@pytest.mark.parametrize(
    ("between", "paragraphs", "count", "unit"),
    [
        ("\n\n", 1, 30, "30 blocks between blank lines"),
        ("\n\n\n", 3, 30, "30 parts between two or more blank lines"),
        ("\n", 3, 30, "30 parts between single line ends"),
        ("\n<|endoftext|>\n", 2, 5, "5 parts between '<|endoftext|>'"),
        ("<|endoftext|>", 2, 5, "5 parts between '<|endoftext|>'"),
        ("\n---\n", 2, 6, "6 parts between '---'"),
        ("\n\n* * *\n\n", 2, 6, "6 parts between '* * *'"),
    ],
)
def test_documents_are_found(tmp_path, between, paragraphs, count, unit):
    stories = told(count, paragraphs=paragraphs)
    stories = [story.replace(".", "!", number % 4) for number, story in enumerate(stories)]
    source = open_source(put(tmp_path / "stories.txt", between.join(stories) + "\n"))
    assert everything(source) == stories
    assert f"{unit}" in source.description
    assert "each a document (--separator none takes all as one text)" in source.description


@pytest.mark.parametrize(
    "text",
    [
        "\n\n".join(told(10)),  # too few to tell
        "\n\n".join(told(20, paragraphs=4)),  # paragraphs, which nothing divides
        "\n---\n".join(told(3)),
        "\n\n".join(f"## Part {number}\n\n{story}" for number, story in enumerate(told(30))),  # headings
        "\n\n".join(f"ANN{number % 3}:\n{story}" for number, story in enumerate(told(30))),  # speeches
    ],
)
def test_paragraphs_and_speeches_are_one_text(tmp_path, text):
    assert len(open_source(put(tmp_path / "book.txt", text))) == 2


def test_documents_of_the_shared_texts():
    for name, description in (
        ("names.txt", "32,033 lines, each a document"),
        ("tinyshakespeare.txt", "one text of 1,115,394 characters"),
        ("tinystories_sample.txt", "1,097 parts between single line ends"),
        ("wikitext2.valid.txt", "one text of"),
    ):
        assert description in open_source(shared(f"text/{name}")).description
