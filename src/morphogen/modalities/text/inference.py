"""Infers tokenizer and context from a corpus, in one pass."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from morphogen.core.errors import UserError

from .options import Options
from .tokenizer import ByteTokenizer, CharacterTokenizer, Tokenizer, bpe_available, load_bpe, train_bpe, utf8

_ALPHABET = 200  # distinct characters, up to which each is a token
_LARGE = 5_000_000  # bytes of text from which on BPE pays
_CONTEXT = 256  # tokens, at most, where no option says otherwise
# Excerpts that BPE is trained on: characters of all, characters of one, and the overhead of one in characters.
_BOUND, _EXCERPT, _COST = 16 << 20, 1 << 20, 50
_NAMES = ("auto", "character", "byte", "bpe")


@dataclass(frozen=True)
class Choice:
    """The inferred settings of the codec; `notes` describe them in plain words."""

    tokenizer: Tokenizer
    context: int
    notes: list[str]


class CorpusStatistics:
    """Characters and lengths of the texts so far, and excerpts spread evenly over them, bounded, to train BPE on."""

    def __init__(self, options: Options) -> None:
        self.options = options
        if options.tokenizer not in _NAMES and not Path(options.tokenizer).is_file():
            nearest = difflib.get_close_matches(options.tokenizer, _NAMES, n=1, cutoff=0.6)
            hint = f"did you mean '{nearest[0]}'?" if nearest else f"give {', '.join(_NAMES)}, or a tokenizer.json"
            raise UserError(f"codec.tokenizer is '{options.tokenizer}', which is no file; {hint}")
        self.alphabet: set[str] = set()
        self.lengths: Counter[int] = Counter()  # in characters
        self.bytes = self.most_bytes = 0
        self.longest = ""  # the beginning of the longest text
        self._most = 0  # characters of the longest text
        self._excerpts: list[str] = []
        self._seen, self._stride, self._weight = 0, 1, 0

    def add(self, texts: Sequence[str]) -> None:
        """Take in some more texts."""
        self.alphabet.update("".join(texts))
        sizes = [len(data) for data in utf8(texts, "document")]
        self.bytes += sum(sizes)
        self.most_bytes = max([self.most_bytes, *sizes])
        for text in texts:
            self.lengths[len(text)] += 1
            if len(text) > self._most:
                self._most, self.longest = len(text), text[: 32 * (self.options.context or _CONTEXT)]
            if self.options.tokenizer in ("auto", "bpe"):
                for start in range(0, len(text), _EXCERPT):
                    self._add_excerpt(text[start : start + _EXCERPT])

    def _add_excerpt(self, excerpt: str) -> None:
        """Store every excerpt, or only each second, fourth … one as they grow in number, whatever the chunks."""
        if self._seen % self._stride == 0:
            self._excerpts.append(excerpt)
            self._weight += len(excerpt) + _COST
        self._seen += 1
        while self._weight > _BOUND and len(self._excerpts) > 1:
            self._excerpts, self._stride = self._excerpts[::2], 2 * self._stride
            self._weight = sum(len(one) + _COST for one in self._excerpts)

    def choose(self) -> Choice:
        """Return the choices. Raises UserError without texts, or if the tokenizer cannot be read or trained."""
        if not self.alphabet:
            raise UserError("there is no readable text to learn from; check the source")
        tokenizer, note = self._tokenizer()
        context, why = self._context(tokenizer)
        return Choice(tokenizer, context, [self._sizes(), note, f"a context of {context:,} tokens: {why}"])

    def _tokenizer(self) -> tuple[Tokenizer, str]:
        kind, alphabet = self.options.tokenizer, f"{len(self.alphabet):,} distinct characters"
        reason = ""
        if kind == "auto":
            if len(self.alphabet) <= _ALPHABET:
                kind = "character"
            else:
                kind = "bpe" if self.bytes > _LARGE and bpe_available() else "byte"
                reason = f", because there are {alphabet}"
                if kind == "byte" and self.bytes > _LARGE:
                    reason += " (pip install 'morphogen[text]' for BPE, which makes shorter sequences)"
        if kind == "character":
            return CharacterTokenizer("".join(sorted(self.alphabet))), f"each of {alphabet} is a token"
        if kind == "byte":
            return ByteTokenizer(), f"each byte is a token{reason}"
        tokenizer = train_bpe(self._excerpts, self.options.vocab) if kind == "bpe" else load_bpe(Path(kind))
        count = len(tokenizer.encode([self.longest])[0])
        each = f"{len(self.longest.encode()) / count:.1f} bytes each"
        origin = "trained on these texts" if kind == "bpe" else f"of {kind}"
        return tokenizer, f"{len(tokenizer.token_bytes):,} byte-level BPE tokens {origin}, about {each}{reason}"

    def _context(self, tokenizer: Tokenizer) -> tuple[int, str]:
        if isinstance(tokenizer, CharacterTokenizer):
            longest = self._most
        elif isinstance(tokenizer, ByteTokenizer):
            longest = self.most_bytes
        else:
            longest = len(tokenizer.encode([self.longest])[0])
        longest += 2  # its start and end
        context = self.options.context or max(4, min(longest, _CONTEXT))
        if longest <= context:
            return context, "the longest document fits"
        return context, "longer documents are read in windows that overlap by half (set codec.context to change it)"

    def _sizes(self) -> str:
        documents = self.lengths.total()
        characters = sum(length * count for length, count in self.lengths.items())
        if documents == 1:
            return f"one document of {characters:,} characters"
        count, median = 0, 0
        for length in sorted(self.lengths):
            median = length
            count += self.lengths[length]
            if 2 * count >= documents:
                break
        return f"{documents:,} documents of {characters:,} characters, the median {median:,}, at most {self._most:,}"
