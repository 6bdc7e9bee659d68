"""Tables of numbers and categories: headings, labels, what is missing, what is wrong."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partita.errors import BadDocument, BadReference, PartitaError
from partita.zoo import DataSet, open_data
from partita.zoo import data_table_fill as fill
from partita.zoo import data_table_rows as rows

ALL = "train+val+test"
FLOWERS = "length,width,colour,class\n" + "".join(
    f"{n}.5,{n % 3},{('red', 'blue')[n % 2]},{('rose', 'tulip')[n % 2]}\n" for n in range(20)
)
HOUSES = "id,area,rooms,price\n" + "".join(f"{n},{30 + n},{n % 5},{1000.5 * n}\n" for n in range(40))


def write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")
    return file


def whole(file: Path, query: str = "", **options: object) -> DataSet:
    return open_data(f"{file}{query}", split=ALL, **options)  # type: ignore[arg-type]


def problems(file: Path, query: str = "") -> tuple[str, ...]:
    with pytest.raises(BadDocument) as caught:
        whole(file, query)
    return caught.value.problems


def test_a_table_of_numbers_and_categories_opens(tmp_path: Path) -> None:
    """Categories are numbered by the order of their texts."""
    data = whole(write(tmp_path / "f.csv", FLOWERS))

    assert (data.kind, data.layout, data.shape, data.classes) == ("table", "table", (3,), ("rose", "tulip"))
    assert data.counts == {"rose": 10, "tulip": 10}
    assert [tuple(x) for x, _ in (data[0], data[1])] == [(0.5, 0, 1), (1.5, 1, 0)]
    assert [(c.name, c.categories) for c in data.columns] == [
        ("length", ()), ("width", ()), ("colour", ("blue", "red")),
    ]  # fmt: skip
    assert data.names[0] == "f.csv:2"


def test_numbers_to_predict_are_targets(tmp_path: Path) -> None:
    """With fractions they are no classes; row numbers are not learnt from."""
    data = whole(write(tmp_path / "h.csv", HOUSES), "?label=price")

    assert (data.shape, data.classes, set(data.labels)) == ((2,), (), {-1})
    assert data.targets.dtype == np.float32
    assert list(data.targets[:3]) == [0.0, 1000.5, 2001.0]
    assert [y.shape for _, y in data.batches(32)] == [(32,), (8,)]


def test_several_targets_are_a_row_each(tmp_path: Path) -> None:
    """In the order asked for."""
    data = whole(write(tmp_path / "h.csv", HOUSES), "?targets=price,rooms")

    assert data.targets.shape == (40, 2)
    assert (data.shape, list(data[1][1])) == ((1,), [1000.5, 1.0])


def test_the_label_is_an_argument_too(tmp_path: Path) -> None:
    """And it may not contradict the reference."""
    file = write(tmp_path / "h.csv", HOUSES)

    assert whole(file, label="rooms").classes == ("0", "1", "2", "3", "4")
    with pytest.raises(BadReference, match="'price' behind"):
        whole(file, "?label=price", label="rooms")


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        ([1, 2, 3] * 10, ("1", "2", "3")),
        ([-1, 1] * 10, ("-1", "1")),
        (["1.0", "0.0"] * 10, ("0", "1")),
        ([*range(50)] * 2, tuple(map(str, range(50)))),
        ([n * 7 for n in range(50)] * 2, ()),
        ([0.5, 1] * 10, ()),
    ],
)
def test_whole_numbers_are_classes_where_they_are_few_or_without_gaps(
    tmp_path: Path, values: list[object], classes: tuple[str, ...]
) -> None:
    """Prices are not."""
    text = "a,label\n" + "".join(f"1,{v}\n" for v in values)

    assert whole(write(tmp_path / "t.csv", text)).classes == classes


@pytest.mark.parametrize(
    ("text", "shape", "classes"),
    [
        ("1,2,a\n3,4,b\n5,6,a\n", (2,), ("a", "b")),
        ("\ufeff1;2;a\n3;4;b\n", (2,), ("a", "b")),
        ('"x 1";"class"\n1;"a;b"\n2;"c"\n', (1,), ("a;b", "c")),
        ("x\ty\n1\t0\n2\t1\n", (1,), ("0", "1")),
        ("y,0,1\n1,5,6\n0,7,8\n", (2,), ("0", "1")),
        (",x,label\n0,5,a\n1,6,b\n", (1,), ("a", "b")),
        ("X,Target\n5,a\n6,b\n", (1,), ("a", "b")),
    ],
)
def test_headings_and_separators_are_found(
    tmp_path: Path, text: str, shape: tuple[int, ...], classes: tuple[str, ...]
) -> None:
    """Quotes and a mark of byte order are no part of them."""
    data = whole(write(tmp_path / "t.csv", text))

    assert (data.shape, data.classes) == (shape, classes)


def test_a_table_without_heading_takes_columns_by_number(tmp_path: Path) -> None:
    """From 1, or from the end; without a name the label is not guessed among numbers."""
    file = write(tmp_path / "t.csv", "0,1.5,7\n1,2.5,8\n")

    assert (whole(file, "?label=1").classes, whole(file, "?label=-1").classes) == (("0", "1"), ("7", "8"))
    assert problems(file) == ("no column is the label by its values",)


def test_columns_are_chosen_and_left_out(tmp_path: Path) -> None:
    """By heading, in the order asked for."""
    file = write(tmp_path / "f.csv", FLOWERS)

    assert [c.name for c in whole(file, "?columns=width,length").columns] == ["width", "length"]
    assert [c.name for c in whole(file, "?without=colour,WIDTH").columns] == ["length"]
    assert whole(file, "?categories=width").columns[1].categories == ("0", "1", "2")


def test_every_wrong_row_is_told_at_once(tmp_path: Path) -> None:
    """With its line, which counts lines inside quotes."""
    file = write(
        tmp_path / "t.csv", 'a,b,label\n1,"x\ny",0\n1,x\n1e999,x,1\n1,x,1,4\nword,x,0\n2,x,\n3,x,1\n4,y,0\n'
    )

    assert problems(file) == (
        "line 4: 2 columns, not 3",
        "line 6: 4 columns, not 3",
        "line 5: a: '1e999' is no number",
        "line 7: a: 'word' is no number",
        "line 8: label is missing",
    )


def test_of_many_wrong_rows_twenty_are_told(tmp_path: Path) -> None:
    """And the others counted."""
    found = problems(write(tmp_path / "t.csv", "a,label\n1,0\n2,1\n" + "1,2,3\n" * 25))

    assert (len(found), found[0], found[-1]) == (21, "line 4: 3 columns, not 2", "and 5 more")


def test_what_is_missing_is_refused_or_filled_or_left_out(tmp_path: Path) -> None:
    """A missing category is one of its own."""
    file = write(tmp_path / "t.csv", "a,b,label\n1,x,0\nNA,,1\n3,y,0\n?,x,1\n")

    assert problems(file) == ("line 3: a is missing", "line 5: a is missing")
    assert [tuple(whole(file, "?missing=mean")[n][0]) for n in range(2)] == [(1, 1), (2, 0)]
    assert [whole(file, "?missing=-1")[n][0][0] for n in range(4)] == [1, -1, 3, -1]
    assert whole(file, "?missing=drop").names == ("t.csv:2", "t.csv:4")
    assert whole(file, "?missing=0").columns[1].categories == ("", "x", "y")


def test_a_mean_is_that_of_the_training_rows(tmp_path: Path) -> None:
    """Nothing of the test is learnt."""
    write(tmp_path / "train.csv", "a,label\n1,0\n3,1\n,0\n")
    write(tmp_path / "test.csv", "label,a\n0,\n1,100\n")
    test = open_data(f"{tmp_path}?missing=mean", split="test")

    assert [x[0] for x, _ in (test[0], test[1])] == [2, 100]


def test_files_of_splits_share_categories_and_classes(tmp_path: Path) -> None:
    """Whichever comes first; a file without labels takes no part."""
    write(tmp_path / "train.csv", "a,label\nx,no\nz,no\n")
    write(tmp_path / "val.csv", "label,a\nyes,y\n")
    write(tmp_path / "test.csv", "a\nx\n")
    data = open_data(tmp_path, split="val")

    assert (data.classes, data[0][0][0], data[0][1], data.names) == (("no", "yes"), 1, 1, ("val.csv:2",))
    assert data.columns[0].categories == ("x", "y", "z")


def test_a_split_that_lacks_a_column_is_refused(tmp_path: Path) -> None:
    """By the file and the column."""
    write(tmp_path / "train.csv", "a,b,label\n1,2,0\n")
    write(tmp_path / "test.csv", "a,label\n1,0\n")
    with pytest.raises(BadDocument, match=r"test\.csv: line 1: there is no column 'b'"):
        open_data(tmp_path)


@pytest.mark.parametrize(
    ("query", "problem", "fix"),
    [
        ("?label=clas", "label: there is no column 'clas'", "did you mean class"),
        ("?colums=a", "colums: is no option", "options are"),
        ("?missing=never&label=", "label: names nothing; missing: 'never'", "options are"),
        ("?label=class&targets=width", "label, targets: are two answers", "options are"),
        ("?columns=width&without=width", "has no column to learn from", "choose others"),
        ("?targets=colour", "colour: holds words", "?label="),
        ("?inputs=width", "takes no inputs", "it takes categories"),
    ],
)
def test_what_cannot_be_asked_is_refused(tmp_path: Path, query: str, problem: str, fix: str) -> None:
    """With what can."""
    with pytest.raises((BadDocument, BadReference)) as caught:
        whole(write(tmp_path / "f.csv", FLOWERS), query)
    assert problem in caught.value.problem
    assert fix in caught.value.fix


def test_a_heading_without_label_asks_for_one(tmp_path: Path) -> None:
    """And shows how."""
    with pytest.raises(BadDocument) as caught:
        whole(write(tmp_path / "t.csv", "a,price\n1,2.5\n2,3.5\n"))
    assert "?label=price" in caught.value.fix


def test_names_are_no_categories(tmp_path: Path) -> None:
    """Where nearly every row has its own; the column may be left out."""
    text = "name,age,label\n" + "".join(f"person {n},{n},{n % 2}\n" for n in range(40))
    file = write(tmp_path / "t.csv", text)

    assert problems(file) == ("name: 40 different texts in 40 rows are no categories",)
    assert whole(file, "?without=name").shape == (1,)
    assert whole(file, "?text=name").kind == "text"


@pytest.mark.parametrize("query", ["", "?label=label"])
def test_two_columns_with_sentences_are_texts(tmp_path: Path, query: str) -> None:
    """Whatever the one of texts is headed."""
    file = write(tmp_path / "t.csv", "comment,label\nit is good,1\nit is bad,0\nvery good indeed,1\n")
    if not query:
        file = write(tmp_path / "u.csv", "it is good,1\nit is bad,0\nvery good indeed,1\n")

    assert whole(file, query).kind == "text"


def test_data_that_is_no_table_takes_no_label(tmp_path: Path) -> None:
    """It says so."""
    for reference in ("made:shapes", write(tmp_path / "lines.txt", "one\ntwo\n")):
        with pytest.raises(BadReference, match="takes no label"):
            open_data(reference, label="x")


def test_a_quote_that_stays_open_is_told(tmp_path: Path) -> None:
    """A cell that never ends is not read to the end of the disk."""
    text = 'a,label\n1,"x\n' + "1,y\n" * 60_000

    assert "field larger" in problems(write(tmp_path / "t.csv", text))[0]


def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it fills the memory."""
    monkeypatch.setattr(rows, "_LONGEST", 100)

    assert problems(write(tmp_path / "t.csv", "a,label\n" + "1" * 200)) == (
        "line 2 is longer than 100 characters",
    )


def test_a_table_that_would_not_fit_is_refused_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not after."""
    monkeypatch.setattr(fill, "LARGEST", 100)

    assert "640 bytes of numbers are more than the 100" in problems(write(tmp_path / "f.csv", FLOWERS))[0]


def test_a_table_opens_inside_a_zip(tmp_path: Path) -> None:
    """As it is."""
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as packed:
        packed.writestr("flowers/f.csv", FLOWERS)

    assert whole(tmp_path / "t.zip").digest == whole(write(tmp_path / "f.csv", FLOWERS)).digest


def test_the_digest_follows_values_and_targets(tmp_path: Path) -> None:
    """One cell is enough."""
    file = write(tmp_path / "h.csv", HOUSES)
    before = whole(file, "?targets=price").digest
    write(file, HOUSES.replace("2001.0", "2001.5"))

    assert whole(file, "?targets=price").digest != before


def test_columns_are_normalised_each_by_its_own(tmp_path: Path) -> None:
    """One that never changes stays as it is."""
    file = write(tmp_path / "t.csv", "a,b,label\n1,5,0\n3,5,1\n")
    data = whole(file)
    normal = data.normalised(data.measured_normalisation())

    assert [tuple(normal[n][0]) for n in range(2)] == [(-1, 0), (1, 0)]


@given(
    st.lists(
        st.tuples(st.floats(-1e6, 1e6, width=32), st.text(max_size=8), st.sampled_from("ab")),
        min_size=3, max_size=30,
    )
)  # fmt: skip
def test_what_a_table_holds_comes_back(
    tmp_path_factory: pytest.TempPathFactory, written: list[tuple[float, str, str]]
) -> None:
    """Whatever is in the cells."""
    import csv

    file = tmp_path_factory.mktemp("t") / "t.csv"
    with file.open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows([("number", "words", "label"), *written])
    data = whole(file, "?categories=words")
    texts = data.columns[1].categories

    assert [float(x[0]) for x, _ in map(data.__getitem__, range(len(data)))] == [w[0] for w in written]
    assert [data.classes[y] for _, y in map(data.__getitem__, range(len(data)))] == [w[2] for w in written]
    assert all(texts[int(data[n][0][1])] in (w[1].strip(), "") for n, w in enumerate(written))


@given(st.text(alphabet=st.sampled_from('ab1.,;\t"\n\r\x00 -\u2028é'), max_size=60), st.booleans())
def test_whatever_is_in_a_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, text: str, asked: bool
) -> None:
    """With an error of ours."""
    file = write(tmp_path_factory.mktemp("t") / "t.csv", text)
    try:
        data = whole(file, "?targets=1" if asked else "")
    except PartitaError:
        return
    assert len(data) == len(data.targets) > 0


def test_numbers_beyond_float32_are_refused(tmp_path: Path) -> None:
    """Rather than learnt as infinite."""
    assert problems(write(tmp_path / "t.csv", "a,label\n1e300,0\n2,1\n")) == ("1e+300 is beyond float32",)


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    """Which one would be meant?"""
    assert problems(write(tmp_path / "t.csv", "a,A,label\n1,2,0\n")) == (
        "line 1: two columns are headed 'a'",
    )


def test_a_label_of_too_many_words_is_refused(tmp_path: Path) -> None:
    """They are no classes."""
    text = "a,label\n" + "".join(f"{n},w{n}\n" for n in range(40))

    assert "40 different texts in 40 rows are no classes" in problems(write(tmp_path / "t.csv", text))[0]


def test_a_column_without_any_number_has_no_mean(tmp_path: Path) -> None:
    """It may be left out."""
    file = write(tmp_path / "t.csv", "a,b,label\n1,,0\n2,,1\n")

    assert problems(file, "?missing=mean") == ("b: has no number at all",)


def test_missing_labels_are_told_or_left_out(tmp_path: Path) -> None:
    """Words or numbers."""
    for values in ("no", "0"):
        file = write(tmp_path / "t.csv", f"a,label\n1,{values}\n2,\n3,{values}\n")
        assert problems(file) == ("line 3: label is missing",)
        assert len(whole(file, "?missing=drop")) == 2


def test_real_reviews_open_as_texts() -> None:
    """SST-2 as it is published, where it lies beside the project."""
    place = next(
        (p / "shared/data/sst2" for p in Path(__file__).parents if (p / "shared/data/sst2").is_dir()), None
    )
    if place is None:
        pytest.skip("shared/data/sst2 is not beside this checkout")
    data = open_data(place, split="val")

    assert (data.kind, data.classes, len(data)) == ("text", ("0", "1"), 872)
    assert data.text(0) == "one long string of cliches"
