"""The kernel's rules for queues of video buffers (videobuf2), so that a stand-in refuses what a driver refuses."""

from __future__ import annotations

import errno
import mmap
import os
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from hw import v4l2
from hw.v4l2queue import MULTIPLANAR

PAGE = 4096


def refuse(number: int, why: str) -> OSError:
    return OSError(number, f"{os.strerror(number)} ({why})")


@dataclass
class Slot:
    """One buffer: `ours` (the program's), `queued`, or `done`."""

    fd: int
    data: memoryview
    state: str = "ours"
    used: int = 0
    flags: int = 0
    sequence: int = 0
    time_us: int = 0


@dataclass
class VbQueue:
    type: int
    size: int = 0  # bytes that a buffer must hold, set with the format
    least: int = 1
    memory: int = 0
    slots: list[Slot] = field(default_factory=list)
    queued: deque[int] = field(default_factory=deque)
    done: deque[int] = field(default_factory=deque)
    streaming: bool = False
    broken: bool = False
    last_taken: bool = False

    @property
    def multiplanar(self) -> bool:
        return self.type in MULTIPLANAR

    @property
    def output(self) -> bool:
        return self.type in (v4l2.OUTPUT, v4l2.OUTPUT_MPLANE)

    def request(self, asked: v4l2.RequestBuffers) -> None:
        if asked.memory not in (v4l2.MEMORY_MMAP, v4l2.MEMORY_DMABUF):
            raise refuse(errno.EINVAL, "memory")
        if self.streaming:
            raise refuse(errno.EBUSY, "REQBUFS while streaming")
        for slot in self.slots:
            os.close(slot.fd) if slot.fd >= 0 else None
        count = min(32, max(asked.count, self.least)) if asked.count else 0
        self.memory, self.queued, self.done = asked.memory, deque(), deque()
        self.slots = [self._slot() for _ in range(count)]
        asked.count = count

    def _slot(self) -> Slot:
        if self.memory == v4l2.MEMORY_DMABUF:
            return Slot(-1, memoryview(b""))
        fd = os.memfd_create("buffer")
        os.ftruncate(fd, max(1, -(-self.size // PAGE)) * PAGE)
        return Slot(fd, memoryview(mmap.mmap(fd, 0)))

    def offset(self, index: int) -> int:
        return (index + 1) * PAGE + (1 << 30 if self.output else 0)

    def query(self, buffer: Any) -> None:
        slot = self._checked(buffer)
        if self.multiplanar:
            buffer.m.planes[0].length, buffer.m.planes[0].m.mem_offset = len(slot.data), self.offset(buffer.index)
        else:
            buffer.length, buffer.m.offset = len(slot.data), self.offset(buffer.index)

    def _checked(self, buffer: Any) -> Slot:
        if buffer.index >= len(self.slots):
            raise refuse(errno.EINVAL, f"buffer {buffer.index} of {len(self.slots)}")
        if buffer.memory != self.memory:
            raise refuse(errno.EINVAL, "another memory than that of REQBUFS")
        if self.multiplanar and (not buffer.m.planes or buffer.length < 1):
            raise refuse(errno.EINVAL, "no planes")
        return self.slots[buffer.index]

    def queue(self, buffer: Any) -> Slot:
        slot = self._checked(buffer)
        if slot.state != "ours":
            raise refuse(errno.EINVAL, f"buffer {buffer.index} is {slot.state}")
        if self.broken:
            raise refuse(errno.EIO, "broken")
        plane = buffer.m.planes[0] if self.multiplanar else buffer
        if self.memory == v4l2.MEMORY_DMABUF:
            self._import(slot, plane.m.fd, plane.length)
        if self.output and plane.bytesused > len(slot.data):
            raise refuse(errno.EINVAL, "more bytes than the buffer holds")
        slot.state, slot.used = "queued", plane.bytesused if self.output else 0
        slot.flags, slot.time_us = 0, buffer.timestamp.tv_sec * 1_000_000 + buffer.timestamp.tv_usec
        self.queued.append(buffer.index)
        return slot

    def _import(self, slot: Slot, fd: int, length: int) -> None:
        try:
            slot.data = memoryview(mmap.mmap(fd, 0))
        except OSError:
            raise refuse(errno.EINVAL, f"{fd} is no dmabuf") from None
        if min(length or len(slot.data), len(slot.data)) < self.size:
            raise refuse(errno.EINVAL, "a dmabuf smaller than the format's picture")

    def finish(self, index: int, used: int, flags: int, sequence: int, time_us: int) -> None:
        """The driver is done with it."""
        slot = self.slots[index]
        slot.state, slot.used, slot.flags, slot.sequence, slot.time_us = "done", used, flags, sequence, time_us
        self.done.append(index)

    def dequeue(self, buffer: Any) -> Slot:
        if buffer.memory != self.memory:
            raise refuse(errno.EINVAL, "another memory than that of REQBUFS")
        if not self.streaming:
            raise refuse(errno.EINVAL, "DQBUF while not streaming")
        if self.broken:
            raise refuse(errno.EIO, "broken")
        if self.last_taken:
            raise refuse(errno.EPIPE, "the last buffer was taken")
        if not self.done:
            raise refuse(errno.EAGAIN, "nothing is done")
        index = self.done.popleft()
        slot = self.slots[index]
        slot.state, self.last_taken = "ours", bool(slot.flags & v4l2.BUF_LAST)
        buffer.index, buffer.flags, buffer.sequence = index, slot.flags, slot.sequence
        buffer.timestamp.tv_sec, buffer.timestamp.tv_usec = divmod(slot.time_us, 1_000_000)
        (buffer.m.planes[0] if self.multiplanar else buffer).bytesused = slot.used
        return slot

    def export(self, asked: v4l2.ExportBuffer) -> None:
        if self.memory != v4l2.MEMORY_MMAP or asked.index >= len(self.slots) or asked.plane:
            raise refuse(errno.EINVAL, "EXPBUF of what is not there")
        asked.fd = os.dup(self.slots[asked.index].fd)

    def start(self) -> None:
        if not self.slots or len(self.slots) < self.least:
            raise refuse(errno.EINVAL, "STREAMON without buffers")
        self.streaming = True

    def stop(self) -> None:
        self.streaming, self.last_taken = False, False
        for slot in self.slots:
            slot.state = "ours"
        self.queued.clear()
        self.done.clear()

    def free(self) -> None:
        for slot in self.slots:
            os.close(slot.fd) if slot.fd >= 0 else None
        self.slots = []

    def map(self, offset: int, length: int) -> memoryview | None:
        for index, slot in enumerate(self.slots):
            if self.offset(index) == offset and length <= len(slot.data):
                return slot.data[:length]
        return None
