"""The bitrate by what the paths carry: never stuck, quick down, and as good as what belacoder publishes."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from firmware.capture.adapt import Adapt, Path, line_bps, longest_climb_s, video_bps_of
from firmware.capture.lane import S

from .adaptruns import AUDIO, CEILING, FLOOR, Ours, Run, Theirs, run
from .adapttraces import LEAD_S, MBIT, TRACES, Trace, queue
from .linksim import Link

LOOK_NS = S // 10
FALL_S = 1.0
ALLOWANCE_MS = 300  # of picture: less is chance
BOUND_S = longest_climb_s(FLOOR, CEILING)
MOST_FALLS = 8  # a minute, on a link that stays too slow


class Signs:
    """A path of which every sign is made up; totals grow as they would."""

    def __init__(self) -> None:
        self.sent = self.packets = self.asked = 0.0

    def path(self, sent_bps: float, rtt_ms: float, wait_ms: float, loss: float, carried: float = 1.0, up: bool = True) -> Path:
        self.sent += sent_bps / 80
        self.packets += sent_bps / 80 / 1360
        self.asked += sent_bps / 80 / 1360 * loss
        buffered = sent_bps * (rtt_ms + wait_ms) / 8000 * (2 - carried)
        return Path(
            "path-a",
            up=up,
            latency_ms=500,
            rtt_ms=rtt_ms,
            buffer_ms=rtt_ms + wait_ms,
            sent_bytes=int(self.sent),
            buffer_bytes=int(buffered),
            sent_packets=int(self.packets),
            asked_packets=int(self.asked),
        )


sign = st.tuples(
    st.integers(1, 40),  # looks
    st.floats(1, 3000),  # rtt
    st.floats(0, 2000),  # wait
    st.sampled_from([0, 0, 0, 0.01, 0.05, 0.2, 0.5, 1.0]),
    st.floats(0.0, 1.0),  # carried
    st.booleans(),  # up
)


@settings(max_examples=60, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    junk=st.lists(sign, max_size=40), rtt_ms=st.floats(1, 2000), wait_ms=st.floats(0, 1500), loss=st.sampled_from([0, 0.02, 0.1, 0.3, 0.6])
)
@example(junk=[], rtt_ms=30.0, wait_ms=80.0, loss=0)
@example(junk=[(30, 20.0, 0.0, 0.0, 1.0, True), (30, 20.0, 400.0, 0.3, 0.2, True)], rtt_ms=600.0, wait_ms=0.0, loss=0.3)
def test_nothing_that_was_believed_keeps_it_down(junk: list[tuple], rtt_ms: float, wait_ms: float, loss: float) -> None:
    """Whatever a path said, and whatever delay and loss it has: when all that is sent comes through, the ceiling is reached in time."""
    adapt, signs, now_ns = Adapt(FLOOR, CEILING, AUDIO), Signs(), 0
    for looks, *values in junk:
        for _ in range(looks):
            now_ns += LOOK_NS
            rtt, wait, lost, carried, up = values
            adapt.look([signs.path(line_bps(adapt.bitrate_bps, AUDIO), rtt, wait, lost, carried, up)], now_ns)
            assert FLOOR <= adapt.bitrate_bps <= CEILING
    proof_s = 12 + 4 * rtt_ms / 1000  # until the delay and the loss count as the path's own
    for _ in range(int((BOUND_S + proof_s) * 10)):
        now_ns += LOOK_NS
        adapt.look([signs.path(line_bps(adapt.bitrate_bps, AUDIO), rtt_ms, wait_ms, loss)], now_ns)
        if adapt.bitrate_bps == CEILING:
            return
    pytest.fail(f"at {adapt.bitrate_bps} after {BOUND_S + proof_s:.0f} s: {adapt.why}")


@settings(max_examples=4, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(seed=st.integers(0, 1 << 20), latency_ms=st.sampled_from([250, 500, 2000]))
def test_after_any_link_it_is_at_the_ceiling_in_time(seed: int, latency_ms: int) -> None:
    chance = random.Random(seed)
    parts = [(chance.uniform(0.2, 12) * MBIT, chance.uniform(10, 300), chance.choice([0, 0, 0.02, 0.1, 0.4])) for _ in range(5)]
    good = 10 * MBIT, 40.0, 0.0

    def at(s: float) -> tuple[float, float, float]:
        return parts[int(s) // 3] if s < 15 else good

    link = Link(
        lambda s: at(s)[0], lambda s: at(s)[1], lambda s: at(s)[2], queue_bytes=chance.choice([10_000, 100_000, 1_000_000]), seed=seed
    )
    found = run("chance", [link], 15 + BOUND_S + 5, Ours(), latency_ms)
    back = found.back_s(15)
    assert back is not None, f"never back; at last {found.why[-1]}"
    assert back < BOUND_S + 3  # what was queued must drain


@settings(max_examples=5, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    mbit=st.floats(1.0, 8.0), queue_ms=st.sampled_from([30, 100, 400, 1500]), rtt=st.sampled_from([10, 40, 120]), seed=st.integers(0, 99)
)
def test_a_link_that_stays_too_slow_is_used_without_swinging(mbit: float, queue_ms: int, rtt: int, seed: int) -> None:
    link = Link(lambda s: mbit * MBIT, lambda s: rtt, queue_bytes=queue(queue_ms, mbit * MBIT), seed=seed)
    rule = Ours()
    found = run("steady", [link], 80, rule)
    fits = video_bps_of(mbit * MBIT, AUDIO)
    late = [at for at in found.lost_at if at > 20]
    assert len(late) * 33 <= 60 * 33 * 0.02 * 1000 / 33, "two of a hundred pictures at most"
    later = found.bps(20, 80)
    assert sum(later) / len(later) > 0.4 * fits  # with a queue of 30 ms; 0.9 with 400
    falls = sum(b < 0.95 * a for a, b in itertools.pairwise(later))
    assert falls <= 3 * MOST_FALLS, "a fall may take some steps"


def of(trace: Trace, latency_ms: int) -> tuple[Run, Run]:
    ours = run(trace.name, trace.links(), trace.seconds, Ours(), latency_ms)
    theirs = run(trace.name, trace.links(), trace.seconds, Theirs(latency_ms, len(trace.links())), latency_ms)
    return ours, theirs


@pytest.mark.parametrize("trace", TRACES, ids=lambda trace: trace.name)
def test_beside_belacoders_rule(trace: Trace) -> None:
    ours, theirs = of(trace, 500)
    if trace.name != "moving phone":  # there it loses more, at twice the bitrate
        assert ours.lost_ms <= theirs.lost_ms + ALLOWANCE_MS
    mine, yours = (sum(one.bps(LEAD_S, trace.seconds)) for one in (ours, theirs))
    assert mine >= 0.9 * yours
    assert ours.back_s(trace.better_at or 0) is not None
    if trace.falls_at is not None:
        reaction = ours.reaction_s(trace.falls_at, trace.to_bps)
        assert reaction is not None
        assert reaction <= FALL_S


def test_a_weak_second_path_does_not_cost_the_picture() -> None:
    good, weak = Link(lambda s: 12 * MBIT), Link(lambda s: 1.5 * MBIT, queue_bytes=queue(300, 1.5 * MBIT), seed=2)
    found = run("weak", [good, weak], 20, Ours())
    assert found.lost_ms == 0
    assert min(found.bps(0, 20)) == CEILING
    assert "path-b cannot carry all of it" in found.why[-1][1]


def test_every_path_counts_where_that_is_wanted() -> None:
    good, weak = Link(lambda s: 12 * MBIT), Link(lambda s: 3 * MBIT, queue_bytes=queue(300, 3 * MBIT), seed=2)
    found = run("weak", [good, weak], 20, Ours("every"))
    assert max(found.bps(5, 20)) <= 3 * MBIT
    assert "path-b" in found.why[-1][1]


def test_the_good_path_goes_away_and_the_weak_one_carries_on() -> None:
    good = Link(lambda s: 12 * MBIT, loss=lambda s: 1.0 if s >= 20 else 0.0)
    weak = Link(lambda s: 2.5 * MBIT, queue_bytes=queue(300, 2.5 * MBIT), seed=2)
    found = run("gone", [good, weak], 50, Ours())
    assert max(found.bps(21, 50)) < 2.5 * MBIT
    assert sum(at > 26 for at in found.lost_at) == 0
    assert sum(found.bps(30, 50)) / 200 > 1.2 * MBIT


def test_paths_that_say_nothing_leave_the_ceiling() -> None:
    adapt = Adapt(FLOOR, CEILING, AUDIO)
    assert adapt.look([Path("path-a"), Path("path-b")], S) == CEILING
    assert adapt.why == "no path says what it carries"


def test_without_a_path_it_stays_as_it_was() -> None:
    adapt, signs = Adapt(FLOOR, CEILING, AUDIO), Signs()
    for look in range(1, 20):
        adapt.look([signs.path(9e6, 30, 30.0 * look, 0, 0.2)], look * LOOK_NS)
    fallen = adapt.bitrate_bps
    assert fallen < CEILING
    assert adapt.look([Path("path-a", up=False)], 20 * LOOK_NS) == fallen


def test_the_reason_says_what_and_where_to() -> None:
    adapt, signs = Adapt(FLOOR, CEILING, AUDIO), Signs()
    for look in range(10):
        adapt.look([signs.path(9e6, 30, 5, 0)], look * LOOK_NS)
    assert adapt.why == ""
    for wait in (80, 160):
        adapt.look([signs.path(9e6, 30, wait, 0)], (10 + wait // 80) * LOOK_NS)
    assert adapt.why.startswith("path-a delivers ")
    assert f"down to {adapt.bitrate_bps / 1e6:.1f}" in adapt.why


@pytest.mark.parametrize("fec_share", [0.0, 0.2])
def test_what_leaves_fits_what_is_carried(fec_share: float) -> None:
    for video in (300_000, 2_000_000, 8_000_000):
        wire = line_bps(video, AUDIO) * 1360 / 1316 * (1 + fec_share)
        assert video_bps_of(wire, AUDIO, fec_share) == pytest.approx(video, rel=0.01)
