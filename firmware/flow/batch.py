"""Datagrams that leave together, to however many outputs: joined once and encrypted once for all of them."""

from __future__ import annotations

from collections.abc import Sequence

from firmware.net.srtp import LONGEST_CLEAR, Seal

MOST_SEGMENTS = 44  # of one send with segmentation offload; the kernel takes 64 of them and 65,507 bytes


class Run:
    """Neighbours of one size: what the kernel can cut up again (UDP_SEGMENT)."""

    __slots__ = ("count", "data", "size")

    def __init__(self, datagrams: Sequence[bytes]) -> None:
        self.count = len(datagrams)
        self.size = len(datagrams[0])
        self.data = datagrams[0] if self.count == 1 else b"".join(datagrams)


class Batch(list[bytes]):
    """Datagrams in the order of sending. What several outputs need of it is made by the first that asks."""

    _runs: list[Run] | None = None
    _sealed: dict[int, Batch] | None = None

    def runs(self) -> list[Run]:
        if self._runs is None:
            self._runs = runs = []
            begin = 0
            for end in range(1, len(self) + 1):
                if end == len(self) or len(self[end]) != len(self[begin]) or end - begin == MOST_SEGMENTS:
                    runs.append(Run(self[begin:end]))
                    begin = end
        return self._runs

    def sealed(self, seal: Seal) -> Batch:
        """The same RTP packets as SRTP, without those that are too long for it."""
        if self._sealed is None:
            self._sealed = {}
        sealed = self._sealed.get(id(seal))
        if sealed is None:
            sealed = self._sealed[id(seal)] = Batch([seal.protect(packet) for packet in self if len(packet) <= LONGEST_CLEAR])
        return sealed
