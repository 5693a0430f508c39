"""What a transport stream's tables list, and whether they come as ETSI TR 101 290, 1.3, 1.5, 2.2 and 2.6, wants them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from firmware.wire import psi, ts
from firmware.wire.checks import Due, Faults
from firmware.wire.pcr import Clock, Stream

TABLE_NS = 550_000_000  # half a second, and what a network may shift: they are told by arrival
CAT_NS = 1_000_000_000  # 2.6 names no time

MAX_PROGRAMMES = 256  # watched; a PAT may list 65,535
MAX_STREAMS = 1024
MAX_SECTIONS = 256  # whose checksum is known to be right
MAX_CHANGES = 8  # of tables that are followed at once, from tick to tick; more wait for the tick

DVB = {psi.PAT_PID: "PAT", psi.CAT_PID: "CAT", 0x10: "NIT", 0x11: "SDT", 0x12: "EIT", 0x14: "TDT"}  # EN 300 468, table 1


class Programme:
    __slots__ = ("due", "pcr_pid", "pmt_pid", "section", "streams")

    def __init__(self, pmt_pid: int, now_ns: int) -> None:
        self.pmt_pid = pmt_pid
        self.due = Due("pmt", TABLE_NS, now_ns)
        self.section = b""
        self.pcr_pid = ts.NULL_PID
        self.streams: dict[int, int] = {}  # stream_type by PID

    def read(self, section: bytes) -> None:
        self.section = section
        self.pcr_pid, self.streams = psi.streams(section)

    def watched(self) -> Iterator[int]:
        """The PIDs of its pictures and sounds."""
        return (pid for pid, kind in self.streams.items() if kind in psi.VIDEO or kind in psi.AUDIO)


class Tables:
    """`look` at every packet of the PIDs in `sections`; `clocks` and `streams`, by PID, are what the tables tell to watch."""

    def __init__(self, now_ns: int) -> None:
        self.sections = {psi.PAT_PID: psi.Sections(), psi.CAT_PID: psi.Sections()}
        self.programmes: dict[int, Programme] = {}  # by program_number
        self.clocks: dict[int, Clock] = {}
        self.streams: dict[int, Stream] = {}
        self.pat_due = Due("pat", TABLE_NS, now_ns)
        self.cat_due = Due("cat", CAT_NS, now_ns)
        self._pat: dict[int, bytes] = {}  # by section_number
        self._pat_changed = False
        self._right: set[bytes] = set()  # sections with a right checksum: an unchanged one costs a look-up
        self._changes = 0  # since the last tick

    def look(self, pid: int, data: bytes, at: int, now_ns: int, faults: Faults) -> None:
        if data[at + 3] & 0xC0:  # scrambled
            faults.count({psi.PAT_PID: "pat", psi.CAT_PID: "cat"}.get(pid, "pmt"))
            return
        for section in self.sections[pid].push(data, at):
            table = section[0]
            if pid == psi.PAT_PID and table != psi.PAT:
                faults.count("pat")
            elif pid == psi.CAT_PID and table != psi.CAT:
                faults.count("cat")
            elif pid in (psi.PAT_PID, psi.CAT_PID) or table == psi.PMT:
                if not self._has_right_crc(section):
                    faults.count("crc")
                elif pid == psi.PAT_PID:
                    self._on_pat(section, now_ns, faults)
                elif pid == psi.CAT_PID:
                    self.cat_due.came(now_ns)
                else:
                    self._on_pmt(pid, section, now_ns, faults)

    def break_off(self) -> None:
        """Packets are missing in all PIDs."""
        for sections in self.sections.values():
            sections.forget()

    def tick(self, now_ns: int) -> bool:
        """True when `sections` changed."""
        waiting, self._changes = self._changes > MAX_CHANGES, 0
        if waiting:
            self._follow(now_ns)
        return waiting

    def words(self) -> dict[int, str]:
        """What each PID carries, as far as is known."""
        words = dict(DVB)
        for programme in self.programmes.values():
            words[programme.pmt_pid] = "PMT"
            for pid, kind in programme.streams.items():
                words[pid] = psi.KINDS.get(kind, f"stream type 0x{kind:02x}")
        return words

    def _has_right_crc(self, section: bytes) -> bool:
        if section in self._right:
            return True
        if not psi.crc_is_right(section):
            return False
        if len(self._right) >= MAX_SECTIONS:
            self._right.clear()
        self._right.add(section)
        return True

    def _on_pat(self, section: bytes, now_ns: int, faults: Faults) -> None:
        _came(self.pat_due, now_ns, faults)
        if len(section) < 12 or not psi.is_current(section) or self._pat.get(section[6]) == section:
            return
        if any(other[3:6] != section[3:6] for other in self._pat.values()):  # another transport stream or version
            self._pat.clear()
        self._pat[section[6]] = section
        self._pat_changed = True
        self._on_change(now_ns)

    def _on_pmt(self, pid: int, section: bytes, now_ns: int, faults: Faults) -> None:
        programme = self.programmes.get(int.from_bytes(section[3:5], "big"))
        if programme is None or programme.pmt_pid != pid:
            return
        _came(programme.due, now_ns, faults)
        if programme.section != section and psi.is_current(section):
            programme.read(section)
            self._on_change(now_ns)

    def _on_change(self, now_ns: int) -> None:
        self._changes += 1
        if self._changes <= MAX_CHANGES:
            self._follow(now_ns)

    def _follow(self, now_ns: int) -> None:
        """Watch what the tables list now; what was watched before and still is keeps its times."""
        if self._pat_changed:
            self._pat_changed = False
            self._follow_pat(now_ns)
        listed = ((pid, programme) for programme in self.programmes.values() for pid in programme.watched() if pid not in self.sections)
        streams: dict[int, Stream] = {}
        for pid, programme in islice(listed, MAX_STREAMS):
            streams[pid] = self.streams.get(pid) or Stream(now_ns)
            streams[pid].pcr_pid = programme.pcr_pid
        clocks = {programme.pcr_pid for programme in self.programmes.values()} - {ts.NULL_PID}  # none: 2.4.4.9
        self.clocks = {pid: self.clocks.get(pid) or Clock(now_ns) for pid in clocks}
        self.streams = streams

    def _follow_pat(self, now_ns: int) -> None:
        listed: dict[int, int] = {}
        for section in self._pat.values():
            listed |= psi.programmes(section)
        before, self.programmes = self.programmes, {}
        for number, pid in islice(listed.items(), MAX_PROGRAMMES):
            old = before.get(number)
            self.programmes[number] = old if old is not None and old.pmt_pid == pid else Programme(pid, now_ns)
        pids = {psi.PAT_PID, psi.CAT_PID, *(programme.pmt_pid for programme in self.programmes.values())}
        self.sections = {pid: self.sections.get(pid) or psi.Sections() for pid in pids}


def _came(due: Due, now_ns: int, faults: Faults) -> None:
    if due.is_late(now_ns):
        faults.count(due.name)
    due.came(now_ns)
