"""What a set of texts is like, seen in one pass, and the choices that follow from it."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from morphogen.core.errors import UserError

from .options import Options
from .symbols import Bytes, Characters, Symbols, has_pieces, learned_pieces, read_pieces, utf8

_ALPHABET = 200  # different characters, up to which each is a symbol
_LARGE = 5_000_000  # bytes of text from which on BPE pays
_CONTEXT = 256  # symbols, at most, where nothing is said
_BOUND, _PIECE, _OBJECT = 16 << 20, 1 << 20, 50  # of what is kept for BPE: characters, those of a piece, its own cost
_NAMES = ("auto", "character", "byte", "bpe")


@dataclass(frozen=True)
class Choice:
    """What the codec does; `notes` say it in plain words."""

    symbols: Symbols
    context: int
    notes: list[str]


class Survey:
    """Characters and lengths of the texts seen so far, and an even share of them, bounded, to learn pieces from."""

    def __init__(self, options: Options) -> None:
        self.options = options
        if options.tokenizer not in _NAMES and not Path(options.tokenizer).is_file():
            nearest = difflib.get_close_matches(options.tokenizer, _NAMES, n=1, cutoff=0.6)
            hint = f"did you mean '{nearest[0]}'?" if nearest else f"give {', '.join(_NAMES)}, or a tokenizer.json"
            raise UserError(f"codec.tokenizer is '{options.tokenizer}', which is no file; {hint}")
        self.alphabet: set[str] = set()
        self.lengths: Counter[int] = Counter()  # in characters
        self.bytes = self.most_bytes = 0
        self.longest = ""  # its beginning
        self._most = 0
        self._kept: list[str] = []
        self._seen, self._stride, self._weight = 0, 1, 0

    def add(self, texts: Sequence[str]) -> None:
        """Look at some more texts."""
        self.alphabet.update("".join(texts))
        sizes = [len(data) for data in utf8(texts, "document")]
        self.bytes += sum(sizes)
        self.most_bytes = max(self.most_bytes, *sizes, 0)
        for text in texts:
            self.lengths[len(text)] += 1
            if len(text) > self._most:
                self._most, self.longest = len(text), text[: 32 * _CONTEXT]
            if self.options.tokenizer in ("auto", "bpe"):
                for start in range(0, len(text), _PIECE):
                    self._keep(text, start)

    def _keep(self, text: str, start: int) -> None:
        """Every piece, or every second, fourth … one: few, spread over all, and the same however chunks are cut."""
        if self._seen % self._stride == 0:
            self._kept.append(text[start : start + _PIECE])
            self._weight += len(self._kept[-1]) + _OBJECT
        self._seen += 1
        while self._weight > _BOUND and len(self._kept) > 1:
            self._kept, self._stride = self._kept[::2], 2 * self._stride
            self._weight = sum(len(piece) + _OBJECT for piece in self._kept)

    def choose(self) -> Choice:
        """The choices. Raises UserError where nothing was seen, or the options ask for what cannot be."""
        if not self.alphabet:
            raise UserError("there is no readable text to learn from; check the source")
        symbols, note = self._symbols()
        context, why = self._context(symbols)
        return Choice(symbols, context, [self._told(), note, f"a context of {context:,} symbols: {why}"])

    def _symbols(self) -> tuple[Symbols, str]:
        wanted, many = self.options.tokenizer, f"{len(self.alphabet):,} different characters"
        reason = ""
        if wanted == "auto":
            if len(self.alphabet) <= _ALPHABET:
                wanted = "character"
            else:
                wanted = "bpe" if self.bytes > _LARGE and has_pieces() else "byte"
                reason = f", for there are {many}"
                if wanted == "byte" and self.bytes > _LARGE:
                    reason += " (pip install 'morphogen[text]' for BPE, which is shorter)"
        if wanted == "character":
            return Characters("".join(sorted(self.alphabet))), f"each of {many} is a symbol"
        if wanted == "byte":
            return Bytes(), f"each byte is a symbol{reason}"
        symbols = learned_pieces(self._kept, self.options.vocab) if wanted == "bpe" else read_pieces(Path(wanted))
        count = len(symbols.encode([self.longest])[0])
        each = f"{len(self.longest.encode()) / count:.1f} bytes each"
        origin = "learned" if wanted == "bpe" else f"of {wanted}"
        return symbols, f"{len(symbols.spelling):,} byte-level BPE symbols {origin}, about {each}{reason}"

    def _context(self, symbols: Symbols) -> tuple[int, str]:
        if isinstance(symbols, Characters):
            longest = self._most
        elif isinstance(symbols, Bytes):
            longest = self.most_bytes
        else:
            longest = len(symbols.encode([self.longest])[0])
        longest += 2  # its start and end
        context = self.options.context or max(4, min(longest, _CONTEXT))
        if longest <= context:
            return context, "the longest document fits"
        return context, "longer documents are read in windows that overlap by half (set codec.context to change it)"

    def _told(self) -> str:
        documents = self.lengths.total()
        characters = sum(length * count for length, count in self.lengths.items())
        if documents == 1:
            return f"one document of {characters:,} characters"
        seen, median = 0, 0
        for length in sorted(self.lengths):
            median = length
            seen += self.lengths[length]
            if 2 * seen >= documents:
                break
        return f"{documents:,} documents of {characters:,} characters, the median {median:,}, at most {self._most:,}"
