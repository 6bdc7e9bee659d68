"""Tables, folders and lines of text, and the vocabulary that turns them into numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.errors import BadDocument, BadReference, NotFound
from partita.zoo import Vocabulary, open_data

ROWS = "".join(f"a good film number {n}\t1\na bad film number {n}\t0\n" for n in range(10))


def write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")
    return file


def test_a_table_alone_is_drawn(tmp_path: Path) -> None:
    """Row by row."""
    data = open_data(write(tmp_path / "reviews.tsv", ROWS), split="test")

    assert (data.kind, data.layout, data.classes, len(data)) == ("text", "table", ("0", "1"), 2)
    assert data.names[0].startswith("reviews.tsv:")


def test_tables_of_splits_are_the_splits(tmp_path: Path) -> None:
    """dev is val."""
    write(tmp_path / "train.tsv", ROWS)
    write(tmp_path / "dev.tsv", "so good\t1\nso bad\t0\n")
    data = open_data(tmp_path, split="val")

    assert (data.text(0), data.text(1), list(data.labels)) == ("so good", "so bad", [1, 0])


@pytest.mark.parametrize(
    "table",
    [
        "sentence\tlabel\nit is good\t1\nit is bad\t0\nvery good\t1\n",
        "label,text\n1,it is good\n0,it is bad\n1,very good\n",
        'review,sentiment\n"it is good",1\n"it is bad",0\nvery good,1\n',
        "idx,sentence,label\n7,it is good,1\n8,it is bad,0\n9,very good,1\n",
        "1\tit is good\n0\tit is bad\n1\tvery good\n",
        "it is good\t1\nit is bad\t0\n\nvery good\t1\n",
    ],
)
def test_columns_are_found_by_heading_or_by_value(tmp_path: Path, table: str) -> None:
    """Whichever comes first."""
    data = open_data(write(tmp_path / "rows.csv", table), split="train+val+test")

    assert data.counts == {"0": 1, "1": 2}
    assert data.text(0) == "it is good"


def test_labels_may_be_words_and_are_sorted(tmp_path: Path) -> None:
    """Numbers are sorted as numbers."""
    words = write(tmp_path / "w.tsv", "text\tlabel\na b\tspam\nc d\tham\n")
    numbers = write(tmp_path / "n.tsv", "text\tlabel\na b\t10\nc d\t9\n")

    assert open_data(words).classes == ("ham", "spam")
    assert open_data(numbers).classes == ("9", "10")


def test_a_single_quote_is_part_of_a_sentence_between_tabs(tmp_path: Path) -> None:
    """It opens nothing."""
    data = open_data(write(tmp_path / "q.tsv", 'sentence\tlabel\nsaid " once\t1\nand more\t0\n'))

    assert data.text(0) == 'said " once'


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("sentence\tlabel\ngood\t1\nlonely\nbad\t0\n", "line 3: 1 columns, not 2"),
        ("sentence\tlabel\ngood\t1\n\t0\n", "line 3: a text or label is empty"),
        ("sentence\tlabel\ngood\t1\tmore\n", "line 2: 3 columns"),
        ("sentence\tlabel\n", "has no rows"),
        ("sentence\tnumber\ngood\t1\n", "has no column of labels"),
        ("one text\tand another one\nmore of it\tand so on\n", "looks like labels"),
    ],
)
def test_a_table_with_wrong_rows_is_refused_when_opened(tmp_path: Path, table: str, problem: str) -> None:
    """With the line."""
    with pytest.raises(BadDocument) as caught:
        open_data(write(tmp_path / "t.tsv", table))
    assert problem in caught.value.problem


def test_text_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    """With the position."""
    (tmp_path / "train.tsv").write_bytes(b"sentence\tlabel\ngood\t1\ncaf\xe9\t0\n")
    with pytest.raises(BadDocument, match=r"train.tsv: is no UTF-8 text: .*position 25"):
        open_data(tmp_path)


def test_a_folder_of_reviews_is_read_file_by_file(tmp_path: Path) -> None:
    """What has no label takes no part; line breaks of web pages are blanks."""
    for split in ("train", "test"):
        for n in range(10):
            write(tmp_path / split / "pos" / f"{n}_9.txt", f"good<br /><br />film {n}")
            write(tmp_path / split / "neg" / f"{n}_1.txt", "bad film")
    write(tmp_path / "train" / "unsup" / "0_0.txt", "whatever")
    write(tmp_path / "imdb.vocab", "the\n")
    data = open_data(tmp_path, split="test")

    assert (data.classes, len(data)) == (("neg", "pos"), 20)
    assert data.text(10).split() == ["good", "film", "0"]


def test_plain_lines_have_no_labels(tmp_path: Path) -> None:
    """Empty ones do not count."""
    data = open_data(write(tmp_path / "words.txt", "\n".join(["one two", "", " three "] * 10)), split="train")

    assert (data.layout, data.classes, set(data.labels)) == ("lines", (), {-1})
    assert len(data) == 16


def test_a_sample_of_text_is_as_many_numbers_as_asked_for(tmp_path: Path) -> None:
    """Filled with 0, cut where it is longer; unknown words are 1."""
    words = Vocabulary(("<fill>", "<unknown>", "a", "film"))
    data = open_data(write(tmp_path / "r.tsv", ROWS), size=3, vocabulary=words)

    assert list(data[0][0]) == [2, 1, 3]
    assert list(data.encoded(words, 7)[0][0]) == [2, 1, 3, 1, 1, 0, 0]
    assert data[0][0].dtype == np.int64


def test_the_vocabulary_is_that_of_the_training_texts_for_every_split(tmp_path: Path) -> None:
    """Words of the test stay unknown; neither limit nor classes change it."""
    write(tmp_path / "train.tsv", ROWS)
    write(tmp_path / "test.tsv", "strange strange words\t1\nbad\t0\n")
    train, test = (open_data(tmp_path, split=s, limit=2) for s in ("train", "test"))

    assert train.vocabulary == test.vocabulary
    assert open_data(tmp_path, classes=["1"]).vocabulary == train.vocabulary
    assert list(test[0][0][:3]) == [1, 1, 1]


def test_a_vocabulary_holds_frequent_words_first(tmp_path: Path) -> None:
    """Of equally frequent ones, by the alphabet."""
    built = Vocabulary.built(["The cat, the DOG", "a cat", "a dog the"], min_count=2)

    assert built.words == ("<fill>", "<unknown>", "the", "a", "cat", "dog")
    assert Vocabulary.built(["a a b b b"], min_count=1, size=3).words == ("<fill>", "<unknown>", "b")
    assert "The" in Vocabulary.built(["The"], min_count=1, lower=False).words


@given(st.lists(st.text(), max_size=8), st.integers(1, 12), st.booleans())
def test_every_text_becomes_the_same_count_of_known_numbers(
    texts: list[str], length: int, lower: bool
) -> None:
    """Whatever is in it."""
    vocabulary = Vocabulary.built(texts, min_count=1, lower=lower)
    for text in [*texts, "never seen"]:
        numbers = vocabulary.encode(text, length)
        assert numbers.shape == (length,)
        assert 0 <= numbers.min() <= numbers.max() < len(vocabulary)


def test_a_vocabulary_is_saved_and_read(tmp_path: Path) -> None:
    """As JSON, and by `open_data`."""
    vocabulary = Vocabulary.built(["déjà vu, déjà vu"], min_count=1)
    vocabulary.save(tmp_path / "words.json")

    assert Vocabulary.read(tmp_path / "words.json") == vocabulary
    assert (
        open_data(write(tmp_path / "d" / "r.tsv", ROWS), vocabulary=tmp_path / "words.json").vocabulary
        == vocabulary
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d", "words.json"]


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ("{", "is not JSON"),
        ("[]", "is not an object"),
        (
            '{"words": 3, "size": 1}',
            "size: is no field of it; words: is not a list of texts; lower: is neither",
        ),
        ('{"partita":"vocabulary","version":1,"lower":true,"words":["a"]}', "the first two"),
        (
            '{"partita":"vocabulary","version":1,"lower":true,"words":["<fill>","<unknown>","a","a"]}',
            "'a' stands there twice",
        ),
    ],
)
def test_a_vocabulary_with_wrong_fields_is_refused(tmp_path: Path, document: str, problem: str) -> None:
    """All of them at once."""
    with pytest.raises(BadDocument) as caught:
        Vocabulary.read(write(tmp_path / "words.json", document))
    assert problem in caught.value.problem


def test_a_vocabulary_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    """With its name."""
    with pytest.raises(NotFound, match=r"words\.json"):
        Vocabulary.read(tmp_path / "words.json")


def test_the_digest_of_a_vocabulary_follows_its_words() -> None:
    """And whether capitals count."""
    words = ("<fill>", "<unknown>", "a")

    assert Vocabulary(words).digest == Vocabulary(words).digest != Vocabulary(words, lower=False).digest


def test_images_have_no_texts() -> None:
    """Asking is refused, not answered with nonsense."""
    with pytest.raises(BadReference, match="is no text"):
        open_data("made:shapes").text(0)
    with pytest.raises(BadReference, match="is no text"):
        _ = open_data("made:shapes").vocabulary
