"""Failover in made-up time: which of two hot sources plays, when, and how often it changes."""

from __future__ import annotations

from collections import Counter

import pytest

from firmware.flow.recover import LONGEST_STEADY_NS, STEADY_NS, Failover, recover_for
from firmware.model import FlowError, parse_flow
from firmware.status import EndStatus
from tests.wire.streams import MS, S

STEP_NS = 10 * MS


class Stage:
    """Two sources, one datagram each every STEP_NS while `on`; tells what came out."""

    def __init__(self, failover: Failover) -> None:
        self.failover = failover
        self.on = [True, True]
        self.now_ns = S
        self.out: list[tuple[int, bytes]] = []
        self.events: list[str] = []
        self._numbers = [0, 0]

    def run(self, seconds: float) -> None:
        until_ns = self.now_ns + int(seconds * S)
        while self.now_ns < until_ns:
            self.now_ns += STEP_NS
            for leg, name in enumerate("ab"):
                if self.on[leg]:
                    self._numbers[leg] += 1
                    self.failover.push(leg, -1, f"{name}{self._numbers[leg]}".encode(), self.now_ns)
            self.out += [(self.now_ns, datagram) for datagram in self.failover.pop(self.now_ns)]
        self.events += self.failover.events
        self.failover.events.clear()

    def alone(self, leg: int, seconds: float) -> None:
        self.on = [leg == 0, leg == 1]
        self.run(seconds)
        self.on = [True, True]

    @property
    def plays(self) -> str:
        return "ab"[self.failover.playing]


def stage(silence_ms: int = 500, primary: int | None = None) -> Stage:
    return Stage(Failover(silence_ms * MS, ["a", "b"], primary))


def test_500_ms_unless_said_otherwise_and_within_its_bounds():
    flow = {
        "name": "f",
        "recover": "failover",
        "sources": [{"protocol": "udp", "name": name, "port": 5000 + n} for n, name in enumerate("ab")],
    }
    recover = recover_for(parse_flow(flow))
    assert isinstance(recover, Failover)
    assert recover.silence_ns == 500 * MS
    changed = recover_for(parse_flow(flow | {"failover_ms": 100, "primary": "b"}))
    assert isinstance(changed, Failover)
    assert (changed.silence_ns, changed.playing) == (100 * MS, 1)
    for wrong, said in (
        ({"failover_ms": 99}, "failover_ms"),
        ({"failover_ms": 15_001}, "failover_ms"),
        ({"primary": "c"}, "allowed are a, b"),
    ):
        with pytest.raises(FlowError, match=said):
            parse_flow(flow | wrong)


def test_the_first_that_is_heard_plays_and_nothing_of_the_other():
    show = stage()
    show.alone(1, 1)
    show.run(3)
    assert {datagram[:1] for _, datagram in show.out} == {b"b"}
    assert len(show.out) == 400
    assert (show.failover.switches, show.events) == (0, [])


@pytest.mark.parametrize("silence_ms", [100, 500, 15_000])
def test_the_other_takes_over_after_the_silence_and_not_before(silence_ms):
    show = stage(silence_ms)
    show.run(2)
    silent_ns = show.now_ns
    show.alone(1, silence_ms / 1000 - 0.02)
    assert show.plays == "a"
    show.alone(1, 1)
    first_of_b = next(at for at, datagram in show.out if datagram.startswith(b"b"))
    assert silence_ms * MS <= first_of_b - silent_ns <= silence_ms * MS + STEP_NS
    assert show.events == ["b plays: a fell silent"]
    show.run(120)
    assert (show.plays, show.failover.switches) == ("b", 1)  # neither is preferred: it stays


def test_a_pause_shorter_than_the_silence_changes_nothing():
    show = stage()
    show.run(1)
    for _ in range(20):
        show.alone(1, 0.49)
        show.run(0.02)
    assert (show.plays, show.failover.switches) == ("a", 0)


def test_the_primary_plays_again_once_it_is_steady():
    show = stage(primary=0)
    show.run(2)
    show.alone(1, 3)
    assert show.plays == "b"
    back_ns = show.now_ns
    show.run(30)
    first_again = next(at for at, datagram in show.out if at > back_ns and datagram.startswith(b"a"))
    assert STEADY_NS <= first_again - back_ns <= STEADY_NS + 2 * STEP_NS
    assert show.events == ["b plays: a fell silent", "a plays: b gives way to the primary source, steady for 5 s"]


def test_a_primary_that_flaps_must_be_steady_for_longer_each_time():
    show = stage(primary=0)
    show.run(1)
    waits: list[float] = []
    for _ in range(7):
        show.alone(1, 1)
        assert show.plays == "b"
        gone_ns = show.now_ns
        while show.plays == "b":
            show.run(0.1)
        waits.append(round((show.now_ns - gone_ns) / S))
        show.run(0.5)
    assert waits == [5, 10, 20, 40, 60, 60, 60]
    assert LONGEST_STEADY_NS == 60 * S


def test_one_second_in_five_for_ten_minutes_makes_one_switch():
    """It is never steady for five seconds: after the first time the other one plays on."""
    show = stage(primary=0)
    for _ in range(120):
        show.run(4)
        show.alone(1, 1)
    assert show.failover.switches == 1


def test_a_primary_that_was_well_for_long_is_trusted_again():
    show = stage(primary=0)
    show.run(1)
    for _ in range(4):
        show.alone(1, 1)
        show.run(41)
    show.run(600)
    show.alone(1, 1)
    show.run(STEADY_NS / S + 0.1)
    assert show.plays == "a"


def test_a_primary_that_is_not_there_at_the_start_is_waited_for_as_long_as_in_a_silence():
    show = stage(primary=0)
    show.alone(1, 0.4)
    assert show.out == []
    assert show.failover.status(["a", "b"], show.now_ns).playing == ""
    show.alone(1, 1)
    assert show.plays == "b"
    assert (show.events, show.failover.switches) == (["b plays: a did not come"], 0)


def test_both_gone_and_the_first_that_is_back_plays():
    show = stage(primary=0)
    show.run(1)
    show.on = [False, False]
    show.run(20)
    status = show.failover.status(["a", "b"], show.now_ns)
    assert (status.playing, status.state) == ("", "failover")
    show.alone(1, 1)
    assert show.plays == "b"


def test_told_in_the_status():
    show = stage()
    show.run(1)
    assert show.failover.status(["a", "b"], show.now_ns).message == "a plays, 0 switches"
    show.alone(1, 1)
    status = show.failover.status(["a", "b"], show.now_ns)
    assert (status.playing, status.switches, status.message) == ("b", 1, "b plays, 1 switches; no second source")
    assert status.released == len(show.out)


# numbered sources


def rtp_pair(**more: object) -> Failover:
    sources = [{"protocol": "rtp", "name": name, "port": 5000 + n} for n, name in enumerate("ab")]
    recover = recover_for(parse_flow({"name": "f", "recover": "failover", "sources": sources, **more}))
    assert isinstance(recover, Failover)
    return recover


def test_rtp_is_put_in_order_before_one_is_chosen():
    failover = rtp_pair()
    out: list[bytes] = []
    for n in range(0, 400, 2):
        now_ns = S + n * MS
        for number in (n + 1, n):  # two and two the wrong way round
            failover.push(0, number, b"a%d" % number, now_ns)
            failover.push(1, number + 9000, b"b%d" % number, now_ns)
        out += failover.pop(now_ns)
    first = int(out[0][1:])
    assert out == [b"a%d" % number for number in range(first, 400)]


def test_what_fec_repairs_takes_its_place_in_a_failover_too():
    failover = rtp_pair(sources=[{"protocol": "rtp-fec", "name": name, "port": 5000 + n * 10} for n, name in enumerate("ab")])
    failover.wait_for_repairs(0, 220 * MS)
    for number in range(1000):
        now_ns = S + number * MS
        if number % 50 != 25:
            failover.push(0, number, b"a%d" % number, now_ns)
        if number % 50 == 45 and number != 945:  # 20 ms later
            failover.push(0, number - 20, b"a%d" % (number - 20), now_ns - 20 * MS, True)
        failover.push(1, number, b"b%d" % number, now_ns)
    out = failover.pop(10 * S)
    assert out == [b"a%d" % number for number in range(1000) if number != 925]
    sources = [
        EndStatus(name=name, protocol="rtp-fec", state="connected", fec_matrix="10x10", fec_repaired=n) for name, n in (("a", 19), ("b", 0))
    ]
    account = failover.account(sources)
    assert (account.carried, account.lost, account.by_fec, account.without_fec) == (999, 1, 19, 20)


def test_what_waited_for_repairs_is_played_before_the_other_takes_over():
    failover = rtp_pair(
        failover_ms=100, sources=[{"protocol": "rtp-fec", "name": name, "port": 5000 + n * 10} for n, name in enumerate("ab")]
    )
    failover.wait_for_repairs(0, 400 * MS)
    failover.wait_for_repairs(1, 400 * MS)
    out: list[bytes] = []
    for number in range(2000):
        now_ns = S + number * MS
        if number < 1000:
            failover.push(0, number, b"a%d" % number, now_ns)
        failover.push(1, number, b"b%d" % number, now_ns)
        out += failover.pop(now_ns)
    of_a = [datagram for datagram in out if datagram.startswith(b"a")]
    assert of_a == [b"a%d" % number for number in range(1000)]
    assert out[1000:] == sorted(out[1000:], key=lambda datagram: int(datagram[1:]))
    assert Counter(out).most_common(1)[0][1] == 1


def test_only_losses_of_the_one_that_plays_count():
    """SRT and RIST come in order: what their numbers jump over is lost."""
    sources = [{"protocol": "srt-listener", "name": name, "port": 5000 + n, "clear": True} for n, name in enumerate("ab")]
    failover = recover_for(parse_flow({"name": "f", "recover": "failover", "sources": sources}))
    for number in range(1000):
        if number % 100:
            failover.push(0, number, b"a", S + number * MS)
        if number % 10:
            failover.push(1, number, b"b", S + number * MS)
    failover.restart(0)
    failover.push(0, 50_000, b"a", 2 * S)
    assert len(failover.pop(2 * S)) == 991
    account = failover.account([EndStatus(name=name, protocol="srt", state="connected", packets=900, lost=100) for name in "ab"])
    assert (account.carried, account.lost) == (991, 9)
