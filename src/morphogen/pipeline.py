"""A model folder as one object: raw items in, raw items out."""

from __future__ import annotations

import difflib
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from .artifact import Artifact, to_cpu
from .core import plugins
from .core.codec import Codec
from .core.config import Frozen, build
from .core.errors import UserError, unknown
from .core.modality import modality as modality_named
from .core.model import GenerativeModel, Partial, Request
from .core.noise import Noise
from .core.query import Query
from .model_folder import load_artifact

Progress = Callable[[int], None]  # called with the number of items that are finished


class Pipeline:
    """An artifact and its modality: what users sample from, and fill in with."""

    def __init__(self, artifact: Artifact) -> None:
        self.artifact = artifact
        self._modality = modality_named(artifact.modality)

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
        return self._stream(self._requests(query or {}, count, seed), settings, size, progress)

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
        query, controls = _sort(keywords, self._modality.Query, self.model.Controls)
        parts = self.stream(query, count=count, seed=seed, batch=batch, progress=progress, controls=controls)
        return self.codec.gather(parts)

    def drafts(self, *, seed: int = 0, **keywords: Any) -> Iterator[Any]:
        """Yield drafts of one new item while it is made; the last one is the item that `sample(1, …)` returns.

        Where a collection of items is no list, such as a table, each draft is a collection of one.
        Raises UserError as `sample` does.
        """
        query, controls = _sort(keywords, self._modality.Query, self.model.Controls)
        request = replace(next(self._requests(query, 1, seed)), drafts=True)
        return self._drafts(request, self.artifact.controls(controls))

    def impute(
        self,
        items: Any,
        mask: Any = None,
        *,
        seed: int = 0,
        condition: Mapping[str, Any] | None = None,
        batch: int | None = None,
        progress: Progress | None = None,
        **keywords: Any,
    ) -> Any:
        """Return the items with what is missing filled in, at the model's own size; item i has the seed `seed + i`.

        `mask` says what is missing: an instance of the modality's Mask, its fields as a mapping, a text for its field
        `mask`, or what is missing of each item as `Codec.observe` takes it. `keywords` are fields of Mask and of the
        model's Controls. What is known comes back untouched, up to what the codec rounds. Raises UserError where the
        model cannot fill in, nothing is missing, or as `sample` does.
        """
        parts = self.stream_imputed(
            items, mask, seed=seed, condition=condition, batch=batch, progress=progress, **keywords
        )
        return self.codec.gather(parts)

    def stream_imputed(
        self,
        items: Any,
        mask: Any = None,
        *,
        seed: int = 0,
        condition: Mapping[str, Any] | None = None,
        batch: int | None = None,
        progress: Progress | None = None,
        **keywords: Any,
    ) -> Iterator[Any]:
        """Yield what `impute` returns, one batch after the other, each the modality's own collection of items."""
        self._check_imputation()
        mask_fields, controls = _sort(keywords, self._modality.Mask, self.model.Controls)
        settings, size, items = self.artifact.controls(controls), self._batch_size(batch), self.codec.align(items)
        missing = self._missing(items, mask, mask_fields)
        if len(missing) != len(items):
            raise UserError(f"the mask is of {len(missing)} items, and there are {len(items)}; give one for each")
        if condition and not self.conditions:
            name = next(iter(condition))
            raise UserError(f"condition '{name}' does not apply: what is known of the items is the condition; drop it")
        request = Request(
            noise=_noise(seed, len(items)),
            condition=self.encode_conditions(condition or {}, len(items)),
            given=self.codec.observe(items, missing),
            evidence=self.codec.imputation(),
        )
        self._check_support(request)
        return self._impute(request, items, missing, settings, size, progress)

    def _impute(
        self, request: Request, items: Any, missing: Any, settings: Frozen, size: int, progress: Progress | None
    ) -> Iterator[Any]:
        finished = 0
        for part in request.split(size):
            last = finished + len(part)
            x = self.artifact.sample(part, settings)
            own_items = self._modality.take(items, range(finished, last))
            filled = self.codec.merge_known(x, part.noise, own_items, missing[finished:last])
            finished = last
            if progress:
                progress(finished)
            yield filled

    def _stream(
        self, requests: Iterator[Request], settings: Frozen, size: int, progress: Progress | None
    ) -> Iterator[Any]:
        finished = 0
        for request in requests:
            for part in request.split(size):
                items = self.codec.finish(self.artifact.sample(part, settings), part)
                finished += len(part)
                if progress:
                    progress(finished)
                yield items

    def _drafts(self, request: Request, settings: Frozen) -> Iterator[Any]:
        for draft in self.artifact.generate(request, settings):
            items = self.codec.draft(Partial(to_cpu(draft.x), draft.known.cpu()), request)
            yield items[0] if isinstance(items, list) else self.codec.gather([items])

    def _requests(self, query: Query | Mapping[str, Any], count: int, seed: int) -> Iterator[Request]:
        """Return requests for all samples, in order, under the model's own conditions and the codec's."""
        if not isinstance(query, self._modality.Query):
            query = build(self._modality.Query, dict(query), "query")
        noise = _noise(seed, count)
        own = {name: value for name, value in query.condition.items() if name in self.conditions}
        other = {name: value for name, value in query.condition.items() if name not in own}
        encoded = self.encode_conditions(own, count)
        return self._with_conditions(query.model_copy(update={"condition": other}), noise, encoded)

    def _with_conditions(self, query: Query, noise: Noise, own: Mapping[str, Tensor]) -> Iterator[Request]:
        first = 0
        try:
            for request in self.codec.requests(query, noise):
                self._check_support(request)
                last = first + len(request)
                condition = {name: value[first:last] for name, value in own.items()}
                yield replace(request, condition={**request.condition, **condition})
                first = last
        except UserError as error:
            # What the codec does not know may be one of the model's own conditions, misspelt.
            for name in query.condition:
                if difflib.get_close_matches(name, self.conditions, n=1, cutoff=0.5):
                    raise self.artifact.unknown_condition(name) from error
            raise

    def _check_support(self, request: Request) -> None:
        evidence = request.evidence
        if evidence and (evidence.likelihoods or evidence.constraints) and not self.model.supports_evidence:
            raise UserError(
                f"the family '{self.family}' takes no conditions on fields and no constraints between them; "
                + self._advice("supports_evidence")
            )
        if request.given is not None and not self.model.supports_given:
            raise UserError(
                f"the family '{self.family}' cannot continue a prompt, nor anything else that is given; "
                + self._advice("supports_given")
            )
        if any(request.token_constraints) and not self.model.supports_token_constraints:
            raise UserError(
                f"the family '{self.family}' cannot satisfy stop strings and grammars; "
                + self._advice("supports_token_constraints")
            )

    def _check_imputation(self) -> None:
        if self._modality.Mask is None:
            raise UserError(f"{self._modality.plural} cannot be given in part")
        if not self.model.supports_given:
            raise UserError(f"the family '{self.family}' cannot fill in; {self._advice('supports_given')}")

    def _advice(self, capability: str) -> str:
        """Return which families have a capability for any kind of space that the modality offers."""
        kinds = self._modality.spaces
        able = dict.fromkeys(name for kind in kinds for name in plugins.supporting(capability, kind))
        able.pop(self.family, None)
        return f"fit with --family {' or '.join(able)}" if able else f"no other family can, for {self._modality.plural}"

    def _missing(self, items: Any, mask: Any, fields: Mapping[str, Any]) -> Any:
        """Return what is missing of each item, as `Codec.observe` takes it."""
        kind = self._modality.Mask
        assert kind is not None
        if isinstance(mask, Mapping):
            fields, mask = {**mask, **fields}, None
        elif isinstance(mask, (str, Path)):
            fields, mask = {"mask": str(mask), **fields}, None
        if mask is None:
            mask = build(kind, fields, "mask")
        elif fields:
            raise UserError(f"both 'mask' and '{next(iter(fields))}' say what is missing; give one of them")
        return self._modality.mask(items, mask) if isinstance(mask, kind) else mask

    def encode_conditions(self, condition: Mapping[str, Any], count: int) -> dict[str, Tensor]:
        """Return conditions as tensors `(count, *shape)`: classes by name, all others as items or their files.

        Each is one for all, or a list with one for each. Raises UserError where a required one is missing, and as
        `Artifact.encode_conditions` does.
        """
        values = dict(condition)
        for name in self.artifact.required_conditions:
            if name not in condition:
                noun = self._modality.noun.upper()
                raise UserError(f"this model needs the condition {name}={noun}; give one for all samples, or a list")
            values[name] = self._encode_items(self.conditions[name], condition[name])
        return self.artifact.encode_conditions(values, count)

    def _encode_items(self, codec: Codec[Any], value: Any) -> Tensor:
        """Return items, or the files of items, as their codec encodes them."""
        values = value if isinstance(value, (list, tuple)) else [value]
        read = self._modality.read
        items = [read(Path(one), str(one)) if isinstance(one, (str, Path)) else one for one in values]
        return codec.encode(self._modality.collect(items))

    def _batch_size(self, batch: int | None) -> int:
        size = self.codec.batch if batch is None else batch
        if size < 1:
            raise UserError(f"the batch is {size}; expected at least 1")
        return size

    def save(self, folder: Path | str) -> None:
        """Write the model folder; each file is written whole or not at all."""
        self.artifact.save(folder)

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


def _sort(keywords: Mapping[str, Any], *kinds: type[Frozen] | None) -> tuple[dict[str, Any], ...]:
    """Return the keywords that are fields of each kind of settings. Raises UserError on one that no kind has."""
    fields = [set(kind.model_fields) if kind else set() for kind in kinds]
    for name in keywords:
        if name not in set().union(*fields):
            raise unknown("argument", name, set().union(*fields))
    return tuple({name: value for name, value in keywords.items() if name in own} for own in fields)


def _noise(seed: int, count: int) -> Noise:
    try:
        seed, count = operator.index(seed), operator.index(count)
    except TypeError:
        raise UserError(f"the seed is {seed!r} and the number of samples {count!r}; expected whole numbers") from None
    if count < 1:
        raise UserError(f"the number of samples is {count}; expected at least 1")
    if not -(2**63) <= seed < 2**63 - count:
        raise UserError(f"the seed is {seed}; expected one of 64 bits, from -2^63 to 2^63 - 1 less the samples")
    return Noise.consecutive(seed, count)
