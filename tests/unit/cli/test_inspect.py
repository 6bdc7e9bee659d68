from pathlib import Path
from typing import Any

from partita.graph import Chain, load, parse_chain


def test_the_table_shows_every_cut_and_where_less_crosses(partita: Any) -> None:
    """One row for each position; the positions worth a look are listed below."""
    outcome = partita("inspect", "zoo:resnet-tiny", "--depth", "1", "-b", "4")

    assert outcome.code == 0
    assert "6 stages, 5 legal cuts inside" in outcome.out
    assert "less crosses than at any cut before: 5 (1.02 KB)" in outcome.out


def test_json_text_and_file_say_the_same(partita: Any, tmp_path: Path) -> None:
    """All forms describe the same chain."""
    chain = parse_chain(partita("inspect", "zoo:unet-tiny", "--form", "text", "--output", "chain.json").out)
    document = partita("inspect", "zoo:unet-tiny", "--json").document

    assert load(Chain, (tmp_path / "chain.json").read_text()) == chain
    assert document["digest"] == chain.digest
    assert len(document["cuts"]) == len(chain) + 1
    assert document["cuts"][1]["formula"] == chain.cut(1).formula


def test_a_bad_dimension_is_named(partita: Any) -> None:
    """`--dim` and `--batch` are checked together."""
    outcome = partita("inspect", "zoo:resnet-tiny", "--dim", "seq", "-b", "0")

    assert outcome.code == 2
    assert "'seq' is not NAME=NUMBER" in outcome.err
    assert "--batch: 0" in outcome.err


def test_a_name_like_an_emoji_is_shown_as_it_is(partita: Any, tmp_path: Path) -> None:
    """`file.py:factory` is a name, not markup."""
    (tmp_path / "net.py").write_text(
        "import torch\ndef factory():\n    return torch.nn.Sequential(torch.nn.Linear(4, 2)), (torch.ones(2, 4),)\n"
    )

    assert "net.py:factory: 1 stages" in partita("inspect", "net.py:factory").out


def test_bytes_of_a_huge_batch_need_no_memory(partita: Any) -> None:
    """The batch is a symbol: a billion of them is only a number."""
    document = partita("inspect", "zoo:resnet-tiny", "--depth", "1", "-b", "1000000000", "--json").document

    assert document["cuts"][0]["bytes"] == 12288 * 1_000_000_000


def test_a_file_that_cannot_be_written_is_refused_before_the_work(partita: Any) -> None:
    """The folder is named."""
    outcome = partita("inspect", "zoo:resnet-tiny", "--output", "nowhere/c.json")

    assert outcome.code == 2
    assert "'nowhere' is not there" in outcome.err
