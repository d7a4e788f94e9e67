"""A model folder as one object: raw items in, raw items out."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from .core import plugins
from .core.codec import Codec, RowCodec
from .core.condition import LabelCodec
from .core.config import Frozen, build, read_json, replacing, write_json
from .core.errors import UserError, unknown
from .core.model import (
    Batch,
    EmbeddingModel,
    Evidence,
    GenerativeModel,
    LatentModel,
    LikelihoodModel,
    Partial,
    PartwiseModel,
    Request,
    Rule,
)
from .core.noise import Noise
from .core.space import Continuous, Space, Tokens, space_from_json, space_to_json
from .nn.nd import autocast, place
from .sampling.form import Form, trimmed
from .through import LatentCodec, codec_through, innermost
from .version import __version__

FORMAT = 1  # of the model folder
_AT_ONCE, _ROWS_AT_ONCE = 64, 1024  # items that go through the network together


class Pipeline:
    """A trained model with the codecs that lead in and out of it. `metrics` holds what was measured of it."""

    def __init__(
        self,
        *,
        family: str,
        modality: str,
        model: GenerativeModel,
        codec: Codec[Any],
        conditions: Mapping[str, Codec[Any]],
        precision: str = "fp32",
        source: str = "",
        metrics: Mapping[str, Any] | None = None,
        named: Iterable[str] | None = None,
    ) -> None:
        """`named` are the options that the model's folder names, where it came from one."""
        self.family, self.modality, self.model, self.codec = family, modality, model.eval(), codec
        self.conditions, self.precision, self.source = dict(conditions), precision, source
        self.metrics = dict(metrics or {})
        self.folder: Path | None = None  # where it was read from, or was fitted to
        self._named = set(model.options.model_dump() if named is None else named)

    def sample(
        self,
        count: int = 1,
        *,
        seed: int = 0,
        condition: Mapping[str, Any] | None = None,
        prompt: str | Sequence[str] | None = None,
        form: Form | Mapping[str, Any] | None = None,
        batch: int | None = None,
        progress: Callable[[int], None] | None = None,
        **controls: Any,
    ) -> Any:
        """`count` new items; item i has the seed `seed + i` and is the same alone and in any batch.

        `condition` maps a name to one value for all, or to a list with one for each: a class, or an item or its file.
        `prompt` is what they begin with, for texts: one for all, or a list with one for each; `form` what they are
        asked to be, a `Form` or its fields: `stop`, `regex`, `choice`, `json_schema`. `controls` are the family's
        Controls. `progress` is called with the number of items finished. Raises UserError on a wrong control, class,
        prompt or form.
        """
        if isinstance(self.codec, RowCodec):
            refuse_text(prompt, _asked(form))
            parts = self.rows(count, seed=seed, condition=condition, batch=batch, progress=progress, **controls)
            return self.codec.given_back(parts)
        prompts, given = self._beginning(prompt, count)
        asked = _asked(form)
        rules = self._rules(asked, count)
        x = self._generate(count, seed, condition or {}, batch, progress, controls, given, rules)
        items = self.codec.decode(x)
        if asked.stop:
            items = [trimmed(item, begun, asked.stop) for item, begun in zip(items, prompts, strict=True)]
        return items

    def rows(
        self,
        count: int,
        *,
        seed: int = 0,
        condition: Mapping[str, Any] | None = None,
        batch: int | None = None,
        progress: Callable[[int], None] | None = None,
        **controls: Any,
    ) -> Iterator[Any]:
        """The same new rows of a table as of `sample`, one batch after the other, so that there may be any number.

        `condition` maps columns to what all rows are asked to be there: a value, `30..40`, `>=30`, `a|b`, `missing`; or
        `all`, which makes as many rows of each value, one value after the other. Raises UserError as `sample` does, and
        where items are no rows.
        """
        if not isinstance(self.codec, RowCodec):
            raise UserError(f"items of modality '{self.modality}' are no rows; use sample")
        turns = self.codec.turns(condition or {})
        every = [self.codec.asked(turn) for turn in turns]
        if any(asked.evidence.chances or asked.evidence.limits for asked in every) and not self.model.weighs:
            raise UserError(
                f"the family '{self.family}' takes no conditions on columns and no constraints; fit autoregressive"
            )
        first = 0
        for turn, asked in enumerate(every, start=1):
            last = count * turn // len(every)
            if last == first and len(every) > 1:
                continue
            told = progress and _told_from(progress, first)
            evidence = asked.evidence
            for x in self._batches_of(last - first, seed + first, {}, batch, told, controls, None, evidence=evidence):
                yield self.codec.decode_asked(x, asked, first)
                first += len(x)

    def drafts(
        self,
        *,
        seed: int = 0,
        condition: Mapping[str, Any] | None = None,
        prompt: str | None = None,
        form: Form | Mapping[str, Any] | None = None,
        **controls: Any,
    ) -> Iterator[Any]:
        """One new item while it is made: drafts of it, the last of which is what `sample(1, …)` returns.

        Raises UserError as `sample` does.
        """
        asked = _asked(form)
        chosen, (prompts, given) = self.controls(controls), self._beginning(prompt, 1)
        request = Request(
            noise=Noise.count(seed, 1),
            condition={
                name: value.to(self.model.device) for name, value in self.encode_conditions(condition or {}, 1).items()
            },
            given=given,
            rules=self._rules(asked, 1),
            drafts=True,
        )
        with self._running():
            for draft in self.model.generate(request, chosen):
                item = self.codec.decode(_on_cpu(self._settled(draft)))[0]
                yield trimmed(item, prompts[0], asked.stop) if asked.stop else item

    def _settled(self, draft: Partial) -> Tensor:
        """What of a draft is worth a look: of sequences what is drawn, of all else the whole."""
        space = self.model.space
        return draft.x.where(draft.known, space.end) if isinstance(space, Tokens) and space.end is not None else draft.x

    def _beginning(self, prompt: str | Sequence[str] | None, count: int) -> tuple[list[str], Partial | None]:
        """The prompts, and what is known of items that begin with them, or with nothing."""
        if prompt is None:
            return [""] * count, self.codec.blank(count)
        if self.codec.blank(1) is None:
            raise UserError(f"items of modality '{self.modality}' do not begin with a prompt; drop it")
        prompts = [prompt] * count if isinstance(prompt, str) else list(prompt)
        if len(prompts) != count:
            raise UserError(f"{len(prompts)} prompts were given for {count} samples; give one, or one for each")
        return prompts, self.codec.observe(prompts, None)

    def _rules(self, asked: Form, count: int) -> list[list[Rule]]:
        """The rules of each of `count` items; none where nothing is asked. Raises UserError on what cannot be."""
        if asked == Form():
            return []
        space, spell = self.model.space, getattr(self.codec, "spell", None)
        if spell is None or not isinstance(space, Tokens) or space.end is None:
            raise UserError(f"items of modality '{self.modality}' are no texts that could have such a form; drop it")
        return asked.rules(spell(), space.end, count)

    def impute(
        self,
        items: Any,
        holes: Any = None,
        *,
        seed: int = 0,
        condition: Mapping[str, Any] | None = None,
        batch: int | None = None,
        progress: Callable[[int], None] | None = None,
        **controls: Any,
    ) -> Any:
        """The items with their holes filled in, at the model's own size; item i has the seed `seed + i`.

        `holes` are in the modality's terms: of pictures, one picture each, black where all is known; of tables, where
        cells are missing, unless they are given. What was given comes back untouched, up to what the codec rounds.
        Raises UserError where the family cannot, or on bad holes.
        """
        if not self.model.fills:
            other = "--family autoregressive"
            if not isinstance(self.codec, RowCodec):
                other = "--family diffusion --options.fill 0.5"
            raise UserError(f"the family '{self.family}' cannot fill in; fit with {other}")
        rows = self.codec if isinstance(self.codec, RowCodec) else None
        if rows:
            items = rows.adopted(items)
            holes = rows.missing(items) if holes is None else holes
        if holes is None or len(items) != len(holes):
            raise UserError(
                f"{0 if holes is None else len(holes)} holes were given for {len(items)} items; give one for each"
            )
        own = innermost(self.codec)
        given, observed = self.codec.observe(items, holes), own.observe(items, holes)
        evidence = rows.filling() if rows else None
        x = self._generate(len(given.x), seed, condition or {}, batch, progress, controls, given, evidence=evidence)
        if rows:
            return rows.given_back([rows.pasted(x, items, holes)])
        if isinstance(own.space, Tokens) and own.space.start is not None:
            return self.codec.decode(x)  # symbols are as they were given, and texts may be spelled in several ways
        filled = own.encode(self.codec.decode(x))
        return own.decode(torch.where(observed.known, observed.x, filled))

    def _generate(
        self,
        count: int,
        seed: int,
        condition: Mapping[str, Any],
        batch: int | None,
        progress: Callable[[int], None] | None,
        controls: Mapping[str, Any],
        given: Partial | None,
        rules: Sequence[Sequence[Rule]] = (),
        evidence: Evidence | None = None,
    ) -> Tensor:
        """`(count, *space.shape)`, on the CPU; sequences are as long as the longest."""
        done = list(self._batches_of(count, seed, condition, batch, progress, controls, given, rules, evidence))
        return _joined(done, self.model.space)

    def _batches_of(
        self,
        count: int,
        seed: int,
        condition: Mapping[str, Any],
        batch: int | None,
        progress: Callable[[int], None] | None,
        controls: Mapping[str, Any],
        given: Partial | None,
        rules: Sequence[Sequence[Rule]] = (),
        evidence: Evidence | None = None,
    ) -> Iterator[Tensor]:
        """One batch of samples after the other, on the CPU."""
        batch = self.codec.batch if batch is None else batch
        if count < 1 or batch < 1:
            raise UserError(f"the number of samples and the batch must be at least 1, found {count} and {batch}")
        if not -(2**63) <= seed < 2**63 - count:
            raise UserError(f"the seed is {seed}; expected one of 64 bits, from -2^63 to 2^63 - 1 less the samples")
        chosen = self.controls(controls)
        encoded = self.encode_conditions(condition, count)
        for start in range(0, count, batch):
            stop = min(start + batch, count)
            request = Request(
                noise=Noise.count(seed + start, stop - start),
                condition={name: value[start:stop].to(self.model.device) for name, value in encoded.items()},
                given=Partial(given.x[start:stop], given.known[start:stop]) if given else None,
                rules=rules[start:stop],
                evidence=evidence,
            )
            with self._running():
                for draft in self.model.generate(request, chosen):
                    x = draft.x
            if progress:
                progress(stop)
            yield _on_cpu(x)

    def controls(self, values: Mapping[str, Any]) -> Frozen:
        """The family's Controls with these values. Raises UserError on an unknown or impossible one."""
        return build(self.model.Controls, values, "controls")

    def encode_conditions(self, condition: Mapping[str, Any], count: int) -> dict[str, Tensor]:
        """Conditions as tensors `(count, *shape)`. Raises UserError on an unknown name, class or length."""
        encoded = {}
        for name, value in condition.items():
            if name not in self.conditions:
                if not self.conditions:
                    raise UserError(f"this model takes no conditions, found '{name}'; fit with --condition {name}")
                raise unknown("condition", name, self.conditions)
            values = list(value) if isinstance(value, (list, tuple)) else [value] * count
            if len(values) != count:
                raise UserError(f"condition '{name}' has {len(values)} values for {count} samples; give one or {count}")
            codec = self.conditions[name]
            if isinstance(codec, LabelCodec):
                encoded[name] = codec.encode([str(one) for one in values])
            else:
                read = plugins.load("modalities", self.modality, "files").read
                items = [read(Path(one)) if isinstance(one, (str, Path)) else one for one in values]
                encoded[name] = codec.encode(items)
        return encoded

    def log_likelihood(self, items: Any, *, condition: Mapping[str, Any] | None = None, seed: int = 0) -> Tensor:
        """Nats per item, `(B,)`; `model.exact` says whether exact or a lower bound. Through a vq, of its symbols.

        Raises UserError where there is none.
        """
        if not isinstance(self.model, LikelihoodModel):
            raise UserError(f"the family '{self.family}' has no likelihood")
        if isinstance(self.codec, LatentCodec) and isinstance(self.codec.space, Continuous):
            raise UserError("through a model, a likelihood is that of its latents and tells nothing of items in nats")
        nats = []
        for start, batch in self._batches(items, condition):
            nats.append(_on_cpu(self.model.log_likelihood(batch, Noise.count(seed + start, len(batch.x)))))
        return torch.cat(nats)

    def surprise(self, items: Any) -> Any:
        """Of rows, how odd each cell is given the others of its row: a table of nats, −ln p, of the columns modelled.

        Raises UserError where items are no rows, or the family does not tell.
        """
        if not isinstance(self.codec, RowCodec) or not isinstance(self.model, PartwiseModel):
            raise UserError(
                f"a model of family '{self.family}' and modality '{self.modality}' does not tell cells apart"
            )
        x = self.codec.encode(self.codec.adopted(items))
        nats = [_on_cpu(self.model.surprise(part.to(self.model.device))) for part in x.split(self._at_once)]
        return self.codec.of_columns(torch.cat(nats))

    def bits_per_dimension(self, items: Any, *, condition: Mapping[str, Any] | None = None, seed: int = 0) -> Tensor:
        """−log₂ of the likelihood over the numbers of an item, `(B,)`: pixels times colours, bytes, symbols of a vq.

        An upper bound where the likelihood is a lower one. Raises UserError where there is none, or only a density.
        """
        if isinstance(self.model.space, Continuous) and not self.model.space.step:
            raise UserError(
                "the likelihood of numbers that are not quantised is a density, which no bits can spell out"
            )
        nats = self.log_likelihood(items, condition=condition, seed=seed)
        return -nats / (math.log(2) * self.codec.sizes(items))

    def encode(self, items: Any) -> Tensor:
        """The latents of items, `(B, *latent.shape)`. Raises UserError where the family has no latents."""
        return self.latents(self.codec.encode(items))

    def latents(self, x: Tensor) -> Tensor:
        """The latents of items that the codec has encoded. Raises UserError where the family has no latents."""
        model = self._latent_model()
        with torch.no_grad(), self._running():
            return torch.cat(
                [_on_cpu(model.encode(Batch(part.to(self.model.device)))) for part in x.split(self._at_once)]
            )

    def embeddings(self, items: Any) -> Tensor:
        """What the model has made of each item, `(B, d)`: its latent, or the mean of what its network is at.

        Raises UserError where the family has neither.
        """
        model = self.model
        if isinstance(model, LatentModel) and isinstance(model.latent, Continuous):
            return self.encode(items).flatten(1)
        if not isinstance(model, EmbeddingModel):
            raise UserError(f"the family '{self.family}' makes no embeddings of items; take another extractor")
        with torch.no_grad(), self._running():
            x = self.codec.encode(items)
            parts = [_on_cpu(model.embeddings(Batch(part.to(model.device)))) for part in x.split(self._at_once)]
        return torch.cat(parts)

    def decode(self, z: Tensor, *, condition: Mapping[str, Any] | None = None) -> Any:
        """The items of latents. Raises UserError where the family has no latents."""
        return self.codec.decode(self.decoded(z, condition=condition))

    def decoded(self, z: Tensor, *, condition: Mapping[str, Any] | None = None) -> Tensor:
        """The same as the codec encodes them."""
        model = self._latent_model()
        encoded = self.encode_conditions(condition or {}, len(z))
        done = []
        with torch.no_grad(), self._running():
            for start in range(0, len(z), self._at_once):
                part = slice(start, start + self._at_once)
                given = {name: value[part].to(self.model.device) for name, value in encoded.items()}
                done.append(_on_cpu(model.decode(z[part].to(self.model.device), given)))
        return torch.cat(done)

    def reconstruct(self, items: Any, *, condition: Mapping[str, Any] | None = None) -> Any:
        """Items through the latents and back."""
        return self.decode(self.encode(items), condition=condition)

    @property
    def hash(self) -> str:
        """SHA-256 over what the model is (family, space, conditions, options), its codecs and its weights."""
        digest = hashlib.sha256(json.dumps(self._description(), sort_keys=True).encode())
        tensors = dict(self.model.state_dict())
        for name, codec in {"codec": self.codec, **self.conditions}.items():
            settings, kept = codec.state()
            digest.update(json.dumps({name: settings}, sort_keys=True).encode())
            tensors |= {f"{name}|{key}": value for key, value in kept.items()}
        for name, value in sorted(tensors.items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def save(self, folder: Path | str) -> None:
        """Write the model folder; each file is written whole or not at all."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.codec.save(folder / "codec")
        for name, codec in self.conditions.items():
            codec.save(folder / "conditions" / name)
        with replacing(folder / "model.safetensors") as temporary:
            state = self.model.state_dict()
            save_file({name: value.detach().cpu().clone().contiguous() for name, value in state.items()}, temporary)
        write_json(folder / "metrics.json", self.metrics)
        write_json(
            folder / "config.json",
            {
                "format": FORMAT,
                "morphogen": __version__,
                **self._description(),
                "precision": self.precision,
                "source": self.source,
            },
        )

    def _description(self) -> dict[str, Any]:
        return {
            "family": self.family,
            "modality": self.modality,
            "space": space_to_json(self.model.space),
            "conditions": {name: space_to_json(codec.space) for name, codec in self.conditions.items()},
            # Not those that a later version added, or no model would keep its hash.
            "options": {
                name: value for name, value in self.model.options.model_dump(mode="json").items() if name in self._named
            },
        }

    def _batches(self, items: Any, condition: Mapping[str, Any] | None) -> Iterator[tuple[int, Batch]]:
        """Encoded items in batches, each with the number of items before it."""
        x = self.codec.encode(items)
        encoded = self.encode_conditions(condition or {}, len(x))
        for start in range(0, len(x), self._at_once):
            part = slice(start, start + self._at_once)
            given = {name: value[part].to(self.model.device) for name, value in encoded.items()}
            yield start, Batch(x[part].to(self.model.device), given)

    @property
    def _at_once(self) -> int:
        return _ROWS_AT_ONCE if isinstance(self.codec, RowCodec) else _AT_ONCE

    def _latent_model(self) -> LatentModel:
        if not isinstance(self.model, LatentModel):
            raise UserError(f"the family '{self.family}' has no latent space to encode to")
        return self.model

    def _running(self) -> torch.autocast:
        return autocast(self.precision, self.model.device)


def refuse_text(prompt: Any, form: Form) -> None:
    """Raises UserError where rows are asked to be what only texts can be."""
    if prompt is not None or form != Form():
        raise UserError("rows of a table are no texts: give conditions, and neither a prompt nor a form")


def _asked(form: Form | Mapping[str, Any] | None) -> Form:
    return form if isinstance(form, Form) else build(Form, form or {}, "form")


def _told_from(progress: Callable[[int], None], first: int) -> Callable[[int], None]:
    """What is told of items after so many others."""
    return lambda done: progress(first + done)


def _on_cpu(x: Tensor) -> Tensor:
    """Symbols as they are, numbers in single precision."""
    return x.float().cpu() if x.is_floating_point() else x.cpu()


def _joined(parts: list[Tensor], space: Space) -> Tensor:
    """Batches of items as one, sequences filled up with ends."""
    widest = max(part.shape[-1] for part in parts)
    end = space.end if isinstance(space, Tokens) else None
    return torch.cat([F.pad(part, (0, widest - part.shape[-1]), value=end or 0) for part in parts])


def load_codec(modality: str, folder: Path, device: str | None = None) -> Codec[Any]:
    """The codec that was saved in a folder: the modality's own, or one through the model that lies in it."""
    if "through" in read_json(folder / "config.json"):
        pipeline = load(folder / "model", device)
        return codec_through(pipeline).read(folder, pipeline)
    return plugins.sole(plugins.load("modalities", modality, "codec"), Codec).load(folder)


def load_condition(modality: str, folder: Path) -> Codec[Any]:
    """The codec of a condition: class names, or the modality's own items."""
    if "names" in read_json(folder / "config.json"):
        return LabelCodec.load(folder)
    return plugins.sole(plugins.load("modalities", modality, "codec"), Codec).load(folder)


def load(folder: Path | str, device: str | None = None) -> Pipeline:
    """The pipeline in a model folder, on the GPU where there is one. Raises UserError on a folder that is none."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"there is no model folder '{folder}'")
    if not (folder / "config.json").exists() and (folder / "training").is_dir():
        raise UserError(f"the fit in '{folder}' has not finished; continue it with --resume")
    config = read_json(folder / "config.json")
    if not isinstance(config, dict) or not isinstance(config.get("format"), int):
        raise UserError(f"{folder / 'config.json'} has no format version; expected a morphogen model folder")
    if config["format"] > FORMAT:
        raise UserError(
            f"{folder} was written by morphogen {config.get('morphogen')} in format {config['format']}; "
            f"this one reads up to {FORMAT}: pip install -U morphogen"
        )
    try:
        kind = plugins.sole(plugins.load("families", config["family"], "model"), GenerativeModel)
        codec = load_codec(config["modality"], folder / "codec", device)
        conditions = {
            name: load_condition(config["modality"], folder / "conditions" / name) for name in config["conditions"]
        }
        space = space_from_json(config["space"])
        spaces = {name: space_from_json(value) for name, value in config["conditions"].items()}
        model = kind(space, spaces, build(kind.Options, config["options"], "options"))
        precision, source = config["precision"], config["source"]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        what = f"lacks {error}" if isinstance(error, KeyError) else f"is damaged ({error})"
        raise UserError(f"{folder / 'config.json'} {what}; restore the folder or fit again") from None
    if codec.space != space:
        raise UserError(
            f"the codec in {folder / 'codec'} is not that of this model: it maps to {codec.space}, and not to "
            f"{space}; restore the folder or fit again"
        )
    _load_weights(model, folder / "model.safetensors")
    metrics = read_json(folder / "metrics.json") if (folder / "metrics.json").exists() else {}
    place(model, device or ("cuda" if torch.cuda.is_available() else "cpu"))
    pipeline = Pipeline(
        family=config["family"],
        modality=config["modality"],
        model=model,
        codec=codec,
        conditions=conditions,
        precision=precision,
        source=source,
        metrics=metrics,
        named=config["options"],
    )
    pipeline.folder = folder
    return pipeline


def _load_weights(model: GenerativeModel, file: Path) -> None:
    try:
        model.load_state_dict(load_file(file))
    except FileNotFoundError:
        raise UserError(f"{file} is missing; restore the folder or fit again") from None
    except (SafetensorError, RuntimeError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{file} cannot be read ({reason}); restore the folder or fit again") from None
