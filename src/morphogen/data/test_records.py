"""Records of csv files: what divides their cells."""

from __future__ import annotations

from pathlib import Path

import pytest

from morphogen.data.records import csv_head


@pytest.mark.parametrize(
    ("text", "names", "first"),
    [
        ("text,label\na;b;c,x\nd;e,y\n", ["text", "label"], "a;b;c"),
        ("text, such as letters;label\na, b;x\nc;y\nd, e, f;x\n", ["text, such as letters", "label"], "a, b"),
        ("text|note, which, has, commas\none|a\ntwo|b, c\n", ["text", "note, which, has, commas"], "one"),
        ('text\tlabel\n"a\tb, c, d"\tx\n', ["text", "label"], "a\tb, c, d"),
        ('text,label\n"two\nlines; and; more",x\n', ["text", "label"], "two\nlines; and; more"),
        ("sep=;\ntext;label\na,b;x\n", ["text", "label"], "a,b"),
        ("text\na;b\nc\n", ["text"], "a;b"),
        ("text\na, b\nc, d, e\n", ["text"], "a"),  # of one column a comma still divides, as csv says
    ],
)
def test_the_delimiter_divides_all_rows_alike(text: str, names: list[str], first: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text)
    head = csv_head(tmp_path / "a.csv")
    assert head.names == names
    assert head.records[0][names[0]] == first
