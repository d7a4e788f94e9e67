"""A model folder as one object: raw items in, raw items out."""

from __future__ import annotations

import operator
import os
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from .artifact import Artifact, to_cpu
from .core.codec import Codec
from .core.config import Frozen, read_json, replacing, write_json
from .core.errors import UserError
from .core.files import as_path
from .core.isolation import single_precision
from .core.modality import modality as modality_named
from .core.model import GenerativeModel, Partial, Request
from .core.noise import Noise
from .core.query import Query
from .core.signatures import with_fields
from .model_folder import load_artifact
from .request_builder import RequestBuilder, sort_keywords

Progress = Callable[[int], None]  # called with the number of items that are finished

_WIDTH = 100  # characters of the description of a space
_DRAWS = 15  # imputations, of which `impute(best=True)` is the mode or median


def _query_and_controls(pipeline: Pipeline) -> Sequence[type[Frozen]]:
    return pipeline._modality.Query, pipeline.model.Controls


def _mask_and_controls(pipeline: Pipeline) -> Sequence[type[Frozen] | None]:
    return pipeline._modality.Mask, pipeline.model.Controls


class Pipeline:
    """An artifact and its modality: what users sample from, and fill in with."""

    def __init__(self, artifact: Artifact) -> None:
        self.artifact = artifact
        self._modality = modality_named(artifact.modality)
        self._builder = RequestBuilder(artifact, self._modality)

    def __repr__(self) -> str:
        tensors = [*self.model.parameters(), *self.model.buffers()]
        megabytes = sum(one.numel() * one.element_size() for one in tensors) / 1e6
        conditions = [f"{name} ({_describe(codec)})" for name, codec in self.conditions.items()]
        lines = {
            "family": self.family,
            "modality": self.modality,
            "space": textwrap.shorten(str(self.model.space), _WIDTH, placeholder=" …"),
            "parameters": f"{self.model.parameter_count:,} ({megabytes:,.1f} MB with buffers) on {self.model.device}",
            "conditions": ", ".join(conditions),
            "source": self.artifact.source,
            "folder": str(self.folder or ""),
        }
        return "\n".join(["Pipeline(", *(f"  {name}: {value}" for name, value in lines.items() if value), ")"])

    def stream(
        self,
        query: Query | Mapping[str, Any] | None = None,
        *,
        count: int,
        seed: int = 0,
        batch: int | None = None,
        progress: Progress | None = None,
        controls: Mapping[str, Any] | None = None,
    ) -> Iterator[Any]:
        """Yield `count` new items, one batch after the other, in bounded memory; all sampling goes through here.

        `query` is the modality's Query or its fields, `controls` are fields of the model's Controls. Item i has the
        seed `seed + i`, and is the same alone and in any batch. A batch is the modality's own collection of items:
        `sample` joins them. Raises UserError on a wrong control, condition or query.
        """
        settings, size = self.artifact.controls(controls or {}), self._batch_size(batch)
        return self._stream(self._builder.sampling(query or {}, count, seed), settings, size, progress)

    @with_fields(_query_and_controls)
    def sample(
        self,
        count: int = 1,
        *,
        seed: int = 0,
        batch: int | None = None,
        progress: Progress | None = None,
        **keywords: Any,
    ) -> Any:
        """Return `count` new items; item i has the seed `seed + i`, and is the same alone and in any batch.

        `keywords` are fields of the modality's Query (`condition`, for texts also `prompt`, `regex` …) and of the
        model's Controls (`steps`, `temperature` …). `condition` maps a name to one value for all, to a list with one
        for each, or to `all` for all values in turn: a class, or an item or its file. Raises UserError as `stream`
        does, and on a keyword that is neither, with the nearest of both.
        """
        query, controls = sort_keywords(keywords, self._modality.Query, self.model.Controls)
        parts = self.stream(query, count=count, seed=seed, batch=batch, progress=progress, controls=controls)
        return self.codec.gather(parts)

    @with_fields(_query_and_controls)
    def drafts(self, *, seed: int = 0, **keywords: Any) -> Iterator[Any]:
        """Yield drafts of one new item while it is made; the last one is the item that `sample(1, …)` returns.

        Where a collection of items is no list, such as a table, each draft is a collection of one.
        Raises UserError as `sample` does.
        """
        query, controls = sort_keywords(keywords, self._modality.Query, self.model.Controls)
        request = replace(next(self._builder.sampling(query, 1, seed)), drafts=True)
        return self._drafts(request, self.artifact.controls(controls))

    @with_fields(_mask_and_controls)
    def impute(
        self,
        items: Any,
        mask: Any = None,
        *,
        seed: int = 0,
        best: bool = False,
        condition: Mapping[str, Any] | None = None,
        batch: int | None = None,
        progress: Progress | None = None,
        **keywords: Any,
    ) -> Any:
        """Return the items with what is missing filled in, at the model's own size; item i has the seed `seed + i`.

        `mask` says what is missing: an instance of the modality's Mask, its fields as a mapping, a text for its field
        `mask`, or what is missing of each item as `Codec.observe` takes it. `keywords` are fields of Mask and of the
        model's Controls. An imputation is one plausible completion; with `best` it is the consensus of 15, of a cell
        of a table their mode or median, of any other item the one nearest to the others. What is known comes back
        untouched, up to what the codec rounds. Raises UserError where the model cannot fill in, nothing is missing, or
        as `sample` does.
        """
        parts = self.stream_imputed(
            items, mask, seed=seed, best=best, condition=condition, batch=batch, progress=progress, **keywords
        )
        return self.codec.gather(parts)

    @with_fields(_mask_and_controls)
    def stream_imputed(
        self,
        items: Any,
        mask: Any = None,
        *,
        seed: int = 0,
        best: bool = False,
        condition: Mapping[str, Any] | None = None,
        batch: int | None = None,
        progress: Progress | None = None,
        **keywords: Any,
    ) -> Iterator[Any]:
        """Yield what `impute` returns, one batch after the other, each the modality's own collection of items."""
        self._builder.check_imputation()
        mask_fields, controls = sort_keywords(keywords, self._modality.Mask, self.model.Controls)
        settings, size, items = self.artifact.controls(controls), self._batch_size(batch), self.codec.align(items)
        missing = self._builder.missing(items, mask, mask_fields)
        request = self._builder.imputation(items, missing, condition, seed)
        draws = _DRAWS if best else 1
        return self._impute(request, items, missing, settings, size, draws, progress)

    def _impute(
        self,
        request: Request,
        items: Any,
        missing: Any,
        settings: Frozen,
        size: int,
        draws: int,
        progress: Progress | None,
    ) -> Iterator[Any]:
        finished = 0
        for part in request.split(size):
            last = finished + len(part)
            own_items = self._modality.take(items, range(finished, last))
            imputed = []
            with single_precision():
                for number in range(draws):
                    noise = Noise(part.noise.seeds + number * len(request), part.noise.device)
                    x = self.artifact.sample(replace(part, noise=noise), settings)
                    imputed.append(self.codec.merge_known(x, noise, own_items, missing[finished:last]))
                result = imputed[0] if draws == 1 else self._modality.consensus(imputed, self.codec)
            finished = last
            if progress:
                progress(finished)
            yield result

    def _stream(
        self, requests: Iterator[Request], settings: Frozen, size: int, progress: Progress | None
    ) -> Iterator[Any]:
        finished = 0
        for request in requests:
            for part in request.split(size):
                with single_precision():
                    items = self.codec.finish(self.artifact.sample(part, settings), part)
                finished += len(part)
                if progress:
                    progress(finished)
                yield items

    def _drafts(self, request: Request, settings: Frozen) -> Iterator[Any]:
        drafts = self.artifact.generate(request, settings)
        while True:
            with single_precision():
                draft = next(drafts, None)
                if draft is None:
                    return
                items = self.codec.draft(Partial(to_cpu(draft.x), draft.known.cpu()), request)
            yield items[0] if isinstance(items, list) else self.codec.gather([items])

    def encode_conditions(self, condition: Mapping[str, Any], count: int) -> dict[str, Tensor]:
        """Return conditions as tensors `(count, *shape)`: classes by name, all others as items or their files.

        Each is one for all, or a list with one for each. Raises UserError where a required one is missing, and as
        `Artifact.encode_conditions` does.
        """
        return self._builder.encode_conditions(condition, count)

    def _batch_size(self, batch: int | None) -> int:
        size: Any = self.codec.batch if batch is None else batch
        if not hasattr(size, "__index__") or operator.index(size) < 1:
            raise UserError(f"the batch is {size!r:.40}; expected a whole number of at least 1")
        return operator.index(size)

    def save(self, folder: Path | str) -> None:
        """Write the model folder, with the card and the record of held-out items; the pipeline then has this folder.

        Each file is written whole or not at all.
        """
        before, folder = self.folder, as_path(folder, "the folder")
        self.artifact.save(folder)
        if before is not None and before.resolve() != folder.resolve():
            _copy_records(before, folder)
        self.artifact.folder = folder

    @property
    def family(self) -> str:
        return self.artifact.family

    @property
    def modality(self) -> str:
        return self.artifact.modality

    @property
    def model(self) -> GenerativeModel:
        return self.artifact.model

    @property
    def codec(self) -> Codec[Any]:
        return self.artifact.codec

    @property
    def conditions(self) -> dict[str, Codec[Any]]:
        return self.artifact.conditions

    @property
    def metrics(self) -> dict[str, Any]:
        """What was measured of the model in training and evaluation."""
        return self.artifact.metrics

    @property
    def hash(self) -> str:
        return self.artifact.hash

    @property
    def folder(self) -> Path | None:
        return self.artifact.folder


def load(folder: Path | str, device: str | None = None) -> Pipeline:
    """Return the pipeline in a model folder, on the GPU where there is one. Raises UserError where it is none."""
    return Pipeline(load_artifact(folder, device))


def _describe(codec: Codec[Any]) -> str:
    return f"{len(codec.classes)} classes" if codec.classes else str(codec.space)


def _copy_records(source: Path, folder: Path) -> None:
    """Copy the card, and what was held out of the data, into another model folder."""
    if (card := source / "README.md").is_file():
        with replacing(folder / card.name) as temporary:
            temporary.write_bytes(card.read_bytes())
    if (record := source / "split.json").is_file():
        split = read_json(record)
        spec = split.get("spec")
        if spec and (source / spec).exists():  # a path from the model folder
            split["spec"] = os.path.relpath(source / spec, folder)
        write_json(folder / record.name, split)
