"""Grammars close a text within any limit that a completion fits into; what no token spells is named."""

from __future__ import annotations

import json
import re

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from morphogen.core.errors import UserError
from morphogen.core.noise import Noise

from .grammar import Grammar
from .logits import draw, probabilities
from .test_token_constraints import BYTES, END, LETTERS, PIECES, SCHEMA

UNBOUNDED = {
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "author": {
            "type": "object",
            "properties": {name: {"type": "string", "minLength": 2} for name in ("first", "last", "city")},
            "required": ["first", "last", "city"],
            "additionalProperties": False,
        },
        "year": {"type": "integer"},
    },
    "required": ["title", "year"],
    "additionalProperties": False,
}
NO_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)  # which takes minutes
VOCABULARIES = {"bytes": (BYTES, END), "pieces": (PIECES, END)}


def limited(grammar: Grammar, token_bytes: list[bytes], end: int, tokens: int, seed: int) -> str:
    """Return a random text of at most so many tokens."""
    own = grammar.fork()
    own.limit(tokens)
    uniform = Noise.consecutive(seed, 1).uniform("symbols", (tokens,))[0]
    text: list[int] = []
    for number in uniform:
        allowed = own.allowed()
        assert allowed is not None
        logits = torch.zeros(len(token_bytes)).masked_fill(~allowed, -torch.inf)
        token = int(draw(probabilities(logits), number))
        if token == end:
            break
        own.advance(token)
        text.append(token)
    return b"".join(token_bytes[token] for token in text).decode()


@settings(deadline=None, max_examples=8, phases=NO_SHRINKING)
@given(st.sampled_from(["bytes", "pieces"]), st.integers(60, 200), st.integers(0, 2**32))
def test_json_is_closed_within_the_limit(vocabulary: str, tokens: int, seed: int) -> None:
    token_bytes, end = VOCABULARIES[vocabulary]
    for schema, required in ((SCHEMA, {"name", "age", "tags"}), (UNBOUNDED, {"title", "year"})):
        value = json.loads(limited(Grammar.json(schema, token_bytes, end), token_bytes, end, tokens, seed))
        assert required <= value.keys()
        assert value.get("author", {"city": ""}).keys() >= {"city"}


@settings(deadline=None, max_examples=12, phases=NO_SHRINKING)
@given(st.sampled_from(["[a-z]+@[a-z]+\\.com", "(ab|abc)*x{2,}", "[A-Z]{3}-[0-9]{4}(, [a-z]+)*"]), st.integers(12, 40))
def test_a_regular_expression_is_closed_within_the_limit(pattern: str, tokens: int) -> None:
    text = limited(Grammar.regex(pattern, BYTES, END), BYTES, END, tokens, seed=tokens)
    assert re.fullmatch(pattern, text)


def test_too_low_a_limit_is_refused() -> None:
    with pytest.raises(UserError, match=r"^a text that satisfies the JSON schema takes about \d+ tokens, and 5 are"):
        Grammar.json(UNBOUNDED, BYTES, END).limit(5)
    Grammar.choice(["yes", "no"], BYTES, END).limit(3)


@pytest.mark.parametrize(
    ("grammar", "missing"),
    [
        (lambda: Grammar.json({"type": "object"}, LETTERS, len(LETTERS) - 1), "'{', '}'"),
        (lambda: Grammar.json({"type": "integer"}, LETTERS, len(LETTERS) - 1), "'0'"),
        (lambda: Grammar.regex("[0-9]{2} a", LETTERS, len(LETTERS) - 1), "'0'"),
        (lambda: Grammar.choice(["Wörter"], LETTERS, len(LETTERS) - 1), "'W', 'ö', 'r', 't', 'e'"),
    ],
)
def test_characters_without_a_token_are_named(grammar, missing: str) -> None:
    with pytest.raises(UserError) as raised:
        grammar()
    assert str(raised.value).endswith(
        f": it has no token for {missing}; fit with --codec.tokenizer byte, which spells any text"
    )
