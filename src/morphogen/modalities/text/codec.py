"""Texts as sequences of tokens: documents of any length, and training examples packed from them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from morphogen.core.codec import Codec
from morphogen.core.errors import BadItem, UserError
from morphogen.core.model import Partial, Request
from morphogen.core.noise import Noise
from morphogen.core.query import Query as BaseQuery
from morphogen.core.records import Record, parse_record
from morphogen.core.space import Space, TokenSequence
from morphogen.sampling.token_constraints import compile_constraints, trim

from .inference import CorpusStatistics
from .mask import Spans
from .options import Options
from .query import Query
from .tokenizer import CharacterTokenizer, Tokenizer, TokenizerState, from_state, utf8

_MOST_PROMPTS = 4096  # prompts of one request, so that memory is bounded


class TextConfig(Record):
    """What the folder of a `TextCodec` holds."""

    context: Annotated[int, Field(ge=2, le=2**24)]
    max_length: Annotated[int, Field(ge=0, le=2**24)] = 0  # 0, where a folder does not say: the context
    tokenizer: TokenizerState
    notes: list[str]


class TextCodec(Codec[list[str]]):
    """Maps a document to start, tokens, end, and back exactly. In the vocabulary, start and end come last."""

    space: TokenSequence

    def __init__(self, tokenizer: Tokenizer, context: int, notes: list[str], max_length: int = 0) -> None:
        self._tokenizer, self.notes = tokenizer, notes
        vocab = len(tokenizer.token_bytes)
        self.space = TokenSequence(vocab + 2, context, start=vocab, end=vocab + 1, max_length=max_length)

    @classmethod
    def fit(cls, chunks: Iterable[list[str]], kind: type[Space], options: Options | None = None) -> Self:
        """Return the codec for these texts; `notes` says what it chose. Raises UserError without texts."""
        if kind is not TokenSequence:
            raise UserError(f"texts cannot be encoded as {kind.plural}; only as {TokenSequence.plural}")
        statistics = CorpusStatistics(options or Options())
        for chunk in chunks:
            statistics.add(chunk)
        choice = statistics.choose()
        return cls(choice.tokenizer, choice.context, choice.notes, choice.max_length)

    @property
    def token_bytes(self) -> list[bytes]:
        """The bytes that each token stands for; none for the start and the end."""
        return [*self._tokenizer.token_bytes, b"", b""]

    def align(self, items: Any) -> list[str]:
        """Return texts as they are. Raises BadItem where an item is none."""
        if isinstance(items, str) or not isinstance(items, Iterable):
            raise BadItem(f"the items are {items!r:.40}; expected a list of texts")
        for number, item in enumerate(items := list(items)):
            if not isinstance(item, str):
                raise BadItem(f"item {number} is no text but a {type(item).__name__}; expected a str")
        return items

    def encode(self, items: list[str]) -> Tensor:
        """Return start, tokens, end, and more ends: `(B, n)` int64, n at least the context."""
        tokens, lengths = self._tokenizer.encode(items)
        return self._padded(tokens, lengths, max(self.space.context, int(lengths.max(initial=0)) + 2))

    def pack(self, items: list[str], alone: bool) -> tuple[Tensor, Tensor]:
        """Return training examples `(N, context)`, and the number of the first item in each, int64 `(N,)`.

        A document longer than the context is cut into windows that overlap by half, as they are sampled: were the last
        one moved back until it is full, ends would be learned in its last place only. The first token of a later window
        is read, but not predicted. Unless `alone`, whole documents follow where there is room; ends fill the rest.
        """
        context, start, end = self.space.context, self.space.start, self.space.end
        tokens, lengths = self._tokenizer.encode(items)
        stream = np.insert(
            tokens,
            np.repeat(np.concatenate(([0], np.cumsum(lengths))), 2)[1:-1],  # before the first, between, after the last
            np.tile((start, end), len(items)),
        )
        begins, stops, owners = _windows(np.cumsum(lengths + 2).tolist(), context, alone)
        cells = np.array(begins, dtype=np.int64)[:, None] + np.arange(context)
        inside = cells < np.array(stops, dtype=np.int64)[:, None]
        examples = np.where(inside, stream[np.minimum(cells, len(stream) - 1)], end)
        return torch.from_numpy(examples), torch.tensor(owners, dtype=torch.int64)

    def num_values(self, items: list[str]) -> Tensor:
        """Return the number of bytes of each in UTF-8, int64 `(B,)`."""
        return torch.tensor([len(data) for data in utf8(items, "document")], dtype=torch.int64)

    def decode(self, x: Tensor, noise: Noise | None = None) -> list[str]:
        """Return the documents in `(B, n)`, up to the first end; U+FFFD stands where bytes are not UTF-8."""
        return [self._document(row) for row in x.detach().cpu().numpy()]

    def requests(self, query: BaseQuery, noise: Noise) -> Iterator[Request]:
        """Yield requests for some thousands of texts each: a given prompt, constrained by grammar and stop strings.

        Raises UserError if there are several prompts and not one for each sample, or if no text matches the grammar.
        """
        if query.condition:
            name = next(iter(query.condition))
            raise UserError(f"this model takes no condition '{name}'; drop it, or fit with --condition {name}")
        own = query if isinstance(query, Query) else Query()
        prompts = list(own.prompt) if isinstance(own.prompt, tuple) else [own.prompt or ""] * len(noise)
        if len(prompts) != len(noise):
            raise UserError(f"{len(prompts)} prompts were given for {len(noise)} samples; give one, or one for each")
        (constraints,) = compile_constraints(
            stop=own.stop,
            regex=own.regex,
            choice=own.choice,
            json_schema=own.json_schema,
            token_bytes=self.token_bytes,
            end=self.space.end,
            count=1,
        )
        for start in range(0, len(noise), _MOST_PROMPTS):
            part = slice(start, start + _MOST_PROMPTS)
            yield Request(
                noise=Noise(noise.seeds[part], noise.device),
                given=self._prompted(prompts[part]) if any(prompts) else None,
                token_constraints=[[one.fork() for one in constraints] for _ in prompts[part]],
                parsed=own.stop,
            )

    def finish(self, x: Tensor, request: Request) -> list[str]:
        """Return the texts of samples, each cut at the first stop string after its prompt."""
        items = self.decode(x)
        if not request.parsed:
            return items
        prompts = [""] * len(items)
        if request.given is not None:
            prompts = self.decode(request.given.x.where(request.given.known, self.space.end))
        return [trim(item, prompt, request.parsed) for item, prompt in zip(items, prompts, strict=True)]

    def draft(self, draft: Partial, request: Request) -> list[str]:
        """Return the part of unfinished texts that is final: whole characters, and no beginning of a stop string."""
        texts = super().draft(draft, request)
        if bool(draft.known.all()):
            return texts
        held_back = max((len(stop) for stop in request.parsed or ()), default=1) - 1
        return [text.rstrip("\ufffd")[: max(0, len(text) - held_back)] for text in texts]

    def observe(self, items: list[str], mask: Sequence[Spans]) -> Partial:
        """Return the encoded items, known outside the missing spans, the end included.

        `mask` holds for each document spans `(start, stop)` of its characters: a token that overlaps one is unknown.
        Raises UserError on a document without a span, and on a span outside its document.
        """
        if len(mask) != len(items):
            raise UserError(f"{len(mask)} masks were given for {len(items)} documents; give one for each")
        for number, (item, spans) in enumerate(zip(items, mask, strict=True)):
            if not len(spans):
                raise UserError(f"document {number} has no span that is missing")
            for start, stop in spans:
                if not 0 <= start < stop <= len(item):
                    raise UserError(
                        f"document {number} has {len(item)} characters, and the missing span is {start} to {stop}; "
                        "give one inside it"
                    )
        items = self._with_encodable_gaps(items, mask)
        x = self.encode(items)
        known = torch.ones_like(x, dtype=torch.bool)
        widths = np.array([len(one) for one in self.token_bytes])
        for number, (item, spans) in enumerate(zip(items, mask, strict=True)):
            # Characters and tokens are both made of whole bytes, whatever the tokenizer.
            ends = np.cumsum(widths[x[number].numpy()])
            begins = ends - widths[x[number].numpy()]
            for start, stop in spans:
                first, last = len(item[:start].encode()), len(item[:stop].encode())
                known[number] &= torch.from_numpy(~((begins < last) & (ends > first)))
        return Partial(x, known)

    def merge_known(self, x: Tensor, noise: Noise, items: list[str], mask: Sequence[Spans]) -> list[str]:
        """Return the texts of `x`; tokens are exact, so what is known is already as it was given."""
        return self.decode(x)

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        config = {"context": self.space.context, "tokenizer": self._tokenizer.state(), "notes": self.notes}
        if self.space.max_length != self.space.context:
            config["max_length"] = self.space.max_length
        return config, {}

    @classmethod
    def from_state(cls, config: dict[str, Any], tensors: dict[str, Tensor]) -> Self:
        own = parse_record(config, TextConfig, "the codec of texts")
        return cls(from_state(own.tokenizer), own.context, own.notes, own.max_length)

    def _prompted(self, prompts: list[str]) -> Partial:
        """Return documents, as long as the context or the longest prompt, of which start and prompt are known."""
        tokens, lengths = self._tokenizer.encode(prompts, "prompt")
        width = max(self.space.context, int(lengths.max(initial=0)) + 1)
        known = torch.arange(width) <= torch.from_numpy(lengths)[:, None]
        return Partial(self._padded(tokens, lengths, width), known)

    def _with_encodable_gaps(self, items: list[str], mask: Sequence[Spans]) -> list[str]:
        """Return the texts with characters that have no token, such as the mark of a gap, replaced in missing spans."""
        if not isinstance(self._tokenizer, CharacterTokenizer):
            return items
        alphabet = {data.decode() for data in self._tokenizer.token_bytes}
        another = min(alphabet)
        filled = []
        for item, spans in zip(items, mask, strict=True):
            characters = list(item)
            for start, stop in spans:
                characters[start:stop] = [one if one in alphabet else another for one in characters[start:stop]]
            filled.append("".join(characters))
        return filled

    def _document(self, row: NDArray[np.int64]) -> str:
        ends = np.flatnonzero(row == self.space.end)
        row = row[: ends[0]] if len(ends) else row
        return self._tokenizer.decode(row[row < self.space.start].tolist())

    def _padded(self, tokens: NDArray[np.int64], lengths: NDArray[np.int64], width: int) -> Tensor:
        """Return start, the tokens of each, and ends: `(B, width)`."""
        x = np.full((len(lengths), width), self.space.end, dtype=np.int64)
        x[:, 0] = self.space.start
        x[:, 1:][np.arange(width - 1) < lengths[:, None]] = tokens
        return torch.from_numpy(x)


def _windows(stops: list[int], context: int, alone: bool) -> tuple[list[int], list[int], list[int]]:
    """Return where each example begins in the stream of documents and where it stops, and its first document.

    `stops` are where documents stop, starts and ends included.
    """
    begins: list[int] = []
    ends: list[int] = []
    owners: list[int] = []
    item, begin = 0, 0
    while item < len(stops):
        windows = range(begin, max(begin, stops[item] - context) + context // 2, context // 2)
        after = item + 1 if alone else bisect_right(stops, windows[-1] + context, lo=item)
        end = stops[after - 1]
        begins += windows
        ends += [end] * len(windows)
        owners += [item] * len(windows)
        item, begin = after, end
    return begins, ends, owners
