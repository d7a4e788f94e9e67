"""What the README and the pages of docs/ tell a reader to type works, in an empty folder; only the minutes are cut."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import ROOT, Place, blocks
from tiny import shorten

from morphogen.core import plugins

_FIRST = ("README.md", "tutorials")  # which fit what other pages speak of
PAGES = sorted(
    [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")],
    key=lambda page: (not {page.name, page.parent.name} & set(_FIRST), page.parent.name == "tutorials", str(page)),
)
RUNNING = [page for page in PAGES if any(blocks(page))]
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Return the folder in which all pages run; a model that two of them fit by the same line is fitted once."""
    folder = tmp_path_factory.mktemp("reader")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        shorten(patch)
        yield Place(folder)


@pytest.mark.parametrize("page", RUNNING, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_a_page_tells_to_type(page: Path, place: Place) -> None:
    place.run(page)


def test_what_the_commands_made(place: Place) -> None:
    for page in RUNNING:  # where this test runs alone
        place.run(page)
    runs = place.folder / "runs"
    assert {line.split()[1] for line in place.done if line.startswith("morphogen")} == {
        *("fit", "sample", "evaluate", "impute", "inspect", "replay")
    }
    assert len(list((runs / "digit-samples").glob("0*.png"))) == 20
    rows = [line.split(",") for line in (runs / "some-people" / "rows.csv").read_text().splitlines()[1:]]
    assert len(rows) == 1000
    assert all(30 <= int(age) <= 40 and int(income) >= 2000 for _, age, _, income, _ in rows)
    assert all(int(savings) <= int(income) for _, _, _, income, savings in rows)
    even = (runs / "as-many-of-each-city" / "rows.csv").read_text().splitlines()[1:]
    cities = [line.split(",")[2] for line in even]
    assert sorted(map(cities.count, set(cities))) == [333, 333, 334]
    imputed = (runs / "whole-people" / "imputation-3" / "rows.csv").read_text().splitlines()
    assert len(imputed) == 301
    assert all(all(line.split(",")) for line in imputed)
    made = (runs / "made-customers" / "rows.csv").read_text()
    real = [line.split(",")[0] for line in (place.folder / "customers.csv").read_text().splitlines()[1:]]
    held_out = json.loads((runs / "customers" / "split.json").read_text())["held_out"]
    trained_on = {name for index, name in enumerate(real) if index not in held_out}
    assert not trained_on & {line.split(",")[0] for line in made.splitlines()[1:]}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        path = (page.parent / target) if target else page
        assert path.exists(), target
        if anchor:
            assert anchor in anchors(path), f"{target}#{anchor}"


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings that are the same on GitHub and by mkdocs, which merges dashes."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
    return {slug for slug in slugs if "--" not in slug}


def test_the_first_screen_says_what_was_measured() -> None:
    runs = json.loads((ROOT / "benchmarks" / "results" / "first_screen.json").read_text(encoding="utf-8"))["runs"]
    table = (ROOT / "README.md").read_text(encoding="utf-8").partition("| you have |")[2].partition("\n\n")[0]
    for line, name in zip(table.splitlines()[2:], ("rows", "pictures", "texts"), strict=True):
        assert f"{100 * runs[name]['figures']['two_sample']['value']:.0f} %" in line


def test_the_reference_is_what_the_code_says() -> None:
    pages = runpy.run_path(str(ROOT / "scripts" / "reference.py"))["pages"]()
    assert {path.name for path in (ROOT / "docs" / "reference").iterdir()} == set(pages)
    for name, text in pages.items():
        written = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")
        assert written == text, f"docs/reference/{name} is old; run python scripts/reference.py"


@pytest.mark.parametrize(
    "family", sorted(path.parent.name for path in (ROOT / "src" / "morphogen" / "families").glob("*/README.md"))
)
def test_family_readme_names_every_setting_and_equation(family: str) -> None:
    folder = ROOT / "src" / "morphogen" / "families" / family
    text = (folder / "README.md").read_text(encoding="utf-8")
    for entry in plugins.models(family).values():
        for name in (*entry.Options.model_fields, *entry.Controls.model_fields):
            assert f"`{name}`" in text, f"{family}/README.md does not mention {name}"
    code = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    cited = re.findall(r"README, equations? (\d+)(?: to (\d+))?", code)
    assert cited
    for first, last in cited:
        for number in range(int(first), int(last or first) + 1):
            assert f"({number})   " in text, f"{family}/README.md has no equation {number}"
