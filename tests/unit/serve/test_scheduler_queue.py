"""The queue keeps its order, and its columns keep in step."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from partita.serve.scheduler_orders import Entry, Request
from partita.serve.scheduler_queue import Queue


def entry(number: int, due: float, account: int = 0) -> Entry:
    return Entry(Request(number), number, 0.0, due, account, 0, 2, thresholds=False, stage=number % 3)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=30),
    st.lists(st.integers(0, 40), max_size=8),
)
def test_columns_follow_their_entries(dues: list[tuple[int, bool]], gone: list[int]) -> None:
    queue = Queue(room=2)
    for number, (due, take) in enumerate(dues):
        queue.add(entry(number, float(due)), row=number, latest=due - 0.5)
        if take:
            queue.take(sorted({at for at in gone if at < len(queue)}))

    assert queue.deadlines.tolist() == sorted(e.due for e in queue)
    assert queue.deadlines.tolist() == [e.due for e in queue]
    assert queue.latest.tolist() == [e.due - 0.5 for e in queue]
    assert queue.rows.tolist() == [e.number for e in queue]
    assert queue.stages.tolist() == [e.stage for e in queue]


def test_equal_deadlines_keep_the_order_of_arrival() -> None:
    queue = Queue()
    for number in (1, 2, 3):
        queue.add(entry(number, 1.0), 0, 0.0)

    assert [e.number for e in queue.take([0, 1, 2])] == [1, 2, 3]


def test_work_fits_if_every_prefix_does() -> None:
    queue = Queue()
    for number, due in enumerate((1.0, 2.0, 3.0)):
        queue.add(entry(number, due), row=number, latest=0.0)

    assert queue.fits(np.array([1.0, 1.0, 1.0]), queue.deadlines)
    assert not queue.fits(np.array([1.5, 0.0, 0.0]), queue.deadlines)
    assert queue.excess(np.array([1.5, 0.0, 2.0]), queue.deadlines).tolist() == [0.5, -0.5, 0.5]


def test_room_counts_each_worker_from_when_it_is_free() -> None:
    queue = Queue()
    queue.add(entry(0, 3.0), 0, 0.0)

    assert queue.room([1.0, 2.0], now=0.5, margin=2.0, owed=0.25).tolist() == [1.25]


def test_room_is_never_negative() -> None:
    queue = Queue()
    queue.add(entry(0, 1.0), 0, 0.0)

    assert queue.room([5.0], now=0.0, margin=1.0, owed=0.0).tolist() == [0.0]


def test_only_the_rows_of_a_tenant_move_with_it() -> None:
    queue = Queue()
    queue.add(entry(0, 1.0, account=0), 10, 0.0)
    queue.add(entry(1, 2.0, account=1), 10, 0.0)
    queue.move(1, 5)

    assert queue.rows.tolist() == [10, 15]


def test_a_scattered_batch_leaves_the_others_in_order() -> None:
    queue = Queue()
    for number in range(5):
        queue.add(entry(number, float(number)), row=number, latest=0.0)
    taken = queue.take([0, 2, 3])

    assert [e.number for e in taken] == [0, 2, 3]
    assert queue.rows.tolist() == [1, 4]
    assert queue.deadlines.tolist() == [1.0, 4.0]
