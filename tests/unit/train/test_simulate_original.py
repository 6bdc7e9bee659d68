"""The networks of the original research project as cases, and the figures that its own formula gives."""

from pathlib import Path

import pytest

from partita.errors import BadDocument
from partita.graph import Link
from partita.train.simulate_arms import case_arms
from partita.train.simulate_original import NETWORKS, original_cases

REAL = Path(__file__).parents[4] / "shared/originals/split-training/profile"
# The formula divides MB by MB/s, and its MB are MiB.
MIB = 8 * 2**20

FILES = {
    "featuresize.csv": "Resnet50,Chair,ResNet50 Imagenet\n8.00 ,0.05 ,8\n32.00 ,2.00 ,8\n4.00 ,3.00 ,8\n",
    "runtime_resnet50.csv": "TX2,Cloud,Pi\n0.1,0.9,1\n0.5,0.6,5\n0.8,0.3,3\n0.9,0,9\n",
    "runtime_chair.csv": "TX2,Cloud\n0.5,0\n0.4,0.1\n0.3,0.2\n",
    "runtimetype2_resnet50_imgnet.csv": "TX2,Cloud\n0.1,0.9\n0.5,0.6\n0.9,0\n",
    "compresstime.csv": "resnet50,Chair\n0.2,0.001\n0.9,\n",
}


@pytest.fixture
def folder(tmp_path):
    """Small tables of the same schema."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def seconds(case, rate):
    """The time per step of every arm on a link of so many bits per second."""
    link = Link(rate, rate)
    return {arm.name: case.pace(arm.plan, link) for arm in case_arms(case, link)}


def test_every_network_meets_every_edge_device(folder):
    assert [case.name for case in original_cases(folder)] == [
        "ResNet-50 on CIFAR-10, TX2",
        "ResNet-50 on CIFAR-10, Pi",
        "ResNet-50 on Tiny ImageNet, first 10 blocks frozen, TX2",
        "chair generator, cloud first, TX2",
    ]


def test_networks_and_devices_are_named_in_any_case(folder):
    (case,) = original_cases(folder, networks=["ResNet50"], devices=["PI"])

    assert case.profiles["edge"].device.name == "Pi"
    assert case.profiles["cloud"].device.name == "Cloud"


def test_unknown_names_are_refused_with_the_known_ones(folder):
    with pytest.raises(BadDocument) as caught:
        original_cases(folder, networks=["alexnet"], devices=["jetson", "cloud"])

    assert caught.value.problems == (
        "--network: 'alexnet' is not one of resnet50, resnet50-frozen, chair",
        "--device: 'jetson' is not one of TX2, Pi",
        "--device: 'cloud' is not one of TX2, Pi",
    )


def test_a_device_that_a_network_was_not_measured_on_leaves_nothing(folder):
    with pytest.raises(BadDocument, match="no network here has both"):
        original_cases(folder, networks=["chair"], devices=["pi"])


def test_a_network_of_another_name_keeps_it(folder):
    (folder / "runtime_rnn2.csv").write_text("TX2,Cloud\n0.1,0.9\n0.5,0.6\n0.9,0\n")
    (folder / "featuresize.csv").write_text("rnn2,Resnet50,Chair,ResNet50 Imagenet\n" + "8,8,1,8\n" * 3)

    assert original_cases(folder, networks=["rnn2"])[0].name == "rnn2, TX2"


def test_raw_inputs_never_leave_the_edge_and_the_chair_is_turned(folder):
    cases = {case.chain.name: case.question for case in original_cases(folder)}

    assert (cases["resnet50"].min_front, cases["resnet50"].inputs_at_cloud) == (1, False)
    assert (cases["chair"].inputs_at_cloud, cases["chair"].labels_private, cases["chair"].min_tail) == (
        True,
        True,
        1,
    )


def test_frozen_blocks_ask_for_no_gradients_unless_the_formula_is_asked_for(folder):
    frozen = [
        original_cases(folder, networks=["resnet50-frozen"], formula=formula)[0].question.frozen
        for formula in (False, True)
    ]

    assert frozen == [10, 0]


def test_a_codec_costs_what_the_tables_say_or_nothing_in_the_formula(folder):
    measured, formula = (
        original_cases(folder, networks=["resnet50"], devices=["tx2"], formula=free)[0].profiles["edge"]
        for free in (False, True)
    )

    assert measured.codecs["int8"].encode > 0
    assert formula.codecs["int8"].encode == 0
    assert "codecs taken to cost no time" in formula.source


# (network, device, MB/s): edge only, best cut one after the other, K = 5, K = 5 with its int8, int8 both ways.
FIGURES = {
    ("mobilenetv3", "tx2", 10): (0.459, 0.406, 0.145, 0.145, 0.065),
    ("vgg19", "tx2", 10): (0.441, 0.441, 0.200, 0.200, 0.192),
    ("resnet50", "tx2", 5): (1.239, 1.239, 1.239, 1.239, 0.400),
    ("resnet50", "tx2", 10): (1.239, 1.239, 0.800, 0.800, 0.200),
    ("resnet50", "tx2", 40): (1.239, 0.556, 0.200, 0.200, 0.115),
    ("bilstm", "tx2", 10): (0.313, 0.313, 0.313, 0.313, 0.078),
    ("resnet50", "pi", 1): (48.5, 16.7, 8.0, 8.0, 2.0),
    ("chair", "tx2", 5): (0.504, 0.495, 0.400, 0.400, 0.382),
}


@pytest.mark.skipif(
    not REAL.is_dir(), reason="the tables of the original research project are not beside this folder"
)
@pytest.mark.parametrize(("asked", "figures"), FIGURES.items(), ids=lambda key: str(key)[:24])
def test_the_same_question_gives_the_figures_of_the_original_formula(asked, figures):
    """Its decision formula, evaluated on its tables, to the three digits in which it was written down."""
    network, device, rate = asked
    (case,) = original_cases(REAL, networks=[network], devices=[device], formula=True)
    found = seconds(case, rate * MIB)

    assert [found[arm] for arm in ("edge only", "JointDNN", "window only", "paper", "auto")] == [
        pytest.approx(figure, rel=5e-3, abs=5e-4) for figure in figures
    ]


@pytest.mark.skipif(
    not REAL.is_dir(), reason="the tables of the original research project are not beside this folder"
)
@pytest.mark.parametrize("case", original_cases(REAL) if REAL.is_dir() else (), ids=lambda case: case.name)
def test_auto_is_as_good_as_any_arm_for_every_network_and_device(case):
    """It gives up 5% of a step at most before it takes a window, and 1% before it takes a codec."""
    for rate in (2e6, 20e6, 80e6, 400e6):
        found = seconds(case, rate)

        assert found["auto"] <= 1.06 * min(found.values())


def test_the_names_of_the_networks_are_there_once():
    assert len({key for key, _ in NETWORKS.values()}) == len(NETWORKS) == 7
