"""Text as symbols: documents of any length between a start and an end, and rows of them to train on."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from morphogen.core.codec import Codec
from morphogen.core.errors import UserError
from morphogen.core.model import Partial
from morphogen.core.space import Space, Tokens, space_from_json, space_to_json

from .options import Options
from .survey import Survey
from .symbols import Symbols, restored, utf8

Spans = Sequence[tuple[int, int]]  # from a character, up to another


class TextCodec(Codec[list[str]]):
    """Documents to start, symbols, end, and back; exactly, for what the symbols can spell.

    The alphabet's symbols come first, then the start and the end.
    """

    spaces = (Tokens,)
    fits_to_all = True  # or a rare character would have no symbol

    def __init__(self, symbols: Symbols, context: int, notes: list[str]) -> None:
        self._symbols, self.notes = symbols, notes
        self._start, self._end = len(symbols.spelling), len(symbols.spelling) + 1
        self.space: Tokens = Tokens(self._end + 1, (context,), end=self._end, start=self._start)

    @classmethod
    def fit(cls, chunks: Iterable[list[str]], kind: type[Space], options: Options | None = None) -> Self:
        """The codec for these texts; `notes` says what it chose. Raises UserError where there are none."""
        if kind is not Tokens:
            raise UserError(
                "text is made of symbols, and this family models numbers; use --family autoregressive, or go --through "
                "a model that turns text into numbers"
            )
        survey = Survey(options or Options())
        for chunk in chunks:
            survey.add(chunk)
        choice = survey.choose()
        return cls(choice.symbols, choice.context, choice.notes)

    def encode(self, items: list[str]) -> Tensor:
        """`(B, n)` int64, n the context or what the longest takes: start, symbols, end, and more ends."""
        symbols, lengths = self._symbols.encode(items)
        return self._rows(symbols, lengths, max(self._context, int(lengths.max(initial=0)) + 2))

    def cut(self, items: list[str], alone: bool) -> tuple[Tensor, Tensor]:
        """Rows `(R, context)` to train on, and which item each is of, int64 `(R,)`: of several, the first.

        A document longer than the context is cut in windows that overlap by half, the last one moved back so that it is
        full; in the middle of a document a window's first symbol is there to be read only. Shorter ones share a row
        with those after them, whole, where not `alone`; what is left of a row are ends.
        """
        symbols, lengths = self._symbols.encode(items)
        stream = np.insert(
            symbols,
            np.repeat(np.concatenate(([0], np.cumsum(lengths))), 2)[1:-1],  # before the first, between, after the last
            np.tile((self._start, self._end), len(items)),
        )
        stops = np.cumsum(lengths + 2).tolist()
        rows: list[int] = []
        ends: list[int] = []
        owners: list[int] = []
        item, begin = 0, 0
        while item < len(items):
            end, after = stops[item], item + 1
            if end - begin > self._context:
                windows = [*range(begin, end - self._context, self._context // 2), end - self._context]
            else:
                windows = [begin]
                if not alone:
                    after = bisect_right(stops, begin + self._context, lo=item)
                    end = stops[after - 1]
            rows += windows
            ends += [end] * len(windows)
            owners += [item] * len(windows)
            item, begin = after, end
        cells = np.array(rows, dtype=np.int64)[:, None] + np.arange(self._context)
        inside = cells < np.array(ends, dtype=np.int64)[:, None]
        found = np.where(inside, stream[np.minimum(cells, max(0, len(stream) - 1))] if rows else 0, self._end)
        return torch.from_numpy(found), torch.tensor(owners, dtype=torch.int64)

    def blank(self, count: int) -> Partial:
        """Documents, `(count, context)`, of which nothing but the start is known."""
        return self.observe([""] * count)

    def observe(self, items: list[str], holes: Sequence[Spans] | None = None) -> Partial:
        """What is known of documents that begin with the items, or that are the items but for their holes.

        With no `holes`: the start and the symbols, in rows as long as the context, or the longest of them. Else holes
        are, for each document, spans `(start, stop)` of its characters: the symbols that have any share in one are not
        known, and all others are, the end too. Raises UserError on a span outside of its document, or none.
        """
        if holes is None:
            symbols, lengths = self._symbols.encode(items, "prompt")
            width = max(self._context, int(lengths.max(initial=0)) + 1)
            known = torch.arange(width) <= torch.from_numpy(lengths)[:, None]
            return Partial(self._rows(symbols, lengths, width), known)
        if len(holes) != len(items):
            raise UserError(f"{len(holes)} holes were given for {len(items)} documents; give one for each")
        for number, (item, spans) in enumerate(zip(items, holes, strict=True)):
            if not len(spans):
                raise UserError(f"document {number} has no hole: nothing is to be filled in")
            for start, stop in spans:
                if not 0 <= start < stop <= len(item):
                    raise UserError(
                        f"document {number} has {len(item)} characters, and a hole from {start} to {stop}; give one "
                        "that lies in it"
                    )
        # What stands in a hole counts for nothing, and need not be of the alphabet.
        items = [self._blanked(item, spans) for item, spans in zip(items, holes, strict=True)]
        x = self.encode(items)
        known = torch.ones_like(x, dtype=torch.bool)
        widths = np.array([len(piece) for piece in self.spell()])
        for number, (item, spans) in enumerate(zip(items, holes, strict=True)):
            # Only the bytes of symbols and those of characters are common to all ways to spell.
            ends = np.cumsum(widths[x[number].numpy()])
            begins = ends - widths[x[number].numpy()]
            for start, stop in spans:
                first, last = len(item[:start].encode()), len(item[:stop].encode())
                known[number] &= torch.from_numpy(~((begins < last) & (ends > first)))
        return Partial(x, known)

    def _blanked(self, item: str, spans: Spans) -> str:
        """With a character of the alphabet at the places of its holes where there is none."""
        spelled = set(self._symbols.spelling)
        if all(bytes([byte]) in spelled for byte in range(256)):
            return item
        another = min(spelled).decode()
        for start, stop in spans:
            hole = "".join(one if one.encode() in spelled else another for one in item[start:stop])
            item = item[:start] + hole + item[stop:]
        return item

    def sizes(self, items: list[str]) -> Tensor:
        """The bytes of each in UTF-8, int64 `(B,)`."""
        return torch.tensor([len(data) for data in utf8(items, "document")], dtype=torch.int64)

    def spell(self) -> list[bytes]:
        """What each symbol stands for; nothing, for the start and the end."""
        return [*self._symbols.spelling, b"", b""]

    def decode(self, x: Tensor) -> list[str]:
        """The documents of rows `(B, n)` of any length: what stands before the first end; U+FFFD for broken bytes."""
        return [self._document(row) for row in x.detach().cpu().numpy()]

    def _document(self, row: NDArray[np.int64]) -> str:
        ends = np.flatnonzero(row == self._end)
        row = row[: ends[0]] if len(ends) else row
        return self._symbols.decode(row[row < self._start].tolist())

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return {"space": space_to_json(self.space), "symbols": self._symbols.state(), "notes": self.notes}, {}

    @classmethod
    def from_state(cls, config: dict[str, Any], tensors: dict[str, Tensor]) -> Self:
        return cls(restored(config["symbols"]), space_from_json(config["space"]).size[0], config["notes"])

    @property
    def _context(self) -> int:
        return self.space.size[0]

    def _rows(self, symbols: NDArray[np.int64], lengths: NDArray[np.int64], width: int) -> Tensor:
        """`(B, width)`: start, the symbols of each, and ends."""
        x = np.full((len(lengths), width), self._end, dtype=np.int64)
        x[:, 0] = self._start
        x[:, 1:][np.arange(width - 1) < lengths[:, None]] = symbols
        return torch.from_numpy(x)
