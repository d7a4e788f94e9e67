"""The report of an evaluation: it is complete and self-contained, and texts of users stay texts."""

from __future__ import annotations

import html
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from morphogen.core.errors import UserError
from morphogen.core.results import (
    Check,
    ClassResult,
    ColumnResult,
    CopiedSpan,
    Dependence,
    Distribution,
    Figure,
    Grade,
    NotMeasured,
    Pair,
    Profile,
    Sharing,
)
from morphogen.data.sources import open_source
from morphogen.evaluation.report import charts
from morphogen.evaluation.report.axes import number
from morphogen.evaluation.report.material import Curve, Material
from morphogen.evaluation.report.page import duration, picture, plain_name, render, words, write_report
from morphogen.evaluation.results import Evaluation
from morphogen.modalities.image.judge import JUDGE

EVIL = "<script>alert(1)</script>"
EMPTY_TAGS = {"meta", "img", "br", "hr", "link", "wbr", "input"}
CSS = Path(charts.__file__).with_name("report.css").read_text(encoding="utf-8")


def figure(name: str = "FD", **changes: Any) -> Figure:
    fields: dict[str, Any] = {
        "key": name.lower(),
        "group": "fidelity",
        "value": 6.21,
        "better": "lower",
        "real": 1797,
        "generated": 5000,
        "seed": 12,
        "meaning": f"What {name} tells.",
    }
    return Figure(name=name, **{**fields, **changes})


FIGURES = [
    figure("FD[own-3f9a12cd]", low=5.73, high=6.94, real_data=4.82, baseline=312.4, extractor="own-3f9a12cd"),
    figure("FD[vit]", value=141.0, low=132.0, high=150.0, real_data=120.0, baseline=160.0, extractor="vit"),
    figure("recall", group="variety", value=0.87, low=0.85, high=0.89, real_data=0.93, baseline=0.11, better="higher"),
    figure("copies", group="copying", value=0.0, low=0.0, high=0.0011, real_data=0.00036),
    figure("attack", group="privacy", value=0.512, low=0.49, high=0.534, real_data=0.5, better="near"),
    figure("bits", group="likelihood", value=2.913, generated=0, real_data=None),
    figure("utility", group="utility", value=-1234.5, low=-1300.25, high=-1200.0, real_data=-1000.0, baseline=-9000.0),
    figure("speed", group="properties", value=0.0000412, baseline=1e300),
    figure("broken", group="properties", value=1e300, low=-1e300, high=1e308, baseline=1.0),
]


def evaluation(modality: str, **changes: Any) -> Evaluation:
    fields: dict[str, Any] = {
        "morphogen": "0.1.0",
        "model": "9f86d081" * 8,
        "family": "diffusion",
        "modality": modality,
        "data": "the held-out part of <b>photos</b>",
        "extractor": "own-3f9a12cd",
        "seed": 12,
        "real": 1797,
        "generated": 5000,
        "train": 14380,
        "controls": {"steps": 18, "guidance": 1.5, "solver": None, "limits": {"top": math.inf, "kept": [1, 2]}},
        "seconds": 94.3,
        "grade": Grade(level="poor", title="Far from real items & 1 fault", message="A classifier picks it in 99 %."),
        "sharing": [
            Sharing(
                what="items",
                answer="no",
                message="No: copies & repeats.",
                attacked=["31 of 5,000 are copies."],
                not_attacked=["linkage"],
                advice="Train on more items.",
            )
        ],
        "summary": "1 fault detected: copies & repeats.",
        "checks": [
            Check(name="blank", detected=False, message="None of 5,000 is blank."),
            Check(name="memory", detected=True, message="31 of 5,000 are copies."),
        ],
        "figures": FIGURES,
        "not_measured": [NotMeasured(name="FID", reason="its weights are not in the cache: give --weights")],
    }
    return Evaluation(**{**fields, **changes})


def shares(*values: float) -> Any:
    return np.array(values, dtype=np.float64)


def pictures() -> tuple[Evaluation, Material]:
    digits = open_source("digits")
    items = [digits.read(at) for at in range(6)]
    sheet = Image.new("RGB", (530, 530), "gray")
    pairs = [Pair(items[at], items[at + 3], 0.1 * at) for at in range(3)]
    curves = [Curve("loss", [0.0, 0.5, 1.0], [1.5, math.nan, 0.2]), Curve("nothing", [0.0], [math.nan])]
    bins = Distribution("brightness", ["0–10", "10–20", "missing"], shares(0.5, 0.4, 0.1), shares(0.6, math.nan, 0.1))
    classes = [ClassResult(name=EVIL, real_share=0.12, generated_share=0.11, accuracy=0.987, coverage=0.95)]
    classes.append(ClassResult(name="nine", real_share=0.1))
    material = Material(
        plural="pictures", generated=sheet, real=sheet, pairs=pairs, distributions=[bins], curves=curves
    )
    return evaluation("image", classes=classes), material


def texts() -> tuple[Evaluation, Material]:
    sheet = Image.new("RGB", (900, 300), "white")
    pairs = [Pair(f"Once {EVIL} upon a time", "Once & for all", 0.2), Pair("عن قطة " * 300, "word" * 500, 0.9)]
    kinds = Distribution(f"first word {EVIL}", [EVIL, "One", "The"], shares(0.5, 0.3, 0.2), shares(0.2, 0.3, 0.5))
    copied = [CopiedSpan("Then she said: ", f"a span {EVIL} \ud800 that was copied", " and went.")]
    copied.append(CopiedSpan("", "x" * 4000, ""))
    material = Material(
        plural="texts",
        preview_text=True,
        show_real=True,
        generated=sheet,
        convincing=sheet,
        unconvincing=sheet,
        real=sheet,
        pairs=pairs,
        distributions=[kinds],
        copied_spans=copied,
    )
    return evaluation("text", train=0), material


def rows() -> tuple[Evaluation, Material]:
    row = {"age": 39, "pay": 77516.5, EVIL: "Bachelors", "gone": None, "yes": True, "hole": math.nan}
    other = {**row, "age": 41, EVIL: "Masters"}
    columns = [ColumnResult(name=name, shape=0.98, shape_real_data=0.99) for name in row]
    columns.append(ColumnResult(name="worst", shape=0.5, trend=0.4, shape_real_data=0.99, trend_real_data=0.97))
    many = [
        Distribution(f"column {at}", [f"kind {n}" for n in range(30)], *[np.full(30, 1 / 30)] * 2) for at in range(14)
    ]
    sheet = Image.new("RGB", (1400, 300), "white")
    pairs = [
        Dependence(first="age", second=EVIL, real=0.4, generated=0.1, difference=0.3, detected=True),
        Dependence(first="age", second="worst", real=0.4, generated=0.4, difference=0.0, detected=False),
    ]
    course = Profile("pay by day · hour", ["0", "1", "2"], shares(1.0, 2.0, math.nan), shares(1.0, 1.0, 1.0))
    material = Material(
        plural="rows",
        preview_text=True,
        generated=sheet,
        real=sheet,
        pairs=[Pair(row, other, 0.3)] * 6,
        distributions=many,
        profiles=[course],
    )
    return evaluation("table", columns=columns, dependences=pairs), material


def nearly_empty() -> tuple[Evaluation, Material]:
    return evaluation("image", checks=[], figures=[], controls={}, train=0), Material()


def long_names() -> tuple[Evaluation, Material]:
    word = "unbroken" * 40
    long = [figure(f"FD[{word}]", extractor=word, value=1.23456789e8, low=1.2e8, high=1.3e8, real_data=-9.87654321e8)]
    fields: dict[str, Any] = dict.fromkeys(("family", "data", "extractor", "model", "summary"), word)
    fields |= {"figures": long, "controls": {word: word}, "classes": [ClassResult(name=word, real_share=1)]}
    fields |= {
        "checks": [Check(name=word, detected=True, message=word)],
        "not_measured": [NotMeasured(name=word, reason=word)],
    }
    fields |= {"columns": [ColumnResult(name=word, shape=1, shape_real_data=1)]}
    pairs = [Pair(word, word, 0.5), Pair({word: word}, {word: word}, 0.5)]
    kinds = Distribution(word, [word, "a"], shares(1, 0), shares(0, 1))
    return evaluation("text", **fields), Material(
        word, pairs=pairs, distributions=[kinds], copied_spans=[CopiedSpan(word, word, word)]
    )


CASES = {"pictures": pictures, "texts": texts, "rows": rows, "nearly empty": nearly_empty, "long names": long_names}


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return {name: render(*make()) for name, make in CASES.items()}


class Page(HTMLParser):
    """Its tags, balanced, their attributes, and its text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(source)
        self.close()
        assert not self.open
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in EMPTY_TAGS:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data + " "


@pytest.mark.parametrize("case", CASES)
def test_it_is_well_formed_and_fetches_nothing(pages: dict[str, str], case: str) -> None:
    page = Page(pages[case])
    assert pages[case].startswith("<!DOCTYPE html>")
    assert "http://" not in pages[case]
    assert "https://" not in pages[case]
    assert "url(" not in pages[case]
    assert "@import" not in pages[case]
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "embed", "a", "b", "em"}
    assert all((attributes.get("src") or "data:image/").startswith("data:image/") for _, attributes in page.tags)
    assert all(attributes.get("alt") for tag, attributes in page.tags if tag == "img")
    assert all(attributes.get("scope") for tag, attributes in page.tags if tag == "th")
    assert [attributes for tag, attributes in page.tags if tag == "html"] == [{"lang": "en"}]
    names = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(names) == len(set(names))
    assert {attributes["aria-labelledby"] for _, attributes in page.tags if "aria-labelledby" in attributes} <= set(
        names
    )


@pytest.mark.parametrize("case", CASES)
def test_nothing_that_is_not_there_is_shown_as_a_number(pages: dict[str, str], case: str) -> None:
    page = Page(pages[case])
    values = " ".join(
        value or "" for tag, attributes in page.tags for name, value in attributes.items() if name != "src"
    )
    assert not re.search(r"\b(nan|inf|None|Infinity)\b", page.text.replace("None of", ""))
    assert not re.search(r"\b(nan|inf|None|Infinity)\b", values)
    assert "e-05" not in page.text


@pytest.mark.parametrize("case", CASES)
def test_headings_do_not_skip_a_level(pages: dict[str, str], case: str) -> None:
    levels = [int(tag[1]) for tag, _ in Page(pages[case]).tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_the_grade_comes_first_and_faults_before_passed_checks(pages: dict[str, str]) -> None:
    text = Page(pages["pictures"]).text
    order = ["Model of pictures: diffusion", "the held-out part of <b>photos</b>", "Far from real items & 1 fault"]
    order += ["May I share the pictures?", "1 of 2 faults detected", "memory", "1 check passed", "blank"]
    order += ["The first ones, not selected", "Class by class", "Distributions", "During training", "ratio 0.100"]
    order += ["All figures", "Not measured", "FID", "--seed 12"]
    places = [text.index(one) for one in order]
    assert places == sorted(places)
    for value in ("1,797", "5,000", "14,380", "own-3f9a12cd", "9f86d081" * 8, "guidance 1.5", "top: ∞, kept: 1, 2"):
        assert value in text


def test_every_figure_is_shown_whole(pages: dict[str, str]) -> None:
    for case in ("pictures", "texts", "rows"):
        text = Page(pages[case]).text
        for one in FIGURES:
            row = text[text.index(f"{plain_name(one.name, one.extractor)} {one.meaning}") :]
            row = row[: row.index(" Real data ") + 22]
            assert "1,797 real" in row
            assert ("5,000 generated" in row) == bool(one.generated)
            assert "seed 12" in row
            assert one.extractor is None or one.extractor in row
            assert number(one.value) in row
            interval = f"{number(one.low)} to {number(one.high)}" if one.low is not None else "no interval"
            assert interval in row
            assert f"Baseline {number(one.baseline)} " in row
            assert f"Real data {number(one.real_data)} " in row + " "


def test_figures_of_two_extractors_share_no_table(pages: dict[str, str]) -> None:
    tables = re.findall(r'<table class="figures".*?</table>', pages["pictures"], re.DOTALL)
    assert len(tables) == 8  # of seven groups, and one more extractor
    assert not any("own-3f9a12cd" in table and "vit" in table for table in tables)


def test_what_was_not_measured_is_shown_on_a_page_with_nothing_else(pages: dict[str, str]) -> None:
    text = Page(pages["nearly empty"]).text
    assert "FID its weights are not in the cache: give --weights" in text
    for heading in ("detected", "Generated items", "All figures", "Class by class", "Distributions"):
        assert heading not in text
    assert "they could not be read" in text


def test_texts_and_names_of_users_stay_text(pages: dict[str, str]) -> None:
    for case in ("pictures", "texts", "rows"):
        assert "<script" not in pages[case]
        assert html.escape(EVIL) in pages[case].replace("&#39;", "'")
        assert EVIL in Page(pages[case]).text
    assert "and 1,200 more characters" in pages["texts"]  # of 7 × 300
    assert "and 1,000 more characters" in pages["texts"]
    assert "4,000 characters" in pages["texts"]


def test_rows_are_compared_cell_by_cell(pages: dict[str, str]) -> None:
    text = Page(pages["rows"]).text
    assert "4 of 6 cells equal, ratio 0.300" in text
    assert "age 39 ≠ 41 pay 77516.5 = 77516.5" in text
    assert f"{EVIL} Bachelors ≠ Masters gone – = – yes true = true hole – = –" in text
    assert text.index("worst") < text.index(EVIL, text.index("Column by column"))
    assert "2 more" in text


def test_items_are_shown_by_their_previews_or_as_text() -> None:
    preview = Image.new("L", (40, 20))
    page = Page(render(evaluation("sound"), Material(pairs=[Pair(preview, preview, 0.5)])))
    assert sum(tag == "img" for tag, _ in page.tags) == 2
    assert "Model of items" in page.text
    assert "(1, 2)" in Page(render(evaluation("sound"), Material(pairs=[Pair((1, 2), (3, 4), 0.5)]))).text


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16", "F", "CMYK"])
def test_pictures_of_any_mode_are_shown(mode: str) -> None:
    image = Image.new(mode, (500, 40))
    preview = picture(JUDGE.show([image], 0), (320, 320))
    assert (preview.width, preview.height, preview.coarse) == (320, 26, False)
    assert preview.uri.startswith("data:image/png;base64,")
    assert image.size == (500, 40)


def test_large_pictures_take_less(pages: dict[str, str]) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (400, 400, 3)).astype(np.uint8)
    assert picture(Image.fromarray(noise), (3200, 8000)).uri.startswith("data:image/webp;base64,")
    assert all(len(page) < 200_000 for page in pages.values())


def test_it_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", *texts())
    assert (tmp_path / "report.html").read_text(encoding="utf-8").endswith("</html>")
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(UserError, match="could not write"):
        write_report(tmp_path / "absent" / "report.html", *texts())


def test_settings_and_durations_in_words() -> None:
    assert [words(one) for one in (True, -0.5, -7, [], {}, "a", ("x", None))] == [
        *("true", "−0.5", "−7", "–", "–", "a", "x, –")
    ]
    assert [duration(one) for one in (0.42, 61.7, 7300)] == ["0.420 s", "1 min 2 s", "2 h 1 min"]


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_texts_stand_out_from_their_paper_in_light_dark_and_print() -> None:
    schemes = [
        dict(re.findall(r"--([\w-]+): (#\w+)", block)) for block in re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)
    ]
    assert len(schemes) == 3
    pairs = [(text, paper) for text in ("ink", "quiet", "generated") for paper in ("paper", "raised")]
    pairs += [("ink", "mark"), *((name, "paper") for name in ("fault", "fine", "fair"))]
    for name in ("fault", "fine", "fair"):
        pairs += [(name, f"{name}-paper"), ("ink", f"{name}-paper"), ("generated", f"{name}-paper")]
    for scheme in schemes:
        full_colours = {
            name: f"#{colour[1] * 2}{colour[2] * 2}{colour[3] * 2}" if len(colour) == 4 else colour
            for name, colour in scheme.items()
        }
        for text, paper in pairs:
            light, dark = sorted((luminance(full_colours[text]), luminance(full_colours[paper])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, paper)


BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(BROWSER is None, reason="no chromium is installed")
def test_pages_do_not_scroll_sideways_in_a_browser(pages: dict[str, str], tmp_path: Path) -> None:
    # In frames, for no window of chromium is as narrow as a phone.
    frames = "".join(
        f'<iframe width="{width}" height="900" style="border:0" srcdoc="{html.escape(page)}"></iframe>'
        for page in pages.values()
        for width in (400, 800, 1280)
    )
    probe = """<script>
    const overlap = (one, other) => one.right > other.left + 1 && other.right > one.left + 1
        && one.bottom > other.top + 1 && other.bottom > one.top + 1
    const measure = frame => {
        const root = frame.contentDocument.documentElement
        let wrong = 0
        for (const row of root.querySelectorAll(".figures tr")) {
            const boxes = [...row.children].map(cell => cell.getBoundingClientRect())
            boxes.forEach((box, at) => wrong += boxes.slice(0, at).some(other => overlap(box, other)))
            wrong += [...row.children].filter(cell => cell.scrollWidth > cell.clientWidth + 1).length
        }
        return [frame.contentWindow.innerWidth, root.scrollWidth, wrong]
    }
    onload = () => { document.title = [...document.querySelectorAll("iframe")].map(measure).join(";") }
    </script>"""
    outer = tmp_path / "outer.html"
    outer.write_text(f"<!DOCTYPE html><meta charset=utf-8><body>{frames}{probe}", encoding="utf-8", errors="replace")
    flags = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1400,1000")
    command = [BROWSER, *flags, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", outer.as_uri()]
    process = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    title = re.search("<title>(.*?)</title>", process.stdout)
    assert title, process.stderr
    measured = [tuple(map(int, one.split(","))) for one in title[1].split(";")]
    assert [inner for inner, _, _ in measured] == [400, 800, 1280] * len(pages)
    assert all(scroll <= inner for inner, scroll, _ in measured), measured
    assert not any(wrong for _, _, wrong in measured), measured  # cells that overlap or overflow
