import gzip
import os
import struct
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from morphogen.core import plugins
from morphogen.core.errors import BadItem, UserError
from morphogen.core.space import Grid
from morphogen.data.encode import chunks, encode_source
from morphogen.data.sources import open_source

ImageCodec = plugins.load("modalities", "image", "codec").ImageCodec


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def save(path: Path, seed: int = 0, size: tuple[int, int] = (8, 8)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(*size, seed=seed)).save(path)
    return path


def png(seed: int = 0) -> bytes:
    stream = BytesIO()
    Image.fromarray(noise(8, 8, seed=seed)).save(stream, "PNG")
    return stream.getvalue()


def write_idx(path: Path, array: np.ndarray) -> None:
    data = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def shared(name: str) -> Path:
    root = Path(os.environ.get("MORPHOGEN_DATA", Path(__file__).parents[3].parent / "shared" / "data"))
    if not (root / name).exists():
        pytest.skip(f"the shared data {name} is absent; MORPHOGEN_DATA names its folder")
    return root / name


def test_a_folder_of_classes(tmp_path):
    for number in range(3):
        save(tmp_path / "cat" / f"{number}.png", seed=number)
    save(tmp_path / "dog" / "only.PNG")
    save(tmp_path / "dog" / ".hidden.png")
    (tmp_path / "notes.txt").write_text("x")
    source = open_source(tmp_path)
    assert [source.item_name(index) for index in range(4)] == ["cat/0.png", "cat/1.png", "cat/2.png", "dog/only.PNG"]
    assert source.columns == {"label": ["cat", "cat", "cat", "dog"]}
    assert source.modality == "image"
    assert source.test is None
    assert np.array_equal(np.asarray(source.read(1)), noise(8, 8, seed=1))
    assert "4 image files, label from 2 sub-folders (1 other file ignored)" in source.description


def test_files_at_several_levels_have_no_label(tmp_path):
    save(tmp_path / "a.png")
    save(tmp_path / "cat" / "b.png")
    source = open_source(str(tmp_path))
    assert len(source) == 2
    assert source.columns == {}
    assert "no label" in source.description


def test_a_folder_with_its_own_split(tmp_path):
    for side, number in (("train", 3), ("test", 2)):
        for index in range(number):
            save(tmp_path / side / "cat" / f"{index}.png")
    source = open_source(tmp_path)
    assert source.test is not None
    assert source.test.sum() == 2
    assert source.columns == {"label": ["cat"] * 5}


def test_linked_folders_are_entered_once(tmp_path):
    save(tmp_path / "a" / "1.png")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    assert len(open_source(tmp_path)) == 1


def test_a_single_picture(tmp_path):
    source = open_source(save(tmp_path / "one.png"))
    assert len(source) == 1
    assert "single file one.png" in source.description


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "is empty; expected files such as"),
        (["a.doc", "b.doc", "c.log"], r"holds 2 \.doc, 1 \.log; expected files such as"),
    ],
)
def test_a_folder_without_pictures(tmp_path, files, message):
    for name in files:
        (tmp_path / name).write_text("text")
    with pytest.raises(UserError, match=message):
        open_source(tmp_path)


def test_a_column_of_what_has_none(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "0.png")
    Image.new("L", (8, 8)).save(tmp_path / "1.png")
    (tmp_path / "a.txt").write_text("one\ntwo\nthree\n")
    for source in (str(tmp_path), str(tmp_path / "a.txt"), "digits", [Image.new("L", (8, 8))] * 3):
        with pytest.raises(UserError, match="--column names a column of records; this source has none"):
            open_source(source, column="x")


def test_paths_that_do_not_exist(tmp_path):
    save(tmp_path / "photos" / "a.png")
    with pytest.raises(UserError, match=r"did you mean '.*photos'"):
        open_source(tmp_path / "photo")
    with pytest.raises(UserError, match="did you mean 'digits'"):
        open_source("digit")
    with pytest.raises(UserError, match="no file or folder '/no/such/place'; expected"):
        open_source("/no/such/place")
    (tmp_path / "x.docx").write_text("x")
    with pytest.raises(UserError, match="of an unknown kind"):
        open_source(tmp_path / "x.docx")
    with pytest.raises(UserError, match="source is empty"):
        open_source(" ")
    with pytest.raises(UserError, match="cannot be a int"):
        open_source(3)
    with pytest.raises(UserError, match="unknown modality 'imag'; did you mean 'image'"):
        open_source(tmp_path, modality="imag")


def test_a_hub_data_set_that_cannot_be_reached(monkeypatch, tmp_path):
    pytest.importorskip("datasets")
    hub = pytest.importorskip("huggingface_hub")

    def offline(self: object, name: str, timeout: float) -> None:
        raise ConnectionError("no network\nand a long story")

    monkeypatch.setattr(hub.HfApi, "dataset_info", offline)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"no local path 'someone/faces', and the Hub .* \(no network\); check"):
        open_source("someone/faces")
    with pytest.raises(UserError, match=r"no network"):
        open_source("hub:mnist")


def test_a_hub_data_set(monkeypatch):
    datasets = pytest.importorskip("datasets")
    hub = pytest.importorskip("huggingface_hub")
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=["cat", "dog"]),
            "width": datasets.Value("int32"),
        }
    )

    def part(count: int) -> object:
        rows = {"image": [{"bytes": png(n), "path": None} for n in range(count)]}
        return datasets.Dataset.from_dict(
            {**rows, "label": [n % 2 for n in range(count)], "width": [8] * count}, features=features
        )

    monkeypatch.setattr(hub.HfApi, "dataset_info", lambda self, name, timeout: None)
    monkeypatch.setattr(datasets, "load_dataset", lambda name: datasets.DatasetDict(train=part(4), test=part(2)))
    source = open_source("hub:someone/pets")
    assert len(source) == 6
    assert source.test is not None
    assert source.test.tolist() == [False] * 4 + [True] * 2
    assert source.columns["label"] == ["cat", "dog", "cat", "dog", "cat", "dog"]
    assert np.array_equal(np.asarray(source.read(5)), noise(8, 8, seed=1))


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_idx_files_bring_their_official_split(tmp_path, ending):
    for name, count, seed in (("train", 5, 0), ("t10k", 3, 1)):
        write_idx(tmp_path / f"{name}-images-idx3-ubyte{ending}", noise(count, 5, 6, seed=seed))
        write_idx(tmp_path / f"{name}-labels-idx1-ubyte{ending}", np.arange(count, dtype=np.uint8) % 2)
    source = open_source(tmp_path)
    assert source.test is not None
    assert source.test.tolist() == [False] * 5 + [True] * 3
    assert source.columns["label"] == list("01010010")
    assert np.array_equal(np.asarray(source.read(6)), noise(3, 5, 6, seed=1)[1])
    alone = open_source(tmp_path / f"t10k-images-idx3-ubyte{ending}")
    assert len(alone) == 3
    assert alone.test is None
    assert alone.columns["label"] == ["0", "1", "0"]


@pytest.mark.parametrize("labels", [["x", 2020], ["x", ("a", 1)], ["x", None], [2020, 2021.5], [("a", 1), ("b", 2)]])
def test_a_data_frame_with_labels_of_several_types(labels):
    """Any warning is an error here."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame([[1.5, 1], [2.5, 2]] * 20)
    frame.columns = pandas.Index(labels)
    before = frame.columns
    assert open_source(frame).modality == "table"
    assert frame.columns is before


def test_damaged_idx_files(tmp_path):
    path = tmp_path / "x-images-idx3-ubyte"
    write_idx(path, noise(5, 5, 6))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="fetch it again"):
        open_source(path)
    (tmp_path / "x.idx").write_bytes(bytes([7, 2, 76, 1]) * 9)
    with pytest.raises(UserError, match=r"not a readable idx file \(it begins with 07 02 4c 01; expected 00 00"):
        open_source(tmp_path / "x.idx")
    (tmp_path / "y.idx.gz").write_bytes(b"not gzip")
    with pytest.raises(UserError, match="not a readable idx"):
        open_source(tmp_path / "y.idx.gz")


def test_npz_files(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, images=noise(6, 8, 8), y=np.arange(6.0) % 3, other=noise(2, 2, 2))
    source = open_source(path)
    assert len(source) == 6
    assert source.columns == {"label": ["0", "1", "2", "0", "1", "2"]}
    assert "array 'images'" in source.description
    np.savez(path, x_train=noise(4, 8, 8, 3), x_test=noise(2, 8, 8, 3), y_train=np.zeros((4, 1)), y_test=np.ones(2))
    source = open_source(path)
    assert source.test is not None
    assert source.test.sum() == 2
    assert source.columns["label"] == ["0"] * 4 + ["1"] * 2
    assert source.read(5).mode == "RGB"
    np.savez(path, table=noise(9, 4))
    with pytest.raises(UserError, match=r"holds table \(9, 4\); expected numbers of shape \(N, H, W\)"):
        open_source(path)


def test_npy_file(tmp_path):
    np.save(tmp_path / "x.npy", noise(6, 8, 8))
    assert np.array_equal(np.asarray(open_source(tmp_path / "x.npy").read(2)), noise(6, 8, 8)[2])


def test_damaged_and_misnamed_arrays(tmp_path):
    npz, npy = tmp_path / "x.npz", tmp_path / "x.npy"
    np.savez_compressed(npz, x=noise(20, 8, 8) // 64)
    data = npz.read_bytes()
    np.save(npy, noise(2, 8, 8))
    for content in (b"PK but not really", data[:200] + bytes(100) + data[300:], npy.read_bytes()):
        npz.write_bytes(content)
        with pytest.raises(UserError, match="not a readable npz"):
            open_source(npz)
    for content in (b"", data):
        npy.write_bytes(content)
        with pytest.raises(UserError, match="not a readable npy"):
            open_source(npy)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([-1.0, 0.5]), [-1.0, 0.5]),
        (np.array([3, 200], np.int64), [3, 200]),
        (np.array([3, 60000], np.int32), [3, 60000]),
        (np.array([False, True]), [0, 255]),
    ],
)
def test_arrays_in_memory_are_brought_to_pixels(array, expected):
    source = open_source(np.tile(array, (2, 3, 1)))
    assert np.asarray(source.read(1))[0].tolist() == expected


def test_arrays_that_are_no_pictures():
    for array, message in (
        (noise(64, 64, 3), r"shape \(64, 64, 3\)"),
        (noise(9, 9), "expected"),
        (np.full((2, 5, 5, 3), 300.5), "values lie in 300.5"),
        (np.zeros((0, 5, 5)), "nothing in it"),
        (np.zeros((2, 0, 5)), "nothing in it"),
        (np.array([[["a"]]]), "expected numbers"),
    ):
        with pytest.raises(UserError, match=message):
            open_source(array)
    with pytest.raises(UserError, match="3 items, but 'label' has 2 values"):
        open_source((noise(3, 5, 5), [0, 1]))


def test_pictures_in_memory():
    items = [Image.fromarray(noise(4, 4, seed=seed)) for seed in range(3)]
    source = open_source((items, ["a", "b", "a"]))
    assert source.read(2) is items[2]
    assert source.columns == {"label": ["a", "b", "a"]}
    assert open_source((items, ["a", None, "a"])).columns == {"label": ["a", "", "a"]}
    with pytest.raises(UserError, match="empty"):
        open_source([])
    with pytest.raises(UserError, match="item 1 has the type float"):
        open_source([None, 3.5])


def test_the_embedded_digits():
    source = open_source("digits")
    assert len(source) == 1797
    assert sorted(set(source.columns["label"])) == list("0123456789")
    assert source.test is None
    assert max(np.asarray(source.read(index)).max() for index in range(20)) == 255


@pytest.mark.parametrize("struct_cells", [False, True])
def test_parquet_is_streamed(tmp_path, struct_cells):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    cells = [{"bytes": png(n), "path": f"{n}.png"} if struct_cells else png(n) for n in range(100)]
    table = arrow.table({"id": [f"i{n}" for n in range(100)], "kind": ["a", "b"] * 50, "image": cells})
    parquet.write_table(table, tmp_path / "x.parquet", row_group_size=33)
    source = open_source(tmp_path / "x.parquet")
    assert len(source) == 100
    assert source.columns == {"kind": ["a", "b"] * 50}
    for index in (0, 1, 99, 40, 32, 33, 66, 2):
        assert np.array_equal(np.asarray(source.read(index)), noise(8, 8, seed=index))
    codec = ImageCodec.fit(chunks(source, range(100)), Grid)
    store, read, _, _ = encode_source(source, codec, tmp_path / "store", range(100), chunk=10)
    assert read.tolist() == list(range(100))
    assert codec.decode(store.read([57]), None)[0].tobytes() == noise(8, 8, seed=57).tobytes()
    with pytest.raises(UserError, match="unknown column 'imag'; did you mean 'image'"):
        open_source(tmp_path / "x.parquet", column="imag")


def test_parquet_without_pictures_or_pyarrow(tmp_path, monkeypatch):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.table({"a": [1, 2], "b": ["x", "y"]}), tmp_path / "x.parquet")
    assert open_source(tmp_path / "x.parquet").modality == "table"
    with pytest.raises(UserError, match="has the columns a, b, none of them with pictures"):
        open_source(tmp_path / "x.parquet", "image")
    (tmp_path / "y.parquet").write_text("not parquet")
    with pytest.raises(UserError, match="not a readable parquet"):
        open_source(tmp_path / "y.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"pip install 'morphogen\[arrow\]'"):
        open_source(tmp_path / "x.parquet")


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".CSV.GZ"])
def test_csv_with_paths(tmp_path, ending):
    for number in range(4):
        save(tmp_path / "pictures" / f"{number}.png", seed=number)
    rows = [f"pictures/{number}.png,{'ab'[number % 2]},é{number}" for number in range(4)]
    text = "\n".join(["file,kind,note", *rows, "pictures/gone.png,a,x", ",a,y"]).encode()
    path = tmp_path / f"x{ending}"
    compressed = ending.lower().endswith("gz")
    path.write_bytes(gzip.compress(text) if compressed else text)
    source = open_source(path)
    assert len(source) == 6
    assert source.columns == {"kind": ["a", "b", "a", "b", "a", "a"]}
    assert np.array_equal(np.asarray(source.read(3)), noise(8, 8, seed=3))
    with pytest.raises(BadItem, match=r"gone\.png does not exist"):
        source.read(4)
    with pytest.raises(BadItem, match="row 5 is empty"):
        source.read(5)
    if compressed:
        data = path.read_bytes()
        path.write_bytes(data[:10] + b"\x07" + data[11:])  # a kind of block that deflate does not have
        with pytest.raises(UserError, match="not a readable csv"):
            open_source(path)
    path.write_bytes(gzip.compress(b"a,b\n1,2\n") if compressed else b"a,b\n1,2\n")
    with pytest.raises(UserError, match="none of them with pictures"):
        open_source(path, "image")


def test_a_few_bad_items_are_skipped_by_name(tmp_path):
    for number in range(40):
        save(tmp_path / "in" / f"{number:02d}.jpg", seed=number, size=(9, 9))
    cut = tmp_path / "in" / "07.jpg"
    cut.write_bytes(cut.read_bytes()[:-100])
    source = open_source(tmp_path / "in")
    indices = np.arange(len(source))
    codec = ImageCodec.fit(chunks(source, indices, size=16), Grid)
    store, read, _, skipped = encode_source(source, codec, tmp_path / "store", indices, chunk=6)
    assert len(skipped) == 1
    assert "07.jpg" in skipped[0]
    assert read.tolist() == [index for index in range(40) if index != 7]
    assert torch.equal(store.read(range(39)), codec.encode([source.read(int(index)) for index in read]))
    for number in (3, 9):
        (tmp_path / "in" / f"{number:02d}.jpg").write_bytes(b"")
    with pytest.raises(UserError, match=r"at least 3 of 40 items cannot be read, more than 5%: .*03\.jpg"):
        encode_source(source, codec, tmp_path / "other", indices)
    assert not (tmp_path / "other").exists()


def test_a_folder_of_bad_files_only(tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"broken")
    with pytest.raises(UserError, match=r"none of 2 items can be read; the first: .*a\.png is not a picture"):
        ImageCodec.fit(chunks(open_source(tmp_path), range(2)), Grid)


def test_an_opened_source_is_returned_as_it_is():
    source = open_source("digits")
    assert open_source(source) is source


def test_who_claims_what(tmp_path):
    """The surest claim has it; a weak one counts only where the user names the modality or the column."""
    arrow = pytest.importorskip("pyarrow")
    table = arrow.table({"name": ["emma", "ava"], "age": [3, 4]})
    assert open_source(table).modality == "table"
    assert open_source(table, column="name").modality == "text"
    assert open_source(table, "text").read(1) == "ava"
    with pytest.raises(UserError, match="the column 'age' of the data frame holds 3; expected"):
        open_source(table, column="age")
    with pytest.raises(UserError, match="has the columns name, age, none of them with pictures"):
        open_source(table, "image")
    for spec in ("digits", noise(3, 8, 8)):
        with pytest.raises(UserError, match=r"shape \(.*, 8, 8\) and type uint8; .*: texts do not come in arrays"):
            open_source(spec, "text")
    (tmp_path / "x.csv").write_text("name;age\n" + "a rather long name, of more than forty characters;3\n" * 3)
    source = open_source(tmp_path / "x.csv")
    assert source.modality == "text"
    assert source.read(0) == "a rather long name, of more than forty characters"
    # A remark in each row of a table makes no texts of it, and a label or two beside texts no table.
    remark = "slept badly, has a slight fever, came by bus"
    for columns, modality in (
        (("remark", "name", "mail", "physician", "day", "cost"), "table"),
        (("text", "name", "mail", "physician", "day", "cost"), "text"),
        (("remark", "label", "score"), "text"),
    ):
        cells = (remark, "Ann Lee", "ann.lee@example.org", "Dr. Bob Stone", "2020-03-04", "5.25")[: len(columns)]
        (tmp_path / "y.csv").write_text("\n".join([";".join(columns), *[";".join(cells)] * 3]) + "\n")
        assert open_source(tmp_path / "y.csv").modality == modality, columns
        assert open_source(tmp_path / "y.csv", column=columns[0]).modality == "text"


def test_an_array_with_labels_and_its_own_split(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, train_images=noise(4, 8, 8), test_images=noise(2, 8, 8), train_labels=[0, 1] * 2, test_labels=[0, 1])
    source = open_source(path)
    assert source.test is not None
    assert source.test.tolist() == [False] * 4 + [True] * 2
    assert source.columns == {"label": list("010101")}


def test_fashion_mnist():
    source = open_source(shared("fashion-mnist"))
    assert len(source) == 70000
    assert source.test is not None
    assert source.test.sum() == 10000
    assert set(source.columns["label"][60000:]) == set("0123456789")
    mean = np.mean([np.asarray(source.read(index)).mean() for index in range(0, 60000, 60)]) / 255
    assert abs(mean - 0.286) < 0.01  # the official README's


def test_emoji(tmp_path):
    pytest.importorskip("pyarrow")
    source = open_source(shared("emoji64/emojitwo64.parquet"))
    assert len(source) == 2022
    assert "category" in source.columns
    codec = ImageCodec.fit(chunks(source, range(200)), Grid)
    assert codec.space == Grid(3, (64, 64), step=2 / 255)
    store, read, _, skipped = encode_source(source, codec, tmp_path / "store", range(200))
    assert (len(store), len(read), skipped) == (200, 200, [])
    assert store.read([0])[0, :, 0, 0].tolist() == [1, 1, 1]  # transparent corners on white


def test_a_list_of_records_is_rows():
    source = open_source([{"age": 30, "city": "Rome"}, {"city": "Oslo"}, {"age": 40, "city": "Rome"}])
    assert source.modality == "table"
    assert source.block(np.arange(3)).to_pydict() == {"age": [30, None, 40], "city": ["Rome", "Oslo", "Rome"]}
    stories = [{"story": f"Once upon a time {number} princes lived in a castle.", "n": number} for number in range(5)]
    assert open_source(stories, column="story").read(1) == stories[1]["story"]
    with pytest.raises(UserError, match="the value of 'a' in the records has no type in common"):
        open_source([{"a": 1}, {"a": "x"}])


@pytest.mark.parametrize("claimed", [2**40, 10**20])
def test_a_header_that_claims_more_than_there_is(tmp_path, claimed):
    """It is compared with the file before memory is asked for."""
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({claimed}, 5, 5), }}".encode().ljust(117) + b"\n"
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(50)
    (tmp_path / "x.npy").write_bytes(data)
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as file:
        file.writestr("x.npy", data)
    (tmp_path / "x.idx").write_bytes(struct.pack(">HBB3I", 0, 8, 3, 2**31, 5, 5) + bytes(50))
    for name in ("x.npy", "x.npz", "x.idx"):
        with pytest.raises(UserError) as error:
            open_source(tmp_path / name)
        assert str(error.value).startswith(f"{tmp_path / name} ")
        assert "\n" not in str(error.value)


def test_a_zip_bomb_is_not_unpacked(tmp_path, monkeypatch):
    (tmp_path / "x.txt.gz").write_bytes(gzip.compress(b"a" * 1_000_000))
    monkeypatch.setattr("morphogen.core.files.memory_left", lambda: 1_000_000)
    monkeypatch.setattr("morphogen.core.files._SMALL", 1000)
    with pytest.raises(UserError, match=r"x.txt.gz unpacks to more than the 0.0 GiB"):
        open_source(tmp_path / "x.txt.gz")
