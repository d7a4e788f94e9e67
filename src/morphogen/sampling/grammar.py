"""Grammars: regular expressions, choices and JSON schemas, as token constraints."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..core.errors import UserError
from .completion import complete
from .grammar_compiler import BYTE_OPTIONS, OPTIONS, compile_grammar, package, reason, spellable

if TYPE_CHECKING:
    from llguidance import LLMatcher

# How many continuations a look-ahead tries before it takes a grammar to be satisfiable, at first and at each token; and
# how many tokens it tries at each.
_LOOK_AT_FIRST, _LOOK, _LOOK_WIDTH, _CANDIDATES = 1000, 100, 3, 1000
_LONGEST = 4096  # tokens of a completion that is looked for
_FAR = 256  # tokens from the limit, from which on closing is not looked at where many tokens are allowed
_REMEMBERED = 8  # completions
_NAMED = 10  # characters in a message


class Grammar:
    """Allows texts that match a regular expression, are one of several, or are JSON of a schema; then only `end`.

    Compile it once and `fork` it for each sample. Any tokenisation of a valid text is allowed, not only the
    tokenizer's own. Every constructor raises UserError where the package is missing, the grammar has a mistake, or the
    vocabulary cannot spell any valid text.
    """

    def __init__(self, matcher: LLMatcher, token_bytes: Sequence[bytes], end: int, purpose: str) -> None:
        """`purpose` names the grammar in messages."""
        self._matcher, self._token_bytes, self._end, self._purpose = matcher, token_bytes, end, purpose
        self._ended = False
        self._looks_ahead = False  # whether an allowed token may lead to a dead end
        self._allowed: Tensor | None = None
        self._left: int | None = None  # how many tokens may follow; None: any number
        # Tokens after which the text may end, few if not the fewest; None: they are not known.
        self._completion = complete(matcher, token_bytes, end, _LONGEST)
        self._others: list[list[int]] = []  # completions after other tokens, which may serve again
        self._only_end = _only(end, len(token_bytes))

    @classmethod
    def regex(cls, pattern: str, token_bytes: Sequence[bytes], end: int) -> Grammar:
        """Return the grammar of texts that match `pattern` as a whole.

        The syntax is that of Rust's crate regex, without look-around and back-references; `\\d` is 0 to 9.
        """
        rust = package("a regular expression")
        purpose = f"the regular expression '{pattern}'"
        try:
            quoted = rust.regex_to_lark(pattern, "d")
        except UnicodeEncodeError:
            raise UserError(f"{purpose} holds half of a character; correct it") from None
        if (len(pattern) - len(pattern.rstrip("\\"))) % 2:  # it would hide the end of the grammar's own quotes
            raise UserError(f"{purpose} does not compile: it ends inside an escape")
        # First by itself: `_spelled` allows invalid UTF-8.
        compile_grammar(f"start: T\nT: /{quoted}/", token_bytes, end, purpose)
        return cls._spelled(f"/(?u:{quoted})/", token_bytes, end, purpose)

    @classmethod
    def choice(cls, texts: Sequence[str], token_bytes: Sequence[bytes], end: int) -> Grammar:
        """Return the grammar of exactly these texts."""
        package("a choice among texts")
        if not texts:
            raise UserError("a choice among texts needs at least one text")
        pattern = "|".join("".join(f"\\x{{{ord(character):x}}}" for character in text) for text in texts)
        return cls._spelled(f"/(?u:{pattern})/", token_bytes, end, f"the choice among {len(texts)} texts")

    @classmethod
    def json(cls, schema: Mapping[str, Any] | str | bool, token_bytes: Sequence[bytes], end: int) -> Grammar:
        """Return the grammar of JSON that satisfies a schema (draft 2020-12); keys come in the schema's order.

        The schema bounds the length of a text (maxLength, maxItems, maximum): without bounds a model may never end.
        """
        package("a JSON schema")
        try:
            schema = json.loads(schema) if isinstance(schema, str) else schema
        except (ValueError, RecursionError) as error:
            raise UserError(f"the JSON schema is not JSON: {error}") from None
        if isinstance(schema, bool):
            schema = {} if schema else {"not": {}}
        if not isinstance(schema, Mapping):
            raise UserError(f"a JSON schema is an object or a boolean, and this is a {type(schema).__name__}")
        options = schema.get("x-guidance", {})  # which llguidance reads
        if not isinstance(options, Mapping):
            raise UserError(f"x-guidance in the JSON schema is {options!r:.60}; expected options by name")
        try:  # wherever JSON allows white space, at most one space
            text = json.dumps({**schema, "x-guidance": {"whitespace_pattern": " ?", **options}})
        except (TypeError, ValueError, RecursionError) as error:
            raise UserError(f"the JSON schema cannot be written as JSON: {error}") from None
        source = OPTIONS + f"start: %json {text}"
        grammar = cls._satisfiable(source, source, token_bytes, end, "the JSON schema")
        # Unlike a regular expression, a context-free grammar cannot be intersected with what the vocabulary spells.
        grammar._looks_ahead = spellable(tuple(token_bytes), end) is not None
        if grammar._looks_ahead and not grammar._has_ending(_LOOK_AT_FIRST, len(token_bytes)):
            raise _unsatisfiable("the JSON schema", source, token_bytes, end)
        return grammar

    @classmethod
    def _spelled(cls, terminal: str, token_bytes: Sequence[bytes], end: int, purpose: str) -> Grammar:
        """Return the grammar of a regular expression, intersected with what the vocabulary spells."""
        pieces, spelled = spellable(tuple(token_bytes), end), terminal
        if pieces is not None:
            spelled += f" & /{pieces}*/"
        start = BYTE_OPTIONS + "start: T\nT: "
        return cls._satisfiable(start + spelled, start + terminal, token_bytes, end, purpose)

    @classmethod
    def _satisfiable(
        cls, source: str, any_spelling: str, token_bytes: Sequence[bytes], end: int, purpose: str
    ) -> Grammar:
        """Return the grammar `source`; `any_spelling` is what it would be if every character had a token."""
        grammar = cls(compile_grammar(source, token_bytes, end, purpose), token_bytes, end, purpose)
        if grammar._next() is None:
            raise _unsatisfiable(purpose, any_spelling, token_bytes, end)
        return grammar

    def limit(self, tokens: int) -> None:
        """Close the text within so many tokens. Raises UserError where they are too few."""
        self._left, self._allowed = tokens, None
        if self._completion is not None and len(self._completion) > tokens:
            raise UserError(
                f"a text that satisfies {self._purpose} takes about {len(self._completion)} tokens, and {tokens} are "
                "allowed; raise max_length"
            )

    def allowed(self) -> Tensor | None:
        if self._ended:
            return self._only_end
        if self._allowed is None:
            allowed = self._next()
            if allowed is not None and self._looks_ahead:
                allowed = self._without_dead_ends(allowed)
            if allowed is not None and self._left is not None and self._completion is not None:
                allowed = self._without_unclosed(allowed, self._left)
            if allowed is None:
                why = f": {reason(self._matcher)}" if self._matcher.is_error() else ""
                raise UserError(
                    f"{self._purpose} cannot be completed with this vocabulary after what was given{why}; "
                    "shorten the prompt"
                )
            self._allowed = allowed
        return self._allowed

    def advance(self, token: int) -> None:
        if self._ended or (token != self._end and not self._token_bytes[token]):
            return
        valid = self._matcher.is_accepting() if token == self._end else self._matcher.consume_token(token)
        if not valid:
            text = "the end" if token == self._end else repr(self._token_bytes[token].decode(errors="replace"))
            raise UserError(f"{self._purpose} does not allow {text} at that place")
        self._ended, self._allowed = token == self._end, None
        if self._left is not None:
            self._left -= 1
        if not self._ended:
            self._follow(token)

    def fork(self) -> Grammar:
        other = copy.copy(self)
        other._matcher = self._matcher.deep_copy()
        return other

    def _next(self) -> Tensor | None:
        """Return which tokens may come next, bool `(vocab,)`; None: none, not even the end."""
        allowed = torch.frombuffer(bytearray(self._matcher.compute_logit_bias()), dtype=torch.uint8) > 0
        allowed = allowed[: len(self._token_bytes)]
        allowed[self._end] = self._matcher.is_accepting()  # at a dead end llguidance offers the end all the same
        return allowed if bool(allowed.any()) else None

    def _without_dead_ends(self, allowed: Tensor) -> Tensor | None:
        """Return the allowed tokens after which the text can be completed: a JSON key may need an absent letter."""
        tokens = [token for token in allowed.nonzero().flatten().tolist() if token != self._end]
        if len(tokens) > _CANDIDATES:
            return allowed
        allowed = allowed.clone()
        for token in tokens:
            allowed[token] = self._after(token)._has_ending(_LOOK, _LOOK_WIDTH)
        return allowed if bool(allowed.any()) else None

    def _follow(self, token: int) -> None:
        """Bring the completion up to date after a token."""
        completion = self._completion
        if completion is None:
            return
        if completion[:1] == [token]:
            self._completion = completion[1:]
            return
        most = _LONGEST if self._left is None else self._left
        known = [one for one in (completion, *self._others) if len(one) <= most and self._closes(self._matcher, one)]
        self._completion = min(known, key=len) if known else complete(self._matcher, self._token_bytes, self._end, most)

    def _without_unclosed(self, allowed: Tensor, left: int) -> Tensor:
        """Return the allowed tokens after which the text can be closed within the limit; all while that is far."""
        completion = self._completion or []
        tokens = [token for token in allowed.nonzero().flatten().tolist() if token != self._end]
        if len(tokens) > _CANDIDATES and left > len(completion) + _FAR:
            return allowed
        closing = allowed.clone()
        known = [completion, *self._others]
        for token in tokens:
            if completion[:1] == [token]:
                continue
            if any(len(one) < left and self._closes(self._matcher, [token, *one]) for one in known):
                continue
            other = complete(self._after(token)._matcher, self._token_bytes, self._end, left - 1)
            closing[token] = other is not None
            if other is not None:
                known.append(other)
        self._others = known[1:][-_REMEMBERED:]
        return closing if bool(closing.any()) else allowed

    def _closes(self, matcher: LLMatcher, tokens: list[int]) -> bool:
        """Return whether the text may end after these tokens."""
        return bool(matcher.validate_tokens([*tokens, self._end]) == len(tokens) + 1)

    def _has_ending(self, look: int, width: int) -> bool:
        """Return False if every continuation comes to a dead end.

        After `look` continuations, or where more than `width` tokens may follow, the answer is True.
        """
        continuations, tried = [self], 0
        while continuations:
            grammar = continuations.pop()
            tried += 1
            bias = grammar._matcher.compute_logit_bias()  # as bytes: a tensor would take longer than all the rest
            tokens = [token for token in range(len(bias)) if bias[token] and token != self._end]
            if grammar._matcher.is_accepting() or len(tokens) > width or (tokens and tried > look):
                return True
            continuations += [grammar._after(token) for token in tokens]
        return False

    def _after(self, token: int) -> Grammar:
        longer = self.fork()
        longer._completion = None  # which would be brought up to date
        longer.advance(token)
        return longer


def _unsatisfiable(purpose: str, source: str, token_bytes: Sequence[bytes], end: int) -> UserError:
    """Return the error for a grammar of which no text can be spelled, with characters of such a text that are absent.

    `source` is the grammar for a vocabulary of all bytes.
    """
    everything = [*(bytes([byte]) for byte in range(256)), b""]
    example = complete(compile_grammar(source, everything, 256, purpose), everything, 256, _LONGEST)
    text = b"".join(everything[token] for token in example or ()).decode(errors="ignore")
    known = {piece for token, piece in enumerate(token_bytes) if token != end}
    missing = [character for character in dict.fromkeys(text) if not _spells(known, character)]
    if not missing:
        return UserError(f"this vocabulary cannot spell any text that satisfies {purpose}")
    characters = ", ".join(repr(character) for character in missing[:_NAMED])
    return UserError(
        f"this vocabulary cannot spell any text that satisfies {purpose}: it has no token for {characters}; fit with "
        "--codec.tokenizer byte, which spells any text"
    )


def _spells(known: set[bytes], character: str) -> bool:
    data = character.encode()
    return data in known or all(bytes([byte]) in known for byte in data) or any(data in piece for piece in known)


def _only(token: int, vocab: int) -> Tensor:
    return torch.zeros(vocab, dtype=torch.bool).index_fill_(0, torch.tensor(token), True)
