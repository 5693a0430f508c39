"""Clocks of a transport stream, as ETSI TR 101 290, 2.3 to 2.5, checks them: PCR, and the PTS that it times."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from firmware.wire import ts
from firmware.wire.checks import Due, Faults

PCR_REPETITION = 40 * 27_000
PCR_JUMP = 100 * 27_000
PCR_JUMP_NS = 100_000_000
PCR_LOST_NS = 500_000_000  # by arrival, where no value tells
PTS_REPETITION = 700 * 90
PTS_NS = 1_000_000_000  # by arrival, where no value tells
PID_NS = 5_000_000_000  # 1.6: the user's period, 5 s at most for pictures and sound


class Place(NamedTuple):
    """Where in the stream: what came before."""

    packets: int
    nulls: int
    breaks: int  # of continuity: places before and after one do not compare


class PcrLine:
    """PCR accuracy, 2.4: how far each PCR is off the straight line that a constant rate draws through all of them.

    Judged 32 at a time. The rate is constant when three of four steps from PCR to PCR agree and every other one has stuffing: a
    still picture or a sound alone is as even, but its clock is rounded to its frames. A step that is off by more than half a
    packet, or 100 us, cuts the line. Where it goes on beyond the cut, packets were lost or inserted, which is no error of the
    clock; a PCR between two cuts that make up for each other is wrong by itself. A constant rate that changed is a line in
    pieces, `PIECES` at most in one judgement, each with its own slope, off which nothing may be.
    """

    WINDOW = 34
    PIECES = 10
    LIMIT = 500e-9 * ts.PCR_HZ
    CUT = 100e-6 * ts.PCR_HZ

    __slots__ = ("_constant", "_nulls", "_points", "_stuffed")

    def __init__(self) -> None:
        self._points: list[tuple[int, int]] = []
        self._stuffed: list[bool] = []  # by point: null packets came before it
        self._nulls = 0
        self._constant = False  # as last judged

    def clear(self) -> None:
        self._points.clear()
        self._stuffed.clear()

    def push(self, place: int, ticks: int, nulls: int) -> list[float] | None:
        """Errors in ticks of the PCRs judged now, without limit on their size; empty when none is due, None at a variable rate.

        `place` counts packets, `nulls` the null packets among them, `ticks` 27 MHz without wrap."""
        points, stuffed = self._points, self._stuffed
        points.append((place, ticks))
        stuffed.append(nulls != self._nulls)
        self._nulls = nulls
        if len(points) < self.WINDOW:
            return []
        full = sum(stuffed) * 2 < len(stuffed)  # for a while, as after a change downwards; or its rate never was constant
        judge = self._judge_pieces if full else self._judge
        errors = judge(points) if self._constant or not full else None
        self._constant = errors is not None
        del points[:-2], stuffed[:-2]  # the last was not judged: what follows it decides; the one before is its neighbour
        return errors

    def _judge(self, points: list[tuple[int, int]]) -> list[float] | None:
        steps = [(n - m, t - s) for (m, s), (n, t) in pairwise(points)]
        slope = _middle([t / n for n, t in steps])
        off = [t - n * slope for n, t in steps]
        cut = min(slope / 2, self.CUT)
        cuts = [at + 1 for at, error in enumerate(off) if abs(error) > cut]
        if len(cuts) * 4 > len(steps):
            return self._judge_pieces(points)
        runs = [range(a, b) for a, b in pairwise([0, *cuts, len(points)])]
        longest = max(runs, key=len)
        half = len(longest) // 2
        line = [(points[at], points[at + half]) for at in longest[: len(longest) - half]]
        slope = _middle([(t - s) / (n - m) for (m, s), (n, t) in line])
        errors: list[float] = []
        for run in runs:
            left = [points[at][1] - points[at][0] * slope for at in run]
            middle = _middle(left)
            for at, ticks in zip(run, left, strict=True):
                if 0 < at < len(points) - 1:
                    alone = len(run) == 1 and abs(off[at - 1] + off[at]) <= cut
                    errors.append(off[at - 1] if alone else ticks - middle)
        return errors

    def _judge_pieces(self, points: list[tuple[int, int]]) -> list[float] | None:
        """Of a rate that changed: each piece by its own slope, between its first PCR and its last; None where there are too many.

        Strict, for here a variable rate must not pass: what is off ends a piece, and no error is found."""
        steps = [(n - m, t - s) for (m, s), (n, t) in pairwise(points)]
        begins = [0]
        for at, (n, t) in enumerate(steps):
            first_n, first_t = steps[begins[-1]]
            slope = first_t / first_n
            if abs(t - n * slope) > 2 * self.LIMIT:
                begins.append(at)
        if len(begins) > self.PIECES:
            return None
        errors: list[float] = []
        for a, b in pairwise([*begins, len(steps)]):
            (m, s), (n, t) = points[a], points[b]
            errors += [ticks - s - (place - m) * (t - s) / (n - m) for place, ticks in points[max(a, 1) : b]]
        return errors


def _middle(numbers: list[float]) -> float:
    return sorted(numbers)[len(numbers) // 2]


class Clock:
    """The PCRs of one PID."""

    __slots__ = ("_breaks", "_came_ns", "_line", "_pcr", "_ticks", "accuracy_ns_max", "constant_rate", "due", "epoch", "interval_max")

    def __init__(self, now_ns: int) -> None:
        self.due = Due("pcr_repetition", PCR_LOST_NS, now_ns)
        self.epoch = 0  # time bases so far: a PTS is compared with those of its own
        self.interval_max = 0  # ticks
        self.constant_rate: bool | None = None  # None: not known yet
        self.accuracy_ns_max: float | None = None  # None: nothing judged, or the rate is not constant
        self._line = PcrLine()
        self._pcr: int | None = None
        self._came_ns = 0
        self._ticks = 0  # like `_pcr`, without wrap
        self._breaks = 0

    def push(self, pcr: int, at: Place, announced: bool, now_ns: int, faults: Faults) -> None:
        """`announced` is the discontinuity_indicator."""
        before, self._pcr = self._pcr, pcr
        away_ns, self._came_ns = faults.now_ns - self._came_ns, faults.now_ns
        self.due.came(now_ns)
        step = (pcr - before) % ts.PCR_MODULUS if before is not None else 0
        if before is None or announced:
            self._begin_anew()
        elif step > PCR_JUMP:
            faults.count("pcr_discontinuity")
            if abs(step * 1000 // 27 - away_ns) > PCR_JUMP_NS + away_ns // 4:
                self._begin_anew()
            else:  # it stayed away for as long as it says
                self._line.clear()
                self._on_interval(step, faults)
        elif step:
            self._on_interval(step, faults)
        else:
            return
        self._ticks += step
        if self._breaks != at.breaks:
            self._breaks = at.breaks
            self._line.clear()
        self._judge(self._line.push(at.packets, self._ticks, at.nulls), faults)

    def _begin_anew(self) -> None:
        self.epoch += 1
        self._line.clear()

    def _on_interval(self, ticks: int, faults: Faults) -> None:
        self.interval_max = max(self.interval_max, ticks)
        if ticks > PCR_REPETITION:
            faults.count("pcr_repetition")

    def _judge(self, errors: list[float] | None, faults: Faults) -> None:
        if errors is None:
            self.constant_rate = False
            self.accuracy_ns_max = None
        elif errors:
            self.constant_rate = True
            self.accuracy_ns_max = max(self.accuracy_ns_max or 0.0, max(map(abs, errors)) * 1000 / 27)
            for error in errors:
                if abs(error) > PcrLine.LIMIT:
                    faults.count("pcr_accuracy")


class Stream:
    """A picture or a sound that a PMT lists.

    Pictures are sent in the order of decoding, and a PTS may be many pictures ahead of the one before. So what is compared is the
    DTS, which is the PTS where there is none (2.4.3.7).
    """

    __slots__ = ("_dts", "_epoch", "due", "pcr_pid", "pts_due")

    def __init__(self, now_ns: int) -> None:
        self.pcr_pid = ts.NULL_PID
        self.due = Due("pid", PID_NS, now_ns)
        self.pts_due: Due | None = None  # from the first PTS on
        self._dts = self._epoch = 0

    def push(self, data: bytes, at: int, epoch: int, now_ns: int, faults: Faults) -> None:
        """A unit begins in the packet at `at`."""
        stamps = ts.timestamps_at(data, at)
        if not stamps or stamps[-1] + 5 > at + ts.PACKET:
            return
        before, self._dts = self._dts, ts.read_timestamp(data, stamps[-1])
        if self.pts_due is None:
            self.pts_due = Due("pts", PTS_NS, now_ns)
        elif self._epoch == epoch and not self.pts_due.missed:
            step = (self._dts - before) % ts.PTS_MODULUS
            if PTS_REPETITION < step < ts.PTS_MODULUS // 2:
                faults.count("pts")
        self._epoch = epoch
        self.pts_due.came(now_ns)

    def scrambled(self) -> None:
        """Its PTS can no longer be read."""
        self.pts_due = None
