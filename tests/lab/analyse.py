"""Independent look at a transport stream: what a receiver's alarm panel would say, and what is in the tables.

It shares no code with the firmware, so that one mistake is not made twice. Terms of ETSI TR 101 290, 5.2.

    python tests/lab/analyse.py FILE.ts        one JSON object
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

PACKET = 188


@dataclass
class Report:
    packets: int = 0
    sync_errors: int = 0  # 1.1, 1.2
    continuity_errors: int = 0  # 1.4
    duplicates: int = 0  # the same packet twice running
    transport_errors: int = 0  # 2.1
    crc_errors: int = 0  # 2.2
    pat_gap_ms: float = 0.0  # longest, 1.3: at most 500
    pmt_gap_ms: float = 0.0  # longest, 1.5: at most 500
    pcr_gap_ms: float = 0.0  # longest, 2.3a: at most 40
    pcr_jumps: int = 0  # 2.3b: a step of over 100 ms or backwards, not flagged
    pcr_error_ns: float = 0.0  # worst against constant rate, 2.4: at most 500
    pts_gap_ms: float = 0.0  # longest on any PID, 2.5: at most 700
    pts_backwards: int = 0  # the streams here have no B-pictures: presentation times only grow
    pts_before_pcr: int = 0  # pictures or sound that were due before they came
    rate_bps: float = 0.0
    null_share: float = 0.0
    pids: dict[int, int] = field(default_factory=dict)

    @property
    def priority_1(self) -> int:
        """Errors of the first priority: the stream cannot be decoded."""
        return self.sync_errors + self.continuity_errors + (self.pat_gap_ms > 500) + (self.pmt_gap_ms > 500)


class Analyser:
    """`feed` whole packets in order; positions are turned into time by the stream's own PCR."""

    def __init__(self) -> None:
        self.report = Report()
        self._counter: dict[int, int] = {}
        self._last: dict[int, bytes] = {}
        self._pmt_pid: int | None = None
        self._pcr: tuple[int, int] | None = None  # packet number, ticks
        self._first_pcr: tuple[int, int] | None = None
        self._pcr_pid: int | None = None
        self._pcrs: list[tuple[int, int]] = []
        self._seen: dict[str, int] = {}
        self._pts: dict[int, int] = {}

    def feed(self, data: bytes) -> None:
        for at in range(0, len(data), PACKET):
            self._packet(data[at : at + PACKET])

    def finish(self) -> Report:
        report = self.report
        if self._first_pcr and self._pcr and self._pcr[0] > self._first_pcr[0]:
            ticks = self._pcr[1] - self._first_pcr[1]
            per_packet = ticks / (self._pcr[0] - self._first_pcr[0])
            report.rate_bps = PACKET * 8 * 27e6 / per_packet
            errors = [t - self._first_pcr[1] - (n - self._first_pcr[0]) * per_packet for n, t in self._pcrs]
            middle = (max(errors) + min(errors)) / 2
            report.pcr_error_ns = max(abs(e - middle) for e in errors) * 1000 / 27
        report.null_share = report.pids.get(0x1FFF, 0) / max(1, report.packets)
        return report

    def _now_ms(self) -> float:
        """Stream time of this packet, by the PCRs so far."""
        return self._pcr[1] / 27_000 if self._pcr else 0.0

    def _packet(self, packet: bytes) -> None:
        report = self.report
        report.packets += 1
        if len(packet) != PACKET or packet[0] != 0x47:
            report.sync_errors += 1
            return
        pid = (packet[1] & 31) << 8 | packet[2]
        report.pids[pid] = report.pids.get(pid, 0) + 1
        if packet[1] & 0x80:
            report.transport_errors += 1
        if pid == 0x1FFF:
            return
        adaptation, has_payload = packet[3] & 0x20, packet[3] & 0x10
        flags = packet[5] if adaptation and packet[4] else 0
        counter = packet[3] & 15
        if has_payload:
            before = self._counter.get(pid)
            if before is not None and not flags & 0x80:
                if counter == before and packet == self._last.get(pid):
                    report.duplicates += 1
                elif counter != (before + 1) % 16:
                    report.continuity_errors += 1
            self._counter[pid] = counter
            self._last[pid] = packet
        if flags & 0x10 and packet[4] >= 7:
            self._on_pcr(pid, packet, bool(flags & 0x80))
        if pid == 0 and packet[1] & 0x40:
            self._mark("pat_gap_ms")
            section = self._section(packet)
            self._pmt_pid = (section[10] & 31) << 8 | section[11] if len(section) > 11 else None
        elif pid == self._pmt_pid and packet[1] & 0x40:
            self._mark("pmt_gap_ms")
            self._section(packet)
        elif has_payload and packet[1] & 0x40:
            self._on_pes(pid, packet[4 + (1 + packet[4] if adaptation else 0) :])

    def _on_pcr(self, pid: int, packet: bytes, flagged: bool) -> None:
        report = self.report
        if self._pcr_pid not in (None, pid):
            return
        self._pcr_pid = pid
        base = packet[6] << 25 | packet[7] << 17 | packet[8] << 9 | packet[9] << 1 | packet[10] >> 7
        ticks = base * 300 + ((packet[10] & 1) << 8 | packet[11])
        if self._pcr is None:
            self._first_pcr = (report.packets, ticks)
        else:
            step = (ticks - self._pcr[1]) % (2**33 * 300)
            if step > 2.7e6 and not flagged:
                report.pcr_jumps += 1
            elif not flagged:
                report.pcr_gap_ms = max(report.pcr_gap_ms, step / 27_000)
            ticks = self._pcr[1] + step
        self._pcr = (report.packets, ticks)
        self._pcrs.append(self._pcr)

    def _on_pes(self, pid: int, payload: bytes) -> None:
        if payload[:3] != b"\0\0\1" or len(payload) < 14 or not payload[7] & 0x80:
            return
        a, b, c, d, e = payload[9:14]
        pts = (a >> 1 & 7) << 30 | b << 22 | c >> 1 << 15 | d << 7 | e >> 1
        if pid in self._pts:
            gap = (pts - self._pts[pid]) % 2**33
            if gap < 2**32:
                self.report.pts_gap_ms = max(self.report.pts_gap_ms, gap / 90)
            else:
                self.report.pts_backwards += 1
        self._pts[pid] = pts
        if self._pcr and (pts - self._pcr[1] // 300) % 2**33 >= 2**32:
            self.report.pts_before_pcr += 1

    def _mark(self, gap: str) -> None:
        now = self._now_ms()
        if self._pcr:
            if gap in self._seen:
                setattr(self.report, gap, max(getattr(self.report, gap), now - self._seen[gap]))
            self._seen[gap] = now  # type: ignore[assignment]

    def _section(self, packet: bytes) -> bytes:
        begin = 4 + (1 + packet[4] if packet[3] & 0x20 else 0)
        begin += 1 + packet[begin]
        length = (packet[begin + 1] & 15) << 8 | packet[begin + 2]
        section = packet[begin : begin + 3 + length]
        if len(section) == 3 + length and crc32(section) != 0:
            self.report.crc_errors += 1
        return section


def crc32(data: bytes) -> int:
    """ISO/IEC 13818-1 annex A; 0 over a section with its own CRC."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = crc << 1 ^ (0x04C11DB7 if crc & 0x80000000 else 0)
        crc &= 0xFFFFFFFF
    return crc


def analyse(data: bytes) -> Report:
    analyser = Analyser()
    analyser.feed(data)
    return analyser.finish()


if __name__ == "__main__":
    print(json.dumps(asdict(analyse(Path(sys.argv[1]).read_bytes())), indent=2))
