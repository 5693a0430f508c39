"""What the decoder repairs: as much as can be repaired at all, and nothing else."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.wire.fec import FecPacket
from firmware.wire.fecdecoder import FecDecoder
from firmware.wire.fecencoder import FecEncoder

FIRST = 65_000  # so that every stream here wraps
MEDIA = 0
STEP_NS = 1_000_000

Matrix = tuple[int, int, bool]  # columns, rows, row FEC
MATRICES: list[Matrix] = [(5, 5, True), (10, 10, True), (20, 5, True), (1, 4, False), (10, 5, False)]
MODELS = ["uniform 0.001", "uniform 0.01", "uniform 0.05", "uniform 0.1", "burst 0.01 5", "burst 0.01 20"]


@dataclass(frozen=True)
class Sent:
    """One datagram on the wire: media with its unwrapped number, or FEC (2, 4) with the number of the media before it."""

    stream: int
    number: int
    datagram: bytes


def media(count: int, *, first: int = FIRST, seed: int = 1, length: int = 188, ssrc: bytes = b"SSRC") -> list[bytes]:
    chance = random.Random(seed)
    return [
        b"\x80\x21"
        + (n & 0xFFFF).to_bytes(2, "big")
        + (0xFFFFF000 + 90 * n & 0xFFFFFFFF).to_bytes(4, "big")
        + ssrc
        + chance.randbytes(length)
        for n in range(first, first + count)
    ]


def wire(packets: list[bytes], encoder: FecEncoder, first: int = FIRST) -> list[Sent]:
    out = []
    for number, packet in enumerate(packets, first):
        out.append(Sent(MEDIA, number, packet))
        out += [Sent(stream, number, fec) for stream, fec in encoder.push(packet)]
    return out


@cache
def stream(matrix: Matrix, aligned: bool, matrices: int) -> list[Sent]:
    columns, rows, row_fec = matrix
    return wire(media(columns * rows * matrices), FecEncoder(columns, rows, 7, row_fec=row_fec, aligned=aligned))


def fates(model: str, chance: random.Random) -> Iterator[bool]:
    """True: lost. Bursts are Gilbert's: their share of all packets, and their mean length."""
    kind, share, *mean = model.split()
    if kind == "uniform":
        while True:
            yield chance.random() < float(share)
    end = 1 / float(mean[0])
    begin = end * float(share) / (1 - float(share))
    bad = False
    while True:
        bad = chance.random() >= end if bad else chance.random() < begin
        yield bad


def protected(fec: Sent) -> range:
    """The numbers that an FEC packet protects, read here without the decoder's parser."""
    base16 = int.from_bytes(fec.datagram[12:14], "big")
    base = fec.number - (fec.number - base16) % 0x10000
    return range(base, base + fec.datagram[25] * fec.datagram[26], fec.datagram[25])


def ideal(lost: set[int], sets: list[range]) -> set[int]:
    """The peeling decoder over sets of numbers, with all the time of the world: what can be repaired at all."""
    open_holes = [holes for members in sets if (holes := lost.intersection(members))]
    repaired: set[int] = set()
    while single := [holes for holes in open_holes if len(holes - repaired) == 1]:
        for holes in single:
            repaired |= holes
    return repaired


def decode(arriving: list[Sent], decoder: FecDecoder | None = None) -> tuple[FecDecoder, dict[int, bytes]]:
    """All of it, a millisecond apart; no number may be repaired twice."""
    decoder = decoder or FecDecoder()
    repaired: dict[int, bytes] = {}
    for n, sent in enumerate(arriving):
        now_ns = n * STEP_NS
        out = decoder.fec(sent.datagram, now_ns) if sent.stream else decoder.media(sent.number, sent.datagram, now_ns)
        for packet in out:
            assert packet.number not in repaired
            repaired[packet.number] = packet.packet
    return decoder, repaired


def best(all_sent: list[Sent], arrived: list[Sent]) -> dict[int, bytes]:
    """What the ideal decoder has of it."""
    originals = {sent.number: sent.datagram for sent in all_sent if sent.stream == MEDIA}
    lost = originals.keys() - {sent.number for sent in arrived if sent.stream == MEDIA}
    return {number: originals[number] for number in ideal(lost, [protected(sent) for sent in arrived if sent.stream != MEDIA])}


# equal to the ideal


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("matrix", MATRICES)
def test_repairs_what_the_ideal_peeling_decoder_repairs(matrix, model, aligned):
    size = matrix[0] * matrix[1]
    sent = stream(matrix, aligned, 4000 // size)
    chance = random.Random(f"{matrix} {model} {aligned}")
    fate = fates(model, chance)
    clean = range(FIRST + size, sent[-1].number - 3 * size)  # whole matrices at both ends
    arrived = [one for one in sent if not (next(fate) and one.number in clean)]
    decoder, repaired = decode(arrived)
    assert repaired == best(sent, arrived)
    assert repaired or model == "uniform 0.001" or model.startswith("burst")
    assert decoder.repaired == len(repaired)
    assert (decoder.malformed, decoder.needless, decoder.refused, decoder.stray) == (0, 0, 0, 0)
    assert decoder.matrix == matrix[:2]


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("matrix", MATRICES)
def test_every_burst_of_a_row_is_repaired(matrix, aligned):
    """L media packets running, and whatever FEC was sent among them, from every place in the matrix."""
    columns, size = matrix[0], matrix[0] * matrix[1]
    sent = stream(matrix, aligned, 8)
    for begin in range(FIRST + 2 * size, FIRST + 3 * size):
        burst = range(begin, begin + columns)
        # of the FEC after the last one, nothing: the burst ends with media
        arrived = [one for one in sent if not (one.number in burst and (one.stream == MEDIA or one.number != burst[-1]))]
        decoder, repaired = decode(arrived)
        assert repaired.keys() == set(burst)
        assert decoder.open_sets() == 0


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("matrix", MATRICES)
def test_a_repair_comes_within_the_span_and_with_its_neighbours_time(matrix, aligned):
    size = matrix[0] * matrix[1]
    chance = random.Random(3)
    decoder = FecDecoder()
    arrived: dict[int, int] = {}
    head = spans = 0
    for now_ns, one in enumerate(stream(matrix, aligned, 2000 // size)):
        if chance.random() < 0.04 and one.number > FIRST + size:
            continue
        if one.stream == MEDIA:
            head = one.number
            out = decoder.media(one.number, one.datagram, now_ns)
            arrived[one.number] = now_ns
        else:
            out = decoder.fec(one.datagram, now_ns)
        for packet in out:
            spans += 1
            assert head - packet.number <= decoder.span_packets() == 2 * size
            nearest = min(arrived, key=lambda number: (abs(number - packet.number), number))
            assert packet.arrival_ns == arrived[nearest]
    assert spans > 20


def test_rows_alone_repair_and_columns_alone_repair():
    sent = stream((10, 10, True), True, 6)
    lost = FIRST + 234
    for stream_kept, matrix, span in ((4, None, 10), (2, (10, 10), 200)):
        decoder, repaired = decode(
            [one for one in sent if one.stream in (MEDIA, stream_kept) and (one.stream, one.number) != (MEDIA, lost)]
        )
        assert [*repaired] == [lost]
        assert (decoder.matrix, decoder.span_packets()) == (matrix, span)


def test_without_fec_nothing_is_known_and_nothing_waits():
    decoder, repaired = decode([one for one in stream((5, 5, True), True, 8) if one.stream == MEDIA and one.number % 7])
    assert (repaired, decoder.matrix, decoder.span_packets(), decoder.received) == ({}, None, 0, 0)


def test_packets_of_many_lengths_come_back_with_theirs():
    chance = random.Random(4)
    packets = [packet[: 12 + chance.choice((0, 1, 187, 188))] for packet in media(400)]
    sent = wire(packets, FecEncoder(10, 10, 7))
    arrived = [one for one in sent if not (one.stream == MEDIA and one.number % 13 == 0)]
    _, repaired = decode(arrived)
    assert repaired == best(sent, arrived)
    assert {len(packet) for packet in repaired.values()} == {12, 13, 199, 200}


# the order of arrival


@pytest.mark.parametrize("reach", [3, 30, 150])
def test_reordered_and_doubled_packets_do_no_harm(reach):
    sent = stream((10, 10, True), True, 20)
    chance = random.Random(reach)
    clean = range(FIRST + 200, sent[-1].number - 300)
    kept = [one for one in sent if chance.random() > 0.04 or one.number not in clean]
    doubled = [one for one in kept for _ in range(1 + (chance.random() < 0.1))]
    late = sorted(enumerate(doubled), key=lambda pair: pair[0] + chance.random() * reach * (pair[1].number in clean))
    arrived = [one for _, one in late]
    decoder, repaired = decode(arrived)
    received = {one.number: one.datagram for one in arrived if one.stream == MEDIA}
    assert {number: packet for number, packet in repaired.items() if number not in received} == best(sent, arrived)
    assert all(repaired[number] == received[number] for number in repaired.keys() & received.keys())
    assert decoder.needless == len(repaired.keys() & received.keys())


@pytest.mark.parametrize("early", [1, 9, 60])
def test_fec_that_overtakes_its_media_repairs_nothing_that_comes(early):
    sent = stream((5, 5, True), True, 12)
    order = sorted(sent, key=lambda one: one.number - (one.stream != MEDIA) * early)
    decoder, repaired = decode(order)
    assert (repaired, decoder.repaired) == ({}, 0)
    assert decoder.open_sets() == 0
    lost = {FIRST + 100, FIRST + 101, FIRST + 107}
    _, repaired = decode([one for one in order if one.stream != MEDIA or one.number not in lost])
    assert repaired.keys() == lost


def test_a_late_packet_completes_what_one_repair_could_not():
    """Two holes in a row and in each of their columns: the late one lets the other be repaired."""
    sent = [one for one in stream((5, 5, True), True, 6)]
    square = {FIRST + 50 + n for n in (0, 1, 5, 6)}
    late = [one for one in sent if one.stream == MEDIA and one.number == FIRST + 50]
    arrived = [one for one in sent if one.stream != MEDIA or one.number not in square]
    assert decode(arrived)[1] == {}
    assert decode(arrived + late)[1].keys() == square - {FIRST + 50}


# the sender changes


def losing(sent: list[Sent], every: int = 11) -> list[Sent]:
    """Without every eleventh media packet, but for those at both ends."""
    clean = range(sent[0].number + 20, sent[-1].number - 60)
    return [one for one in sent if not (one.stream == MEDIA and one.number in clean and one.number % every == 0)]


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("again", [FIRST + 40_000, FIRST - 20_000, FIRST + 300, FIRST + 5])
def test_a_sender_that_begins_afresh(again, told):
    """Far ahead, far behind, and within what the decoder still has, with other packets under the same numbers."""
    first = wire(media(400), FecEncoder(5, 5, 7))
    second = wire(media(400, first=again, seed=2, ssrc=b"next"), FecEncoder(5, 5, 8), again)
    decoder, before = decode(losing(first))
    assert before == best(first, losing(first)) != {}
    if told:
        decoder.restart()
    decoder, after = decode(losing(second), decoder)
    assert after == best(second, losing(second)) != {}


def test_one_number_from_elsewhere_disturbs_nothing():
    sent = stream((5, 5, True), True, 20)
    astray = [Sent(MEDIA, FIRST + 30_000, sent[0].datagram), Sent(MEDIA, FIRST - 9_000, sent[0].datagram)]
    arrived = losing(sent)
    for n, place in enumerate(range(50, len(arrived), 40)):
        arrived.insert(place, astray[n % 2])
    assert decode(arrived)[1] == best(sent, losing(sent)) != {}


def test_a_pause_of_thousands_of_packets_is_gone_on_from():
    sent = stream((5, 5, True), True, 200)
    outage = range(FIRST + 1000, FIRST + 4000)
    arrived = [one for one in losing(sent) if one.number not in outage]
    _, repaired = decode(arrived)
    expected = {number: packet for number, packet in best(sent, arrived).items() if number not in outage}
    assert repaired == expected
    assert max(repaired) > outage.stop


def test_a_matrix_that_changes_while_it_runs():
    decoder = FecDecoder()
    packets = media(900)
    first = FIRST
    shapes = [(10, 10), (5, 5), (20, 5)]
    for columns, rows in shapes:
        part = wire(packets[first - FIRST :][:300], FecEncoder(columns, rows, 7), first)
        arrived = losing(part)
        decoder, repaired = decode(arrived, decoder)
        assert repaired == best(part, arrived) != {}
        assert decoder.matrix == (columns, rows)
        assert decoder.span_packets() == 2 * columns * rows
        first += 300


def test_one_packet_that_says_another_matrix_proves_nothing():
    decoder, _ = decode(stream((5, 5, True), True, 4))
    other = next(one for one in stream((10, 5, False), True, 4) if one.stream == 2)
    decoder.fec(other.datagram, 0)
    assert decoder.matrix == (5, 5)


# what others send


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(-70_000, 70_000), st.binary(max_size=80)), max_size=30))
def test_no_bytes_raise(arriving):
    decoder = FecDecoder()
    for kind, number, datagram in arriving:
        if kind == 0:
            decoder.media(number, datagram, 0)
        elif kind == 1:
            decoder.fec(datagram, 0)
        else:
            header = b"\x80\x60" + bytes(10) + (number & 0xFFFF).to_bytes(2, "big") + b"\0\x10\x80\0\0\0\0\0\0\0\0"
            decoder.fec(header + bytes((1 + number % 20, 2 + number % 19, 0)) + datagram, 0)


@settings(max_examples=60, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from(MATRICES), st.booleans(), st.sampled_from([0, 1, 40, 50, 90, 300, 5000]))
def test_no_repair_is_wrong(chance, matrix, aligned, jump):
    """Loss, doubles and any order, of one sender and then of another: all that comes out was sent.

    Numbers that the first sender used too tell nothing: there it is the SSRC that says that a sender is new, and the decoder is told."""
    columns, rows, row_fec = matrix
    decoder = FecDecoder()
    genuine: set[bytes] = set()
    for n, first in enumerate((FIRST, FIRST + 200 + jump)):
        packets = media(250, first=first, seed=n)
        genuine |= set(packets)
        sent = wire(packets, FecEncoder(columns, rows, 7, row_fec=row_fec, aligned=aligned), first)
        kept = [one for one in sent for _ in range(chance.choice((0, 1, 1, 1, 1, 2)))]
        if n and jump < 50:
            decoder.restart()
            genuine = set(packets)
        for _, one in sorted(enumerate(kept), key=lambda pair: pair[0] + chance.random() * 40):
            out = decoder.fec(one.datagram, 0) if one.stream else decoder.media(one.number, one.datagram, 0)
            assert all(repaired.packet in genuine for repaired in out)


def test_garbage_among_honest_packets_changes_nothing_and_takes_no_memory():
    sent = stream((10, 10, True), True, 40)
    arrived = losing(sent)
    chance = random.Random(5)
    decoder = FecDecoder()
    repaired: dict[int, bytes] = {}
    fec = FecPacket.parse(next(one.datagram for one in sent if one.stream == 2))
    tracemalloc.start()
    try:
        for one in arrived:
            out = decoder.fec(one.datagram, 0) if one.stream else decoder.media(one.number, one.datagram, 0)
            repaired |= {packet.number: packet.packet for packet in out}
            for _ in range(3):
                fec.base, fec.stamp, fec.length = chance.getrandbits(16), chance.getrandbits(32), chance.getrandbits(16)
                fec.payload = chance.randbytes(1316)
                assert decoder.fec(bytes(fec), 0) == []
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert repaired == best(sent, arrived) != {}
    assert decoder.stray > 10_000
    assert used < 1_000_000


def test_a_flood_of_sets_that_never_close_is_bounded():
    decoder = FecDecoder()
    decoder.media(FIRST, media(1)[0], 0)
    sets = [FecPacket(0, 0, 0, FIRST + 2 + base, False, 1 + n, 5, 0, 0, 0, 0, b"!" * 1316) for n in range(20) for base in range(40)]
    for fec in sets:
        decoder.fec(bytes(fec), 0)
    assert decoder.received == len(sets) == 800
    assert decoder.open_sets() == 256


def test_headers_broken_for_a_while_do_no_lasting_harm():
    """Any byte of the FEC header may then name other packets, another matrix or another kind of FEC: most are refused, none stays."""
    chance = random.Random(6)
    sent = stream((5, 5, True), True, 60)
    arrived = losing(sent)
    broken = []
    for one in arrived:
        at = chance.randrange(12, 28)
        spoilt = one.stream and one.number < FIRST + 700
        broken.append(Sent(one.stream, one.number, one.datagram[:at] + chance.randbytes(1) + one.datagram[at + 1 :]) if spoilt else one)
    decoder, repaired = decode(broken)
    after = FIRST + 800
    assert {n: packet for n, packet in repaired.items() if n > after} == {n: p for n, p in best(sent, arrived).items() if n > after} != {}
    assert decoder.received + decoder.malformed == sum(one.stream != MEDIA for one in sent)
    assert min(decoder.malformed, decoder.refused, decoder.stray) > 5
    assert decoder.report
    assert decoder.matrix == (5, 5)
    assert decoder.open_sets() == 0
