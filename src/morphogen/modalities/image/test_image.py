import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from morphogen.core.errors import BadItem, UserError
from morphogen.core.modality import Record
from morphogen.core.space import Grid, Tokens
from morphogen.modalities.image.codec import ImageCodec
from morphogen.modalities.image.files import from_array, read, write
from morphogen.modalities.image.modality import MODALITY
from morphogen.modalities.image.options import Options
from morphogen.modalities.image.preview import sheet


def noise(*shape: int, seed: int = 0, high: int = 256, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, high, shape).astype(dtype)


def pictures(arrays: np.ndarray) -> list[Image.Image]:
    return [Image.fromarray(array) for array in arrays]


def stack(items: list[Image.Image]) -> np.ndarray:
    return np.stack([np.asarray(item) for item in items])


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    height=st.integers(4, 12),
    width=st.integers(4, 12),
    colour=st.booleans(),
    kind=st.sampled_from([Grid, Tokens]),
)
def test_eight_bits_return_exactly(seed, height, width, colour, kind):
    arrays = noise(3, height, width, *((3,) if colour else ()), seed=seed)
    codec = ImageCodec.fit([pictures(arrays)], kind)
    x = codec.encode(pictures(arrays))
    assert x.shape == (3, *codec.space.shape)
    assert x.dtype == (torch.float32 if kind is Grid else torch.int64)
    assert np.array_equal(stack(codec.decode(x)), arrays)
    again = ImageCodec.from_state(*codec.state())
    assert again.space == codec.space
    assert torch.equal(again.encode(pictures(arrays)), x)


def test_numbers_lie_on_the_grid_of_their_bits():
    arrays = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    codec = ImageCodec.fit([pictures(arrays)], Grid)
    assert codec.space == Grid(1, (16, 16), step=2 / 255)
    expected = torch.linspace(-1, 1, 256, dtype=torch.float64)
    x = codec.encode(pictures(arrays)).flatten()
    assert torch.allclose(x.double(), expected, atol=1e-7)
    assert x[0] == -1
    assert x[-1] == 1


def test_decode_clamps_and_rounds():
    codec = ImageCodec.fit([pictures(noise(2, 4, 4))], Grid)
    x = torch.full((1, 1, 4, 4), -3.0)
    x[..., 1], x[..., 2], x[..., 3] = 7.0, float("nan"), 0.1
    assert np.asarray(codec.decode(x)[0])[0].tolist() == [0, 255, 128, 140]


def test_sixteen_bits_return_exactly(tmp_path):
    arrays = noise(2, 6, 5, high=65536, dtype=np.uint16)
    paths = write(pictures(arrays), tmp_path)
    items = [read(path, str(path)) for path in paths]
    codec = ImageCodec.fit([items], Grid)
    assert codec.space == Grid(1, (6, 5), step=2 / 65535)
    assert np.array_equal(stack(codec.decode(codec.encode(items))), arrays)
    wide = [Image.fromarray(array.astype(np.int32)) for array in arrays]
    assert torch.equal(codec.encode(wide), codec.encode(items))
    grey = Image.fromarray(np.full((6, 5), 128, np.uint8))
    assert np.asarray(codec.decode(codec.encode([grey]))[0]).max() == 128 * 257
    low = ImageCodec.fit([items], Grid, Options(bits=8))
    assert np.array_equal(stack(low.decode(low.encode(items))), np.rint(arrays / 257))
    small = ImageCodec.fit([items], Grid, Options(size=4, resize="pad"))
    assert stack(small.decode(small.encode(items))).dtype == np.uint16
    with pytest.raises(UserError, match="16 bits in colour"):
        ImageCodec.fit([items], Grid, Options(bits=16, mode="RGB"))


def test_pictures_of_two_values_have_a_step_of_two():
    arrays = noise(4, 8, 8, high=2)
    for items in (pictures(arrays), pictures(arrays * 255), [Image.fromarray(array == 1) for array in arrays]):
        codec = ImageCodec.fit([items], Grid)
        assert codec.space == Grid(1, (8, 8), step=2.0)
        assert torch.equal(codec.encode(items), torch.from_numpy(arrays).float()[:, None] * 2 - 1)
        tokens = ImageCodec.fit([items], Tokens)
        assert tokens.space == Tokens(2, (8, 8))
        assert torch.equal(tokens.encode(items), torch.from_numpy(arrays).long())
    assert np.array_equal(stack(codec.decode(codec.encode(items))), arrays * 255)
    coloured = ImageCodec.fit([[*items, Image.new("RGB", (8, 8), "red")]], Grid, Options(mode="L"))
    assert coloured.space.step == 2 / 255  # red is a third value


def test_colour_tokens_are_in_raster_order():
    arrays = noise(2, 4, 5, 3)
    codec = ImageCodec.fit([pictures(arrays)], Tokens)
    assert codec.space == Tokens(256, (4, 15))
    assert codec.encode(pictures(arrays))[1, 2, 4].item() == arrays[1, 2, 1, 1]


def test_few_levels_keep_black_and_white():
    arrays = np.array([[[0, 60, 130, 255]] * 4], dtype=np.uint8)
    codec = ImageCodec.fit([pictures(arrays)], Tokens, Options(levels=3))
    x = codec.encode(pictures(arrays))
    assert x[0, 0].tolist() == [0, 0, 1, 2]
    assert np.asarray(codec.decode(x)[0])[0].tolist() == [0, 0, 128, 255]
    assert "3 levels per token" in codec.notes
    with pytest.raises(UserError, match=r"codec\.levels is for pictures as tokens"):
        ImageCodec.fit([pictures(arrays)], Grid, Options(levels=3))


def test_exif_rotation_is_honoured():
    array = np.zeros((8, 8), np.uint8)
    array[0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    stream = BytesIO()
    Image.fromarray(array).save(stream, "PNG", exif=exif)
    codec = ImageCodec.fit([[read(stream.getvalue(), "bytes")]], Grid)
    upright = np.asarray(codec.decode(codec.encode([read(stream.getvalue(), "bytes")]))[0])
    assert np.array_equal(upright, np.rot90(array, -1))


def test_transparency_shows_the_background():
    clear = Image.new("RGBA", (8, 8), (10, 20, 30, 0))
    half = Image.new("LA", (8, 8), (0, 128))
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 9, 9, 9])
    palette.info["transparency"] = 1
    for background, expected in (("white", (255, 127, 255)), ("#000000", (0, 0, 0))):
        options = Options(background=background)
        codec = ImageCodec.fit([[clear, half, palette, Image.new("L", (8, 8), 77)]], Grid, options)
        assert codec.space.shape == (1, 8, 8)
        for item, value in zip((clear, half, palette), expected, strict=True):
            assert np.asarray(codec.decode(codec.encode([item]))[0])[0, 0] == value
    red = ImageCodec.fit([[clear]], Grid, Options(background="red"))
    assert np.asarray(red.decode(red.encode([clear]))[0])[0, 0].tolist() == [255, 0, 0]
    with pytest.raises(UserError, match="'reddish' is no colour"):
        ImageCodec.fit([[clear]], Grid, Options(background="reddish"))


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "CMYK", "YCbCr", "HSV", "LAB"]
)
def test_every_mode_is_understood(mode):
    base = Image.fromarray(noise(9, 9, 3))
    image = base.convert("RGBA").convert(mode) if mode in ("La", "RGBa", "PA") else base.convert("RGB")
    image = image if image.mode == mode else _convert(image, mode)
    codec = ImageCodec.fit([[image, base]], Grid)
    assert codec.encode([image]).shape == (1, 3, 9, 9)


def _convert(image: Image.Image, mode: str) -> Image.Image:
    if mode == "LAB":
        return Image.new("LAB", image.size, (50, 10, 10))
    return image.convert(mode)


def test_cmyk_keeps_its_colours():
    image = Image.new("RGB", (8, 8), (200, 30, 90))
    codec = ImageCodec.fit([[image]], Grid)
    assert torch.equal(codec.encode([image.convert("CMYK")]), codec.encode([image]))


def test_grey_saved_as_colour_is_grey_unless_asked():
    grey = Image.fromarray(noise(8, 8)).convert("RGB")
    assert ImageCodec.fit([[grey]], Grid).space.shape == (1, 8, 8)
    assert ImageCodec.fit([[grey]], Grid, Options(mode="RGB")).space.shape == (3, 8, 8)


def test_resize_does_not_alias():
    stripes = Image.fromarray((np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8))
    codec = ImageCodec.fit([[stripes]], Grid, Options(size=32))
    assert codec.encode([stripes]).abs().max() < 0.1


def test_the_three_ways_to_fit():
    array = np.zeros((20, 40), np.uint8)
    array[:, 10:30] = 200
    array[5, 5] = 90  # not of two values
    wide = Image.fromarray(array)
    by = {}
    for resize in ("crop", "pad", "stretch"):
        codec = ImageCodec.fit([[wide]], Grid, Options(size=20, resize=resize))
        by[resize] = np.asarray(codec.decode(codec.encode([wide]))[0])
    assert (by["crop"] == 200).all()
    assert (by["pad"][:4] == 255).all()
    assert by["pad"][10, 10] == 200
    assert by["stretch"][10, 10] == 200
    assert by["stretch"][10, 0] == 0


def test_alike_pictures_keep_their_shape_and_it_is_said():
    codec = ImageCodec.fit([pictures(noise(3, 12, 20))], Grid)
    assert codec.space.shape == (1, 12, 20)
    assert codec.notes[0] == "3 pictures, all 20x12"
    large = ImageCodec.fit([pictures(noise(1, 300, 600))], Grid)
    assert large.space.shape == (1, 64, 120)
    assert "reduced" in large.notes[0]


def test_wildly_different_sizes_and_one_pixel():
    items = [Image.fromarray(noise(*size)) for size in ((1, 1), (30, 500), (41, 38), (45, 90), (700, 39))]
    codec = ImageCodec.fit([items], Grid)
    assert codec.space.shape == (1, 32, 32)
    assert "from 1x1 to 39x700" in codec.notes[0]
    assert "the centre is cropped to fit" in codec.notes
    assert codec.encode(items).shape == (5, 1, 32, 32)
    assert codec.encode([]).shape == (0, 1, 32, 32)


def test_nothing_to_learn_is_said():
    with pytest.raises(UserError, match="no readable picture"):
        ImageCodec.fit([], Grid)
    with pytest.raises(UserError, match="1x1"):
        ImageCodec.fit([[Image.new("L", (1, 1))]], Grid)


def test_reading_names_the_file(tmp_path):
    good = BytesIO()
    Image.fromarray(noise(64, 64, 3)).save(good, "JPEG")
    cut, text = tmp_path / "cut.jpg", tmp_path / "text.png"
    cut.write_bytes(good.getvalue()[:900])
    text.write_text("no picture")
    with pytest.raises(BadItem, match=r"cut\.jpg is damaged or truncated"):
        read(cut, str(cut))
    with pytest.raises(BadItem, match=r"text\.png is not a picture"):
        read(text, str(text))
    with pytest.raises(BadItem, match=r"gone\.png does not exist"):
        read(tmp_path / "gone.png", "gone.png")
    with pytest.raises(BadItem, match="row 3"):
        read(b"", "row 3")


def test_a_decompression_bomb_is_refused(monkeypatch):
    stream = BytesIO()
    Image.new("1", (300, 300)).save(stream, "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(BadItem, match="too large"):
        read(stream.getvalue(), "bomb.png")


@pytest.mark.parametrize(
    ("shape", "mode"),
    [((5, 6), "L"), ((5, 6, 1), "L"), ((5, 6, 2), "LA"), ((5, 6, 3), "RGB"), ((5, 6, 4), "RGBA"), ((3, 5, 6), "RGB")],
)
def test_arrays_become_pictures(shape, mode):
    image = from_array(noise(*shape), "item 0")
    assert (image.mode, image.size) == (mode, (6, 5))
    assert MODALITY.weigh(image) == np.prod(shape)


def test_array_types():
    assert from_array(noise(5, 6, high=65536, dtype=np.uint16), "item 0").mode == "I;16"
    assert np.asarray(from_array(np.full((4, 4), 0.5), "x"))[0, 0] == 0.5
    assert np.asarray(from_array(np.full((4, 4, 3), 0.5), "x"))[0, 0].tolist() == [128] * 3
    assert np.asarray(from_array(np.full((4, 4), True), "x"))[0, 0] == 255
    for bad in (
        np.full((4, 4, 3), 1.5),
        np.full((4, 4), np.nan),
        np.zeros((4, 4), np.int64),
        np.zeros(4),
        np.zeros((2, 5, 6)),
    ):
        with pytest.raises(BadItem, match="item 3: "):
            from_array(bad, "item 3")


def test_written_files_are_read_back(tmp_path):
    arrays = noise(3, 5, 5, 3)
    paths = write(pictures(arrays), tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["00000.png", "00001.png", "00002.png"]
    assert np.array_equal(stack([read(path, str(path)) for path in paths]), arrays)
    assert sorted(Path(paths[0]).parent.iterdir()) == paths
    paths[0].touch()
    with pytest.raises(UserError, match="could not make"):
        write([], paths[0])


def test_the_sheet_is_legible():
    items = pictures(noise(10, 8, 8))
    image = sheet(items)
    assert image.size == (2 + 4 * 66, 2 + 3 * 66)
    enlarged = np.asarray(image)[2:66, 2:66, 0]
    assert np.array_equal(enlarged[::8, ::8], np.asarray(items[0]))
    assert sheet([]).size == (68, 68)
    assert sheet([Image.fromarray(noise(100, 100, high=65536, dtype=np.uint16))]).width == 104


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (-300.0, 2500.0)])
def test_float_pictures_have_one_range_that_they_come_back_in(tmp_path, low, high):
    """One dark picture, one bright: they stay dark and bright, in memory and as files."""
    dark = np.linspace(low, low + 0.3 * (high - low), 36, dtype=np.float32).reshape(6, 6)
    items = [from_array(dark, "dark"), from_array(high - (dark - low), "bright")]
    assert MODALITY.array_reader([np.stack([dark, dark])])(dark, "x").mode == "F"
    codec = ImageCodec.fit([items], Grid)
    assert f"float pixels in {low:g}..{high:g}, taken for the range {low:g}..{high:g}" in codec.notes
    codec = ImageCodec.from_state(json.loads(json.dumps(codec.state()[0])), {})
    decoded = codec.decode(codec.encode(items))
    files = write(decoded, tmp_path)
    assert [file.suffix for file in files] == [".tif", ".tif"]
    for before, after, file in zip(items, decoded, files, strict=True):
        assert after.mode == "F"
        assert np.abs(np.asarray(after) - np.asarray(before)).max() <= 0.51 * (high - low) / 255
        assert (np.asarray(read(file, "x")) == np.asarray(after)).all()


@pytest.mark.parametrize("scale", [5, 300, 0.01])
def test_float_pictures_keep_their_levels_in_a_small_part_of_a_range(scale):
    """As temperatures do, which lie in 0..255 or 0..65535 and fill a few levels of it."""
    items = [from_array(one, "x") for one in scale * np.random.default_rng(0).random((20, 6, 6)) + 3 * scale]
    codec = ImageCodec.fit([items], Grid)
    for before, after in zip(items, codec.decode(codec.encode(items)), strict=True):
        assert np.abs(np.asarray(after) - np.asarray(before)).max() <= 0.51 * scale / 255
    # Whole numbers up to 255 are levels, however few of them there are.
    levels = [from_array(np.full((6, 6), value, np.float32), "x") for value in (0, 3, 17)]
    codec = ImageCodec.fit([levels], Grid)
    assert [np.unique(np.asarray(one)).tolist() for one in codec.decode(codec.encode(levels))] == [[0], [3], [17]]


def test_arrays_in_the_place_of_pictures():
    codec = ImageCodec.fit([pictures(noise(3, 5, 5))], Grid)
    arrays = noise(2, 5, 5)
    expected = codec.encode(pictures(arrays))
    for items in (arrays, list(arrays), pictures(arrays), [arrays]):
        assert codec.encode(codec.align(items)).equal(expected)
    masks = np.zeros((2, 5, 5), bool)
    masks[:, 2:] = True
    known = codec.observe(pictures(arrays), masks).known
    assert known.equal(codec.observe(pictures(arrays), [Image.fromarray(one) for one in masks]).known)
    assert known.equal(codec.observe(pictures(arrays), list(masks.astype(float))).known)
    for wrong in ([5, 6], [None, None], ["a", "b"]):
        with pytest.raises(UserError, match=r"mask 0 is .*; expected a picture, or an array"):
            codec.observe(pictures(arrays), wrong)
    for no_items in (5, [5], ["a"], {"a": 1}):
        with pytest.raises(UserError):
            codec.align(no_items)


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".avif", ".apng"])
def test_suffixes(tmp_path, suffix):
    file = tmp_path / f"x{suffix.upper()}"
    pictures(noise(1, 8, 8, 3))[0].save(tmp_path / f"x{suffix}")
    (tmp_path / f"x{suffix}").rename(file)
    assert MODALITY.claims(Record("file", file, file.name)) == 1
    assert read(file, "x").size == (8, 8)
