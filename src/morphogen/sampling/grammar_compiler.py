"""Compiles grammars with the package llguidance, for any vocabulary."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..core.errors import UserError, needs_extra

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

# A model may tokenise a text in any way. What the vocabulary spells is partly written in bytes, (?-u:), not characters.
OPTIONS = '%llguidance {"no_forcing": true}\n'
BYTE_OPTIONS = '%llguidance {"no_forcing": true, "allow_invalid_utf8": true}\n'


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
def spellable(token_bytes: tuple[bytes, ...], end: int) -> str | None:
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


def compile_grammar(grammar: str, token_bytes: Sequence[bytes], end: int, purpose: str) -> LLMatcher:
    from llguidance import LLMatcher

    matcher = LLMatcher(_tokenizer(tuple(token_bytes), end), LLMatcher.grammar_from_lark(grammar), log_level=0)
    if matcher.is_error():
        raise UserError(f"{purpose} does not compile: {reason(matcher)}")
    return matcher


def reason(matcher: LLMatcher) -> str:
    """Return the reason in one line, without the source that the package's message shows before or after it."""
    message = matcher.get_error()
    match = re.search(r"^error: (.*)$", message, re.MULTILINE) or re.match(r"(?:at \d+\(\d+\): )?(.*)", message)
    return (match[1] if match else message).removeprefix("failed to compile JSON schema: ")


def package(purpose: str) -> Any:
    try:
        import llguidance
    except ImportError:
        raise needs_extra("llguidance", "grammar", purpose) from None
    return llguidance
