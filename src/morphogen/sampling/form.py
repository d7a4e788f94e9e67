"""The form a text is asked to have: stop strings, and a grammar. No torch here: the command line reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from ..core.config import Frozen

if TYPE_CHECKING:
    from ..core.model import Rule


class Form(Frozen):
    """What a text is asked to be: where it stops, and one of three kinds of grammar."""

    stop: tuple[str, ...] = Field((), description="Texts at which it stops; they are not part of it.")
    regex: str | None = Field(None, description="A regular expression that the whole of what is drawn matches.")
    choice: tuple[str, ...] = Field((), description="What is drawn is one of these texts.")
    json_schema: str | dict[str, Any] | None = Field(None, description="What is drawn is JSON of this schema.")

    @model_validator(mode="after")
    def _one_grammar(self) -> Form:
        asked = [name for name in ("regex", "choice", "json_schema") if getattr(self, name)]
        if len(asked) > 1:
            raise ValueError(f"{' and '.join(asked)} exclude each other; give one of them")
        return self

    def rules(self, spell: Sequence[bytes], end: int, count: int) -> list[list[Rule]]:
        """The rules of each of `count` texts, compiled once; `spell` is what each symbol stands for, in bytes.

        Raises UserError where a grammar does not compile, or no text obeys it.
        """
        from .rules import Grammar, Stop

        found: list[Rule] = []
        if self.stop:
            found.append(Stop(self.stop, spell, end))
        if self.regex is not None:
            found.append(Grammar.regex(self.regex, spell, end))
        if self.choice:
            found.append(Grammar.choice(self.choice, spell, end))
        if self.json_schema is not None:
            found.append(Grammar.json(self.json_schema, spell, end))
        return [[rule.fork() for rule in found] for _ in range(count)]


def trimmed(text: str, prompt: str, stop: Sequence[str]) -> str:
    """The text, which begins with the prompt, up to the stop string that is complete first after that."""
    found = [(at + len(one), at) for one in stop if (at := text.find(one, len(prompt))) >= 0]
    return text[: min(found)[1]] if found else text
