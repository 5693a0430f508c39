"""What was recorded comes back: after a clock that jumps, a recorder that is killed, a file that is torn, and within its bound."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest

from firmware.metrics import ring
from firmware.metrics.history import History
from firmware.metrics.recorder import Config, Recorder
from firmware.metrics.ring import FOLDER, KEPT, keep_within, segments
from firmware.metrics.tail import TAIL
from firmware.places import Places
from firmware.status import EndStatus, FlowStatus, write_snapshot

HOUR = 3600
NOON = 1_800_000_000 - 1_800_000_000 % HOUR


class Worker:
    """Writes the snapshots of a flow, as a flow worker does, and lets a recorder look, at times that the test makes up."""

    def __init__(self, places: Places, name: str = "studio", recorder: Recorder | None = None) -> None:
        self.places = places
        self.name = name
        self.sources, self.outputs = ["path-a"], ["wall"]
        self.packets = 0
        self.at = self.now_ns = 0
        self.recorder = recorder or self.another_recorder()

    def another_recorder(self) -> Recorder:
        return Recorder(Config(run=str(self.places.run), state=str(self.places.state)))

    def second(self, second: int, packets: int = 1000) -> None:
        self.packets += packets
        self.at += 1
        self.now_ns += 1_000_000_000
        sources = [self._end(name) for name in self.sources]
        outputs = [self._end(name) for name in self.outputs]
        status = FlowStatus(
            name=self.name, state="ACTIVE", pid=7, started_at=1.0, at=self.at, rate_bps=packets * 8, sources=sources, outputs=outputs
        )
        write_snapshot(self.places.snapshot(self.name), status)
        self.recorder.look(second + 0.5, self.now_ns)

    def seconds(self, first: int, count: int) -> None:
        for second in range(first, first + count):
            self.second(second)

    def _end(self, name: str) -> EndStatus:
        return EndStatus(name=name, protocol="srt-caller", state="connected", packets=self.packets, rate_bps=1e7, rtt_ms=20.0)


@pytest.fixture
def worker(places):
    return Worker(places)


@pytest.fixture
def history(places):
    return History(places.state, places.run)


def packets(history: History, since: int, until: int, period_s: int = 1, statistic: str = "Sum") -> list[tuple[int, float]]:
    return history.read("studio", "path-a", "SourceTotalPackets", since, until, period_s, statistic)


def files(places: Places, suffix: str) -> list[Path]:
    return [segment.path for segment in segments(places.state / FOLDER / "studio", suffix)]


def test_every_second_is_there_at_once_and_once(worker, history):
    for second in range(NOON, NOON + 130):  # two minutes on the disk, and the one that is being recorded
        worker.second(second)
        assert history.read("studio", None, "BitRate", NOON, NOON + 999, 1, "Average")[-1] == (second, 8000.0)
    assert packets(history, NOON, NOON + 999) == [(second, 1000.0) for second in range(NOON + 1, NOON + 130)]


def test_statistics_of_periods_are_those_of_their_seconds(worker, history):
    chance = random.Random(3)
    told = {second: chance.randint(0, 5000) for second in range(NOON, NOON + 3 * HOUR // 10)}
    for second, count in told.items():
        worker.second(second, count)
    del told[NOON]  # the first one has none before it
    for period_s, since, until in (
        (10, NOON, NOON + 600),
        (60, NOON, NOON + 900),
        (7, NOON + 33, NOON + 501),
        (300, NOON + 5, NOON + 1000),
    ):
        of_period: dict[int, list[int]] = {}
        for second, count in told.items():
            if since <= second < until:
                of_period.setdefault(second // period_s * period_s, []).append(count)
        for statistic, value in (("Sum", sum), ("Minimum", min), ("Maximum", max), ("SampleCount", len), ("Average", mean)):
            expected = [(at, value(counts)) for at, counts in sorted(of_period.items())]
            assert packets(history, since, until, period_s, statistic) == expected


def mean(counts: list[int]) -> float:
    return sum(counts) / len(counts)


def test_a_recorder_that_was_killed_loses_nothing(worker, history):
    worker.seconds(NOON, 90)
    worker.recorder = worker.another_recorder()  # the first one is gone without a word
    worker.seconds(NOON + 90, 90)
    told = packets(history, NOON, NOON + 999)
    assert [at for at, _ in told] == [second for second in range(NOON + 1, NOON + 180) if second != NOON + 90]
    assert {value for _, value in told} == {1000.0}


def test_a_recorder_that_was_killed_between_writing_and_forgetting_a_minute_tells_it_once(worker, history, places):
    worker.seconds(NOON, 40)
    tail = (places.run / f"studio{TAIL}").read_bytes()
    worker.recorder.close()
    (places.run / f"studio{TAIL}").write_bytes(tail)
    assert len(packets(history, NOON, NOON + 99)) == 39
    worker.another_recorder()
    assert [value for _, value in packets(history, NOON, NOON + 99)] == [1000.0] * 39


def test_a_torn_end_costs_what_was_torn_and_nothing_after_it(worker, history, places):
    worker.seconds(NOON, 180)
    worker.recorder.close()
    (file,) = files(places, "seconds")
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size - 100)
    worker.recorder = worker.another_recorder()
    worker.seconds(NOON + 180, 60)
    worker.recorder.close()
    assert [at for at, _ in packets(history, NOON, NOON + 999)] == [*range(NOON + 1, NOON + 120), *range(NOON + 181, NOON + 240)]


def test_a_damaged_minute_costs_that_minute(worker, history, places):
    worker.seconds(NOON, 240)
    worker.recorder.close()
    (file,) = files(places, "seconds")
    data = bytearray(file.read_bytes())
    second_block = [at for at in range(len(data)) if data.startswith(b"PbM1", at)][2]
    data[second_block + 50] ^= 0x55
    file.write_bytes(data)
    assert [at for at, _ in packets(history, NOON, NOON + 999)] == [*range(NOON + 1, NOON + 60), *range(NOON + 120, NOON + 240)]


def test_a_clock_that_steps_back_overwrites_nothing(worker, history):
    worker.seconds(NOON, 100)
    worker.seconds(NOON + 70, 100)  # 30 seconds a second time
    worker.recorder.close()
    told = dict(packets(history, NOON, NOON + 999))
    assert sum(told.values()) == 199_000
    assert all(told[second] == 2000.0 for second in range(NOON + 70, NOON + 100))
    assert dict(packets(history, NOON, NOON + 999, 1, "SampleCount"))[NOON + 80] == 2


def test_a_clock_that_jumps_a_year_ahead_and_comes_back_costs_no_history(worker, history, places):
    worker.seconds(NOON, 200)
    for _ in range(10):
        worker.seconds(NOON + 365 * 24 * HOUR, 2)
        worker.seconds(NOON + 200, 2)
    worker.seconds(NOON + 202, 60)
    assert len(packets(history, NOON, NOON + 200)) == 199
    assert len(files(places, "seconds")) == 2


def test_ends_that_come_and_go_keep_their_own_figures(worker, history):
    worker.seconds(NOON, 30)
    worker.outputs = ["wall", "press"]
    worker.seconds(NOON + 30, 10)
    worker.outputs = ["press"]
    worker.seconds(NOON + 40, 30)
    assert history.ends("studio", NOON, NOON + 99) == [("source", "path-a"), ("output", "wall"), ("output", "press")]

    def seconds(end: str | None) -> list[int]:
        return [at - NOON for at, _ in history.read("studio", end, "OutputConnected", NOON, NOON + 99, 1, "Average")]

    assert seconds("wall") == list(range(40))
    assert seconds("press") == list(range(30, 70))
    assert history.read("studio", None, "OutputConnected", NOON, NOON + 99, 60, "Sum") == [(NOON, 70.0), (NOON + 60, 10.0)]


def test_an_hour_that_is_over_is_summed_up_by_the_minute_and_outlives_its_seconds(worker, history, places):
    worker.seconds(NOON + 3000, 600 + 90)
    by_minute = packets(history, NOON, NOON + HOUR, 60)
    assert len(files(places, "minutes")) == 1
    expected = [(NOON + 3000 + 60 * minute, 59_000.0 if minute == 0 else 60_000.0) for minute in range(10)]
    assert by_minute == expected
    files(places, "seconds")[0].unlink()
    assert packets(history, NOON, NOON + HOUR, 60) == expected
    assert packets(history, NOON, NOON + HOUR, 1) == expected
    assert packets(history, NOON, NOON + HOUR, 60, "Maximum")[3][1] == 1000.0
    assert packets(history, NOON, NOON + HOUR, HOUR, "SampleCount") == [(NOON, 599.0)]


def test_a_clock_that_goes_back_into_an_hour_that_was_summed_up_adds_to_it(worker, history, places):
    worker.seconds(NOON + 3500, 200)
    worker.seconds(NOON + 3560, 30)
    worker.seconds(NOON + 3900, 90)
    assert packets(history, NOON, NOON + HOUR, HOUR) == [(NOON, 129_000.0)]
    files(places, "seconds")[0].unlink()
    assert packets(history, NOON, NOON + HOUR, HOUR) == [(NOON, 129_000.0)]


def test_the_oldest_hours_make_room(worker, history, places):
    for hour in range(KEPT["seconds"] + 3):
        worker.seconds(NOON + hour * HOUR, 3)
        worker.seconds(NOON + hour * HOUR + 60, 2)
    assert len(files(places, "seconds")) == KEPT["seconds"]
    assert packets(history, NOON, NOON + HOUR, 60) == [(NOON, 2000.0), (NOON + 60, 2000.0)]


def test_the_bound_is_kept_by_the_flow_that_has_most(places):
    big = Worker(places, "big")
    small = Worker(places, "small", big.recorder)
    big.outputs = [f"out-{number}" for number in range(20)]
    for hour in range(4):
        for second in range(3):
            big.second(NOON + hour * HOUR + second)
            small.second(NOON + hour * HOUR + second)
    big.recorder.close()
    root = places.state / FOLDER
    before = keep_within(root, 1 << 30)
    assert len(segments(root / "big", "seconds")) == 4
    kept = keep_within(root, before - 2000)
    assert kept <= before - 2000
    assert kept == sum(file.stat().st_size for file in root.rglob("*.*"))
    assert len(segments(root / "small", "seconds")) == 4
    assert len(segments(root / "big", "seconds")) < 4


def test_a_disk_that_is_full_loses_that_minute_and_no_other(worker, history, monkeypatch, caplog, places):
    worker.seconds(NOON, 60)
    folder = places.state / FOLDER / "studio"
    folder.parent.joinpath("studio").rmdir() if folder.exists() else None
    folder.write_text("a file where the folder should be")
    worker.seconds(NOON + 60, 5)
    assert "a minute of metrics cannot be written" in caplog.text
    folder.unlink()
    worker.seconds(NOON + 65, 60)
    assert [at for at, _ in packets(history, NOON, NOON + 999)] == list(range(NOON + 60, NOON + 125))


def test_a_flow_that_stops_leaves_its_history(worker, history, places):
    worker.seconds(NOON, 30)
    places.snapshot("studio").unlink()
    worker.recorder.look(NOON + 31, worker.now_ns)
    assert not list(places.run.glob(f"*{TAIL}"))
    assert len(packets(history, NOON, NOON + 99)) == 29
    assert history.flows() == ["studio"]


def test_a_snapshot_that_stands_still_is_no_second(worker, history):
    worker.seconds(NOON, 5)
    for second in range(5, 20):
        worker.recorder.look(NOON + second + 0.5, worker.now_ns + second * 1_000_000_000)
    assert [at for at, _ in packets(history, NOON, NOON + 99)] == list(range(NOON + 1, NOON + 5))
    worker.now_ns += 30_000_000_000
    worker.second(NOON + 35)
    assert [at for at, _ in packets(history, NOON, NOON + 99)] == list(range(NOON + 1, NOON + 5))  # what grew meanwhile is nobody's second


def test_what_does_not_apply_has_no_points(worker, history):
    worker.seconds(NOON, 70)
    assert history.read("studio", "path-a", "SourceSelected", NOON, NOON + 99, 1, "Average") == []
    assert history.read("studio", "nobody", "SourceBitRate", NOON, NOON + 99, 1, "Average") == []
    assert history.read("nobody", None, "BitRate", NOON, NOON + 99, 60, "Average") == []


@pytest.mark.parametrize(
    ("metric", "period_s", "statistic", "said"),
    [("Bitrate", 1, "Sum", "metric: `Bitrate` is unknown"), ("BitRate", 0, "Sum", "period: 0"), ("BitRate", 1, "p99", "statistic: `p99`")],
)
def test_wrong_questions_are_told_what_would_be_right(history, metric, period_s, statistic, said):
    with pytest.raises(ValueError, match=said):
        history.read("studio", None, metric, 0, 1, period_s, statistic)


def test_columns_of_another_version_are_read_by_their_names(worker, history, monkeypatch):
    names = {kind: tuple(reversed(of_kind)) for kind, of_kind in ring.NAMES.items()}
    with monkeypatch.context() as other:
        for module in ("ring", "tail", "recorder"):
            other.setattr(f"firmware.metrics.{module}.NAMES", names)
        worker.seconds(NOON, 70)
        worker.recorder.close()
    worker.recorder = worker.another_recorder()
    worker.seconds(NOON + 70, 70)
    told = history.read("studio", None, "BitRate", NOON, NOON + 999, 1, "Average")
    assert [at for at, _ in told] == list(range(NOON, NOON + 140))
    assert {round(value) for _, value in told} == {8000}
    assert not math.isnan(sum(value for _, value in packets(history, NOON, NOON + 999)))
