"""The journal: numbers without a gap, whoever dies while he writes; and readers that come late."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firmware.alarms.journal import ALARMS, Follower, Journal, Notice, last_number, paths, read

BYTES = 2000
PATIENT = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def event(text: str = "") -> Notice:
    return Notice(what="alert", at=1.0, detail={"text": text})


def test_numbers_go_on_over_restarts_and_rotations(tmp_path):
    for round_ in range(4):
        journal = Journal(tmp_path, ALARMS, BYTES)
        assert journal.number == 30 * round_
        for _ in range(30):
            journal.add(event())
        journal.close()
    kept = [notice.number for notice in read(tmp_path, ALARMS)]
    assert kept == list(range(kept[0], 121))
    assert sum(path.stat().st_size for path in paths(tmp_path, ALARMS)) < 3 * BYTES
    assert last_number(tmp_path, ALARMS) == 120


@pytest.mark.parametrize("cut", [1, 10, 70])
def test_a_line_that_was_torn_is_passed_over_and_what_comes_next_is_read(tmp_path, cut):
    journal = Journal(tmp_path, ALARMS)
    for _ in range(3):
        journal.add(event())
    journal.close()
    path, _ = paths(tmp_path, ALARMS)
    os.truncate(path, path.stat().st_size - cut)
    follower = Follower(tmp_path, ALARMS, 0)
    seen = []
    while (notice := follower.next()) is not None:
        seen.append(notice.number)
        follower.passed()
    assert seen == [1, 2]
    journal = Journal(tmp_path, ALARMS)
    journal.add(event("after"))
    found = []
    while (notice := follower.next()) is not None:
        found.append((notice.number, notice.detail["text"]))
        follower.passed()
    follower.close()
    journal.close()
    assert found == ([(3, ""), (4, "after")] if cut == 1 else [(3, "after")])  # but for its end the line was whole


def test_what_is_no_notice_is_passed_over(tmp_path):
    journal = Journal(tmp_path, ALARMS)
    journal.add(event())
    path, _ = paths(tmp_path, ALARMS)
    with path.open("ab") as file:
        file.write(b'\xff\x00{"what":\n{"what":"tea","at":1}\n[]\n')
    journal.add(event())
    assert [notice.number for notice in read(tmp_path, ALARMS)] == [1, 2]
    journal.close()


@PATIENT
@given(st.lists(st.sampled_from(["add", "read", "again"]), max_size=200))
def test_a_follower_gets_every_notice_once_in_order_or_counts_it_as_missed(tmp_path_factory, steps):
    folder = tmp_path_factory.mktemp("journal")
    journal, follower, seen = Journal(folder, ALARMS, 600), Follower(folder, ALARMS, 0), []

    def take() -> None:
        if (notice := follower.next()) is not None:
            seen.append(notice.number)
            follower.passed()

    for step in steps:
        if step == "add":
            journal.add(event("x" * 40))
        elif step == "read":
            take()
        else:
            missed = follower.missed
            follower.close()
            follower = Follower(folder, ALARMS, follower.after)
            follower.missed = missed
    while follower.next() is not None:
        take()
    assert seen == sorted(set(seen))
    assert len(seen) + follower.missed == journal.number
    follower.close()
    journal.close()
