"""Token constraints on a text while it is generated: stop strings, and grammars.

`token_bytes` are the bytes that each token stands for, empty for special tokens (start, padding, end), so that one
implementation serves characters, bytes and subwords.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..core.errors import UserError
from ..core.model import TokenConstraint
from .grammar import Grammar


class StopString:
    """Allows only `end` once the text contains one of `strings`, however tokens split it.

    The string that is complete first counts; of several complete at once, the longest.
    """

    def __init__(self, strings: Sequence[str], token_bytes: Sequence[bytes], end: int) -> None:
        if not all(strings):
            raise UserError("a stop string is empty; every text would stop at once, so drop it")
        self.start: int | None = None  # where the stop string starts in the text, in bytes; None: there is none yet
        self._strings = tuple(string.encode() for string in strings)
        self._token_bytes = token_bytes
        self._only_end = torch.zeros(len(token_bytes), dtype=torch.bool).index_fill_(0, torch.tensor(end), True)
        self._tail = b""  # in which a stop string may have started
        self._passed = 0  # bytes before the tail

    def allowed(self) -> Tensor | None:
        return None if self.start is None else self._only_end

    def advance(self, token: int) -> None:
        if self.start is not None:
            return
        text = self._tail + self._token_bytes[token]
        ends = [(at + len(string), at) for string in self._strings if (at := text.find(string)) >= 0]
        if ends:
            self.start = self._passed + min(ends)[1]
        length = min(len(text), max(map(len, self._strings), default=1) - 1)
        self._passed += len(text) - length
        self._tail = text[len(text) - length :]

    def limit(self, tokens: int) -> None:
        """Any text may be cut at any length."""

    def fork(self) -> StopString:
        return copy.copy(self)


def compile_constraints(
    *,
    stop: Sequence[str] = (),
    regex: str | None = None,
    choice: Sequence[str] = (),
    json_schema: str | Mapping[str, Any] | None = None,
    token_bytes: Sequence[bytes],
    end: int,
    count: int,
) -> list[list[TokenConstraint]]:
    """Return the token constraints of each of `count` texts, compiled once.

    `token_bytes` are the bytes that each token stands for, empty for special tokens. Raises UserError where a grammar
    does not compile, or no text satisfies it.
    """
    constraints: list[TokenConstraint] = []
    if stop:
        constraints.append(StopString(stop, token_bytes, end))
    if regex is not None:
        constraints.append(Grammar.regex(regex, token_bytes, end))
    if choice:
        constraints.append(Grammar.choice(choice, token_bytes, end))
    if json_schema is not None:
        constraints.append(Grammar.json(json_schema, token_bytes, end))
    return [[constraint.fork() for constraint in constraints] for _ in range(count)]


def trim(text: str, prompt: str, stop: Sequence[str]) -> str:
    """Return the text, which begins with the prompt, up to the stop string that is complete first after the prompt."""
    ends = [(at + len(string), at) for string in stop if (at := text.find(string, len(prompt))) >= 0]
    return text[: min(ends)[1]] if ends else text
