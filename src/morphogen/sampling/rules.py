"""Rules that a text obeys while it is drawn: stop strings, and grammars through the package llguidance.

What a symbol stands for is told by `spell`: the bytes of each, none for those that stand for no text (the start,
padding, the end). So a rule is the same for characters, bytes and pieces of words.
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

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer


class Stop:
    """Once the text holds one of `texts`, however it is split into symbols, only `end` may follow.

    Of several, the first one to be complete counts, and of those that are at once, the longest.
    """

    def __init__(self, texts: Sequence[str], spell: Sequence[bytes], end: int) -> None:
        if not all(texts):
            raise UserError("a stop string is empty, so there could be no text at all")
        self.begins: int | None = None  # where in the text, in bytes, the stop string begins; None: not there yet
        self._texts = tuple(text.encode() for text in texts)
        self._spell = spell
        self._only_end = _only(end, len(spell))
        self._tail = b""  # what a stop string may have begun in
        self._passed = 0  # bytes before the tail

    def allowed(self) -> Tensor | None:
        return None if self.begins is None else self._only_end

    def advance(self, symbol: int) -> None:
        if self.begins is not None:
            return
        text = self._tail + self._spell[symbol]
        found = [(at + len(stop), at) for stop in self._texts if (at := text.find(stop)) >= 0]
        if found:
            self.begins = self._passed + min(found)[1]
        kept = min(len(text), max(map(len, self._texts), default=1) - 1)
        self._passed += len(text) - kept
        self._tail = text[len(text) - kept :]

    def fork(self) -> Stop:
        return copy.copy(self)


class Grammar:
    """A text that matches a regular expression, is one of several, or is JSON of a schema; then only `end` may follow.

    Compiled once: `fork` it for each sample. Any symbols may spell what is allowed, not only a tokenizer's own choice.
    Every constructor raises a UserError where the package is missing, where there is a mistake in what is asked for,
    and where no text obeys it that the symbols could spell.
    """

    def __init__(self, matcher: LLMatcher, spell: Sequence[bytes], end: int, purpose: str) -> None:
        self._matcher, self._spell, self._end, self._purpose = matcher, spell, end, purpose
        self._ended = False
        self._looks_ahead = False  # where symbols may be allowed after which none can be
        self._allowed: Tensor | None = None
        self._only_end = _only(end, len(spell))

    @classmethod
    def regex(cls, pattern: str, spell: Sequence[bytes], end: int, *, length: int | None = None) -> Grammar:
        """The whole text matches `pattern`.

        Its syntax is that of Rust's crate regex, without look-around and back-references; a `\\d` is 0 to 9.
        `length` is the most that may be drawn before `end`: characters where every symbol is of whole ones, else
        bytes, so never more symbols than that.
        """
        package = _package("a regular expression")
        purpose = f"the regular expression '{pattern}'"
        # Alone first: below, more is allowed than in a text.
        quoted = package.regex_to_lark(pattern, "d")
        _compile(f"start: T\nT: /{quoted}/", spell, end, purpose)
        return cls._bounded(f"/(?u:{quoted})/", spell, end, length, purpose)

    @classmethod
    def choice(cls, texts: Sequence[str], spell: Sequence[bytes], end: int, *, length: int | None = None) -> Grammar:
        """The whole text is one of `texts`; `length` as for a regular expression."""
        _package("a choice among texts")
        if not texts:
            raise UserError("a choice among texts needs at least one text")
        among = "|".join("".join(f"\\x{{{ord(character):x}}}" for character in text) for text in texts)
        return cls._bounded(f"/(?u:{among})/", spell, end, length, f"the choice among {len(texts)} texts")

    @classmethod
    def json(
        cls, schema: Mapping[str, Any] | str | bool, spell: Sequence[bytes], end: int, *, space: str = " ?"
    ) -> Grammar:
        """The whole text is JSON that a schema (draft 2020-12) allows; keys come in the order of the schema.

        `space` is a regular expression of what may stand wherever JSON allows white space. How long the text may get
        is for the schema to say (maxLength, maxItems, maximum): without, a model may never come to an end.
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
        told = {"whitespace_pattern": space, **schema.get("x-guidance", {})}  # where llguidance looks for its options
        text = json.dumps({**schema, "x-guidance": told})
        grammar = cls._checked(_OPTIONS + f"start: %json {text}", spell, end, "the JSON schema")
        # A context-free grammar cannot be cut down beforehand to what the symbols spell.
        grammar._looks_ahead = _alphabet(tuple(spell), end) is not None
        if grammar._looks_ahead and not grammar._lives(most=1000, wide=len(spell)):
            raise _impossible(grammar._purpose)
        return grammar

    @classmethod
    def _bounded(cls, terminal: str, spell: Sequence[bytes], end: int, length: int | None, purpose: str) -> Grammar:
        """A regular expression, within what the symbols can spell and within a length."""
        alphabet = _alphabet(tuple(spell), end)
        if alphabet is not None:
            terminal += f" & /{alphabet}*/"
        if length is not None:
            unit = "(?su:.)" if _whole(tuple(spell), end) else "(?s-u:.)"
            terminal += f" & /{unit}{{0,{length}}}/"
            purpose += f" within a length of {length}"
        return cls._checked(_OPTIONS_OF_BYTES + f"start: T\nT: {terminal}", spell, end, purpose)

    @classmethod
    def _checked(cls, grammar: str, spell: Sequence[bytes], end: int, purpose: str) -> Grammar:
        found = cls(_compile(grammar, spell, end, purpose), spell, end, purpose)
        if found._next() is None:
            raise _impossible(purpose)
        return found

    def allowed(self) -> Tensor | None:
        if self._ended:
            return self._only_end
        if self._allowed is None:
            found = self._next()
            if found is not None and self._looks_ahead:
                found = self._without_dead_ends(found)
            if found is None:
                because = f": {_reason(self._matcher)}" if self._matcher.is_error() else ""
                raise UserError(f"{self._purpose} was begun in a way that this vocabulary cannot go on from{because}")
            self._allowed = found
        return self._allowed

    def advance(self, symbol: int) -> None:
        if self._ended or (symbol != self._end and not self._spell[symbol]):
            return
        if symbol == self._end:
            fits = self._matcher.is_accepting()
        else:
            fits = self._matcher.consume_token(symbol)
        if not fits:
            text = "the end" if symbol == self._end else repr(self._spell[symbol].decode(errors="replace"))
            raise UserError(f"{self._purpose} does not allow {text} at that place")
        self._ended, self._allowed = symbol == self._end, None

    def fork(self) -> Grammar:
        other = copy.copy(self)
        other._matcher = self._matcher.deep_copy()
        return other

    def _next(self) -> Tensor | None:
        """What may follow, bool `(vocab,)`; None: nothing, not even the end."""
        found = torch.frombuffer(bytearray(self._matcher.compute_logit_bias()), dtype=torch.uint8) > 0
        found = found[: len(self._spell)]
        # At a dead end it offers the end all the same.
        found[self._end] = self._matcher.is_accepting()
        return found if bool(found.any()) else None

    def _without_dead_ends(self, found: Tensor, candidates: int = 1000) -> Tensor | None:
        """Of few symbols only those that a text can go on from: a key of JSON may need a letter that is not there."""
        symbols = [symbol for symbol in found.nonzero().flatten().tolist() if symbol != self._end]
        if len(symbols) > candidates:
            return found
        found = found.clone()
        for symbol in symbols:
            found[symbol] = self._after(symbol)._lives(most=100, wide=3)
        return found if bool(found.any()) else None

    def _lives(self, most: int, wide: int) -> bool:
        """False: all that could follow comes to a dead end.

        Past `most` beginnings, or where more than `wide` symbols may follow, there is taken to be a way.
        """
        beginnings, tried = [self], 0
        while beginnings:
            beginning = beginnings.pop()
            tried += 1
            found = beginning._matcher.compute_logit_bias()  # a tensor of it would take longer than all the rest
            symbols = [symbol for symbol in range(len(found)) if found[symbol] and symbol != self._end]
            if beginning._matcher.is_accepting() or len(symbols) > wide or (symbols and tried > most):
                return True
            beginnings += [beginning._after(symbol) for symbol in symbols]
        return False

    def _after(self, symbol: int) -> Grammar:
        longer = self.fork()
        longer.advance(symbol)
        return longer


# A model may spell a text as it likes. What a text is cut down to is partly said in bytes; (?u:) is of characters.
_OPTIONS = '%llguidance {"no_forcing": true}\n'
_OPTIONS_OF_BYTES = '%llguidance {"no_forcing": true, "allow_invalid_utf8": true}\n'


class _Symbols:
    """What llguidance asks of a tokenizer. It cuts text only where it forces symbols, and it does not here."""

    bos_token_id = None

    def __init__(self, spell: tuple[bytes, ...], end: int) -> None:
        self.tokens = [b"" if symbol == end else text for symbol, text in enumerate(spell)]
        self.eos_token_id = end
        self.special_token_ids = [end]

    def __call__(self, text: bytes) -> list[int]:
        return []


@functools.lru_cache(maxsize=4)
def _tokenizer(spell: tuple[bytes, ...], end: int) -> LLTokenizer:
    from llguidance import LLTokenizer, TokenizerWrapper

    return LLTokenizer(TokenizerWrapper(_Symbols(spell, end)), n_vocab=len(spell), eos_token=end)


@functools.lru_cache(maxsize=4)
def _alphabet(spell: tuple[bytes, ...], end: int) -> str | None:
    """A regular expression of what texts are made of that can be spelled; None: every text can."""
    texts = {text for symbol, text in enumerate(spell) if text and symbol != end}
    single = {text[0] for text in texts if len(text) == 1}
    if single >= _IN_UTF8:
        return None
    characters = {text.decode() for text in texts if _character(text)}
    # What others spell together adds nothing.
    rest = [text for text in texts if not (_of(text, characters) or all(byte in single for byte in text))]
    parts = [f"(?-u:\\x{byte:02X})" for byte in sorted(single) if byte > 0x7F]
    if characters:
        parts.append("(?u:[" + "".join(f"\\x{{{ord(character):x}}}" for character in sorted(characters)) + "])")
    parts += ["(?-u:" + "".join(f"\\x{byte:02X}" for byte in text) + ")" for text in sorted(rest)]
    return f"(?:{'|'.join(parts)})" if parts else "(?:)"


_IN_UTF8 = frozenset(range(256)) - {0xC0, 0xC1} - set(range(0xF5, 0x100))


def _character(text: bytes) -> bool:
    """Whether it is one whole character."""
    try:
        return len(text.decode()) == 1
    except UnicodeDecodeError:
        return False


def _of(text: bytes, characters: set[str]) -> bool:
    """Whether it is made of those."""
    try:
        return set(text.decode()) <= characters
    except UnicodeDecodeError:
        return False


@functools.lru_cache(maxsize=4)
def _whole(spell: tuple[bytes, ...], end: int) -> bool:
    """Whether each symbol is of whole characters."""
    try:
        for symbol, text in enumerate(spell):
            if symbol != end:
                text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _compile(grammar: str, spell: Sequence[bytes], end: int, purpose: str) -> LLMatcher:
    from llguidance import LLMatcher

    matcher = LLMatcher(_tokenizer(tuple(spell), end), LLMatcher.grammar_from_lark(grammar), log_level=0)
    if matcher.is_error():
        raise UserError(f"{purpose} does not compile: {_reason(matcher)}")
    return matcher


def _reason(matcher: LLMatcher) -> str:
    """The one line that says it; the message shows the source besides, and the reason is at its end or beginning."""
    told = matcher.get_error()
    found = re.search(r"^error: (.*)$", told, re.MULTILINE) or re.match(r"(?:at \d+\(\d+\): )?(.*)", told)
    return (found[1] if found else told).removeprefix("failed to compile JSON schema: ")


def _impossible(purpose: str) -> UserError:
    return UserError(f"no text that this vocabulary can spell obeys {purpose}")


def _only(symbol: int, vocab: int) -> Tensor:
    return torch.zeros(vocab, dtype=torch.bool).index_fill_(0, torch.tensor(symbol), True)


def _package(purpose: str) -> Any:
    try:
        import llguidance
    except ImportError:
        raise needs_extra("llguidance", "grammar", purpose) from None
    return llguidance
