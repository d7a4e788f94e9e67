"""Texts from end to end: fit, sample with prompts and constraints, stream, replay, likelihoods, refusals."""

from __future__ import annotations

import itertools
import json
import random
import re
from pathlib import Path

import pytest
import torch

import morphogen
from morphogen import Pipeline, UserError, latents, likelihood
from morphogen.cli import run

QUICK = {"steps": 150, "batch": 16, "precision": "fp32", "previews": 1, "lr": 4e-3}
SMALL = {"width": 32, "layers": 2, "ngram_order": 3}
PEOPLE, DEEDS, THINGS = ("ann", "bob", "cid"), ("sees", "eats", "likes"), ("a pear", "the sea", "red tea")


def sentence(maker: random.Random) -> str:
    return f"{maker.choice(PEOPLE)} {maker.choice(DEEDS)} {maker.choice(THINGS)}."


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with one sentence on each line."""
    maker, file = random.Random(0), tmp_path_factory.mktemp("text") / "sentences.txt"
    file.write_text("".join(f"{number} {sentence(maker)}\n" for number in range(400)))
    return file


@pytest.fixture(scope="module")
def model(sentences: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("text-model") / "model"
    morphogen.fit(sentences, out=out, train=QUICK, options=SMALL, say=None)
    return out


@pytest.fixture(scope="module")
def pipe(model: Path) -> Pipeline:
    return morphogen.load(model)


def test_a_file_of_text_is_fitted_by_autoregressive(pipe: Pipeline, model: Path) -> None:
    assert (pipe.family, pipe.modality) == ("autoregressive", "text")
    assert pipe.metrics["training"]["validation_loss"] < 2.5
    split = json.loads((model / "split.json").read_text())
    assert split["train"] + len(split["validation"]) + len(split["held_out"]) == 400
    assert min(len(split["validation"]), len(split["held_out"])) > 5
    texts = pipe.sample(30, seed=1)
    assert all(isinstance(text, str) for text in texts)
    assert sum(bool(re.match(r"\d", text)) for text in texts) > 20


def test_the_same_seed_is_the_same_text_alone_in_a_batch_and_streamed(pipe: Pipeline) -> None:
    prompts = ["", "7 bob ", "12", "3 cid eats the "]
    together = pipe.sample(4, seed=5, prompt=prompts, max_length=60, temperature=0.9)
    for number, prompt in enumerate(prompts):
        settings = {"seed": 5 + number, "prompt": prompt, "max_length": 60, "temperature": 0.9}
        assert pipe.sample(1, **settings) == [together[number]]
        drafts = list(pipe.drafts(**settings))
        assert drafts[-1] == together[number]
        assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(drafts))
        assert together[number].startswith(prompt)


def test_a_model_trained_in_bf16_streams_past_its_context(model: Path) -> None:
    pipe = morphogen.load(model)
    pipe.artifact.precision = "bf16"
    length = 2 * pipe.codec.space.context
    settings = {"seed": 2, "min_length": length, "max_length": length}
    drafts = pipe.drafts(**settings)
    first = next(drafts)
    assert not torch.is_autocast_enabled("cpu"), "the caller computes in the model's precision between two drafts"
    *_, last = drafts
    assert [last] == pipe.sample(1, **settings)
    assert last.startswith(first)
    abandoned = pipe.drafts(**settings)
    next(abandoned)
    abandoned.close()
    assert not torch.is_autocast_enabled("cpu")


def test_text_constraints(pipe: Pipeline) -> None:
    pytest.importorskip("llguidance")
    hot = {"temperature": 2.0, "max_length": 80}
    assert all(
        re.fullmatch(r"[0-9]{3} (ann|bob)\.", text) for text in pipe.sample(20, regex=r"[0-9]{3} (ann|bob)\.", **hot)
    )
    choices = pipe.sample(20, prompt="7 ", choice=["ann", "bob sees"], **hot)
    assert set(choices) == {"7 ann", "7 bob sees"}
    for text in pipe.sample(20, seed=3, prompt="4", stop=["e", "bob"], **hot):
        assert not {"e", "bob"} & {text[at : at + n] for n in (1, 3) for at in range(1, len(text))}
        assert text.startswith("4")
    with pytest.raises(UserError, match="exclude each other"):
        pipe.sample(1, regex="a", choice=["b"])
    with pytest.raises(UserError, match="cannot spell any text that satisfies the regular"):
        pipe.sample(1, regex="[A-Z]+")


def test_a_streamed_text_only_grows(pipe: Pipeline) -> None:
    """A draft holds no beginning of a stop string, which the text would lose again."""
    for seed in range(10):
        drafts = list(pipe.drafts(seed=seed, prompt="7 ", stop=["bob sees", "ann e"], max_length=30))
        assert drafts[-1:] == pipe.sample(1, seed=seed, prompt="7 ", stop=["bob sees", "ann e"], max_length=30)
        assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(drafts))


def test_controls_of_tokens(pipe: Pipeline) -> None:
    token_bytes = pipe.codec.token_bytes  # type: ignore[attr-defined]
    digits = tuple(number for number, piece in enumerate(token_bytes) if piece.isdigit())
    texts = pipe.sample(10, allowed=(*digits, token_bytes.index(b" ")), max_length=20)
    assert all(re.fullmatch(r"[0-9 ]{20}", text) for text in texts)  # the end is not among them
    assert all("1" not in text for text in pipe.sample(10, banned=(token_bytes.index(b"1"),)))
    lengths = [len(text) for text in pipe.sample(10, min_length=25, max_length=30)]
    assert min(lengths) >= 25
    for text in pipe.sample(10, no_repeat_ngram=2, max_length=30, temperature=2.0):
        pairs = [text[at : at + 2] for at in range(len(text) - 1)]
        assert len(pairs) == len(set(pairs))
    with pytest.raises(UserError, match="allowed and banned together ban all"):
        pipe.sample(1, allowed=digits, banned=digits)


def test_bits_per_byte_are_those_of_the_likelihood(pipe: Pipeline) -> None:
    texts = ["7 bob eats a pear.", "8 ann sees the sea."]
    nats = likelihood.log_likelihood(pipe, texts)
    bits = likelihood.bits_per_dimension(pipe, texts)
    assert bits.tolist() == pytest.approx((-nats / torch.tensor([18.0, 19.0]) / 0.693147).tolist(), rel=1e-4)
    shuffled = likelihood.bits_per_dimension(pipe, ["ep .7aarats boe b", "ansssn . eaehtee 8 "])
    assert (shuffled > 1.5 * bits).all()


def test_command_line(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["--prompt", "7 bob", "--seed", "3", "--max-length", "40", "--top-p", "0.9"]
    assert run(["sample", str(model), "-n", "3", "--stop", ".", *settings, "--out", str(tmp_path / "out")]) == 0
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["00000.txt", "00001.txt", "00002.txt", "samples.json", "sheet.png"]
    assert run(["replay", str(model), str(tmp_path / "out")]) == 0
    assert "all 3 samples match" in capsys.readouterr().out
    assert run(["sample", str(model), "--stream", "--stop", ".", *settings]) == 0
    assert capsys.readouterr().out.rstrip("\n") == (tmp_path / "out" / "00000.txt").read_text().rstrip("\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--top-p", "0"], "--top-p is 0.0"),
        (["--top-p", "1.5"], "--top-p is 1.5"),
        (["--temperature", "-1"], "temperature"),
        (["--prompt", "É"], "É"),
        (["--regex", "(", "--max-length", "5"], "does not compile"),
        (["--json-schema", "absent.json"], "--json-schema is 'absent.json'"),
        (["--regex", "a", "--choice", "b"], "regex and choice exclude each other"),
        (["--steps", "3"], "unknown flag '--steps'"),
    ],
)
def test_mistakes_are_refused_in_one_line(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run(["sample", str(model), *arguments, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_prompts_longer_than_the_context_are_read_from_their_end(pipe: Pipeline) -> None:
    prompt = "7 bob eats a pear. " * 20
    assert len(prompt) > pipe.model.space.shape[0]
    (text,) = pipe.sample(1, prompt=prompt, max_length=10)
    assert text.startswith(prompt)


def test_labels(tmp_path: Path) -> None:
    """Each class has sentences of its own; guidance is there, and an unknown class is refused."""
    maker = random.Random(1)
    rows = [
        {"text": f"{name} {maker.choice(DEEDS)} {maker.choice(THINGS)} today and tomorrow", "who": name}
        for name in PEOPLE * 80
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pipe = morphogen.fit(file, out=tmp_path / "model", condition="who", train=QUICK, options=SMALL, say=None)
    texts = pipe.sample(30, condition={"who": [PEOPLE[n % 3] for n in range(30)]}, guidance=2.0)
    assert sum(text.startswith(PEOPLE[n % 3]) for n, text in enumerate(texts)) > 24
    with pytest.raises(UserError, match="did you mean 'ann'"):
        pipe.sample(1, condition={"who": "anna"})


def test_one_long_text_keeps_its_last_tenth(tmp_path: Path) -> None:
    maker = random.Random(2)
    file = tmp_path / "book.txt"
    file.write_text("\n\n".join(" ".join(sentence(maker) for _ in range(12)) for _ in range(200)))
    lines: list[str] = []
    train = {**QUICK, "steps": 140}
    pipe = morphogen.fit(
        file,
        out=tmp_path / "model",
        separator="none",
        train=train,
        options=SMALL,
        codec={"context": 64},
        say=lines.append,
    )
    assert any("one text" in line for line in lines)
    assert any("more examples for validation" in line for line in lines)
    assert "validation_loss" in pipe.metrics["training"]
    (text,) = pipe.sample(1, max_length=200)  # past the context
    assert len(text) == 200


def test_families_of_grids_refuse_text(sentences: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot model token sequences; choose one of autoregressive"):
        morphogen.fit(sentences, out=tmp_path / "model", family="diffusion", train=QUICK, say=None)
    digits = morphogen.fit("digits", out=tmp_path / "digits", family="vae", train={"steps": 1, "batch": 16}, say=None)
    with pytest.raises(UserError, match="unknown argument 'prompt'"):
        digits.sample(1, prompt="a")


def test_the_likeliest_texts_are_likelier(pipe: Pipeline) -> None:
    settings = {"prompt": "7 ", "max_length": 40}

    def bits(texts: list[str]) -> float:
        return float(likelihood.bits_per_dimension(pipe, texts).mean())

    ordinary, best = pipe.sample(12, **settings), pipe.sample(12, best_of=4, **settings)
    (likeliest,) = pipe.sample(1, beams=4, **settings)
    assert bits([likeliest]) <= bits(best) <= bits(ordinary)
    assert pipe.sample(1, seed=3, best_of=4, **settings) == best[3:4]
    pytest.importorskip("llguidance")
    (choice,) = pipe.sample(1, beams=3, choice=["ann", "zzz"], **settings)
    assert choice == "7 ann"


def test_gaps_of_texts_are_filled_in(sentences: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "model"
    morphogen.fit(
        sentences, out=out, family="masked_diffusion", train=QUICK, options={"width": 32, "layers": 2}, say=None
    )
    gaps = tmp_path / "gaps.txt"
    gaps.write_text("7 ___ sees the sea.\n12 cid ____ a pear.\n")
    line = ["--separator", "line"]
    assert run(["impute", str(out), str(gaps), *line, "--out", str(tmp_path / "filled")]) == 0
    first, second = (file.read_text() for file in sorted((tmp_path / "filled").glob("*.txt")))
    assert re.fullmatch(r"7 ... sees the sea\.\n?", first)
    assert re.fullmatch(r"12 cid .... a pear\.\n?", second)
    assert "_" not in first + second
    assert run(["impute", str(out), str(sentences), *line, "--out", str(tmp_path / "none")]) == 2
    assert "has no '_'" in capsys.readouterr().err
    one = tmp_path / "one.txt"
    one.write_text("7 ann sees *** sea.")
    assert run(["impute", str(out), str(one), "--mask", "*", "--out", str(tmp_path / "one")]) == 0
    assert re.fullmatch(r"7 ann sees [^*]{3} sea\.", (tmp_path / "one" / "00000.txt").read_text())
    assert run(["impute", str(out), str(gaps), "--mask", "ab", "--out", str(tmp_path / "none")]) == 2
    assert "2 characters" in capsys.readouterr().err


@pytest.mark.parametrize("family", ["diffusion", "gan"])
def test_other_families_model_the_latents_of_a_vae(family: str, sentences: Path, tmp_path: Path) -> None:
    inner = tmp_path / "vae"
    options = {"width": 32, "layers": 1, "latent_channels": 8, "prior": "normal"}
    pipe = morphogen.fit(sentences, out=inner, family="vae", train=QUICK, options=options, say=None)
    z = latents.encode(pipe, ["7 ann sees the sea.", "12 bob eats a pear."])
    assert z.shape == (2, 8)
    interpolated = latents.decode(pipe, torch.lerp(z[0], z[1], torch.linspace(0, 1, 5)[:, None]))
    assert [interpolated[0], interpolated[-1]] == latents.decode(pipe, z)
    bits = likelihood.bits_per_dimension(pipe, ["7 ann sees the sea."])
    assert 0 < float(bits) < 8
    out = tmp_path / family
    morphogen.fit(sentences, out=out, family=family, autoencoder=inner, train=QUICK | {"steps": 20}, say=None)
    texts = morphogen.load(out).sample(3, seed=1)
    assert all(isinstance(text, str) for text in texts)
    assert morphogen.load(out).sample(1, seed=2) == texts[1:2]
