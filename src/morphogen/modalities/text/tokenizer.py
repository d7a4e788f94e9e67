"""Tokenizers of text: characters, bytes, or byte-level BPE."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from morphogen.core.errors import UserError, needs_extra
from morphogen.core.files import guard, read_bytes
from morphogen.core.records import Record

Flat = tuple[NDArray[np.int64], NDArray[np.int64]]  # the tokens of all texts, one text after the other; their lengths


class Tokenizer(ABC):
    """Maps a text to tokens whose bytes, one after the other, are those of the text."""

    token_bytes: list[bytes]  # what each token stands for

    @abstractmethod
    def encode(self, texts: Sequence[str], noun: str = "document") -> Flat:
        """Return the tokens of the texts. Raises UserError, naming it by `noun` and number, where one has none."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Return plain JSON from which `from_state` builds it again."""

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text; U+FFFD stands where bytes are not UTF-8."""
        return b"".join([self.token_bytes[token] for token in tokens]).decode("utf-8", "replace")


class CharacterTokenizer(Tokenizer):
    """Each character of an alphabet is a token."""

    def __init__(self, alphabet: str) -> None:
        self._alphabet = alphabet
        self.token_bytes = [character.encode() for character in alphabet]
        points = np.array([ord(character) for character in alphabet])
        self._table = np.full(points.max() + 2, -1)
        self._table[points] = np.arange(len(points))

    def encode(self, texts: Sequence[str], noun: str = "document") -> Flat:
        joined = "".join(texts)
        if joined.isascii():
            points = np.frombuffer(joined.encode(), np.uint8)
        else:
            points = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
        tokens = self._table.take(points, mode="clip")  # what lies beyond the table is clipped to its last entry, -1
        lengths = _lengths(texts)
        if tokens.size and tokens.min() < 0:
            at = int(np.argmax(tokens < 0))
            number = int(np.searchsorted(np.cumsum(lengths), at, side="right"))
            place = at - int(lengths[:number].sum())
            raise UserError(
                f"{noun} {number} holds {_codepoint(joined[at])} at character {place}, and none of the texts fitted to "
                "did; take it out, or fit with --codec.tokenizer byte, which encodes any text"
            )
        return tokens, lengths

    def state(self) -> dict[str, Any]:
        return {"kind": "character", "alphabet": self._alphabet}


class ByteTokenizer(Tokenizer):
    """Each byte of the text in UTF-8 is a token."""

    def __init__(self) -> None:
        self.token_bytes = [bytes([byte]) for byte in range(256)]

    def encode(self, texts: Sequence[str], noun: str = "document") -> Flat:
        data = utf8(texts, noun)
        return np.frombuffer(b"".join(data), np.uint8).astype(np.int64), _lengths(data)

    def state(self) -> dict[str, Any]:
        return {"kind": "byte"}


class BPETokenizer(Tokenizer):
    """Byte-level BPE (Radford et al. 2019); no part of a text is a special token."""

    def __init__(self, description: str, name: str = "the tokenizer") -> None:
        """`description` is a tokenizer.json, `name` its name in messages. Raises UserError where it changes texts."""
        tokenizers = _tokenizers()
        with guard(name, "is no tokenizer.json", "save one with Tokenizer.save"):
            config = json.loads(description)
            added = {token["id"] for token in config.get("added_tokens", ())}
            model = config["model"]["type"], "ByteLevel" in json.dumps(config.get("pre_tokenizer"))
            self._tokenizer = tokenizers.Tokenizer.from_str(json.dumps(_plain(config)))
        if model != ("BPE", True):
            raise UserError(f"{name} is of the kind {model[0]}, and not byte-level BPE, which alone encodes any text")
        vocab = self._tokenizer.get_vocab()
        letters = _letters()
        self.token_bytes = [b""] * (max([*vocab.values(), *added], default=-1) + 1)
        for piece, token in vocab.items():
            if token not in added and all(letter in letters for letter in piece):
                self.token_bytes[token] = bytes(letters[letter] for letter in piece)
        single = set(self.token_bytes)
        missing = [byte for byte in range(256) if bytes([byte]) not in single]
        if missing:
            raise UserError(f"{name} has no token for the byte 0x{missing[0]:02X}; use one that encodes any text")
        for probe in (" a  b\n\n\tc 1234", "e\u0301 \ufb01 ẞ 漢字 🙂\u200d", "<s></s><|endoftext|>[UNK]"):
            if self.decode(self.encode([probe])[0]) != probe:
                raise UserError(f"{name} changes the text {probe!r}; use one that decodes to what it encoded")

    def encode(self, texts: Sequence[str], noun: str = "document") -> Flat:
        utf8(texts, noun)
        encoded = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        tokens = [np.array(one.ids, np.int64) for one in encoded]
        return np.concatenate([np.empty(0, np.int64), *tokens]), _lengths(tokens)

    def state(self) -> dict[str, Any]:
        return {"kind": "bpe", "tokenizer": self._tokenizer.to_str()}


class TokenizerState(Record):
    """What describes a tokenizer in a codec's folder."""

    kind: Literal["character", "byte", "bpe"]
    alphabet: str = ""  # of characters
    tokenizer: str = ""  # of bpe: its tokenizer.json


def from_state(state: TokenizerState) -> Tokenizer:
    """Return the tokenizer that `Tokenizer.state` described. Raises UserError where it is damaged."""
    if state.kind == "byte":
        return ByteTokenizer()
    if state.kind == "bpe":
        return BPETokenizer(state.tokenizer)
    if not state.alphabet or len(set(state.alphabet)) < len(state.alphabet):
        raise UserError("the alphabet of the tokenizer is empty or names a character twice")
    return CharacterTokenizer(state.alphabet)


def load_bpe(path: Path) -> BPETokenizer:
    """Return the tokenizer in a file. Raises UserError where it is none, or changes texts."""
    with guard(path, "is no tokenizer.json", "save one with Tokenizer.save"):
        return BPETokenizer(read_bytes(path, path, UserError).decode("utf-8"), str(path))


def train_bpe(texts: Iterable[str], vocab: int) -> BPETokenizer:
    """Return byte-level BPE of at most `vocab` tokens, trained on the texts."""
    tokenizers = _tokenizers()
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab,
        min_frequency=2,
        show_progress=False,
        special_tokens=[],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(texts, trainer)
    return BPETokenizer(tokenizer.to_str())


def bpe_available() -> bool:
    """Return whether the package that trains BPE is installed."""
    try:
        _tokenizers()
    except UserError:
        return False
    return True


def utf8(texts: Sequence[str], noun: str) -> list[bytes]:
    """Return the texts in UTF-8. Raises UserError naming one that holds half of a pair of surrogates."""
    try:
        return [text.encode() for text in texts]
    except UnicodeEncodeError as error:
        number = next(number for number, text in enumerate(texts) if text is error.object or text == error.object)
        raise UserError(
            f"{noun} {number} holds {_codepoint(error.object[error.start])} at character {error.start}, which is half "
            "a character; take it out"
        ) from None


def _tokenizers() -> Any:
    try:
        import tokenizers
        import tokenizers.models
        import tokenizers.pre_tokenizers
        import tokenizers.trainers
    except ImportError:
        raise needs_extra("tokenizers", "text", "a text in BPE tokens") from None
    return tokenizers


def _lengths(parts: Sequence[Any]) -> NDArray[np.int64]:
    return np.fromiter(map(len, parts), np.int64, len(parts))


def _codepoint(character: str) -> str:
    return f"{character!r} (U+{ord(character):04X})"


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    """Return the tokenizer without what would change a text, add to it, or find special tokens in it."""
    nothing: dict[str, Any] = {
        "normalizer": None,
        "post_processor": None,
        "truncation": None,
        "padding": None,
        "added_tokens": [],
    }
    plain = {**config, **nothing}
    steps = plain["pre_tokenizer"] or {}
    for step in (steps, *steps.get("pretokenizers", ())):
        if "add_prefix_space" in step:
            step["add_prefix_space"] = False
    return plain


def _letters() -> dict[str, int]:
    """Return the byte that each letter of byte-level BPE stands for: its own where that is printable (GPT-2)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + rank): byte for rank, byte in enumerate(others)}
