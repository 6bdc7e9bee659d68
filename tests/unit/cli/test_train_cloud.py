import json
from typing import Any

import numpy as np
import pytest

from partita.cli import train_cloud
from partita.cli.train_cloud import _data, _limits, cloud
from partita.errors import BadDocument, InsecureBind
from partita.graph import dump
from partita.train.messages import TRAINING, Begin, Begun
from partita.train.settings import Settings
from partita.wire import Settings as WireSettings
from partita.wire import connect, create_token


def test_numbers_below_one_are_refused_all_at_once() -> None:
    """Before a model is built."""
    with pytest.raises(BadDocument, match=r"--threads: 0.*--workers: 0.*--visitors: 0.*--slow: 0.5"):
        cloud(threads=0, workers=0, visitors=0, slow=0.5)


def test_a_public_address_needs_token_and_tls() -> None:
    """The command that sets it right is named."""
    with pytest.raises(InsecureBind) as refused:
        cloud(listen="0.0.0.0:7700")

    assert "partita train cloud --listen 0.0.0.0:7700" in refused.value.fix


def test_a_device_that_is_not_here_is_refused() -> None:
    """In one line."""
    with pytest.raises(BadDocument, match="--device: 'abacus' cannot be used"):
        cloud(device="abacus")


def test_memory_is_read_as_a_size() -> None:
    """4GB is four billion bytes; without it there is no bound."""
    assert _limits("4GB", 3).memory == 4_000_000_000
    assert (_limits(None, 3).memory, _limits(None, 3).visitors) == (0, 3)


def test_data_gives_samples_by_their_positions() -> None:
    """The same sample whenever it is asked for, with its label; what is not there is refused."""
    data = _data("made:shapes?train=20")
    one, two = data(np.array([3, 5])), data(np.array([5]))

    assert set(one) == {"input", "label"}
    assert (one["input"][1] == two["input"][0]).all()
    assert one["label"][1] == two["label"][0]
    for wrong in ([-1], [10**6], []):
        with pytest.raises(BadDocument):
            data(np.array(wrong, np.int64))


def test_a_table_gives_its_columns_by_name(tmp_path: Any) -> None:
    """They are the model's inputs."""
    table = tmp_path / "rows.csv"
    rows = [f"{i},{i * 2},{'ab'[i % 2]}" for i in range(40)]
    table.write_text("\n".join(["first,second,label", *rows]))

    assert {"label"} < set(_data(str(table))(np.array([0, 1])))


def test_the_cloud_listens_says_where_and_trains(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    """Until it is told to stop; a model that it offers need not be sent."""
    create_token(tmp_path / "token")
    told: list[Any] = []

    async def visit(*, until_eof: bool) -> None:
        assert until_eof
        document = json.loads(capsys.readouterr().out)
        digest = document["models"]["zoo:resnet-tiny?width=8&blocks=1"]
        token = (tmp_path / "token").read_text().strip()
        connection = await connect(document["url"], token=token, settings=WireSettings(vocabulary=TRAINING))
        await connection.send(Begin(1, "a" * 32, "net", digest, dump(Settings(), indent=None)))
        told.append((await connection.receive())[0])
        await connection.close()

    monkeypatch.setattr(train_cloud, "until_stopped", visit)
    code = cloud(
        listen="127.0.0.1:0",
        access=train_cloud.AccessOptions(token_file=tmp_path / "token"),
        state=tmp_path / "state",
        model=("zoo:resnet-tiny?width=8&blocks=1",),
        until_eof=True,
        json=True,
    )

    assert code == 0
    assert told == [Begun(1, True, (), "cpu")]
