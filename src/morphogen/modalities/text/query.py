"""The query of texts: a prompt, stop strings, and a grammar. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from morphogen.core.query import Query as BaseQuery


class Query(BaseQuery):
    """What texts have to satisfy."""

    prompt: str | tuple[str, ...] | None = Field(
        None, description="Text that samples begin with; from Python also a list with one for each sample."
    )
    stop: tuple[str, ...] = Field((), description="Strings at which a text ends; they are cut off.")
    regex: str | None = Field(None, description="Regular expression that the whole text after the prompt matches.")
    choice: tuple[str, ...] = Field((), description="The text after the prompt is one of these.")
    json_schema: str | dict[str, Any] | None = Field(
        None, description="JSON schema that the text after the prompt follows, or the path of its file."
    )

    @field_validator("json_schema")
    @classmethod
    def _read_schema(cls, schema: str | dict[str, Any] | None) -> str | dict[str, Any] | None:
        """Replace a path by the content of its file, so that a saved query does not depend on the file."""
        if not isinstance(schema, str) or schema.strip() in ("", "true", "false") or schema.lstrip().startswith("{"):
            return schema
        try:
            return Path(schema).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ValueError(
                f"expected a JSON schema or the path of its file, which cannot be read: {reason}"
            ) from None

    @model_validator(mode="after")
    def _one_grammar(self) -> Query:
        grammars = [name for name in ("regex", "choice", "json_schema") if getattr(self, name)]
        if len(grammars) > 1:
            raise ValueError(f"{' and '.join(grammars)} exclude each other; give one of them")
        return self
