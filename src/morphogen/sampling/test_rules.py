"""Stop strings wherever symbols split them, and grammars that every random drawing obeys."""

from __future__ import annotations

import builtins
import json
import re
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from morphogen.core.errors import UserError
from morphogen.core.model import Rule
from morphogen.core.noise import Noise

from .logits import draw, probabilities
from .penalties import obeying
from .rules import Grammar, Stop

# All bytes, then the end, then a start symbol.
BYTES, END, START = [*(bytes([byte]) for byte in range(256)), b"", b""], 256, 257
PIECES = [*BYTES, *(text.encode() for text in ("ab", "abc", '{"', '":', "10", "é", "true", ', "', "bca"))]
LETTERS = [*(letter.encode() for letter in "abcdxyzé漢 "), b""]
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 6},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "tags": {"type": "array", "items": {"enum": ["a", "bé", None, True]}, "minItems": 1, "maxItems": 3},
        "more": {"type": "object", "properties": {"x": {"type": "boolean"}}, "additionalProperties": False},
    },
    "required": ["name", "age", "tags"],
    "additionalProperties": False,
}


def texts(rule: Rule, spell: Sequence[bytes], end: int, *, samples: int = 40, most: int = 400) -> list[list[int]]:
    """Symbols of uniformly random texts under the rule, each to its end, which it must reach."""
    rules = [[rule.fork()] for _ in range(samples)]
    uniform = Noise.count(1, samples).uniform("symbols", (most,))
    found: list[list[int]] = [[] for _ in range(samples)]
    for at in range(most):
        drawn = draw(probabilities(obeying(torch.zeros(samples, len(spell)), rules)), uniform[:, at]).tolist()
        for text, [own], symbol in zip(found, rules, drawn, strict=True):
            if not text or text[-1] != end:
                own.advance(symbol)
                text.append(symbol)
        if all(text[-1] == end for text in found):
            return [text[:-1] for text in found]
    raise AssertionError("some text did not end")


def spelled(symbols: Sequence[int], spell: Sequence[bytes]) -> str:
    return b"".join(spell[symbol] for symbol in symbols).decode()


def following(rule: Rule) -> list[int]:
    allowed = rule.allowed()
    assert allowed is not None
    return allowed.nonzero().flatten().tolist()


def advanced(rule: Any, symbols: Sequence[int]) -> Any:
    for symbol in symbols:
        rule.advance(symbol)
    return rule


@settings(deadline=None)
@given(
    st.lists(st.text("abé", min_size=1, max_size=3), min_size=1, max_size=3),
    st.lists(st.sampled_from([symbol for symbol, text in enumerate(PIECES) if text in (b"", b"a", b"ab", b"bca")]
                             + list("abé".encode())), max_size=12),
)  # fmt: skip
def test_a_stop_string_is_found_wherever_it_is_split(stops: list[str], symbols: list[int]) -> None:
    rule = Stop(stops, PIECES, END)
    text = b""
    for symbol in symbols:
        rule.advance(symbol)
        text += PIECES[symbol]
        ends = [(text.find(stop.encode()) + len(stop.encode()), text.find(stop.encode())) for stop in stops]
        ends = [found for found in ends if found[1] >= 0]
        assert rule.begins == (min(ends)[1] if ends else None)
        allowed = rule.allowed()
        if not ends:
            assert allowed is None
        else:
            assert allowed is not None
            assert allowed.nonzero().tolist() == [[END]]
            assert not any(stop.encode() in text[: rule.begins] for stop in stops)
            return


def test_a_stop_string_in_a_fork_and_none() -> None:
    rule = advanced(Stop(["ab"], BYTES, END), b"a")
    other = advanced(rule.fork(), b"b")
    assert (rule.begins, other.begins) == (None, 0)
    assert advanced(rule, b"aab").begins == 2
    assert advanced(rule, b"aab").begins == 2, "it stays where it was"
    assert advanced(Stop([], BYTES, END), b"abc").allowed() is None
    with pytest.raises(UserError, match="empty"):
        Stop(["a", ""], BYTES, END)


@pytest.mark.parametrize("spell", [BYTES, PIECES])
@pytest.mark.parametrize(
    "pattern", ['[a-c]{2,4}/\\n"x?', "(ab|é)+\n", "(?i)yes|no", "\\d{3}-[\\d.]{2}", "[^\\x00-\\x{2FFF}]{2}", ""]
)
def test_every_text_matches_the_regular_expression(pattern: str, spell: list[bytes]) -> None:
    written = pattern.replace("\\x{2FFF}", "\\u2FFF")
    for symbols in texts(Grammar.regex(pattern, spell, END), spell, END):
        assert re.fullmatch(written, spelled(symbols, spell), re.ASCII if "\\d" in pattern else 0)


@pytest.mark.parametrize("length", [3, 4, 9])
def test_a_length_is_kept_and_the_text_whole(length: int) -> None:
    for spell in (BYTES, PIECES):
        for symbols in texts(Grammar.regex("(ab|é)+c", spell, END, length=length), spell, END):
            assert len(symbols) <= len(b"".join(spell[symbol] for symbol in symbols)) <= length
            assert re.fullmatch("(ab|é)+c", spelled(symbols, spell))
    found = {spelled(symbols, LETTERS) for symbols in texts(Grammar.regex(".*", LETTERS, 10, length=2), LETTERS, 10)}
    assert max(map(len, found)) == 2, "symbols of whole characters count as one each"


def test_a_choice_is_one_of_all() -> None:
    among = ["a", "ab", "abé", 'x"\n/\\', "漢😀"]
    for spell in (BYTES, PIECES):
        drawn = texts(Grammar.choice(among, spell, END), spell, END, samples=80)
        assert {spelled(symbols, spell) for symbols in drawn} == set(among)
    drawn = texts(Grammar.choice(["abé", "aq", "漢x", "😀"], LETTERS, 10), LETTERS, 10)
    assert {spelled(symbols, LETTERS) for symbols in drawn} == {"abé", "漢x"}, "what it can spell"
    drawn = texts(Grammar.choice(among, BYTES, END, length=3), BYTES, END)
    assert {spelled(symbols, BYTES) for symbols in drawn} == {"a", "ab"}


@pytest.mark.parametrize("spell", [BYTES, PIECES])
def test_every_text_is_json_of_the_schema(spell: list[bytes]) -> None:
    for symbols in texts(Grammar.json(SCHEMA, spell, END), spell, END):
        item = json.loads(spelled(symbols, spell))
        assert list(item)[:3] == ["name", "age", "tags"]
        assert set(item) <= {"name", "age", "tags", "more"}
        assert len(item["name"]) <= 6
        assert item["age"] in range(121)
        assert 1 <= len(item["tags"]) <= 3
        assert all(tag in ("a", "bé", None, True) for tag in item["tags"])
        assert set(item.get("more", {})) <= {"x"}


def test_json_as_text_and_its_white_space() -> None:
    grammar = Grammar.json('{"type": "array", "items": {"const": 1}, "maxItems": 3}', BYTES, END, space="")
    assert {spelled(symbols, BYTES) for symbols in texts(grammar, BYTES, END)} == {"[]", "[1]", "[1,1]", "[1,1,1]"}
    assert Grammar.json(True, BYTES, END).allowed() is not None


def test_json_leads_to_no_dead_end_for_want_of_a_letter() -> None:
    """There is no key "more" without an m, and no name with an escape but of what is there."""
    spell = [*(letter.encode() for letter in '{}[]":,0123 agents/\\'), b""]
    schema = {
        "type": "object",
        "properties": {
            "age": {"enum": [0, 12]},
            "more": {"type": "boolean"},
            "sent": {"type": "string", "maxLength": 3},
        },
        "required": ["age"],
        "additionalProperties": False,
    }
    drawn = texts(Grammar.json(schema, spell, len(spell) - 1), spell, len(spell) - 1, samples=20)
    keys = {tuple(json.loads(spelled(symbols, spell))) for symbols in drawn}
    assert keys == {("age",), ("age", "sent")}


def test_only_the_end_follows_what_is_complete() -> None:
    grammar = advanced(Grammar.regex("ab", BYTES, END), b"ab")
    for _ in range(2):
        assert following(grammar) == [END]
        grammar.advance(END)
        grammar.advance(START)


def test_symbols_that_stand_for_nothing() -> None:
    grammar = Grammar.regex("ab?", BYTES, END)
    advanced(grammar, [START, ord("a"), START])
    assert following(grammar) == [ord("b"), END]


def test_two_symbols_of_one_spelling() -> None:
    grammar = Grammar.regex("a", [b"a", b"", b"a", b"b"], 1)
    assert following(grammar) == [0, 2]
    assert following(advanced(grammar, [2])) == [1]


def test_forks_go_their_own_way() -> None:
    grammar = advanced(Grammar.regex("a(b|c)d", BYTES, END), b"a")
    other = grammar.fork()
    other.advance(ord("c"))
    assert following(grammar) == list(b"bc")
    assert following(other) == list(b"d")


def test_what_a_grammar_does_not_allow() -> None:
    grammar = Grammar.regex("ab", BYTES, END)
    with pytest.raises(UserError, match=r"^the regular expression 'ab' does not allow 'x' at that place$"):
        grammar.fork().advance(ord("x"))
    with pytest.raises(UserError, match="does not allow the end at that place"):
        grammar.fork().advance(END)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Grammar.regex("[a-", BYTES, END), "'[a-' does not compile: unclosed character class"),
        (lambda: Grammar.regex("a(?=b)", BYTES, END), "look-around"),
        (lambda: Grammar.regex("(?-u:\\xFF)", BYTES, END, length=4), "invalid UTF-8"),
        (lambda: Grammar.regex("a{6}", BYTES, END, length=5), "expression 'a{6}' within a length of 5"),
        (lambda: Grammar.regex("a|q", LETTERS[1:], 9), "no text that this vocabulary can spell obeys"),
        (lambda: Grammar.choice([], BYTES, END), "at least one text"),
        (lambda: Grammar.choice(["aq", "q"], LETTERS, 10), "obeys the choice among 2 texts"),
        (lambda: Grammar.json({"type": "strin"}, BYTES, END), "the JSON schema does not compile: Invalid type: strin"),
        (lambda: Grammar.json({"$ref": "#/x"}, BYTES, END), "Pointer '/x' does not exist"),
        (lambda: Grammar.json({"type": "string", "minLength": 2, "maxLength": 1}, BYTES, END), "Unsatisfiable"),
        (lambda: Grammar.json("{", BYTES, END), "the JSON schema is not JSON"),
        (lambda: Grammar.json("[1]", BYTES, END), "an object or a boolean, and this is a list"),
        (lambda: Grammar.json(False, BYTES, END), "the JSON schema"),
        (lambda: Grammar.json({"type": "object"}, LETTERS, 10), "no text that this vocabulary can spell"),
        (lambda: Grammar.json({"enum": ["qa", "qb", "qc", "qd"]}, [*LETTERS, b'"'], 10), "no text that"),
    ],
)  # fmt: skip
def test_errors_in_one_line(make: Any, told: str) -> None:
    with pytest.raises(UserError) as caught:
        make()
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "llguidance":
            raise ImportError
        return whole(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    for make in (Grammar.regex, Grammar.choice, Grammar.json):
        with pytest.raises(UserError, match=r"needs the package 'llguidance': pip install 'morphogen\[grammar\]'"):
            make("a", BYTES, END)
