"""The models of loss, delay and queues: their figures, and that a run repeats."""

from __future__ import annotations

import itertools

import pytest

from tests.lab.channel import Channel, GilbertElliott, Trace


def losses(channel: Channel, count: int) -> list[bool]:
    return [channel.draw().lost for _ in range(count)]


def dues_ms(channel: Channel, times_ms: list[float], size: int = 1316) -> list[float | None]:
    fates = [channel.due_s(channel.draw(), size, at / 1000) for at in times_ms]
    return [None if due is None else due * 1000 for due in fates]


def test_a_seed_repeats_and_another_differs():
    runs = [losses(Channel(name, seed, 0.1), 1000) for name, seed in (("forward", 1), ("forward", 1), ("forward", 2), ("back", 1))]
    assert runs[0] == runs[1]
    assert runs[0] not in runs[2:]
    assert 60 < sum(runs[0]) < 140


def test_what_is_lost_depends_on_nothing_else():
    """Not on delay, jitter, a rate, or what was lost before by other models."""
    plain, busy = Channel("forward", 1, 0.1), Channel("forward", 1, 0.1, delay_ms=30)
    busy.jitter_ms, busy.reorder, busy.duplicate, busy.rate_bps = 20.0, 0.3, 0.3, 1e6
    lost = []
    for number in range(1000):
        fate = busy.draw()
        if not fate.lost:
            busy.due_s(fate, 1316, number / 1000)
        lost.append(fate.lost)
    assert lost == losses(plain, 1000)
    changed = Channel("forward", 1, 0.1)
    changed.loss = 0.9
    losses(changed, 500)
    changed.loss = 0.1
    assert losses(changed, 500) == lost[500:]


@pytest.mark.parametrize(("mean_loss", "mean_burst"), [(0.01, 5), (0.05, 8), (0.1, 20), (0.3, 1)])
def test_gilbert_elliott(mean_loss, mean_burst):
    lost = losses(Channel("forward", 3, GilbertElliott(mean_loss, mean_burst)), 400_000)
    bursts = [len(list(run)) for is_lost, run in itertools.groupby(lost) if is_lost]
    assert sum(lost) / len(lost) == pytest.approx(mean_loss, rel=0.12)
    assert sum(bursts) / len(bursts) == pytest.approx(mean_burst if mean_burst > 1 else 1, rel=0.12)


@pytest.mark.parametrize(("mean_loss", "mean_burst"), [(1, 5), (-0.1, 5), (0.1, 0.5), (0.9, 2)])
def test_bursts_that_cannot_be(mean_loss, mean_burst):
    with pytest.raises(ValueError, match="no bursts of"):
        GilbertElliott(mean_loss, mean_burst)


def test_a_trace_from_a_file(tmp_path):
    file = tmp_path / "trace"
    file.write_text("0010 1\n0")
    assert losses(Channel("back", 1, Trace.load(file)), 12) == [False, False, True, False, True, False] * 2
    file.write_text("0 x")
    with pytest.raises(ValueError, match="`x` is neither"):
        Trace.load(file)
    with pytest.raises(ValueError, match="without a datagram"):
        Trace([])


def test_jitter_delays_and_keeps_the_order():
    channel = Channel("forward", 1, delay_ms=10)
    channel.jitter_ms = 8
    close = dues_ms(channel, [float(n) for n in range(500)])
    assert close == sorted(close)
    times = [1000 + 10.0 * n for n in range(500)]
    dues = dues_ms(channel, times)
    late = [due - at - 10 for due, at in zip(dues, times, strict=True)]
    assert -1e-6 <= min(late) < 1 < 7 < max(late) <= 8 + 1e-6


def test_those_held_back_are_overtaken():
    channel = Channel("forward", 1, delay_ms=10)
    channel.reorder, channel.reorder_ms = 0.1, 25
    dues = dues_ms(channel, [float(n) for n in range(500)])
    delays = [round(due - n) for n, due in enumerate(dues)]
    assert set(delays) == {10, 35}
    assert delays.count(35) == channel.late == pytest.approx(50, abs=20)


def test_a_rate_queues_and_then_drops():
    channel = Channel("forward", 1)
    channel.rate_bps, channel.queue_ms = (1316 + 28) * 8 * 1000, 19.5  # a datagram a millisecond
    at_once = dues_ms(channel, [0.0] * 50)
    assert at_once[:20] == pytest.approx([float(n) for n in range(1, 21)])
    assert at_once[20:] == [None] * 30
    assert (channel.passed, channel.lost, channel.overflowed) == (20, 30, 30)
    assert dues_ms(channel, [100.0, 101.0, 102.0]) == pytest.approx([101.0, 102.0, 103.0])
    channel.rate_bps = None
    assert dues_ms(channel, [103.0, 103.0]) == pytest.approx([103.0, 103.0])


def test_twice():
    channel = Channel("forward", 1)
    channel.duplicate = 0.25
    fates = [channel.draw() for _ in range(2000)]
    assert sum(fate.twice for fate in fates) == pytest.approx(500, abs=80)
