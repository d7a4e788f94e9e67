"""Finds what stands between the documents of a text file, by evidence in the text (docs/command-line.md)."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

# What a user may name, and how it is written; any other separator is a text.
PATTERNS = {
    "line": rb"\n(?:[ \t]*\n)*",
    "blank": rb"\n(?:[ \t]*\n)+",
    "blanks": rb"\n(?:[ \t]*\n){2,}",
    "break": rb"(?<!\n)\n(?![ \t]*\n)",
}
NAMES = {
    "line": "lines",
    "blank": "blocks between blank lines",
    "blanks": "parts between two or more blank lines",
    "break": "parts between single line ends, with paragraphs between blank lines",
}

_READ = 4 << 20  # bytes from which the choice is made
# Marks that nothing else is written like, and lines that are ornaments or rules.
_TOKEN = re.compile(
    rb"<\|(?:end_?of_?(?:text|document)|eo[dst]|sep)\|>|</s>|\[(?:EOS|SEP)\]|<(?:eo[dst]|sep)>", re.IGNORECASE
)
_RULE = re.compile(rb"^[ \t]*(-{3,}|\*{3,}|={3,}|_{3,}|~{3,}|#{3,}|\*(?:[ \t]+\*){2}|%)[ \t]*$", re.MULTILINE)
_FEWEST_RULES = 4  # of one kind, so that they divide documents
# A list, such as of names, has at least _LINES lines, half of them different, none longer than _LONGEST characters, and
# a median below _MEDIAN; of a long file _SAMPLE lines are read.
_LINES, _LONGEST, _MEDIAN, _SAMPLE = 20, 400, 80, 2000
_DOCUMENTS = 20  # that blank lines have to divide
_PAIRS = 2000  # of neighbours that are compared
# Parts of one text resemble their neighbours 2 to 7 times as much as far ones (measured: stories 6.9, a play 4.5, an
# encyclopaedia 4.7), documents in any order 1.0 (20 stories: .8 to 1.4). Two such parts share almost no rare word.
_HEADINGS = 0.1  # share of parts that are headings, from which on a text is one of sections
_COHESION, _NO_RESEMBLANCE = 2.0, 0.01


def find_separator(data: bytes) -> str:
    """Return what stands between documents: a key of `PATTERNS`, a mark that the text holds, or `none`: it is one text.

    A mark comes first: a special token such as <|endoftext|>, or the same rule such as --- or *** on four lines. Then
    short different lines are a list. Blank lines, two of them, or single line ends between blocks divide documents
    where neighbours do not resemble each other more than parts far apart: paragraphs, speeches and stanzas do.
    """
    head = data[:_READ]
    if len(head) < len(data):
        head = head[: head.rfind(b"\n") + 1] or head
        head = head.decode(errors="ignore").encode()
    if mark := _mark(head):
        return mark
    if is_list(data):
        return "line"
    for name in _candidates(head):
        if _divides(_parts(head, PATTERNS[name])):
            return name
    return "none"


def mark_pattern(mark: str) -> bytes:
    """Return the pattern of a mark with the line ends around it; a rule stands on a line of its own."""
    text = re.escape(mark.encode())
    if _RULE.fullmatch(mark.encode()):
        return rb"(?:\A|\n)[ \t]*" + text + rb"[ \t]*(?=\n|\Z)"
    return rb"\n*" + text + rb"\n*"


def is_list(data: bytes) -> bool:
    """Return whether a text is a list with one item per line."""
    body = data.strip(b"\n")
    count = body.count(b"\n") + 1
    if count < _LINES or re.search(rb"\n[ \t]*\n", body):
        return False
    lines = body.split(b"\n") if count <= _SAMPLE else _spread(body)
    lengths = sorted(len(line.decode()) for line in lines)
    return lengths[-1] <= _LONGEST and lengths[len(lengths) // 2] < _MEDIAN and len(set(lines)) >= len(lines) / 2


def _mark(data: bytes) -> str | None:
    """Return the mark between documents, if there is one."""
    if tokens := Counter(_TOKEN.findall(data)):
        return tokens.most_common(1)[0][0].decode()
    rules = Counter(match.strip() for match in _RULE.findall(data))
    if not rules or (most := rules.most_common(1)[0])[1] < _FEWEST_RULES:
        return None
    parts = _parts(data, mark_pattern(most[0].decode()))
    return most[0].decode() if max(map(len, parts), default=0) < len(data) / 2 else None


def _candidates(data: bytes) -> list[str]:
    """Return what may stand between documents, the finest first."""
    breaks, blanks = (len(re.findall(PATTERNS[name], data)) for name in ("break", "blank"))
    # More line ends than blank lines: they wrap lines, or divide verses.
    return ["blank", "blanks", *(["break"] if breaks < blanks else [])] if blanks else []


def _parts(data: bytes, pattern: bytes) -> list[str]:
    return [part.decode() for part in re.split(pattern, data) if part.strip()]


def _divides(parts: Sequence[str]) -> bool:
    """Return whether the parts of a text are documents: many, different, and no more like their neighbours than others.

    Likeness is the cosine of the sets of words, weighted by how rare they are; two standard errors are added to it.
    """
    if len(parts) < _DOCUMENTS or len(set(parts)) < len(parts) / 2 or _is_structured(parts):
        return False
    words = [set(re.findall(r"\w+", part.lower())) for part in parts]
    counts = Counter(word for own in words for word in own)
    weight = {word: math.log(len(parts) / count) ** 2 for word, count in counts.items()}
    norms = [math.sqrt(sum(weight[word] for word in own)) or 1.0 for own in words]

    def likeness(one: int, other: int) -> float:
        return sum(weight[word] for word in words[one] & words[other]) / (norms[one] * norms[other])

    random = np.random.default_rng(0)
    firsts = random.permutation(len(parts) - 1)[:_PAIRS]
    shift = random.integers(len(parts) // 4, len(parts) - len(parts) // 4, len(firsts))
    near = np.array([likeness(first, first + 1) for first in firsts.tolist()])
    far = np.array([likeness(first, int(first + by) % len(parts)) for first, by in zip(firsts, shift, strict=True)])
    error = math.sqrt((near.var() + far.var()) / len(firsts))
    return bool(near.mean() + 2 * error <= _COHESION * far.mean() + _NO_RESEMBLANCE)


def _is_structured(parts: Sequence[str]) -> bool:
    """Return whether parts are the headings and sections of one text, or the speeches of a dialogue."""
    median = sorted(map(len, parts))[len(parts) // 2]
    headings = sum("\n" not in part and 3 * len(part) < median and part.rstrip()[-1].isalnum() for part in parts)
    code = sum(part.startswith("```") for part in parts)
    labels = sum(part.split("\n", 1)[0].rstrip().endswith(":") for part in parts)
    return headings + code > _HEADINGS * len(parts) or labels > len(parts) / 2


def _spread(body: bytes) -> list[bytes]:
    """Return lines at evenly spaced positions."""
    lines = {}
    for at in np.linspace(0, len(body) - 1, _SAMPLE).astype(int).tolist():
        start, stop = body.rfind(b"\n", 0, at) + 1, body.find(b"\n", at)
        lines[start] = body[start : stop if stop >= 0 else len(body)]
    return list(lines.values())
