"""Published networks: weights from files, and models through `transformers`. No code and no pickle is executed.

A model comes from a folder in the layout of the Hugging Face Hub (config.json, model.safetensors …), or by its Hub id.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from ..core.errors import UserError, needs_extra, one_line

_CONFIG, _WEIGHTS = "config.json", "model.safetensors"


@dataclass(frozen=True)
class PublishedModel:
    """A network on the Hub: the name of its extractor, its id, and the transformers class of each `model_type`."""

    name: str
    identifier: str
    classes: Mapping[str, str]
    files: tuple[str, ...]  # needed beside config.json and model.safetensors
    alternative: str = ""  # another file that may be named, in words

    @property
    def advice(self) -> str:
        """What to do without a network, in words."""
        other = f", or {self.alternative}" if self.alternative else ""
        return (
            f"on a machine with a network, download {_CONFIG}, {_WEIGHTS}, {' and '.join(self.files)} of "
            f"{self.identifier} into one folder{other}, and name it with --extractor-weights PATH"
        )

    def transformers(self) -> Any:
        """Return the package `transformers`. Raises UserError where it is not installed."""
        try:
            import transformers
        except ImportError:
            raise needs_extra("transformers", "pretrained", f"the extractor '{self.name}'") from None
        return transformers

    def load(self, weights: Path | str | None, **arguments: Any) -> tuple[Path, Any, str]:
        """Return the folder, the model in single precision, and the extractor's name with the digest of the weights.

        `weights` None: the published ones. Raises UserError where they are missing, damaged or of another model.
        """
        transformers = self.transformers()
        folder = self._folder(weights)
        for file in (_CONFIG, _WEIGHTS):
            if not (folder / file).is_file():
                raise UserError(f"there is no {file} in {folder}; {self.advice}")
        model_type = str(read_settings(folder / _CONFIG).get("model_type"))
        if model_type not in self.classes:
            expected = " or ".join(self.classes)
            raise UserError(f"{folder} holds a model of type '{model_type}', expected {expected}; {self.advice}")
        arguments |= {"use_safetensors": True, "local_files_only": True, "dtype": torch.float32}
        model = self.read(getattr(transformers, self.classes[model_type]), folder, folder, **arguments)
        return folder, model, f"{self.name}-{sha256(folder / _WEIGHTS)[:8]}"

    def read(self, model_class: Any, source: Path | None, shown: Path, **arguments: Any) -> Any:
        """Return the model of a transformers class, frozen; errors name `shown`."""
        try:
            with _quiet(self.transformers()):
                model, report = model_class.from_pretrained(source, **{"output_loading_info": True, **arguments})
        except Exception as error:  # transformers, safetensors and torch raise their own on damaged files
            raise UserError(f"{shown} cannot be read ({one_line(error)}); {self.advice}") from None
        # transformers would only warn, and initialise missing weights at random.
        missing = sorted(report["missing_keys"])
        if missing:
            raise UserError(f"{shown} lacks {len(missing)} tensors, such as '{missing[0]}'; {self.advice}")
        return model.eval().requires_grad_(False)

    def _folder(self, weights: Path | str | None) -> Path:
        path = Path(self.identifier if weights is None else weights)
        identifier = path.as_posix()
        if path.is_dir():
            return path
        if path.exists() or not re.fullmatch(r"\w[\w.-]*/[\w.-]+", identifier):
            raise UserError(f"there is no folder {path}; {self.advice}")
        from huggingface_hub import snapshot_download

        try:
            return Path(snapshot_download(identifier, allow_patterns=[_CONFIG, _WEIGHTS, *self.files]))
        except Exception as error:  # the hub client raises its own, its transport's and the operating system's
            raise UserError(
                f"there is no local folder '{identifier}', and it could not be downloaded from the Hub "
                f"({one_line(error)}); {self.advice}"
            ) from None


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Silence progress bars and tables of transformers: our errors say what is wrong."""
    logging = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_tensors(path: Path, advice: str) -> dict[str, Tensor]:
    """Return the tensors in a file of weights, .safetensors or torch's own, by name; floats in single precision.

    Raises UserError that ends in `advice` where the file is missing, damaged or holds anything else.
    """
    if not path.is_file():
        raise UserError(f"there is no file of weights {path}; {advice}")
    try:
        if path.suffix == ".safetensors":
            content: Any = safetensors.torch.load_file(path)
        else:
            content = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # torch raises anything at all on damaged bytes
        raise UserError(f"{path} is no readable file of weights ({one_line(error)}); {advice}") from None
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise UserError(f"{path} holds a {type(content).__name__}; expected tensors by name; {advice}")
    return {str(name): value.float() if value.is_floating_point() else value for name, value in content.items()}


def read_settings(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file that came with a model. Raises UserError that names the file."""
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({one_line(error)}); download it again") from None
    if not isinstance(settings, dict):
        raise UserError(f"{path} holds no settings; download it again")
    return settings
