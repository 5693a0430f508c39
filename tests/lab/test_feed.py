"""The made-up stream that proofs send."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

from firmware.wire.ts import is_anchor, is_transport_stream
from tests.lab.analyse import analyse
from tests.lab.feed import stream
from tests.lab.recorder import Recorder


def test_it_is_a_sound_stream_without_two_datagrams_alike():
    datagrams = list(itertools.islice(stream(10_000_000), 4000))
    report = analyse(b"".join(datagrams))
    assert report.packets == 28_000
    assert (report.priority_1, report.crc_errors, report.duplicates, report.pcr_jumps) == (0, 0, 0, 0)
    assert report.pcr_gap_ms < 35
    assert report.pcr_error_ns < 100
    assert round(report.rate_bps) == 10_000_000
    assert len(set(datagrams)) == len(datagrams)
    assert all(map(is_transport_stream, datagrams))
    assert sum(map(is_anchor, datagrams)) > 100


def test_as_a_process(wait_for):
    feed = Path(__file__).with_name("feed.py")
    with Recorder() as recorder:
        process = subprocess.Popen([sys.executable, str(feed), f"127.0.0.1:{recorder.port}", "4e6"], stdin=subprocess.PIPE)
        wait_for(lambda: len(recorder.datagrams) >= 300, what="datagrams")
        process.communicate(timeout=10)
        assert process.returncode == 0
        assert recorder.datagrams[:300] == list(itertools.islice(stream(4e6), 300))
