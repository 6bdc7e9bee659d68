"""The CSV profiles of the original research project, on small tables of the same schema."""

from pathlib import Path

import pytest

from partita.errors import BadDocument, NotFound
from partita.graph import Profile as GraphProfile
from partita.graph import dump, load
from partita.profile import import_csv

FILES = {
    "featuresize.csv": "Resnet50,Chair,BILSTM\n8.00 ,0.05 ,3.13 \n32.00 ,2.00 ,\n4.00 ,3.00 ,\n",
    "runtime_resnet50.csv": "TX2,Cloud,Pi\r\n0.1,0.9,1\r\n0.5,0.6,5\r\n0.8,0.3,3\r\n0.9,0,9\r\n",
    "runtime_chair.csv": "TX2,Cloud\n0.5,0\n0.4,0.1\n0.3,0.2\n",
    "compresstime.csv": "resnet50,Chair\n0.2,0.001\n0.9,\n",
    "compresstimetx2.csv": "resnet50,Chair\n0.1,0.002\n0.4,\n",
}
REAL = Path(__file__).parents[4] / "shared/originals/split-training/profile"


@pytest.fixture
def folder(tmp_path):
    """Writes the tables, with changes; None leaves a file away."""

    def write(**changes):
        for name, text in {**FILES, **{f"{key}.csv": value for key, value in changes.items()}}.items():
            if text is not None:
                (tmp_path / name).write_text(text, newline="")
        return tmp_path

    return write


def test_rows_are_seconds_before_each_cut_on_the_edge_and_after_it_in_the_cloud(folder):
    """What was measured stands in the profile unchanged, the ragged end of the edge too."""
    model = import_csv(folder())["resnet50"]

    assert model.profiles["TX2"].before[32] == (0.0, 0.1, 0.5, 0.8, 0.9)
    assert model.profiles["TX2"].after == {}
    assert model.profiles["Cloud"].after[32][1:] == (0.9, 0.6, 0.3, 0.0)
    assert model.profiles["Cloud"].before == {}


def test_a_plan_reads_edge_and_cloud_of_a_cut_from_its_row(folder):
    """Row i is a cut after block i: position i + 1."""
    profiles = import_csv(folder())["resnet50"].profiles

    assert profiles["TX2"].seconds(0, 2, 32) == 0.5
    assert profiles["Cloud"].seconds(2, 4, 32) == 0.6


def test_the_chair_is_reversed(folder):
    """Row i of the chair: the cloud holds the first i blocks, the edge the rest; row 0 is edge-only."""
    profiles = import_csv(folder())["chair"].profiles

    assert profiles["TX2"].after[8] == (0.5, 0.4, 0.3, 0.0)
    assert profiles["Cloud"].before[8][:3] == (0.0, 0.1, 0.2)
    assert "holds the first i blocks" in profiles["TX2"].source


def test_what_crosses_a_cut_is_the_size_of_its_own_row(folder):
    """Sizes are MiB for a batch of 32 rows (8 for the chair), and row j follows block j in both kinds of table."""
    models = import_csv(folder())

    assert [cut.nbytes({"batch": 32}) for cut in models["resnet50"].chain.cuts[1:4]] == [
        8 << 20, 32 << 20, 4 << 20,
    ]  # fmt: skip
    assert models["chair"].chain.cut(2).nbytes({"batch": 8}) == 2 << 20
    assert models["chair"].chain.cut(3).nbytes({"batch": 8}) == 3 << 20
    assert models["resnet50"].chain.cut(0).nbytes({"batch": 1}) == 3 * 32 * 32 * 4


def test_the_end_that_was_never_measured_is_modelled_and_says_so(folder):
    """The cloud never held everything: its missing end has the share that the edge gives it."""
    profiles = import_csv(folder())["resnet50"].profiles

    # On the edge the first block takes 0.1 of 0.9 x 4/3 s, on the Pi 1 of 9 x 4/3 s.
    assert profiles["Cloud"].after[32][0] == pytest.approx(0.9 / (1 - (0.1 / 1.2 + 1 / 12) / 2))
    assert "position 0 modelled" in profiles["Cloud"].source
    assert "modelled" not in profiles["TX2"].source


def test_stages_are_differences_and_never_negative(folder):
    """A noisy column is smoothed for the stages only: 5 then 3 become twice 4."""
    pi = import_csv(folder())["resnet50"].profiles["Pi"]

    assert [stage.forward[32].median for stage in pi.stages] == [1.0, 3.0, 0.0, 8.0]
    assert pi.before[32] == (0.0, 1.0, 5.0, 3.0, 9.0)


def test_a_profile_says_that_it_holds_whole_training_steps(folder):
    """Replay and backward are inside; nobody who reads it should add them again."""
    tx2 = import_csv(folder())["resnet50"].profiles["TX2"]

    assert "whole training step of 32 rows, replay and backward included" in tx2.source
    assert not tx2.trained
    assert tx2.seconds(0, 4, 32, "backward") == 0.0


def test_compress_times_become_seconds_for_each_byte(folder):
    """The host in the file's name is the device; the file without one is the cloud's."""
    models = import_csv(folder())

    assert models["resnet50"].profiles["TX2"].codecs["int8"].encode == pytest.approx(0.5 / (40 << 20))
    assert models["resnet50"].profiles["Cloud"].codecs["int8"].encode == pytest.approx(1.1 / (40 << 20))
    assert "decode of int8" in models["resnet50"].profiles["TX2"].source


def test_models_find_their_columns_under_other_names(folder):
    """`rnn` is `BILSTM`."""
    model = import_csv(folder(runtime_rnn="TX2\n0.2\n0.3\n"))["rnn"]

    assert model.chain.cut(1).nbytes({"batch": 32}) == pytest.approx(3.13 * 2**20, rel=1e-4)


def test_a_network_without_compress_times_takes_those_of_the_others(folder):
    """A byte costs a device the same in all of them; the profile says so. Without a table no codec is known."""
    tx2 = import_csv(folder(runtime_rnn="TX2\n0.2\n0.3\n"))["rnn"].profiles["TX2"]

    assert tx2.codecs["int8"].encode == pytest.approx((0.1 + 0.4 + 0.002) / (40.05 * 2**20))
    assert "a byte of int8 taken to cost what it does in the other networks" in tx2.source


def test_without_compress_times_no_codec_is_known(folder):
    """And the source does not speak of one."""
    tx2 = import_csv(folder(compresstime=None, compresstimetx2=None))["resnet50"].profiles["TX2"]

    assert tx2.codecs == {}
    assert "int8" not in tx2.source


def test_a_table_of_the_far_side_alone_is_read_too(folder):
    """Without an edge to borrow from, the missing end takes an equal share: 1 of 2 blocks."""
    model = import_csv(folder(runtime_rnn="Cloud\n0.3\n0\n"))["rnn"]

    assert model.profiles["Cloud"].after[32] == (pytest.approx(0.6), 0.3, 0.0)


def test_models_print_and_parse_back(folder):
    """Imported profiles are files like any other."""
    model = import_csv(str(folder()))["chair"]

    for profile in model.profiles.values():
        profile.check(model.chain)
        assert load(GraphProfile, dump(profile)) == profile


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"runtime_resnet50": "TX2\n0.1\nx\n"}, "runtime_resnet50.csv line 3 column 'TX2': 'x' is not a number"),
        ({"runtime_resnet50": "TX2\n0.1\n-1\n"}, "runtime_resnet50.csv line 3 column 'TX2': '-1' is not a number"),
        ({"runtime_resnet50": "TX2\n0.1\ninf\n"}, "line 3 column 'TX2': 'inf' is not a number"),
        ({"runtime_resnet50": "TX2,Pi\n0.1,1\n0.2\n"}, "runtime_resnet50.csv line 3: has 1 cells, the header 2"),
        ({"runtime_resnet50": "TX2\n0.1\n"}, "runtime_resnet50.csv: 1 rows are too few"),
        ({"runtime_resnet50": "TX2,\n0.1,1\n0.2,1\n"}, "runtime_resnet50.csv line 1 column 2: has no name"),
        ({"runtime_resnet50": "TX2,TX2\n0.1,1\n0.2,1\n"}, "runtime_resnet50.csv line 1: 'TX2' twice"),
        ({"runtime_resnet50": "\n"}, "runtime_resnet50.csv: is empty"),
        ({"runtime_other": "TX2\n1\n2\n"}, "featuresize.csv: no column for runtime_other.csv (it has Resnet50, "),
        ({"featuresize": "Resnet50,Chair\n8,1\n,2\n4,3\n"}, "featuresize.csv line 3 column 'Resnet50': '' is not"),
        ({"featuresize": "Resnet50,Chair\n8,1\n,2\n"}, "featuresize.csv: 1 sizes are too few for the 4 rows of"),
        ({"runtime_resnet50": "TX2\n" + "1\n" * 600_000}, "1200004 bytes are more than the 1048576 accepted"),
    ],
)  # fmt: skip
def test_a_bad_cell_is_named_by_file_line_and_column(folder, changes, problem):
    """Whoever has to correct it can find it."""
    with pytest.raises(BadDocument) as caught:
        import_csv(folder(**changes))

    assert any(problem in found for found in caught.value.problems), caught.value.problems


def test_a_file_that_is_no_text_is_refused(folder):
    """Bytes that are not UTF-8 are no table."""
    base = folder()
    (base / "runtime_resnet50.csv").write_bytes(b"TX2\n\xff\xfe\n")

    with pytest.raises(BadDocument, match="is not text in UTF-8"):
        import_csv(base)


def test_all_problems_of_all_files_come_at_once(folder):
    """Nobody has to run it again to find the next one."""
    with pytest.raises(BadDocument) as caught:
        import_csv(folder(runtime_resnet50="TX2\n1\nx\n", runtime_chair="TX2\n1\ny\n"))

    assert {problem.split(" ")[0] for problem in caught.value.problems} >= {
        "runtime_resnet50.csv", "runtime_chair.csv",
    }  # fmt: skip


@pytest.mark.parametrize(
    "missing", [{"featuresize": None}, {"runtime_resnet50": None, "runtime_chair": None}]
)
def test_a_folder_without_the_tables_is_refused(folder, missing):
    """Both kinds of files are needed."""
    with pytest.raises(NotFound, match=r"has no (featuresize|runtime_\*)\.csv"):
        import_csv(folder(**missing))


@pytest.mark.skipif(
    not REAL.is_dir(), reason="the tables of the original research project are not beside this folder"
)
def test_the_real_tables_can_be_read():
    """Seven models; the cut after block 1 of ResNet-50 takes 0.171 s on the TX2 and 0.1045 s in the cloud."""
    models = import_csv(REAL)

    assert len(models) == 7
    profiles = models["resnet50"].profiles
    assert profiles["TX2"].seconds(0, 2, 32) == 0.171016932
    assert profiles["Cloud"].seconds(2, 19, 32) == 0.104507852
    assert len(models["resnet50"].chain) == 19
    assert models["chair"].profiles["TX2"].seconds(10, 11, 8) == 0.381733274
