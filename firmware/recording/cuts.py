"""Where a running transport stream may be cut, and the tables that the second part needs to stand alone."""

from __future__ import annotations

from firmware.wire import ts
from firmware.wire.keypicture import first_programme, video_pid


class Cuts:
    def __init__(self) -> None:
        self._pat = self._pmt = b""
        self._pmt_pid: int | None = None
        self._video_pid: int | None = None

    def find(self, packets: bytes) -> int | None:
        """Where the first key picture of these whole packets starts. Tables are learnt on the way."""
        found = None
        for at in range(0, len(packets) - ts.PACKET + 1, ts.PACKET):
            if not packets[at + 1] & 0x40:
                continue
            pid = ts.pid_of(packets, at)
            if pid == self._video_pid:
                if found is None and ts.is_key_picture(packets, at):
                    found = at
            elif pid == 0:
                self._pat = packets[at : at + ts.PACKET]
                self._pmt_pid = first_programme(self._pat)
            elif pid == self._pmt_pid:
                self._pmt = packets[at : at + ts.PACKET]
                self._video_pid = video_pid(self._pmt)
        return found

    @property
    def tables(self) -> bytes:
        return self._pat + self._pmt
