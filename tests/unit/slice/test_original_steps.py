"""A project's own steps, run unchanged."""

import sys
import threading
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from partita.errors import BadReference, NotFound
from partita.slice.original import read_project
from partita.slice.original_steps import Steps, load_steps

Write = Callable[..., Path]
HEAD = "from src import constants, onnxmanager\nfrom src.jsonmanager import json_manager\n"
BOTH = HEAD + "def get_preprocessed_input():\n    return {before}\ndef get_result():\n    return {after}\n"


@pytest.fixture
def steps(original: Write) -> Callable[..., Steps]:
    """The steps of a project that returns these expressions."""

    def load(before: str = "0", after: str = "0", head: str = "") -> Steps:
        return load_steps(read_project(original(steps=head + BOTH.format(before=before, after=after))))

    return load


def test_the_prepared_input_is_found_by_the_originals_name(original: Write) -> None:
    """From wherever the command is started."""
    config = original()
    made = load_steps(read_project(config)).get_preprocessed_input()

    assert np.array_equal(made, np.load(config.parent / "models/demo/ready.npy").astype("float32"))


@pytest.mark.parametrize("name", ["get_payload_data", "get_payload_content"])
def test_a_payload_is_nested_lists_of_python_numbers(steps: Callable[..., Steps], name: str) -> None:
    """As the original's JSON gives them, under both names it had."""
    loaded = steps(after=f"json_manager.{name}('detections:0')")
    result = loaded.get_result({"detections:0": np.array([[1.5, 2.5]], np.float32)})

    assert result == [[1.5, 2.5]]
    assert type(result[0][0]) is float


def test_types_that_numpy_lacks_become_numbers_too(steps: Callable[..., Steps]) -> None:
    """bfloat16 through float32."""
    loaded = steps(after="json_manager.get_payload_data('y')")

    assert loaded.get_result({"y": np.array([1.5], ml_dtypes.bfloat16)}) == [1.5]


def test_every_run_has_payloads_of_its_own(steps: Callable[..., Steps]) -> None:
    """Nothing stays behind; what is not there is named with what is."""
    loaded = steps(after="json_manager.get_payload_data('y')")
    loaded.get_result({"y": np.ones(1)})

    with pytest.raises(NotFound, match="there is no payload 'y': this run made 'z'"):
        loaded.get_result({"z": np.ones(1)})


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("constants.PROJECT_NAME", "demo"),
        ("constants.NUMBER_OF_SLICES", 3),
        ("constants.INPUT_LIST_START + constants.OUTPUT_LIST_END", ["x", "y"]),
        ("constants.AWS_REGION + constants.S3_BUCKET", "eu-west-3demo-bucket"),
        (
            "constants.ONNX_MODEL + constants.INPUT + constants.PREPROCESSED_INPUT",
            "skip.onnxphoto.pngready.npy",
        ),
        ("__import__('os').path.isfile(onnxmanager.MODEL_PATH)", True),
        ("onnxmanager.SLICES_PATH.endswith('models/demo/slices/')", True),
        ("open('../models/demo/skip.onnx').name", "../models/demo/skip.onnx"),
        ("__name__", "projects.demo.demo_steps"),
        ("__import__('src.onnxmanager').onnxmanager is onnxmanager", True),
        ("__import__('onnxmanager') is onnxmanager", True),
        ("__import__('jsonmanager.json_manager').json_manager is json_manager", True),
        ("hasattr(constants, 'SOMETHING_ELSE')", False),
    ],
)
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_what_the_originals_modules_hold_is_served(
    steps: Callable[..., Steps], expression: str, expected: object
) -> None:
    """By all the names under which steps can import them, and with its relative paths."""
    assert steps(before=expression).get_preprocessed_input() == expected


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("constants.WRONG", "src.constants has no 'WRONG' here: it has .*AWS_REGION"),
        ("onnxmanager.DICTIONARY_PATH", "has no 'DICTIONARY_PATH' here: payloads stay in memory"),
        ("json_manager.make_event(1)", "src.jsonmanager.json_manager has no 'make_event' here"),
        ("1 / 0", "failed: ZeroDivisionError"),
        ("__import__('src.s3manager')", "needs the module 'src.s3manager', which is not here"),
    ],
)
def test_what_goes_wrong_is_told_by_file_and_function(
    steps: Callable[..., Steps], expression: str, problem: str
) -> None:
    """Names that are not served too."""
    with pytest.raises(BadReference, match=r"demo_steps\.py: get_preprocessed_input\(\) .*" + problem):
        steps(before=expression).get_preprocessed_input()


def test_modules_path_and_folder_are_as_before(steps: Callable[..., Steps]) -> None:
    """After the import, after a call, and after a call that fails."""
    kept = type(sys)("constants")
    before = (Path.cwd(), list(sys.path), sys.dont_write_bytecode)
    sys.modules["constants"] = kept
    try:
        loaded = steps(before="1 / 0")
        with pytest.raises(BadReference):
            loaded.get_preprocessed_input()
        assert sys.modules["constants"] is kept
    finally:
        del sys.modules["constants"]

    assert before == (Path.cwd(), sys.path, sys.dont_write_bytecode)
    assert not [name for name in sys.modules if name.partition(".")[0] in ("src", "projects", "onnxmanager")]


def test_two_threads_run_their_steps_one_after_the_other(steps: Callable[..., Steps]) -> None:
    """Each sees its own payloads."""
    loaded = steps(after="json_manager.get_payload_data('y')[0]")
    found: dict[int, float] = {}
    threads = [
        threading.Thread(target=lambda i=i: found.update({i: loaded.get_result({"y": np.array([i])})}))
        for i in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == {i: i for i in range(8)}


def test_a_module_beside_the_steps_is_theirs_alone(original: Write) -> None:
    """It is imported once and kept for them, not for others."""
    config = original(
        steps="from projects.demo import labels\n" + BOTH.format(before="labels.seen()", after="0")
    )
    (config.parent / "projects/demo/labels.py").write_text(
        "count = 0\ndef seen():\n    global count\n    count += 1\n    return count\n"
    )
    loaded = load_steps(read_project(config))

    assert [loaded.get_preprocessed_input(), loaded.get_preprocessed_input()] == [1, 2]
    assert "projects.demo.labels" not in sys.modules
    assert not list(config.parent.rglob("__pycache__"))


def test_what_steps_print_is_no_result(original: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """It goes to stderr."""
    load_steps(read_project(original(steps="print('loading')\n" + BOTH.format(before="0", after="0"))))
    captured = capsys.readouterr()

    assert (captured.out, captured.err) == ("", "loading\n")


def test_steps_of_the_half_for_aws_find_their_input_beside_them(original: Write) -> None:
    """They have another name, and read constants.PREPROCESSED_INPUT as it is."""
    config = original()
    home = config.parent / "projects/demo"
    (home / "demo_steps.py").unlink()
    text = HEAD + "import numpy\n" + BOTH.format(before="numpy.load(constants.PREPROCESSED_INPUT)", after="0")
    (home / "demo_lambda_steps.py").write_text(text)

    assert load_steps(read_project(config)).get_preprocessed_input().shape == (2, 8)
    np.save(config.parent / "ready.npy", np.ones(3))
    assert load_steps(read_project(config)).get_preprocessed_input().shape == (3,)


def test_steps_that_are_missing_or_incomplete_are_refused(original: Write) -> None:
    """By file and function."""
    config = original(steps="def get_result():\n    return 0\n")
    with pytest.raises(BadReference, match=r"has no get_preprocessed_input\(\)\n"):
        load_steps(read_project(config))
    (config.parent / "projects/demo/demo_steps.py").unlink()
    with pytest.raises(NotFound, match=r"has no projects/demo/demo_steps\.py"):
        load_steps(read_project(config))
