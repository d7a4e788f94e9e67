"""Stop strings wherever tokens split them, and grammars that every random text satisfies."""

from __future__ import annotations

import builtins
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from morphogen.core.errors import UserError
from morphogen.core.model import TokenConstraint
from morphogen.core.noise import Noise

from .grammar import Grammar
from .logits import draw, probabilities
from .penalties import constrain
from .token_constraints import StopString, compile_constraints, trim

# All bytes, then the end, then a start.
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


def texts(
    constraint: TokenConstraint, token_bytes: Sequence[bytes], end: int, *, samples: int = 30, max_length: int = 400
) -> list[list[int]]:
    """The tokens of uniformly random texts under the constraint, each up to its end, which it must reach."""
    constraints = [[constraint.fork()] for _ in range(samples)]
    uniform = Noise.consecutive(1, samples).uniform("symbols", (max_length,))
    generated: list[list[int]] = [[] for _ in range(samples)]
    for at in range(max_length):
        tokens = draw(
            probabilities(constrain(torch.zeros(samples, len(token_bytes)), constraints)), uniform[:, at]
        ).tolist()
        for text, [own], token in zip(generated, constraints, tokens, strict=True):
            if not text or text[-1] != end:
                own.advance(token)
                text.append(token)
        if all(text[-1] == end for text in generated):
            return [text[:-1] for text in generated]
    raise AssertionError("some text did not end")


def spelled(tokens: Sequence[int], token_bytes: Sequence[bytes]) -> str:
    return b"".join(token_bytes[token] for token in tokens).decode()


def following(constraint: TokenConstraint) -> list[int]:
    allowed = constraint.allowed()
    assert allowed is not None
    return allowed.nonzero().flatten().tolist()


def advanced(constraint: Any, tokens: Sequence[int]) -> Any:
    for token in tokens:
        constraint.advance(token)
    return constraint


@settings(deadline=None)
@given(
    st.lists(st.text("abé", min_size=1, max_size=3), min_size=1, max_size=3),
    st.lists(st.sampled_from([token for token, text in enumerate(PIECES) if text in (b"", b"a", b"ab", b"bca")]
                             + list("abé".encode())), max_size=12),
)  # fmt: skip
def test_a_stop_string_counts_wherever_it_is_split(stops: list[str], tokens: list[int]) -> None:
    constraint = StopString(stops, PIECES, END)
    text = b""
    for token in tokens:
        constraint.advance(token)
        text += PIECES[token]
        ends = [(text.find(stop.encode()) + len(stop.encode()), text.find(stop.encode())) for stop in stops]
        ends = [end for end in ends if end[1] >= 0]
        assert constraint.start == (min(ends)[1] if ends else None)
        allowed = constraint.allowed()
        if not ends:
            assert allowed is None
        else:
            assert allowed is not None
            assert allowed.nonzero().tolist() == [[END]]
            assert not any(stop.encode() in text[: constraint.start] for stop in stops)
            return


def test_a_stop_string_in_a_fork_and_none() -> None:
    constraint = advanced(StopString(["ab"], BYTES, END), b"a")
    other = advanced(constraint.fork(), b"b")
    assert (constraint.start, other.start) == (None, 0)
    assert advanced(constraint, b"aab").start == 2
    assert advanced(constraint, b"aab").start == 2, "it stays where it was"
    assert advanced(StopString([], BYTES, END), b"abc").allowed() is None
    with pytest.raises(UserError, match="empty"):
        StopString(["a", ""], BYTES, END)


@pytest.mark.parametrize("token_bytes", [BYTES, PIECES])
@pytest.mark.parametrize(
    "pattern", ['[a-c]{2,4}/\\n"x?', "(ab|é)+\n", "(?i)yes|no", "\\d{3}-[\\d.]{2}", "[^\\x00-\\x{2FFF}]{2}", ""]
)
def test_every_text_matches_the_regular_expression(pattern: str, token_bytes: list[bytes]) -> None:
    python_pattern = pattern.replace("\\x{2FFF}", "\\u2FFF")
    for tokens in texts(Grammar.regex(pattern, token_bytes, END), token_bytes, END):
        assert re.fullmatch(python_pattern, spelled(tokens, token_bytes), re.ASCII if "\\d" in pattern else 0)


def test_a_choice_is_one_of_all() -> None:
    choices = ["a", "ab", "abé", 'x"\n/\\', "漢😀"]
    for token_bytes in (BYTES, PIECES):
        generated = texts(Grammar.choice(choices, token_bytes, END), token_bytes, END, samples=80)
        assert {spelled(tokens, token_bytes) for tokens in generated} == set(choices)
    generated = texts(Grammar.choice(["abé", "aq", "漢x", "😀"], LETTERS, 10), LETTERS, 10)
    assert {spelled(tokens, LETTERS) for tokens in generated} == {"abé", "漢x"}, "what it can token_bytes"


@pytest.mark.parametrize("token_bytes", [BYTES, PIECES])
def test_every_text_is_json_of_the_schema(token_bytes: list[bytes]) -> None:
    for tokens in texts(Grammar.json(SCHEMA, token_bytes, END), token_bytes, END):
        item = json.loads(spelled(tokens, token_bytes))
        assert list(item)[:3] == ["name", "age", "tags"]
        assert set(item) <= {"name", "age", "tags", "more"}
        assert len(item["name"]) <= 6
        assert item["age"] in range(121)
        assert 1 <= len(item["tags"]) <= 3
        assert all(tag in ("a", "bé", None, True) for tag in item["tags"])
        assert set(item.get("more", {})) <= {"x"}


def test_json_as_text_and_its_white_space() -> None:
    schema = '{"type": "array", "items": {"const": 1}, "maxItems": 3, "x-guidance": {"whitespace_pattern": ""}}'
    grammar = Grammar.json(schema, BYTES, END)
    assert {spelled(tokens, BYTES) for tokens in texts(grammar, BYTES, END)} == {"[]", "[1]", "[1,1]", "[1,1,1]"}
    assert Grammar.json(True, BYTES, END).allowed() is not None


def test_json_leads_to_no_dead_end_where_the_vocabulary_lacks_a_letter() -> None:
    """There is no key "more" without an m, and no name with an escape but of what is there."""
    token_bytes = [*(letter.encode() for letter in '{}[]":,0123 agents/\\'), b""]
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
    generated = texts(
        Grammar.json(schema, token_bytes, len(token_bytes) - 1), token_bytes, len(token_bytes) - 1, samples=20
    )
    keys = {tuple(json.loads(spelled(tokens, token_bytes))) for tokens in generated}
    assert keys == {("age",), ("age", "sent")}


def test_only_the_end_follows_what_is_complete() -> None:
    grammar = advanced(Grammar.regex("ab", BYTES, END), b"ab")
    for _ in range(2):
        assert following(grammar) == [END]
        grammar.advance(END)
        grammar.advance(START)


def test_special_tokens_are_ignored() -> None:
    grammar = Grammar.regex("ab?", BYTES, END)
    advanced(grammar, [START, ord("a"), START])
    assert following(grammar) == [ord("b"), END]


def test_two_tokens_with_the_same_bytes() -> None:
    grammar = Grammar.regex("a", [b"a", b"", b"a", b"b"], 1)
    assert following(grammar) == [0, 2]
    assert following(advanced(grammar, [2])) == [1]


def test_forks_are_independent() -> None:
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
    ("make", "message"),
    [
        (lambda: Grammar.regex("[a-", BYTES, END), "'[a-' does not compile: unclosed character class"),
        (lambda: Grammar.regex("a(?=b)", BYTES, END), "look-around"),
        (lambda: Grammar.regex("(?-u:\\xFF)", BYTES, END), "invalid UTF-8"),
        (lambda: Grammar.regex("a|q", LETTERS[1:], 9), "spell any text that satisfies the regular expression 'a|q'"),
        (lambda: Grammar.choice([], BYTES, END), "at least one text"),
        (lambda: Grammar.choice(["aq", "q"], LETTERS, 10), "satisfies the choice among 2 texts"),
        (lambda: Grammar.json({"type": "strin"}, BYTES, END), "the JSON schema does not compile: Invalid type: strin"),
        (lambda: Grammar.json({"$ref": "#/x"}, BYTES, END), "Pointer '/x' does not exist"),
        (lambda: Grammar.json({"type": "string", "minLength": 2, "maxLength": 1}, BYTES, END), "Unsatisfiable"),
        (lambda: Grammar.json("{", BYTES, END), "the JSON schema is not JSON"),
        (lambda: Grammar.json("[1]", BYTES, END), "an object or a boolean, and this is a list"),
        (lambda: Grammar.json(False, BYTES, END), "the JSON schema"),
        (lambda: Grammar.json({"type": "object"}, LETTERS, 10), "this vocabulary cannot spell any text"),
        (lambda: Grammar.json({"enum": ["qa", "qb", "qc", "qd"]}, [*LETTERS, b'"'], 10), "cannot spell any"),
    ],
)  # fmt: skip
def test_errors_in_one_line(make: Any, message: str) -> None:
    with pytest.raises(UserError) as error:
        make()
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_the_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    original_import = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "llguidance":
            raise ImportError
        return original_import(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    for make in (Grammar.regex, Grammar.choice, Grammar.json):
        with pytest.raises(UserError, match=r"needs the package 'llguidance': pip install 'morphogen\[grammar\]'"):
            make("a", BYTES, END)


def test_constraints_are_compiled_once_for_each_text() -> None:
    options = {"stop": ["x"], "regex": "a+x?b", "token_bytes": BYTES, "end": END}
    first, second = compile_constraints(**options, count=2)  # type: ignore[arg-type]
    assert [type(constraint) for constraint in first] == [StopString, Grammar]
    advanced(first[1], b"a")
    assert following(second[1]) == [ord("a")]
    assert compile_constraints(token_bytes=BYTES, end=END, count=2) == [[], []]
    choice, json_schema = (
        compile_constraints(**kind, token_bytes=BYTES, end=END, count=1)[0][0]
        for kind in ({"choice": ["ab", "b"]}, {"json_schema": {"const": 1}})
    )
    assert following(choice) == list(b"ab")
    assert following(json_schema) == list(b"1")


def test_a_text_ends_at_the_stop_string_that_is_complete_first() -> None:
    assert trim("one two three", "one", ["three", "two t"]) == "one "
    assert trim("stop here stop", "stop", ["stop"]) == "stop here "
    assert trim("abc", "", ["bc", "abc"]) == ""
    assert trim("abc", "abc", ["c"]) == "abc"


@pytest.mark.parametrize(
    ("compile_it", "message"),
    [
        (lambda: Grammar.json({"x-guidance": 5}, BYTES, END), "x-guidance in the JSON schema is 5; expected options"),
        (lambda: Grammar.json("[" * 100_000, BYTES, END), "the JSON schema is not JSON: maximum recursion depth"),
        (lambda: Grammar.json({"enum": {1, 2}}, BYTES, END), "cannot be written as JSON: Object of type set"),
        (lambda: Grammar.json({"const": "\ud800"}, BYTES, END), "does not compile"),
        (lambda: Grammar.regex("\ud800", BYTES, END), "holds half of a character; correct it"),
        (lambda: Grammar.regex("ab\\", BYTES, END), "does not compile: it ends inside an escape"),
        (lambda: Grammar.choice(["\ud800"], BYTES, END), "does not compile"),
    ],
)
def test_what_is_no_grammar_is_refused(compile_it: Callable[[], Grammar], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        compile_it()
    assert Grammar.regex("a\\\\", BYTES, END).allowed() is not None


def test_no_token_follows_the_limit() -> None:
    grammar = Grammar.regex(".*", BYTES, END)
    grammar.limit(2)
    for token in b"ab":
        grammar.advance(token)
    allowed = grammar.allowed()
    assert allowed is not None
    assert allowed.nonzero().flatten().tolist() == [END]
