"""What saved the picture, in made-up time against what the networks really did: to the packet."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.flow.recover import Merged, Recover, recover_for
from firmware.flow.rtpstream import RtpStream
from firmware.model import parse_flow
from firmware.status import Account, EndStatus
from firmware.wire.fecencoder import FecEncoder
from firmware.wire.rtp import Numberer, parse
from tests.lab import feed
from tests.wire.streams import MS, S

GAP_NS = 2 * MS
STREAM = list(islice(feed.stream(7 * 188 * 8 * S / GAP_NS), 4000))  # no two alike
HEAD = TAIL = 120  # datagrams that nobody loses, so that both legs are matched, and every hole has an end
NAMES = ["a", "b"]


def pair(protocol: str, **more: Any) -> Recover:
    clear = {"clear": True} if protocol == "srt-listener" else {}
    sources = [{"protocol": protocol, "name": name, "port": 5000 + 10 * n, **clear} for n, name in enumerate(NAMES)]
    return recover_for(parse_flow({"name": "f", "sources": sources, **more}))


def ends(**counters: list[Any]) -> list[EndStatus]:
    """Statuses of the sources, by counter."""
    return [
        EndStatus(name=name, protocol="rtp", state="connected", **{key: values[n] for key, values in counters.items()})
        for n, name in enumerate(NAMES)
    ]


def play(recover: Recover, arrivals: list[tuple[int, int, int, bytes]]) -> list[bytes]:
    """(when, leg, number, datagram), and a look at what is due every 5 ms."""
    out: list[bytes] = []
    now_ns = 0
    for at_ns, leg, number, datagram in sorted(arrivals):
        while now_ns + 5 * MS <= at_ns:
            now_ns += 5 * MS
            out += recover.pop(now_ns)
        recover.push(leg, number, datagram, at_ns)
    return out + recover.pop(now_ns + 20 * S)


def check_pair(recover: Recover, sent: list[bytes], keep: list[tuple[bool, bool]], skew_ns: int, offset: int) -> Account:
    arrivals = [
        (n * GAP_NS + leg * skew_ns, leg, n + leg * offset, datagram)
        for n, (datagram, kept) in enumerate(zip(sent, keep, strict=True))
        for leg in (0, 1)
        if kept[leg]
    ]
    play(recover, arrivals)
    account = recover.account(ends(repaired=[7, 4]))
    assert account.alone == {"a": sum(not a for a, _ in keep), "b": sum(not b for _, b in keep)}
    assert account.by_retransmission == 11
    return account


def drawn(masks: list[tuple[bool, bool]]) -> list[tuple[bool, bool]]:
    return [(True, True)] * HEAD + masks + [(True, True)] * TAIL


@settings(max_examples=60, deadline=None)
@given(masks=st.lists(st.tuples(st.booleans(), st.booleans()), max_size=400), skew_ms=st.integers(0, 180), offset=st.integers(0, 70_000))
def test_a_pair_counts_what_either_path_alone_would_have_lost(masks, skew_ms, offset):
    keep = drawn(masks)
    account = check_pair(pair("srt-listener"), STREAM[: len(keep)], keep, skew_ms * MS, offset)
    assert account.lost == sum(not a and not b for a, b in keep)
    assert account.carried == len(keep) - account.lost
    assert account.by_merge == sum(a != b for a, b in keep)


@pytest.mark.parametrize("seed", range(3))
def test_seeded_losses_and_bursts_on_an_rtp_pair(seed):
    chance = random.Random(seed)
    masks = [(chance.random() > 0.05, chance.random() > 0.2) for _ in range(3000)]
    masks[700:1200] = [(False, True)] * 500
    masks[1900:2400] = [(True, False)] * 500
    keep = drawn(masks)
    account = check_pair(pair("rtp"), STREAM[: len(keep)], keep, 30 * MS, 0)
    assert account.lost == sum(not a and not b for a, b in keep)
    assert account.by_merge == sum(a != b for a, b in keep)
    assert account.without_fec is None


def test_a_path_behind_the_window_saves_nothing_and_is_not_blamed():
    """It brings everything too late to help. Alone it would have lost its own losses, no more; the merge saves nothing."""
    keep = drawn([(n % 10 != 0, n % 7 != 0) for n in range(1500)])
    recover = pair("srt-listener")
    account = check_pair(recover, STREAM[: len(keep)], keep, 400 * MS, 5)
    assert account.lost == sum(not a for a, _ in keep)
    assert account.carried + account.lost == len(keep)
    assert account.by_merge == sum(a and not b for a, b in keep)  # nothing that only B brought
    told = recover.status(NAMES, len(keep) * GAP_NS)
    assert told
    assert "b: 400 ms behind the other source: it cannot help; the window needs 450 ms" in told.message


def test_a_path_that_is_behind_but_was_there_first_helps_and_is_no_alarm():
    """It sets the clock of the merge, and the other one waits for it."""
    keep = [(True, False)] * 300 + drawn([(n % 10 != 0, n % 7 != 0) for n in range(1500)])
    sent = STREAM[: len(keep)]
    arrivals = [(n * GAP_NS + (400 * MS, 0)[leg], leg, n, d) for n, d in enumerate(sent) for leg in (0, 1) if keep[n][leg]]
    recover = pair("srt-listener")
    out = play(recover, arrivals)
    assert out == [datagram for datagram, kept in zip(sent, keep, strict=True) if any(kept)]
    told = recover.status(NAMES, len(keep) * GAP_NS)
    assert told
    assert told.message == ""


# FEC


@dataclass
class FecLeg:
    """A source's stream, decoder and all, that feeds a leg of a recover as `DatagramSource` does."""

    leg: int
    recover: Recover
    stream: RtpStream = field(default_factory=lambda: RtpStream(None, fec=True))

    def media(self, packet: bytes, now_ns: int) -> None:
        parsed = parse(packet)
        if self.stream.begins(parsed):
            self.recover.restart(self.leg)
        number = self.stream.number(parsed, now_ns)
        self.recover.push(self.leg, number, parsed.payload, now_ns)
        for again in self.stream.beside(number, packet, now_ns):
            self.recover.push(self.leg, again.number, again.payload, again.at_ns, True)

    def fec(self, packet: bytes, now_ns: int) -> None:
        for again in self.stream.fec(packet, now_ns):
            self.recover.push(self.leg, again.number, again.payload, again.at_ns, True)
        self.recover.wait_for_repairs(self.leg, self.stream.repair_ns)


def send_with_fec(recover: Recover, sent: list[bytes], lost: list[set[int]], copies: float = 0.0) -> tuple[list[bytes], list[FecLeg]]:
    """All FEC arrives; of the media of each leg those in `lost` do not."""
    number, encoder = Numberer(5, 60_000), FecEncoder(5, 5, 9)
    legs = [FecLeg(leg, recover) for leg in range(len(lost))]
    chance = random.Random(1)
    out: list[bytes] = []
    for n, datagram in enumerate(sent):
        now_ns = S + n * GAP_NS
        packet = number(datagram, now_ns)
        fec = encoder.push(packet)
        for leg in legs:
            if n not in lost[leg.leg]:
                for _ in range(1 + (chance.random() < copies)):
                    leg.media(packet, now_ns)
            for _, made in fec:
                leg.fec(made, now_ns)
        out += recover.pop(now_ns)
    return out + recover.pop(100 * S), legs


def bursts(every: int, length: int, count: int, begin: int = 400) -> set[int]:
    return {begin + every * n + k for n in range(count) for k in range(length)}


@pytest.mark.parametrize("copies", [0.0, 0.5])
def test_a_lone_source_counts_what_fec_repaired_and_what_it_could_not(copies):
    """Bursts of a row's length are repaired, blocks of two rows and more are not."""
    sent = STREAM[:3000]
    repaired, beyond = bursts(50, 5, 20), bursts(100, 30, 5, begin=1600)
    recover = recover_for(parse_flow({"name": "f", "sources": [{"protocol": "rtp-fec", "name": "a", "port": 5000}]}))
    out, (leg,) = send_with_fec(recover, sent, [repaired | beyond], copies)
    assert leg.stream.decoder
    missing = len(sent) - len(out)
    assert out == [datagram for n, datagram in enumerate(sent) if n not in beyond or datagram in out]
    assert 0 < missing <= len(beyond)
    assert leg.stream.lost == missing
    account = recover.account(
        [EndStatus(name="a", protocol="rtp-fec", state="connected", fec_matrix="5x5", fec_repaired=leg.stream.decoder.repaired)]
    )
    assert (account.carried, account.lost) == (len(out), missing)
    assert account.by_fec == len(repaired | beyond) - missing
    assert account.without_fec == len(repaired | beyond)
    assert (account.alone, account.by_merge) == ({}, 0)


def test_a_pair_with_fec_counts_each_of_them():
    """Losses on both at once are FEC's to repair, those on one are repaired twice over, by FEC and by the merge."""
    sent = STREAM[:3000]
    both, only_a = bursts(100, 4, 10, begin=400), bursts(100, 3, 8, begin=450)
    recover = pair("rtp-fec", window_ms=500)
    out, legs = send_with_fec(recover, sent, [both | only_a, both])
    assert out == sent
    decoders = [leg.stream.decoder for leg in legs]
    assert [decoder.repaired for decoder in decoders if decoder] == [len(both) + len(only_a), len(both)]
    account = recover.account(ends(fec_repaired=[len(both) + len(only_a), len(both)], fec_matrix=["5x5", "5x5"]))
    assert (account.carried, account.lost, account.by_merge) == (3000, 0, 0)  # each path alone, with its FEC, lost nothing
    assert account.alone == {"a": 0, "b": 0}
    assert account.without_fec == len(both)
    assert account.by_fec == 2 * len(both) + len(only_a)


def test_the_window_must_cover_the_fec_and_the_skew():
    recover = pair("rtp-fec", window_ms=200)
    assert isinstance(recover, Merged)
    assert recover.wait_for_repairs(0, 0) == recover.wait_for_repairs(0, 190 * MS) == ""
    assert "its FEC repairs up to 230 ms late, and the merge waits 200 ms: set window_ms higher" in recover.wait_for_repairs(1, 230 * MS)
    check_pair(recover, STREAM[:1000], [(True, True)] * 1000, 100 * MS, 0)
    assert recover.wait_for_repairs(0, 150 * MS) == ""
    assert "up to 250 ms late" in recover.wait_for_repairs(1, 150 * MS)


# what one RTP source counts


def lost_of(arrivals: list[tuple[int, int]], ssrc: int = 7) -> int:
    """(number, when)"""
    counted = RtpStream(None, fec=False)
    for number, at_ns in arrivals:
        packet = parse(Numberer(ssrc, number)(b"", at_ns))
        counted.begins(packet)
        counted.number(packet, at_ns)
    return counted.lost


def test_copies_and_disorder_hide_no_loss_and_make_none():
    chance = random.Random(2)
    numbers = [n for n in range(65_000, 70_000) if n % 10 or n == 65_000]
    order = sorted((n for n in numbers for _ in range(1 + (chance.random() < 0.3))), key=lambda n: n + chance.random() * 20)
    first = order.index(min(order))
    order.insert(0, order.pop(first))
    assert lost_of([(n, S + at * MS) for at, n in enumerate(order)]) == 5000 - len(numbers)


@pytest.mark.parametrize("jump", [5000, 30_000, 40_000, -5000])
def test_a_sender_that_begins_anew_under_its_ssrc_lost_nothing(jump):
    assert lost_of([(n + (jump if n >= 70_000 else 0), n * MS) for n in range(69_000, 71_000) if n != 69_500]) == 1


@pytest.mark.parametrize("away", [3000, 5000, 40_000, 70_000, 500_000])
def test_an_outage_is_counted_however_long(away):
    numbers = [*range(60_000, 63_000), *range(63_000 + away, 65_000 + away)]
    assert lost_of([(n & 0xFFFF, n * MS + n % 7 * MS // 10) for n in numbers]) == away


@pytest.mark.parametrize("silence_ms", [300, 5000, 60_000])
def test_a_pause_makes_no_fec_wait_longer(silence_ms):
    """A window that grew would stay, and the delay with it."""
    counted = RtpStream(None, fec=True)
    assert counted.decoder
    counted.decoder.matrix = (10, 10)
    longest = 0
    for n in range(9000):
        now_ns = S + n * MS + (silence_ms * MS if n > 4000 else 0)
        counted.number(parse(Numberer(7, n)(b"", now_ns)), now_ns)
        longest = max(longest, counted.repair_ns)
    assert 215 * MS < longest < 225 * MS
