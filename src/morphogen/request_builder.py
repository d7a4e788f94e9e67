"""From what a caller asks of a model, in raw values, to requests; what the model cannot do is refused in one line."""

from __future__ import annotations

import difflib
import operator
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from .artifact import Artifact
from .core import plugins
from .core.codec import Codec
from .core.config import Frozen, build
from .core.errors import UserError, unknown
from .core.files import check_memory, guard
from .core.modality import Modality, read_item
from .core.model import Request
from .core.noise import Noise
from .core.query import Query

_SEED = 8  # bytes


class RequestBuilder:
    """Builds the requests that an artifact answers, for items of its modality."""

    def __init__(self, artifact: Artifact, modality: Modality[Any]) -> None:
        self.artifact, self.modality = artifact, modality

    def sampling(self, query: Query | Mapping[str, Any], count: int, seed: int) -> Iterator[Request]:
        """Return requests for all samples, in order, under the model's own conditions and the codec's.

        Raises UserError on a wrong query, condition, count or seed, some of it when the first request is read.
        """
        if not isinstance(query, self.modality.Query):
            values = query.model_dump() if isinstance(query, Query) else query
            query = build(self.modality.Query, values, "query")
        noise = _noise(seed, count)
        own = {name: value for name, value in query.condition.items() if name in self.artifact.conditions}
        other = {name: value for name, value in query.condition.items() if name not in own}
        encoded = self.encode_conditions(own, count)
        return self._with_conditions(query.model_copy(update={"condition": other}), noise, encoded)

    def check_imputation(self) -> None:
        """Raise UserError where the model, or any model of the modality, cannot fill in."""
        if self.modality.Mask is None:
            raise UserError(f"{self.modality.plural} cannot be given in part")
        if not self.artifact.model.supports_given:
            raise UserError(f"the family '{self.artifact.family}' cannot fill in; {self._advice('supports_given')}")

    def imputation(self, items: Any, missing: Any, condition: Mapping[str, Any] | None, seed: int) -> Request:
        """Return the request for items as the codec encodes them, of which some parts are `missing`."""
        if len(missing) != len(items):
            raise UserError(f"the mask is of {len(missing)} items, and there are {len(items)}; give one for each")
        if condition and not self.artifact.conditions:
            name = next(iter(condition))
            raise UserError(f"condition '{name}' does not apply: what is known of the items is the condition; drop it")
        codec = self.artifact.codec
        with guard("the mask", "does not fit the items", "give what is missing of each item"):
            given = codec.observe(items, missing)
        request = Request(
            noise=_noise(seed, len(items)),
            condition=self.encode_conditions(condition or {}, len(items)),
            given=given,
            evidence=codec.imputation(),
        )
        self._check_support(request)
        return request

    def missing(self, items: Any, mask: Any, fields: Mapping[str, Any]) -> Any:
        """Return what is missing of each item, as `Codec.observe` takes it.

        Raises UserError where the mask is given twice, and where it does not fit the items.
        """
        kind = self.modality.Mask
        assert kind is not None
        if isinstance(mask, Mapping):
            fields, mask = {**mask, **fields}, None
        elif isinstance(mask, (str, Path)):
            fields, mask = {"mask": str(mask), **fields}, None
        if mask is None:
            mask = build(kind, fields, "mask")
        elif fields:
            raise UserError(f"both 'mask' and '{next(iter(fields))}' say what is missing; give one of them")
        if isinstance(mask, kind):
            return self.modality.mask(items, mask)
        if not hasattr(mask, "__len__"):
            raise UserError(f"the mask is {mask!r:.40}; expected what is missing of each item, or fields of Mask")
        return mask

    def encode_conditions(self, condition: Mapping[str, Any], count: int) -> dict[str, Tensor]:
        """Return conditions as tensors `(count, *shape)`: classes by name, all others as items or their files.

        Each is one for all, or a list with one for each. Raises UserError where a required one is missing, and as
        `Artifact.encode_conditions` does.
        """
        values = dict(condition)
        for name in self.artifact.required_conditions:
            if name not in condition:
                noun = self.modality.noun.upper()
                raise UserError(f"this model needs the condition {name}={noun}; give one for all samples, or a list")
            values[name] = self._encode_items(self.artifact.conditions[name], condition[name])
        return self.artifact.encode_conditions(values, count)

    def _encode_items(self, codec: Codec[Any], value: Any) -> Tensor:
        """Return items, or the files of items, as their codec encodes them."""
        values = value if isinstance(value, (list, tuple)) else [value]
        items = [
            read_item(self.modality, Path(one), str(one)) if isinstance(one, (str, Path)) else one for one in values
        ]
        with guard("the condition", "cannot be read", "give items, or the paths of their files"):
            return codec.encode(codec.align(self.modality.collect(items)))

    def _with_conditions(self, query: Query, noise: Noise, own: Mapping[str, Tensor]) -> Iterator[Request]:
        first = 0
        try:
            for request in self.artifact.codec.requests(query, noise):
                self._check_support(request)
                last = first + len(request)
                condition = {name: value[first:last] for name, value in own.items()}
                yield replace(request, condition={**request.condition, **condition})
                first = last
        except UserError as error:
            # What the codec does not know may be one of the model's own conditions, misspelt.
            for name in query.condition:
                if difflib.get_close_matches(name, self.artifact.conditions, n=1, cutoff=0.5):
                    raise self.artifact.unknown_condition(name) from error
            raise

    def _check_support(self, request: Request) -> None:
        evidence, model, family = request.evidence, self.artifact.model, self.artifact.family
        if evidence and (evidence.likelihoods or evidence.constraints) and not model.supports_evidence:
            raise UserError(
                f"the family '{family}' takes no conditions on fields and no constraints between them; "
                + self._advice("supports_evidence")
            )
        if request.given is not None and not model.supports_given:
            raise UserError(
                f"the family '{family}' cannot continue a prompt, nor anything else that is given; "
                + self._advice("supports_given")
            )
        if any(request.token_constraints) and not model.supports_token_constraints:
            raise UserError(
                f"the family '{family}' cannot satisfy stop strings and grammars; "
                + self._advice("supports_token_constraints")
            )

    def _advice(self, capability: str) -> str:
        """Return which families have a capability for any kind of space that the modality offers."""
        kinds = self.modality.spaces
        able = dict.fromkeys(name for kind in kinds for name in plugins.supporting(capability, kind))
        able.pop(self.artifact.family, None)
        return f"fit with --family {' or '.join(able)}" if able else f"no other family can, for {self.modality.plural}"


def sort_keywords(keywords: Mapping[str, Any], *kinds: type[Frozen] | None) -> tuple[dict[str, Any], ...]:
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
    if not 1 <= count < 2**63:
        raise UserError(f"the number of samples is {count}; expected at least 1 and fewer than 2^63")
    if not -(2**63) <= seed < 2**63 - count:
        raise UserError(f"the seed is {seed}; expected one of 64 bits, from -2^63 to 2^63 - 1 less the samples")
    check_memory(count * _SEED, f"a request of {count:,} samples")
    return Noise.consecutive(seed, count)
