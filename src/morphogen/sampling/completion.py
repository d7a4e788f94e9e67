"""A short text that completes what a grammar has read, so that it can be closed in time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llguidance import LLMatcher

_CLOSING = b'}])";,:0'  # what closes brackets and texts, and the shortest value
_TRIED = 300  # tokens that are tried at one place
_COMPARED = 8  # of them, those whose completions are compared


def complete(matcher: LLMatcher, token_bytes: Sequence[bytes], end: int, most: int) -> list[int] | None:
    """Return at most `most` tokens after which the text may end, few if not the fewest; None: none were found.

    At each place a closing token is taken, if one leads to a new place: inside a text of any length a bracket does not.
    Else the other tokens that do are compared by what they take to complete, such as the names of optional keys.
    """
    if most < 0:
        return None
    return _Search(token_bytes, end).run(matcher.deep_copy(), most, compares=True)


class _Search:
    def __init__(self, token_bytes: Sequence[bytes], end: int) -> None:
        places = {bytes([byte]): place for place, byte in enumerate(_CLOSING)}
        tokens = [token for token, text in enumerate(token_bytes) if text and token != end]
        self._order = sorted(tokens, key=lambda token: places.get(token_bytes[token], len(places)))
        self._closing = {token for token in tokens if token_bytes[token] in places}

    def run(self, matcher: LLMatcher, most: int, compares: bool) -> list[int] | None:
        """Return a completion; without `compares` the first token that leads to a new place is taken."""
        tokens: list[int] = []
        while not matcher.is_accepting():
            if len(tokens) >= most:
                return None
            token = self._choose(matcher, most - len(tokens), compares)
            if token is None:
                return None
            matcher.consume_token(token)
            tokens.append(token)
        return tokens

    def _choose(self, matcher: LLMatcher, most: int, compares: bool) -> int | None:
        """Return the next token; None: there is none."""
        allowed = matcher.compute_logit_bias()
        candidates = [token for token in self._order if allowed[token]][:_TRIED]
        leading: dict[int, LLMatcher] = {}
        for token in candidates:
            longer = matcher.deep_copy()
            if longer.consume_token(token) and (longer.is_accepting() or longer.compute_logit_bias() != allowed):
                leading[token] = longer
                if token in self._closing or not compares or len(leading) == _COMPARED:
                    break
        closing = leading.keys() & self._closing
        if len(leading) < 2 or closing or not compares:
            return next(iter(closing or leading or candidates), None)
        best, fewest = next(iter(leading)), most
        for token, longer in leading.items():
            rest = self.run(longer, fewest - 1, compares=False)
            if rest is not None and len(rest) + 1 < fewest:
                best, fewest = token, len(rest) + 1
        return best
