"""From what the user asked for to a model, a source and a codec that go together; the rest is refused by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..artifact import Artifact
from ..core import plugins
from ..core.codec import Codec
from ..core.config import Frozen, build
from ..core.errors import UserError, unknown
from ..core.modality import Modality
from ..core.modality import modality as modality_of
from ..core.model import GenerativeModel, LatentModel
from ..core.noise import Noise
from ..core.space import Space
from ..data.base import Source
from ..data.first_family import first_family
from ..latent_codec import LatentCodec
from .options import model_options
from .spec import LOW_RES, FitSpec, Say

_FEW_MINUTES = 60  # in which a model of every single value falls behind on large items


@dataclass(frozen=True)
class Job:
    """A fit whose parts go together."""

    spec: FitSpec
    source: Source
    modality: Modality[Any]
    kind: type[Space]  # of space that is modelled
    entry: plugins.ModelEntry
    model: type[GenerativeModel]
    options: Frozen  # of the model, before the probe
    codec_options: Frozen
    autoencoder: Artifact | None

    @property
    def sizes(self) -> Sequence[Mapping[str, Any]]:
        """The sizes that the probe chooses among; none where the user decided."""
        decided = any(name in self.spec.options for size in self.entry.sizes for name in size)
        return () if decided else self.entry.sizes

    def fit_codec(self, chunks: Iterable[Any]) -> Codec[Any]:
        """Return the codec fitted to chunks of items. Raises UserError where the model cannot keep its constraints."""
        if self.autoencoder is not None:
            codec: Codec[Any] = LatentCodec.fit(chunks, self.kind, self.autoencoder)
        else:
            codec = self.modality.fit(chunks, self.kind, self.codec_options)
        self._refuse_constraints(codec)
        return codec

    def _refuse_constraints(self, codec: Codec[Any]) -> None:
        request = next(codec.requests(self.modality.Query(), Noise.consecutive(0, 1)))
        if request.evidence is None or not request.evidence.constraints or self.model.supports_evidence:
            return
        raise UserError(
            f"the family '{self.spec.family}' cannot keep the constraints of the data, since it samples all values of "
            f"an item at once; {self.choices('supports_evidence')}drop the constraints"
        )

    def choices(self, capability: str) -> str:
        """Return "choose A or B, or ", for an error: the families whose models of such items have a capability."""
        families = sorted({name for kind in self.modality.spaces for name in plugins.supporting(capability, kind)})
        return f"choose {' or '.join(families)}, or " if families else ""


def resolve(spec: FitSpec, source: Source, autoencoder: Artifact | None) -> Job:
    """Return the fit that the spec describes. Raises UserError where its parts do not go together."""
    modality = modality_of(source.modality)
    if autoencoder is not None and spec.super_resolution:
        raise UserError("--super-resolution does not work with --autoencoder: its latents are coarse already")
    if autoencoder is not None and spec.codec:
        raise UserError(f"codec.{min(spec.codec)} does not apply with --autoencoder, which has a codec of its own")
    kind = kind_to_model(spec.family, modality, autoencoder)
    job = Job(
        spec=spec,
        source=source,
        modality=modality,
        kind=kind,
        entry=plugins.entry_for(spec.family, kind),
        model=plugins.model_for(spec.family, kind),
        options=model_options(spec.family, kind, spec.options),
        codec_options=build(modality.Options, spec.codec, "codec"),
        autoencoder=autoencoder,
    )
    _check_super_resolution(job)
    _check_conditions(job)
    return job


def choose_family(
    family: str | None,
    source: Source,
    codec: Mapping[str, Any],
    minutes: float | None,
    say: Say,
    *,
    whole: bool,
) -> str:
    """Return the name of the family, by default the one to begin with; say why it is that, or why it would be better.

    `minutes` is the budget; None: steps are counted. Not `whole`: another model, or a condition, holds a part of each
    item, so that its size decides nothing.
    """
    family = plugins.spelled(family) if isinstance(family, str) else family  # FitSpec refuses what is no name
    if not whole or not isinstance(family, str | None):
        return modality_of(source.modality).default_family if family is None else family
    first = first_family(source, codec)
    if family is None:
        if first.reason:
            say(f"family {first.name}, since {first.reason}; expect {first.expect} (choose another with --family)")
        return first.name
    models_all = not any(issubclass(plugins.model_for(family, kind), LatentModel) for kind in plugins.models(family))
    if first.reason and models_all and minutes is not None and minutes < _FEW_MINUTES:
        say(f"{first.reason}: expect noise or blobs; --family {first.name} makes {first.expect}")
    return family


def kind_to_model(family: str, modality: Modality[Any], autoencoder: Artifact | None) -> type[Space]:
    """Return the kind of space that a family models: one that the modality offers, or that of an autoencoder's latents.

    Raises UserError where there is none.
    """
    if autoencoder is None:
        return plugins.kind_for(family, modality.spaces)
    if autoencoder.modality != modality.name:
        raise UserError(
            f"--autoencoder is a model of modality '{autoencoder.modality}', and the source is of '{modality.name}'; "
            "fit an autoencoder on such a source first"
        )
    if not isinstance(autoencoder.model, LatentModel):
        encoders = [
            name
            for name in plugins.known("families")
            if any(issubclass(plugins.model_for(name, kind), LatentModel) for kind in plugins.models(name))
        ]
        raise UserError(
            f"--autoencoder is a model of the family '{autoencoder.family}', which has no encoder; "
            f"use one of {', '.join(encoders)}"
        )
    if autoencoder.conditions:
        name = min(autoencoder.conditions)
        raise UserError(f"the autoencoder needs condition '{name}' to decode; refit it without --condition")
    return plugins.kind_for(family, (type(autoencoder.model.latent),))


def _check_super_resolution(job: Job) -> None:
    factor = job.spec.super_resolution
    if factor is None:
        return
    if factor < 2:
        raise UserError(f"--super-resolution is {factor}; expected a factor of 2 or more")
    if LOW_RES in job.spec.conditions:
        raise UserError(f"--super-resolution adds a condition '{LOW_RES}', the name of a column; rename the column")
    if not job.model.supports_grid_conditions:
        raise UserError(
            f"the family '{job.spec.family}' cannot read items at a low resolution; "
            f"{job.choices('supports_grid_conditions')}drop --super-resolution"
        )


def _check_conditions(job: Job) -> None:
    names, source = job.spec.conditions, job.source
    if "condition_dropout" in job.spec.options and not job.spec.condition_names:
        raise UserError("options.condition_dropout has no effect without a condition; drop it, or give --condition")
    if names and not job.model.supports_conditions:
        advice = f"{job.choices('supports_conditions')}drop --condition {names[0]}"
        if job.model.supports_evidence:
            advice = f"drop --condition {names[0]}, and give it with values when sampling"
        raise UserError(f"the {job.spec.family} model of {job.kind.plural} is trained without conditions; {advice}")
    for name in names:
        if name != Path(name).name or name.startswith("."):
            raise UserError(f"the column '{name}' cannot be the name of a folder, which a condition has; rename it")
        if name not in source.columns:
            if not source.columns:
                raise UserError(
                    f"{source.description} has no column of classes '{name}'; --condition needs class sub-folders, or "
                    "a column beside that of the items"
                )
            raise unknown("column", name, source.columns)
