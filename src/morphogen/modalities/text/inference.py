"""Infers tokenizer, context and length of samples from a corpus, in one pass."""

from __future__ import annotations

import difflib
import math
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
# A sample ends where the model ends it, at the latest at the length that this share of documents does not exceed (the
# few longer ones would double the time of a batch, which its longest sample decides), and at 16 contexts.
_QUANTILE, _CONTEXTS = 0.99, 16
_NAMES = ("auto", "character", "byte", "bpe")


@dataclass(frozen=True)
class Choice:
    """The inferred settings of the codec; `notes` describe them in plain words."""

    tokenizer: Tokenizer
    context: int
    max_length: int  # tokens of a sample
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
        self.byte_lengths: Counter[int] = Counter()
        self.bytes = 0
        self.longest = ""  # the beginning of the longest text
        self._most = 0  # characters of the longest text
        self._excerpts: list[str] = []
        self._seen, self._stride, self._weight = 0, 1, 0

    def add(self, texts: Sequence[str]) -> None:
        """Take in some more texts."""
        self.alphabet.update("".join(texts))
        sizes = [len(data) for data in utf8(texts, "document")]
        self.bytes += sum(sizes)
        self.byte_lengths.update(sizes)
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
        notes = [self._sizes(), note, f"a context of {context:,} tokens: {why}"]
        max_length, limit = self._max_length(tokenizer, context)
        return Choice(tokenizer, context, max_length, [*notes, limit] if limit else notes)

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
            longest = max(self.byte_lengths)
        else:
            longest = len(tokenizer.encode([self.longest])[0])
        longest += 2  # its start and end
        context = self.options.context or max(4, min(longest, _CONTEXT))
        if longest <= context:
            return context, "the longest document fits"
        return context, "longer documents are read in windows that overlap by half (set codec.context to change it)"

    def _max_length(self, tokenizer: Tokenizer, context: int) -> tuple[int, str]:
        """Return how many tokens a sample has at most, its end included, and a note where documents have more than fit.

        Where most documents are so long that samples would not end, that is the context.
        """
        if isinstance(tokenizer, CharacterTokenizer):
            lengths, per_unit = self.lengths, 1.0
        else:
            lengths, per_unit = self.byte_lengths, 1.0
            if not isinstance(tokenizer, ByteTokenizer):  # about: counting the tokens of all would take a second pass
                per_unit = len(tokenizer.encode([self.longest])[0]) / len(self.longest.encode())
        median, long, longest = (math.ceil(per_unit * _quantile(lengths, q)) + 1 for q in (0.5, _QUANTILE, 1.0))
        if longest < context or lengths.total() == 1:
            return context, ""
        most = _CONTEXTS * context
        if median > most:
            return context, f"samples stop after {context:,} tokens (--max-length changes it); documents are far longer"
        length = max(context, min(long, most))
        return length, f"samples end as documents do, after {length:,} tokens at the latest (--max-length changes it)"

    def _sizes(self) -> str:
        documents = self.lengths.total()
        characters = sum(length * count for length, count in self.lengths.items())
        if documents == 1:
            return f"one document of {characters:,} characters"
        median = _quantile(self.lengths, 0.5)
        return f"{documents:,} documents of {characters:,} characters, the median {median:,}, at most {self._most:,}"


def _quantile(lengths: Counter[int], share: float) -> int:
    """Return the smallest length that at least that share of the documents does not exceed."""
    count = 0
    for length in sorted(lengths):
        count += lengths[length]
        if count >= share * lengths.total():
            return length
    return max(lengths)
