"""Inception of 2015 on random weights: the layout of the published file, and its resize."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from items import smooth_pictures
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from morphogen.core.errors import UserError
from morphogen.modalities.image.extractors import inception_2015
from morphogen.modalities.image.extractors.inception_2015 import Inception2015, Network, open_inception, resized


def inception_state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    state = {name: value for name, value in Network().state_dict().items() if "num_batches" not in name}
    for name, value in state.items():
        if name.endswith("conv.weight"):
            value.normal_(0, (2 / value[0].numel()) ** 0.5)
        elif name.endswith("running_var"):
            value.uniform_(0.5, 1.5)
        elif value.ndim == 1:
            value.add_(torch.randn_like(value), alpha=0.1)
    return state


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save(inception_state(), path)
    return path


@pytest.fixture(scope="module")
def inception(inception_file: Path) -> Inception2015:
    return open_inception(inception_file)


def test_the_layout_of_inception_is_torch_fidelitys() -> None:
    layout = {name: tuple(value.shape) for name, value in inception_state().items()}
    assert len(layout) == 94 * 5 + 2
    assert layout["Conv2d_1a_3x3.conv.weight"] == (32, 3, 3, 3)
    assert layout["Mixed_5b.branch_pool.bn.running_mean"] == (32,)
    assert layout["Mixed_6c.branch7x7dbl_3.conv.weight"] == (160, 160, 1, 7)
    assert layout["Mixed_7a.branch7x7x3_4.conv.weight"] == (192, 192, 3, 3)
    assert layout["Mixed_7c.branch3x3dbl_3b.conv.weight"] == (384, 384, 3, 1)
    assert layout["fc.weight"] == (1008, 2048)
    # Of the same lines made from torch-fidelity 0.4.0's FeatureExtractorInceptionV3, counters of batches left out.
    lines = "\n".join(f"{name} {layout[name]}" for name in sorted(layout))
    expected = "d84f693f2abd7fea61cb31c87d3b2f268bf707c1bae1db219afdad3363959cb0"
    assert hashlib.sha256(lines.encode()).hexdigest() == expected


def test_features_of_inception_depend_on_the_picture_alone(inception: Inception2015) -> None:
    items = smooth_pictures((28, 28), (64, 48), (299, 299))
    together = inception.features(items)
    assert together.shape == (3, 2048)
    assert together.dtype == torch.float32
    alone = torch.cat([inception.features([item]) for item in items])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5 * float(alone.abs().max()))
    assert float((together[0] - together[1]).abs().max()) > 0.01 * float(together.abs().max())
    assert inception.features([]).shape == (0, 2048)


def test_probabilities_of_inception_leave_the_bias_out(inception: Inception2015, inception_file: Path) -> None:
    items = smooth_pictures((40, 40), (50, 60))
    weight = torch.load(inception_file, weights_only=True)["fc.weight"]
    probabilities = inception.probabilities(items)
    expected = (inception.features(items) @ weight.T).double().softmax(1)
    torch.testing.assert_close(probabilities, expected)
    assert probabilities.shape == (2, len(inception.classes)) == (2, 1008)


def test_inception_reads_pictures_of_every_mode(inception: Inception2015) -> None:
    grey = smooth_pictures((32, 32))[0].convert("L")
    sixteen = Image.fromarray(np.asarray(grey).astype(np.uint16) * np.uint16(257))
    clear = grey.convert("RGBA")
    same = inception.features([grey, grey.convert("RGB"), sixteen, clear])
    torch.testing.assert_close(same, same[:1].expand(4, -1))


def test_a_damaged_picture_is_the_users_mistake(inception: Inception2015, tmp_path: Path) -> None:
    smooth_pictures((90, 90))[0].save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:2000])
    with Image.open(tmp_path / "a.png") as image, pytest.raises(UserError, match="damaged"):
        inception.features([image])


@pytest.mark.parametrize("size", [(28, 28), (7, 300), (299, 299), (301, 600), (1, 1)])
def test_the_resize_is_that_of_tensorflow_1(size: tuple[int, int]) -> None:
    x = np.random.default_rng(0).integers(0, 256, (3, *size)).astype(np.float32)
    expected = np.empty((3, 299, 299), np.float32)
    for row in range(299):
        for column in range(299):
            y, z = (np.float32(i) * np.float32(n / 299) for i, n in zip((row, column), size, strict=True))
            top, left = int(y), int(z)
            bottom, right = min(top + 1, size[0] - 1), min(left + 1, size[1] - 1)
            above = x[:, top, left] + (x[:, top, right] - x[:, top, left]) * (z - np.float32(left))
            below = x[:, bottom, left] + (x[:, bottom, right] - x[:, bottom, left]) * (z - np.float32(left))
            expected[:, row, column] = above + (below - above) * (y - np.float32(top))
    np.testing.assert_allclose(resized(torch.from_numpy(x)).numpy(), expected, rtol=0, atol=1e-4)


def test_other_weights_are_never_called_inception_2015(inception: Inception2015, inception_file: Path) -> None:
    digest = hashlib.sha256(inception_file.read_bytes()).hexdigest()
    assert inception.name == f"inception-2015-{digest[:8]}"


def test_weights_of_inception_may_be_safetensors(inception: Inception2015, tmp_path: Path) -> None:
    save_file(inception_state(), tmp_path / "random.safetensors")
    items = smooth_pictures((20, 20))
    torch.testing.assert_close(
        open_inception(tmp_path / "random.safetensors").features(items), inception.features(items)
    )


def test_bad_weights_of_inception_are_named(inception_file: Path, tmp_path: Path) -> None:
    def refused(path: Path, *words: str) -> None:
        with pytest.raises(UserError) as error:
            open_inception(path)
        for word in (str(path), "--extractor-weights PATH", inception_2015.URL, *words):
            assert word in str(error.value)
        assert "\n" not in str(error.value)

    refused(tmp_path / "absent.pth", "no file")
    content = inception_file.read_bytes()
    for suffix in (".pth", ".safetensors"):
        short = tmp_path / f"short{suffix}"
        short.write_bytes(content[: len(content) // 2])
        refused(short, "no readable file")
    torch.save([1, 2], tmp_path / "list.pth")
    refused(tmp_path / "list.pth", "list")
    torch.save({"fc.weight": torch.zeros(1000, 2048)}, tmp_path / "other.pth")
    refused(tmp_path / "other.pth", "Conv2d_1a_3x3.conv.weight", "missing")
    torch.save({**inception_state(), "fc.bias": torch.zeros(1000)}, tmp_path / "thousand.pth")
    refused(tmp_path / "thousand.pth", "fc.bias", "(1000,)", "(1008,)")
    torch.save(Path("code"), tmp_path / "pickle.pth")
    refused(tmp_path / "pickle.pth", "no readable file")


def test_weights_of_inception_are_fetched_once_and_checked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, inception_file: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cached = tmp_path / "morphogen" / "weights" / inception_2015.FILE

    def refused(*words: str) -> None:
        with pytest.raises(UserError) as error:
            open_inception(None)
        assert all(word in str(error.value) for word in ("--extractor-weights PATH", *words))
        assert not list(cached.parent.iterdir())

    monkeypatch.setattr(inception_2015, "URL", (tmp_path / "absent").as_uri())
    refused("could not be downloaded")
    monkeypatch.setattr(inception_2015, "URL", inception_file.as_uri())
    refused("SHA-256", inception_2015.DIGEST)
    monkeypatch.setattr(inception_2015, "DIGEST", hashlib.sha256(inception_file.read_bytes()).hexdigest()[:8])
    assert open_inception(None).name == "inception-2015"
    monkeypatch.setattr(inception_2015, "URL", (tmp_path / "absent").as_uri())
    assert open_inception(None).name == "inception-2015"
    assert cached.read_bytes() == inception_file.read_bytes()
