"""What a text is spelled in: characters, bytes, or pieces of several bytes (byte-level BPE)."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from morphogen.core.errors import UserError, needs_extra

Flat = tuple[NDArray[np.int64], NDArray[np.int64]]  # the symbols of all texts, one text after the other; their numbers


class Symbols(ABC):
    """Spells any text it can express so that the bytes of its symbols are those of the text."""

    spelling: list[bytes]  # what each symbol stands for

    @abstractmethod
    def encode(self, texts: Sequence[str], noun: str = "document") -> Flat:
        """The symbols of the texts. Raises UserError where one cannot be spelled, `noun` and number naming it."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Plain JSON from which `restored` makes it again."""

    def decode(self, symbols: Iterable[int]) -> str:
        """The text; U+FFFD where bytes are none."""
        return b"".join([self.spelling[symbol] for symbol in symbols]).decode("utf-8", "replace")


class Characters(Symbols):
    """Each character of an alphabet is a symbol."""

    def __init__(self, alphabet: str) -> None:
        self._alphabet = alphabet
        self.spelling = [character.encode() for character in alphabet]
        points = np.array([ord(character) for character in alphabet])
        self._table = np.full(points.max() + 2, -1)
        self._table[points] = np.arange(len(points))

    def encode(self, texts: Sequence[str], noun: str = "document") -> Flat:
        joined = "".join(texts)
        if joined.isascii():
            points = np.frombuffer(joined.encode(), np.uint8)
        else:
            points = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
        symbols = self._table.take(points, mode="clip")  # what is beyond the table is its last, which is nothing
        lengths = _lengths(texts)
        if symbols.size and symbols.min() < 0:
            at = int(np.argmax(symbols < 0))
            number = int(np.searchsorted(np.cumsum(lengths), at, side="right"))
            place = at - int(lengths[:number].sum())
            raise UserError(
                f"{noun} {number} holds {_named(joined[at])} at character {place}, and none of the texts fitted to "
                "did; take it out, or fit with --codec.tokenizer byte, which spells anything"
            )
        return symbols, lengths

    def state(self) -> dict[str, Any]:
        return {"kind": "character", "alphabet": self._alphabet}


class Bytes(Symbols):
    """Each byte of the text in UTF-8 is a symbol."""

    def __init__(self) -> None:
        self.spelling = [bytes([byte]) for byte in range(256)]

    def encode(self, texts: Sequence[str], noun: str = "document") -> Flat:
        data = utf8(texts, noun)
        return np.frombuffer(b"".join(data), np.uint8).astype(np.int64), _lengths(data)

    def state(self) -> dict[str, Any]:
        return {"kind": "byte"}


class Pieces(Symbols):
    """The pieces of a byte-level BPE tokenizer; nothing in a text is special."""

    def __init__(self, description: str, name: str = "the tokenizer") -> None:
        """`description` is a tokenizer.json, `name` what it is called. Raises UserError where it cannot serve."""
        tokenizers = _tokenizers()
        try:
            config = json.loads(description)
            added = {token["id"] for token in config.get("added_tokens", ())}
            model = config["model"]["type"], "ByteLevel" in json.dumps(config.get("pre_tokenizer"))
            self._tokenizer = tokenizers.Tokenizer.from_str(json.dumps(_bared(config)))
        except Exception as error:  # the library raises a plain Exception
            line = next(iter(str(error).splitlines()), type(error).__name__)
            raise UserError(f"{name} is no tokenizer.json ({line}); save one with Tokenizer.save") from None
        if model != ("BPE", True):
            raise UserError(f"{name} is of the kind {model[0]}, and not byte-level BPE, which alone spells any text")
        vocab = self._tokenizer.get_vocab()
        letters = _letters()
        self.spelling = [b""] * (max([*vocab.values(), *added], default=-1) + 1)
        for piece, symbol in vocab.items():
            if symbol not in added and all(letter in letters for letter in piece):
                self.spelling[symbol] = bytes(letters[letter] for letter in piece)
        known = set(self.spelling)
        lacking = [byte for byte in range(256) if bytes([byte]) not in known]
        if lacking:
            raise UserError(f"{name} has no symbol for the byte 0x{lacking[0]:02X}; use one that spells any text")
        for probe in (" a  b\n\n\tc 1234", "e\u0301 \ufb01 ẞ 漢字 🙂\u200d", "<s></s><|endoftext|>[UNK]"):
            if self.decode(self.encode([probe])[0]) != probe:
                raise UserError(f"{name} does not give back the text {probe!r}; use one that changes none")

    def encode(self, texts: Sequence[str], noun: str = "document") -> Flat:
        utf8(texts, noun)
        encoded = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        found = [np.array(one.ids, np.int64) for one in encoded]
        return np.concatenate([np.empty(0, np.int64), *found]), _lengths(found)

    def state(self) -> dict[str, Any]:
        return {"kind": "bpe", "tokenizer": self._tokenizer.to_str()}


def restored(state: dict[str, Any]) -> Symbols:
    """What `Symbols.state` described."""
    if state["kind"] == "character":
        return Characters(state["alphabet"])
    if state["kind"] == "byte":
        return Bytes()
    if state["kind"] == "bpe":
        return Pieces(state["tokenizer"])
    raise ValueError(f"symbols of the kind {state['kind']!r} are not known")


def read_pieces(path: Path) -> Pieces:
    """The tokenizer in a file. Raises UserError where it is none, or cannot serve."""
    try:
        return Pieces(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; expected a tokenizer.json") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is no tokenizer.json: it is not text") from None


def learned_pieces(texts: Iterable[str], vocab: int) -> Pieces:
    """Byte-level BPE of at most `vocab` symbols that the texts are spelled in with the fewest."""
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
    return Pieces(tokenizer.to_str())


def has_pieces() -> bool:
    """Whether BPE can be learned here."""
    try:
        _tokenizers()
    except UserError:
        return False
    return True


def utf8(texts: Sequence[str], noun: str) -> list[bytes]:
    """The texts in UTF-8. Raises UserError naming one that holds half of a pair of surrogates."""
    try:
        return [text.encode() for text in texts]
    except UnicodeEncodeError as error:
        number = next(number for number, text in enumerate(texts) if text is error.object or text == error.object)
        raise UserError(
            f"{noun} {number} holds {_named(error.object[error.start])} at character {error.start}, which is half a "
            "character; take it out"
        ) from None


def _tokenizers() -> Any:
    try:
        import tokenizers
        import tokenizers.models
        import tokenizers.pre_tokenizers
        import tokenizers.trainers
    except ImportError:
        raise needs_extra("tokenizers", "text", "a text in BPE symbols") from None
    return tokenizers


def _lengths(parts: Sequence[Any]) -> NDArray[np.int64]:
    return np.fromiter(map(len, parts), np.int64, len(parts))


def _named(character: str) -> str:
    return f"{character!r} (U+{ord(character):04X})"


def _bared(config: dict[str, Any]) -> dict[str, Any]:
    """The tokenizer without what would change a text, add to it, or see more in it than text."""
    nothing: dict[str, Any] = {
        "normalizer": None,
        "post_processor": None,
        "truncation": None,
        "padding": None,
        "added_tokens": [],
    }
    bare = {**config, **nothing}
    steps = bare["pre_tokenizer"] or {}
    for step in (steps, *steps.get("pretokenizers", ())):
        if "add_prefix_space" in step:
            step["add_prefix_space"] = False
    return bare


def _letters() -> dict[str, int]:
    """The letter that stands for each byte in the pieces of byte-level BPE: itself where it is printable (GPT-2)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + rank): byte for rank, byte in enumerate(others)}
