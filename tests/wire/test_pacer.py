"""Bursts in, a smooth line out."""

from __future__ import annotations

import itertools

from firmware.wire.pacer import Pacer

from .streams import MS, gap_ns, stream

GAP = gap_ns()


def paced(arrivals, delay_ms=60):
    pacer = Pacer(delay_ms * MS)
    out = []
    waiting = list(arrivals)
    for now in range(0, int(waiting[-1][0]) + 500 * MS, MS // 2):
        while waiting and waiting[0][0] <= now:
            pacer.push(waiting.pop(0)[1], now)
        out += [(now, d) for d in pacer.pop(now)]
    return pacer, out


def test_frame_bursts_become_a_constant_rate():
    sent = stream(4)
    burst = 33 * MS
    pacer, out = paced([(int(n * GAP) // burst * burst, d) for n, d in enumerate(sent)])
    assert [d for _, d in out] == sent[: len(out)]
    assert len(sent) - len(out) < 40  # what follows the last PCR waits for the next
    settled = [at for at, _ in out if at > 500 * MS]
    gaps = [b - a for a, b in itertools.pairwise(settled)]
    assert max(gaps) < 2 * GAP + MS
    assert pacer.relaid <= 2


def test_a_clock_that_jumps_is_laid_anew_and_nothing_is_lost():
    sent = stream(2) + stream(2, seed=4)
    pacer, out = paced([(int(n * GAP), d) for n, d in enumerate(sent)])
    assert [d for _, d in out] == sent[: len(out)]
    assert pacer.relaid >= 2


def test_a_stream_without_pcr_passes():
    sent = [bytes((0x47, 1, 0, 0x10, n & 255)) + bytes(183) for n in range(3100)] * 2
    pacer = Pacer(60 * MS)
    for n, d in enumerate(sent):
        pacer.push(d, n * MS)
    assert len(pacer.pop(len(sent) * MS)) > 3000
