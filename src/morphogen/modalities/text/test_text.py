import json
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from morphogen.core.errors import BadItem, UserError
from morphogen.core.noise import Noise
from morphogen.core.space import Grid, TokenSequence
from morphogen.modalities.text import files, tokenizer
from morphogen.modalities.text.codec import TextCodec
from morphogen.modalities.text.mask import Mask, find_spans
from morphogen.modalities.text.options import Options
from morphogen.modalities.text.preview import sheet
from morphogen.modalities.text.query import Query
from morphogen.testing import check_codec

VERSE = "Of shapes transformed to bodies strange I purpose to entreat; "
WITHOUT_BPE = pytest.mark.skipif(not tokenizer.bpe_available(), reason="needs the package tokenizers")
KINDS = ["character", "byte", pytest.param("bpe", marks=WITHOUT_BPE)]
anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def fit(items: list[str], tokenizer: str = "auto", context: int | None = None) -> TextCodec:
    vocab = 300 if tokenizer in ("auto", "bpe") else Options.default("vocab")
    return TextCodec.fit(iter([items]), TokenSequence, Options(tokenizer=tokenizer, context=context, vocab=vocab))


@cache
def fitted(tokenizer: str, context: int) -> TextCodec:
    return fit([VERSE * 3], tokenizer, context)


@settings(max_examples=60, deadline=None)
@given(items=st.lists(anything, min_size=1, max_size=5).filter(any), context=st.sampled_from([None, 4, 9]))
def test_characters_return_exactly(items, context):
    codec = fit(items, "character", context)
    x = codec.encode(items)
    assert codec.decode(x) == items
    assert x[:, 0].eq(codec.space.start).all()
    assert x.shape == (len(items), max(codec.space.context, 2 + max(map(len, items))))
    assert [codec.token_bytes[one] for one in x[0].tolist()][1 : 1 + len(items[0])] == [
        one.encode() for one in items[0]
    ]


@pytest.mark.parametrize("tokenizer", KINDS[1:])
def test_bytes_and_bpe_encode_anything(tokenizer):
    @settings(max_examples=60, deadline=None)
    @given(items=st.lists(anything, min_size=1, max_size=5))
    def returns(items):
        codec = fitted(tokenizer, 16)
        x = codec.encode(items)
        assert codec.decode(x) == items
        joined = [b"".join(codec.token_bytes[token] for token in row) for row in x.tolist()]
        assert joined == [item.encode() for item in items]
        assert codec.num_values(items).tolist() == [len(item.encode()) for item in items]

    returns()


@pytest.mark.parametrize("tokenizer", KINDS)
def test_the_contract_and_saving(tokenizer):
    texts = [VERSE[start : start + 3 + 7 * start] for start in range(6)]
    check_codec(TextCodec, texts, [TokenSequence], Options(tokenizer=tokenizer, context=24))
    codec = fit(texts, tokenizer)
    config, tensors = codec.state()
    again = TextCodec.from_state(json.loads(json.dumps(config)), tensors)
    assert again.token_bytes == codec.token_bytes
    assert again.notes == codec.notes


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda examples, owners: (examples[:-1], owners[:-1]), "token 9 of item 5 stands in no example"),
        (lambda examples, owners: (examples.flip(0), owners), "example 0 holds"),
        (lambda examples, owners: (examples, owners.flip(0)), "the items of examples fall"),
        (lambda examples, owners: (examples[:, 1:], owners), "examples of shape"),
    ],
)
def test_the_contract_sees_bad_examples(monkeypatch, spoil, message):
    pack = TextCodec.pack
    monkeypatch.setattr(TextCodec, "pack", lambda self, items, alone: spoil(*pack(self, items, alone)))
    with pytest.raises(AssertionError, match=message):
        check_codec(TextCodec, [VERSE[8 * at :][: 5 + at] for at in range(6)], [TokenSequence], Options(context=9))


@settings(max_examples=100, deadline=None)
@given(
    items=st.lists(st.text("abc", max_size=60), max_size=12),
    context=st.integers(4, 20),
    alone=st.booleans(),
)
def test_packing_covers_all_and_mixes_nothing(items, context, alone):
    codec = fit(["abc"], "character", context)
    examples, owners = codec.pack(items, alone)
    texts = ["".join("abc<>"[token] for token in example) for example in examples.tolist()]
    whole = [f"<{item}>" for item in items]
    predicted = [np.zeros(len(one), int) for one in whole]
    for at, (text, owner) in enumerate(zip(texts, owners.tolist(), strict=True)):
        begin = context // 2 * owners.tolist()[:at].count(owner)
        assert begin == 0 or begin + context - context // 2 < len(whole[owner])  # something is new
        predicted[owner][begin + 1 : begin + context] += 1
        if begin + context < len(whole[owner]):
            assert text == whole[owner][begin : begin + context]
            continue
        count = 1 if alone else 1 + text[len(whole[owner]) - begin :].count("<")
        assert text == "".join(whole[owner : owner + count])[begin:].ljust(context, ">")
        for item in range(owner + 1, owner + count):
            predicted[item][1:] += 1
        if not alone and owner + count < len(whole):  # the next one did not fit
            assert len("".join(whole[owner : owner + count + 1])) - begin > context
    assert all((counts[1:] >= 1).all() and counts[0] == 0 for counts in predicted)
    assert examples.shape == (len(owners), context)
    assert (owners.diff() >= 0).all()


def test_a_long_document_is_read_twice():
    codec = fit([VERSE * 9], context=32)
    rows, _ = codec.pack([VERSE * 9], alone=False)
    text = f"<{VERSE * 9}>"
    assert len(rows) == -(-(len(text) - 32) // 16) + 1
    assert codec.decode(rows[1:2]) == [text[16:48]]


def test_ends_stand_at_any_place_of_a_window():
    codec = fit([VERSE * 9], context=32)
    rows, _ = codec.pack([(VERSE * 9)[: 100 + more] for more in range(16)], alone=True)
    ends = (rows == codec.space.end).int().argmax(1)[rows[:, -1] == codec.space.end]
    assert sorted(ends.tolist()) == list(range(16, 32))


def requested(codec: TextCodec, count: int, **query):
    (request,) = codec.requests(Query(**query), Noise.consecutive(0, count))
    return request


def test_prompts():
    codec = fit([VERSE], context=16)
    assert requested(codec, 3).given is None
    assert requested(codec, 3, prompt="").given is None
    partial = requested(codec, 3, prompt=("Of", "", "shapes transformed")).given
    assert partial.x.shape == (3, 19)
    assert partial.known.sum(1).tolist() == [3, 1, 19]
    assert not partial.x[partial.known].eq(codec.space.end).any()
    assert requested(codec, 2, prompt="Of").given.known.sum(1).tolist() == [3, 3]
    with pytest.raises(UserError, match="2 prompts were given for 3 samples; give one, or one for each"):
        requested(codec, 3, prompt=("a", "b"))
    with pytest.raises(UserError, match="takes no condition 'mood'"):
        requested(codec, 3, condition={"mood": "sad"})


def test_samples_are_cut_at_stop_strings():
    codec = fit([VERSE, "c"])
    samples = codec.encode(["Of shapes; of", "a; b; c", "none"])
    request = requested(codec, 3, prompt=("Of", "a; b", ""), stop=("; ", ";"))
    assert [len(constraints) for constraints in request.token_constraints] == [1, 1, 1]
    assert codec.finish(samples, request) == ["Of shapes", "a; b", "none"]
    (last,) = [part for part in request.split(2) if len(part) == 1]
    assert codec.finish(samples[2:], last) == ["none"]
    assert codec.finish(samples, requested(codec, 3)) == codec.decode(samples)


def test_queries(tmp_path):
    with pytest.raises(ValueError, match="regex and choice exclude each other"):
        Query(regex="a", choice=("b",))
    path = tmp_path / "schema.json"
    path.write_text('{"type": "integer"}')
    assert Query(json_schema=str(path)).json_schema == '{"type": "integer"}'
    path.write_text(long := json.dumps({"enum": ["a" * 100] * 3}))
    assert Query(json_schema=str(path)).json_schema == Query(json_schema=long).json_schema == long
    for absent in ("absent.json", "false.json"):
        with pytest.raises(ValueError, match=r"a JSON schema or the path of its file.*No such file"):
            Query(json_schema=absent)


def test_masks_are_marks():
    assert find_spans(["a__b_", "_"], Mask()) == [[(1, 3), (4, 5)], [(0, 1)]]
    assert find_spans(["a.b"], Mask(mask=".")) == [[(1, 2)]]
    for mask, message in ((Mask(), "document 0 .'a.b'. has no '_'"), (Mask(mask="__"), "has 2 characters")):
        with pytest.raises(UserError, match=message):
            find_spans(["a.b"], mask)


@pytest.mark.parametrize("tokenizer", KINDS)
def test_what_overlaps_a_missing_span_is_unknown(tokenizer):
    items = ["né a Paris", "entreat"]
    codec = fit([*items, VERSE * 3], tokenizer)
    x, known = codec.observe(items, [[(0, 2), (5, 6)], [(6, 7)]])
    first = b"".join(codec.token_bytes[one] for one in x[0][known[0]].tolist())
    assert all(byte not in first for byte in "né".encode())
    assert x[0][known[0]][0] == codec.space.start
    assert known[0][x[0].eq(codec.space.end)].all()
    if tokenizer == "character":
        assert (~known).sum(1).tolist() == [3, 1]
    if tokenizer == "byte":
        assert (~known).sum(1).tolist() == [4, 1]
    for spans, message in (
        ([[(0, 1)]], "1 masks were given for 2"),
        ([[(0, 1)], [(5, 8)]], "document 1 has 7 characters, and the missing span is 5 to 8"),
        ([[(0, 1)], [(3, 3)]], "the missing span is 3 to 3"),
        ([[(0, 1)], []], "document 1 has no span that is missing"),
    ):
        with pytest.raises(UserError, match=message):
            codec.observe(items, spans)


def test_what_stands_after_the_end_or_is_broken():
    codec = fitted("byte", 16)
    start, end = codec.space.start, codec.space.end
    rows = torch.tensor([[start, 65, end, 66, end], [0xC3, 65, 0xFF, 66, 67], [end, end, end, end, start]])
    assert codec.decode(rows) == ["A", "\ufffdA\ufffdBC", ""]
    assert codec.decode(torch.empty(0, 7, dtype=torch.long)) == []
    assert codec.encode([]).shape == (0, 16)
    rows, owners = codec.pack([], alone=True)
    assert (rows.shape, owners.shape) == ((0, 16), (0,))


def test_what_auto_takes():
    names = ["emma", "olivia", "ava"]
    codec = fit(names)
    assert codec.space == TokenSequence(7 + 2, 8, end=8, start=7)
    assert codec.notes[0] == "3 documents of 13 characters, the median 4, at most 6"
    assert "each of 7 distinct characters is a token" in codec.notes
    assert codec.notes[-1] == "a context of 8 tokens: the longest document fits"
    assert fit([VERSE * 9]).space.context == 256
    assert "windows that overlap" in fit([VERSE * 9]).notes[-1]
    many = ["".join(map(chr, range(0x4E00, 0x4E00 + 300)))]
    codec = fit(many)
    assert codec.space.vocab == 258
    assert "each byte is a token, because there are 300 distinct characters" in codec.notes
    assert fit(["a"]).space.context == 4
    assert fit(names, context=64).space.context == 64


def test_bpe_is_trained_on_an_even_share_of_much_text(monkeypatch):
    pytest.importorskip("tokenizers")
    from morphogen.modalities.text import inference

    assert "windows that overlap" in fit([VERSE * 900], "bpe", context=9000).notes[-1]
    monkeypatch.setattr(inference, "_LARGE", 1000)
    monkeypatch.setattr(inference, "_ALPHABET", 3)
    monkeypatch.setattr(inference, "_BOUND", 3000)
    texts = [f"{VERSE}{number}" for number in range(200)]
    codec = fit(texts)
    assert len(codec.token_bytes) > 258
    assert "byte-level BPE tokens trained on these texts" in codec.notes[1]
    statistics = inference.CorpusStatistics(Options())
    for start in range(0, 200, 7):
        statistics.add(texts[start : start + 7])
    assert 5 < len(statistics._excerpts) <= 30
    assert statistics._excerpts[0] == texts[0]
    assert texts.index(statistics._excerpts[-1]) > 150
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    assert "pip install 'morphogen[text]'" in fit(texts).notes[1]
    with pytest.raises(UserError, match=r"needs the package 'tokenizers': pip install 'morphogen\[text\]'"):
        fit(texts, "bpe")


def test_what_has_no_token_is_named():
    codec = fit(["abc", "cab"])
    with pytest.raises(UserError, match=r"document 1 holds 'é' \(U\+00E9\) at character 2, and none of the texts"):
        codec.encode(["a", "abé"])
    with pytest.raises(UserError, match=r"prompt 0 holds '🙂' \(U\+1F642\) at character 0.*tokenizer byte"):
        requested(codec, 1, prompt="🙂")
    for name in ("character", "byte"):
        with pytest.raises(UserError, match=r"document 1 holds '\\ud83d' \(U\+D83D\) at character 1, which is half"):
            fit(["a", "a\ud83d"], name)
    with pytest.raises(UserError, match="no readable text to learn from"):
        fit([""])
    with pytest.raises(UserError, match="no readable text to learn from"):
        TextCodec.fit(iter([]), TokenSequence)
    with pytest.raises(UserError, match="texts cannot be encoded as grids of numbers; only as token sequences"):
        TextCodec.fit(iter([["a"]]), Grid)
    with pytest.raises(UserError, match=r"codec\.tokenizer is 'bite', which is no file; did you mean 'byte'"):
        fit(["a"], "bite")


def test_tokenizer_files(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    from tokenizers import models, normalizers, pre_tokenizers, trainers

    def train(model, pre, special=(), **settings):
        one = tokenizers.Tokenizer(model)
        one.pre_tokenizer = pre
        kind = trainers.BpeTrainer if isinstance(model, models.BPE) else trainers.WordPieceTrainer
        one.train_from_iterator(
            [VERSE], kind(vocab_size=400, show_progress=False, special_tokens=[*special], **settings)
        )
        return one

    path = tmp_path / "tokenizer.json"
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    level = pre_tokenizers.ByteLevel(add_prefix_space=True)
    own = train(models.BPE(), level, ["<|endoftext|>"], initial_alphabet=alphabet)
    own.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    own.enable_truncation(3)
    own.save(str(path))
    codec = fit([VERSE], str(path))
    texts = ["<|endoftext|> is Text, ﬁne", " and", VERSE]
    assert codec.decode(codec.encode(texts)) == texts
    assert TextCodec.from_state(*codec.state()).encode(texts).equal(codec.encode(texts))
    assert str(path) in codec.notes[1]
    for content, message in (
        ("{", r"tokenizer\.json is no tokenizer\.json"),
        ("{}", r"tokenizer\.json is no tokenizer\.json"),
        ("[1]", r"tokenizer\.json is no tokenizer\.json"),
        (train(models.BPE(), level).to_str(), "has no token for the byte 0x"),
        (train(models.WordPiece(unk_token="?"), pre_tokenizers.Whitespace(), ["?"]).to_str(), "kind WordPiece"),
        (train(models.BPE(), pre_tokenizers.Whitespace()).to_str(), "not byte-level BPE"),
    ):
        path.write_text(content)
        with pytest.raises(UserError, match=message) as raised:
            fit([VERSE], str(path))
        assert "\n" not in str(raised.value)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"is no tokenizer.json \('utf-8' codec"):
        fit([VERSE], str(path))


def test_it_is_fast():
    names = [f"name{number}" for number in range(30_000)]
    for items in ([VERSE * 17_000], names):
        for name in ("character", "byte"):
            codec = fit([*items[:1], "0123456789"], name, 64)
            before = time.process_time()
            codec.pack(items, alone=False)
            codec.pack(items, alone=True)
            assert time.process_time() - before < 2


def test_a_vocabulary_without_bpe_is_refused():
    with pytest.raises(ValueError, match="vocab has no effect with tokenizer byte"):
        Options(tokenizer="byte", vocab=300)


def test_options_need_no_torch():
    code = "import morphogen.modalities.text.modality, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("né\r\nb\n".encode(), "né\nb\n"),
        (b"\xef\xbb\xbfa", "a"),
        ("né\r\n".encode("utf-16"), "né\n"),
        (b"\xfe\xff" + "漢".encode("utf-16-be"), "漢"),
        ("x🙂".encode("utf-32"), "x🙂"),
        (b" lone\rreturn", " lone\rreturn"),
    ],
)
def test_encodings_are_told_apart(tmp_path, data, text):
    path = tmp_path / "a.txt"
    path.write_bytes(data)
    assert files.read(path, "a.txt") == text
    assert files.read(data, "row 1") == text


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a\nb\ncaf\xe9\n", r"line 3 holds the byte 0xE9, which is not UTF-8 there, but perhaps Windows-1252: save"),
        ("é\n".encode() + b"b\nna\xefve", r"line 3 holds the byte 0xEF.*though lines before it are: mend"),
        (b"a\nb\0c", "line 2 holds a NUL byte"),
        ("ab".encode("utf-16-le"), "UTF-16 without its mark"),
        (b"\xff\xfea", "is marked as UTF-16 and is not"),
        (b"", "is empty; remove it"),
        (b" \r\n\t", "is empty; remove it"),
        (b"\xef\xbb\xbf", "is empty; remove it"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path, data, message):
    path = tmp_path / "a.txt"
    path.write_bytes(data)
    with pytest.raises(BadItem, match=message) as raised:
        files.read(path, str(path))
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_blocks_hide_no_broken_byte(monkeypatch):
    monkeypatch.setattr(files, "_BLOCK", 3)
    data = ("aé漢🙂\n" * 5).encode()
    assert files.plain(data, "x") == data
    for place in range(len(data)):
        broken = data[:place] + b"\xff" + data[place:]
        with pytest.raises(UnicodeDecodeError) as expected:
            broken.decode()
        byte, line = broken[expected.value.start], broken.count(b"\n", 0, expected.value.start) + 1
        with pytest.raises(BadItem, match=f"line {line} holds the byte 0x{byte:02X}"):
            files.plain(broken, "x")
    with pytest.raises(BadItem, match="line 1 holds the byte 0xC3"):
        files.plain(b"abc\xc3", "x")


def test_texts_in_memory():
    assert files.checked("a\r\nb", "x") == "a\nb"
    for text, message in (("", "empty"), (" \n", "empty"), ("a\0", "NUL"), ("\ud83d", r"half a character, U\+D83D")):
        with pytest.raises(BadItem, match=f"row 3.*{message}"):
            files.checked(text, "row 3")
    with pytest.raises(BadItem, match="row 3 is no text but a ndarray"):
        files.read(np.zeros(3), "row 3")
    with pytest.raises(BadItem, match=r"gone\.txt does not exist"):
        files.read(Path("gone.txt"), "gone.txt")


def test_written_files_are_read_back(tmp_path):
    texts = ["a\nb", "é 漢", "x" * 9]
    paths = files.write(texts, tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["00000.txt", "00001.txt", "00002.txt"]
    assert [files.read(path, "x") for path in paths] == texts
    assert sorted(paths[0].parent.iterdir()) == paths
    with pytest.raises(UserError, match="could not make"):
        files.write([], paths[0])


def test_the_sheet_is_legible(monkeypatch):
    from morphogen.modalities.text import preview

    for fonts in (preview._FONTS, ()):
        monkeypatch.setattr(preview, "_FONTS", fonts)
        preview._font.cache_clear()
        long = sheet([VERSE * 50] * 30)
        assert 300 < long.width < 3000
        assert 300 < long.height < 3000
        assert np.asarray(long).min() == 0
        assert np.asarray(sheet(["é\t漢\u202e\0"])).min() == 0
        assert sheet([]).width > 0
        short = sheet([f"name{number}" for number in range(100)])
        assert 300 < short.width < 1000
    preview._font.cache_clear()
