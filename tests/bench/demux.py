"""The pictures in a transport stream, each as soon as its last byte is there: where its length is told, without waiting for the next."""

from __future__ import annotations

from dataclasses import dataclass, field

from firmware.wire import ts

PES_HEADER = 9  # bytes before the optional part


@dataclass(slots=True)
class Picture:
    pts_90k: int
    first_ns: int  # arrival of its first datagram
    headroom_90k: int | None  # PTS ahead of the PCR before it
    size: int | None  # bytes of elementary stream; None where the PES header does not tell
    last_ns: int = 0
    parts: list[bytes] = field(default_factory=list)
    got: int = 0

    @property
    def data(self) -> bytes:
        return b"".join(self.parts)[: self.size]


class Demux:
    def __init__(self) -> None:
        self._pid: int | None = None
        self._picture: Picture | None = None
        self._pcr_90k: int | None = None

    def push(self, datagram: bytes, now_ns: int) -> list[Picture]:
        """The pictures that this datagram made whole."""
        whole: list[Picture] = []
        for at in range(0, len(datagram) - ts.PACKET + 1, ts.PACKET):
            pcr = ts.pcr_of(datagram, at)
            if pcr is not None:
                self._pcr_90k = pcr // 300
            pes = ts.payload_at(datagram, at)
            if datagram[at + 1] & 0x40 and datagram[pes : pes + 3] == b"\0\0\1" and datagram[pes + 3] & 0xF0 == 0xE0:
                self._pid = ts.pid_of(datagram, at)
                self._finish(whole)
                self._begin(datagram, pes, now_ns)
                pes += PES_HEADER + datagram[pes + 8]
            if ts.pid_of(datagram, at) == self._pid and self._picture is not None:
                self._add(self._picture, datagram[pes : at + ts.PACKET], now_ns, whole)
        return whole

    def _begin(self, datagram: bytes, pes: int, now_ns: int) -> None:
        length = int.from_bytes(datagram[pes + 4 : pes + 6], "big")
        size = length - 3 - datagram[pes + 8] if length else None
        pts = ts.read_timestamp(datagram, pes + PES_HEADER)
        headroom = None if self._pcr_90k is None else (pts - self._pcr_90k) % ts.PTS_MODULUS
        self._picture = Picture(pts, now_ns, headroom, size)

    def _add(self, picture: Picture, part: bytes, now_ns: int, whole: list[Picture]) -> None:
        if part:
            picture.parts.append(part)
            picture.got += len(part)
            picture.last_ns = now_ns
        if picture.size is not None and picture.got >= picture.size:
            self._finish(whole)

    def _finish(self, whole: list[Picture]) -> None:
        if self._picture is not None:
            whole.append(self._picture)
            self._picture = None
