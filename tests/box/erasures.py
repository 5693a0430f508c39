"""Proofs of the FEC itself, in virtual time: no socket, no clock, every packet accounted for."""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from firmware.wire.fec import MAX_COLUMNS, MAX_MATRIX, MAX_ROWS, MIN_COLUMNS_WITH_ROW_FEC, MIN_ROWS
from firmware.wire.fecdecoder import FecDecoder, Repaired
from firmware.wire.fecencoder import FecEncoder
from firmware.wire.merge import Merge
from tests.lab.channel import Channel, GilbertElliott, Loss, Uniform
from tests.lab.peeling import ideal, protected

from .proof import Figures, judged, progress

MEDIA = 0
STEP_NS = 1_052_800  # between datagrams of 10 Mb/s
WINDOW_NS = 400_000_000
LOSS = 0.05
BURST_SHARE = 0.02
SHIFTS = 400
PART = 570_000  # media packets of ten minutes of 10 Mb/s
MODELS: dict[str, Callable[[], Loss]] = {
    "0.1 %": partial(Uniform, 0.001),
    "1 %": partial(Uniform, 0.01),
    "5 %": partial(Uniform, 0.05),
    "10 %": partial(Uniform, 0.1),
    "bursts of 5": partial(GilbertElliott, BURST_SHARE, 5),
    "bursts of 20": partial(GilbertElliott, BURST_SHARE, 20),
}


class Matrix(NamedTuple):
    columns: int
    rows: int
    row_fec: bool = True
    aligned: bool = True

    @property
    def size(self) -> int:
        return self.columns * self.rows

    def __str__(self) -> str:
        kind = "" if self.row_fec else ", columns only"
        return f"{self.columns}x{self.rows}{kind}{'' if self.aligned else ', not aligned'}"

    def encoder(self) -> FecEncoder:
        return FecEncoder(self.columns, self.rows, 7, row_fec=self.row_fec, aligned=self.aligned)


MATRICES = [
    Matrix(columns, rows, row_fec, aligned)
    for columns, rows in ((5, 5), (10, 10), (20, 5))
    for row_fec in (True, False)
    for aligned in (True, False)
]


class Sent(NamedTuple):
    """One datagram on the wire; the number is that of the last media packet."""

    stream: int
    number: int
    datagram: bytes


def media(number: int) -> bytes:
    stamp = 90 * number & 0xFFFFFFFF
    return b"\x80\x21" + (number & 0xFFFF).to_bytes(2, "big") + stamp.to_bytes(4, "big") + b"SSRC" + number.to_bytes(8, "big")


def wire(matrix: Matrix, count: int) -> Iterator[Sent]:
    """So many media packets, each with the FEC that follows it."""
    encoder = matrix.encoder()
    for number in range(count):
        packet = media(number)
        yield Sent(MEDIA, number, packet)
        for stream, fec in encoder.push(packet):
            yield Sent(stream, number, fec)


@dataclass
class Path:
    """A lossy path and our decoder at its end; the first and the last matrices come whole."""

    channel: Channel
    clean_before: int
    clean_from: int
    decoder: FecDecoder = field(default_factory=FecDecoder)
    lost: set[int] = field(default_factory=set)
    sets: list[range] = field(default_factory=list)  # of the FEC that arrived, where something was lost
    repaired: set[int] = field(default_factory=set)
    wrong: int = 0  # repaired, but not as sent, or not once

    def pass_on(self, sent: Sent, now_ns: int) -> tuple[bool, list[Repaired]]:
        """Whether it arrived, and what it let the decoder repair."""
        if self.channel.draw().lost and self.clean_before <= sent.number < self.clean_from:
            if sent.stream == MEDIA:
                self.lost.add(sent.number)
            return False, []
        if sent.stream == MEDIA:
            repaired = self.decoder.media(sent.number, sent.datagram, now_ns)
        else:
            members = protected(sent.datagram, sent.number)
            if not self.lost.isdisjoint(members):
                self.sets.append(members)
            repaired = self.decoder.fec(sent.datagram, now_ns)
        for one in repaired:
            self.wrong += one.number in self.repaired or one.packet != media(one.number)
            self.repaired.add(one.number)
        return True, repaired

    @property
    def residue(self) -> set[int]:
        return self.lost - self.repaired


def fec_ideal(options: argparse.Namespace) -> Figures:
    """our FEC decoder against the ideal peeling decoder, `--packets` (100,000) of each matrix and loss: the same ones are repaired"""
    count = options.packets or 100_000
    rows: dict[str, dict[str, list[int]]] = {}
    different: list[str] = []
    for turn, matrix in enumerate(MATRICES):
        progress(turn, len(MATRICES))
        sent = list(wire(matrix, count))
        rows[str(matrix)] = {}
        for name, loss in MODELS.items():
            path = Path(Channel(f"{matrix} {name}", options.seed, loss()), matrix.size, count - 3 * matrix.size)
            for place, one in enumerate(sent):
                path.pass_on(one, place * STEP_NS)
            best = ideal(path.lost, path.sets)
            rows[str(matrix)][name] = [len(path.lost), len(path.lost - best), len(path.residue)]
            if path.repaired != best or path.wrong:
                different.append(f"{matrix}, {name}: {len(path.repaired ^ best)} packets differ, {path.wrong} are wrong")
    figures: Figures = {"packets_each": count, "lost_left_by_the_ideal_left_by_ours": rows}
    return judged(
        figures | ({"different": different} if different else {}), {"the same packets are repaired, byte for byte": not different}
    )


def burst(options: argparse.Namespace) -> Figures:
    """L media packets running are lost, with the FEC sent among them, at every place of every matrix that there is: all repaired"""
    matrices = [
        Matrix(columns, rows, row_fec, aligned)
        for columns in range(1, MAX_COLUMNS + 1)
        for rows in range(MIN_ROWS, min(MAX_ROWS, MAX_MATRIX // columns) + 1)
        for row_fec in (False, True)[: 1 + (columns >= MIN_COLUMNS_WITH_ROW_FEC)]
        for aligned in (True, False)
    ]
    bursts = 0
    missed: list[str] = []
    for turn, matrix in enumerate(matrices):
        progress(turn, len(matrices))
        sent = list(wire(matrix, 6 * matrix.size))
        for begin in range(2 * matrix.size, 3 * matrix.size):
            gone = range(begin, begin + matrix.columns)
            decoder, repaired = FecDecoder(), set()
            for one in sent:
                if one.number in gone and (one.stream == MEDIA or one.number != gone[-1]):
                    continue
                out = decoder.media(one.number, one.datagram, 0) if one.stream == MEDIA else decoder.fec(one.datagram, 0)
                repaired |= {found.number for found in out if found.packet == media(found.number)}
            bursts += 1
            if repaired != set(gone):
                missed.append(f"{matrix}: {matrix.columns} from {begin}")
    return judged({"matrices": len(matrices), "bursts": bursts, "missed": missed}, {"every burst of L is repaired": not missed})


def fec_pair_simulated(options: argparse.Namespace) -> Figures:
    """decoders and merge of a pair of paths, FEC 10 x 10, 5 % loss on each, `--packets` (10,000,000): no more lost than by chance"""
    count = options.packets or 10_000_000
    matrix = Matrix(10, 10)
    paths = [Path(Channel(f"path {name}", options.seed, LOSS), 2 * matrix.size, count - 3 * matrix.size) for name in "ab"]
    merge = Merge(WINDOW_NS, shared_numbers=True)
    ideal_left = [0, 0]
    expected = disordered = 0

    def release(now_ns: int) -> None:
        nonlocal expected, disordered
        for payload in merge.pop(now_ns):
            number = int.from_bytes(payload, "big")
            disordered += number < expected
            expected = number + 1

    for sent in wire(matrix, count):
        now_ns = sent.number * STEP_NS
        for leg, path in enumerate(paths):
            arrived, repaired = path.pass_on(sent, now_ns)
            if arrived and sent.stream == MEDIA:
                merge.push(leg, sent.number, sent.datagram[12:], now_ns)
            for one in repaired:
                merge.push(leg, one.number, one.packet[12:], one.arrival_ns, True)
        if sent.stream == MEDIA and sent.number % 8 == 0:
            release(now_ns)
        if sent.stream == MEDIA and sent.number % 10_000 == 9_999:
            progress(sent.number + 1, count)
    release((count + 1) * STEP_NS + WINDOW_NS)
    for leg, path in enumerate(paths):
        ideal_left[leg] = len(path.lost - ideal(path.lost, path.sets))
    return _judge_pair(paths, merge, ideal_left, disordered, count)


def _judge_pair(paths: list[Path], merge: Merge, ideal_left: list[int], disordered: int, count: int) -> Figures:
    both = paths[0].residue & paths[1].residue
    mean, most = by_chance(paths[0].residue, paths[1].residue, count, count)
    part_mean, part_most = by_chance(paths[0].residue, paths[1].residue, count, PART)
    figures = {
        "packets": count,
        "lost_on_the_way": [len(path.lost) for path in paths],
        "left_by_fec": [len(path.residue) for path in paths],
        "left_by_the_ideal": ideal_left,
        "residue": [len(path.residue) / count for path in paths],
        "lost": merge.lost,
        "predicted": round(ideal_left[0] / count * ideal_left[1], 2),
        "by_chance": {"mean": mean, "most_in_99_9_percent": most},
        "by_chance_in_ten_minutes": {"mean": part_mean, "most_in_99_9_percent": part_most},
    }
    claims = {
        "either decoder is as good as the ideal one": [len(path.residue) for path in paths] == ideal_left,
        "every repair is right": not any(path.wrong for path in paths),
        "the merge loses what both legs lost, and nothing else": merge.lost == len(both) and merge.released == count - len(both),
        "in order": not disordered,
        "no more lost than by chance": merge.lost <= most,
    }
    return judged(figures, claims)


def by_chance(one: set[int], other: set[int], count: int, part: int) -> tuple[float, int]:
    """How many of `part` packets two paths lose both, when they have nothing to do with each other: mean, and 99.9 % have no more.

    What FEC leaves comes in groups, so no formula: the residues are laid over each other again and again, shifted by whole matrices.
    """
    chance = random.Random(1)
    together: list[int] = []
    for _ in range(SHIFTS):
        shift = chance.randrange(10, count // 100 - 10) * 100
        parts = [0] * max(1, count // part)
        for number in one:
            if (number + shift) % count in other:
                place = number // part
                if place < len(parts):
                    parts[place] += 1
        together += parts
    together.sort()
    return round(sum(together) / len(together), 2), together[min(len(together) - 1, int(len(together) * 0.999))]
