"""Token constraints on a text while it is generated: stop strings, and grammars by the package llguidance.

`token_bytes` are the bytes that each token stands for, empty for special tokens (start, padding, end), so that one
implementation serves characters, bytes and subwords.
"""

from __future__ import annotations

import copy
import functools
import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..core.errors import UserError, needs_extra
from ..core.model import TokenConstraint

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

# How many continuations a look-ahead tries before it takes a grammar to be satisfiable, at first and at each token; and
# how many tokens it tries at each.
_LOOK_AT_FIRST, _LOOK, _LOOK_WIDTH, _CANDIDATES = 1000, 100, 3, 1000


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
        self._only_end = _only(end, len(token_bytes))
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

    def fork(self) -> StopString:
        return copy.copy(self)


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
        self._only_end = _only(end, len(token_bytes))

    @classmethod
    def regex(cls, pattern: str, token_bytes: Sequence[bytes], end: int) -> Grammar:
        """Return the grammar of texts that match `pattern` as a whole.

        The syntax is that of Rust's crate regex, without look-around and back-references; `\\d` is 0 to 9.
        """
        package = _package("a regular expression")
        purpose = f"the regular expression '{pattern}'"
        # First by itself: `_spelled` allows invalid UTF-8.
        quoted = package.regex_to_lark(pattern, "d")
        _compile(f"start: T\nT: /{quoted}/", token_bytes, end, purpose)
        return cls._spelled(f"/(?u:{quoted})/", token_bytes, end, purpose)

    @classmethod
    def choice(cls, texts: Sequence[str], token_bytes: Sequence[bytes], end: int) -> Grammar:
        """Return the grammar of exactly these texts."""
        _package("a choice among texts")
        if not texts:
            raise UserError("a choice among texts needs at least one text")
        pattern = "|".join("".join(f"\\x{{{ord(character):x}}}" for character in text) for text in texts)
        return cls._spelled(f"/(?u:{pattern})/", token_bytes, end, f"the choice among {len(texts)} texts")

    @classmethod
    def json(cls, schema: Mapping[str, Any] | str | bool, token_bytes: Sequence[bytes], end: int) -> Grammar:
        """Return the grammar of JSON that satisfies a schema (draft 2020-12); keys come in the schema's order.

        The schema bounds the length of a text (maxLength, maxItems, maximum): without bounds a model may never end.
        """
        _package("a JSON schema")
        try:
            schema = json.loads(schema) if isinstance(schema, str) else schema
        except json.JSONDecodeError as error:
            raise UserError(f"the JSON schema is not JSON: {error}") from None
        if isinstance(schema, bool):
            schema = {} if schema else {"not": {}}
        if not isinstance(schema, Mapping):
            raise UserError(f"a JSON schema is an object or a boolean, and this is a {type(schema).__name__}")
        # llguidance reads its options there; wherever JSON allows white space, at most one space.
        options = {"whitespace_pattern": " ?", **schema.get("x-guidance", {})}
        text = json.dumps({**schema, "x-guidance": options})
        grammar = cls._satisfiable(_OPTIONS + f"start: %json {text}", token_bytes, end, "the JSON schema")
        # Unlike a regular expression, a context-free grammar cannot be intersected with what the vocabulary spells.
        grammar._looks_ahead = _spellable(tuple(token_bytes), end) is not None
        if grammar._looks_ahead and not grammar._has_ending(_LOOK_AT_FIRST, len(token_bytes)):
            raise _unsatisfiable(grammar._purpose)
        return grammar

    @classmethod
    def _spelled(cls, terminal: str, token_bytes: Sequence[bytes], end: int, purpose: str) -> Grammar:
        """Return the grammar of a regular expression, intersected with what the vocabulary spells."""
        spellable = _spellable(tuple(token_bytes), end)
        if spellable is not None:
            terminal += f" & /{spellable}*/"
        return cls._satisfiable(_BYTE_OPTIONS + f"start: T\nT: {terminal}", token_bytes, end, purpose)

    @classmethod
    def _satisfiable(cls, source: str, token_bytes: Sequence[bytes], end: int, purpose: str) -> Grammar:
        grammar = cls(_compile(source, token_bytes, end, purpose), token_bytes, end, purpose)
        if grammar._next() is None:
            raise _unsatisfiable(purpose)
        return grammar

    def allowed(self) -> Tensor | None:
        if self._ended:
            return self._only_end
        if self._allowed is None:
            allowed = self._next()
            if allowed is not None and self._looks_ahead:
                allowed = self._without_dead_ends(allowed)
            if allowed is None:
                reason = f": {_reason(self._matcher)}" if self._matcher.is_error() else ""
                raise UserError(
                    f"{self._purpose} cannot be completed with this vocabulary after what was given{reason}; "
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
        longer.advance(token)
        return longer


# A model may tokenise a text in any way. What the vocabulary spells is partly written in bytes, (?-u:), not characters.
_OPTIONS = '%llguidance {"no_forcing": true}\n'
_BYTE_OPTIONS = '%llguidance {"no_forcing": true, "allow_invalid_utf8": true}\n'


class _Tokenizer:
    """The tokenizer that llguidance expects. It tokenises only what a grammar forces, which nothing does here."""

    bos_token_id = None

    def __init__(self, token_bytes: tuple[bytes, ...], end: int) -> None:
        self.tokens = [b"" if token == end else text for token, text in enumerate(token_bytes)]
        self.eos_token_id = end
        self.special_token_ids = [end]

    def __call__(self, text: bytes) -> list[int]:
        return []


@functools.lru_cache(maxsize=4)
def _tokenizer(token_bytes: tuple[bytes, ...], end: int) -> LLTokenizer:
    from llguidance import LLTokenizer, TokenizerWrapper

    return LLTokenizer(TokenizerWrapper(_Tokenizer(token_bytes, end)), n_vocab=len(token_bytes), eos_token=end)


@functools.lru_cache(maxsize=4)
def _spellable(token_bytes: tuple[bytes, ...], end: int) -> str | None:
    """Return a regular expression of the pieces that spell every possible text; None: any text can be spelled."""
    texts = {text for token, text in enumerate(token_bytes) if text and token != end}
    single = {text[0] for text in texts if len(text) == 1}
    if single >= _UTF8_BYTES:
        return None
    characters = {text.decode() for text in texts if _is_character(text)}
    # A token that others spell together adds nothing.
    rest = [text for text in texts if not (_consists_of(text, characters) or all(byte in single for byte in text))]
    parts = [f"(?-u:\\x{byte:02X})" for byte in sorted(single) if byte > 0x7F]
    if characters:
        parts.append("(?u:[" + "".join(f"\\x{{{ord(character):x}}}" for character in sorted(characters)) + "])")
    parts += ["(?-u:" + "".join(f"\\x{byte:02X}" for byte in text) + ")" for text in sorted(rest)]
    return f"(?:{'|'.join(parts)})" if parts else "(?:)"


_UTF8_BYTES = frozenset(range(256)) - {0xC0, 0xC1} - set(range(0xF5, 0x100))


def _is_character(text: bytes) -> bool:
    try:
        return len(text.decode()) == 1
    except UnicodeDecodeError:
        return False


def _consists_of(text: bytes, characters: set[str]) -> bool:
    try:
        return set(text.decode()) <= characters
    except UnicodeDecodeError:
        return False


def _compile(grammar: str, token_bytes: Sequence[bytes], end: int, purpose: str) -> LLMatcher:
    from llguidance import LLMatcher

    matcher = LLMatcher(_tokenizer(tuple(token_bytes), end), LLMatcher.grammar_from_lark(grammar), log_level=0)
    if matcher.is_error():
        raise UserError(f"{purpose} does not compile: {_reason(matcher)}")
    return matcher


def _reason(matcher: LLMatcher) -> str:
    """Return the reason in one line, without the source that the package's message shows before or after it."""
    message = matcher.get_error()
    match = re.search(r"^error: (.*)$", message, re.MULTILINE) or re.match(r"(?:at \d+\(\d+\): )?(.*)", message)
    return (match[1] if match else message).removeprefix("failed to compile JSON schema: ")


def _unsatisfiable(purpose: str) -> UserError:
    return UserError(f"this vocabulary cannot spell any text that satisfies {purpose}")


def _only(token: int, vocab: int) -> Tensor:
    return torch.zeros(vocab, dtype=torch.bool).index_fill_(0, torch.tensor(token), True)


def _package(purpose: str) -> Any:
    try:
        import llguidance
    except ImportError:
        raise needs_extra("llguidance", "grammar", purpose) from None
    return llguidance


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
