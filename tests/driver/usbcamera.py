"""A USB camera made of nothing: the kernel's vhci_hcd asks for USB transfers over a socket, and this answers as a UVC 1.0 camera does.

    Pressbox ── /dev/videoN ── uvcvideo ── USB core ── vhci_hcd ══ socket ══ UsbCamera

Everything above the socket is the kernel's own, as with a real camera. Closing the socket is pulling the cable. (dummy_hcd, the other
way to a USB device without hardware, refuses isochronous transfers, and f_uvc has no others, so that pair shows no pictures.)
The messages are those of USB/IP, Documentation/usb/usbip_protocol.rst; the descriptors those of the UVC 1.0 specification, with
pictures on a bulk endpoint.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

VHCI = Path("/sys/devices/platform/vhci_hcd.0")
PORT, HIGH_SPEED, DEVICE_ID = 0, 3, 1
CMD_SUBMIT, CMD_UNLINK, RET_SUBMIT, RET_UNLINK = 1, 2, 3, 4
EPIPE, ECONNRESET = 32, 104
PICTURES_IN = 0x81
PAYLOAD_BYTES = 16_384
UNITS_OF_100_NS = 10_000_000
SERIAL = "0001"
STRINGS = ["", "Pressbox", "Test camera", SERIAL]
GUIDS = {"YUYV": bytes.fromhex("5955593200001000800000aa00389b71")}
GET_LEN, GET_INFO = 0x85, 0x86


class UsbCamera:
    """`picture(number)` gives the bytes of one. `fps` is what the descriptors say; pictures come at that rate."""

    def __init__(self, width: int, height: int, fps: int, pixel: str, picture: Callable[[int], bytes]) -> None:
        self.width, self.height, self.fps, self.pixel, self.picture = width, height, fps, pixel, picture
        self.gives = True  # false: plugged in, and never a picture
        self.sent = 0  # pictures
        self.first_ns = 0  # CLOCK_MONOTONIC, of the first picture since it was plugged in
        self._socket: socket.socket | None = None
        self._threads: list[threading.Thread] = []

    def plug(self) -> None:
        ours, theirs = socket.socketpair()
        self._socket, self.first_ns = ours, 0
        self._asked: deque[tuple[int, int]] = deque()  # transfers that wait for pictures: number and size
        self._there, self._sending, self._pulled = threading.Condition(), threading.Lock(), False
        self._threads = [threading.Thread(target=work, args=(ours,), daemon=True) for work in (self._answer, self._give)]
        for thread in self._threads:
            thread.start()
        with theirs:
            (VHCI / "attach").write_text(f"{PORT} {theirs.fileno()} {DEVICE_ID} {HIGH_SPEED}")

    def unplug(self) -> None:
        if self._socket is None:
            return
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._socket.close()
        self._socket = None

    # --- What the host asks

    def _answer(self, connection: socket.socket) -> None:
        with suppress(OSError, EOFError):
            while True:
                message = _exactly(connection, 48)
                command, number, _, inward, endpoint, first, length = struct.unpack_from(">7I", message)
                if command == CMD_UNLINK:
                    self._unlink(connection, number, first)
                elif endpoint:
                    with self._there:
                        self._asked.append((number, length))
                        self._there.notify()
                elif inward:
                    self._reply(connection, number, self._control(message[40:]))
                else:
                    sent = _exactly(connection, length)
                    said = self._control(message[40:])
                    self._reply(connection, number, said, taken=len(sent))
        with self._there:
            self._pulled = True
            self._there.notify()

    def _control(self, setup: bytes) -> bytes | None:
        """What is said to that request; None: it is refused."""
        kind, request, value, _, length = struct.unpack("<BBHHH", setup)
        if kind == 0x80 and request == 6:  # GET_DESCRIPTOR
            said = self._descriptor(value >> 8, value & 0xFF)
            return None if said is None else said[:length]
        if kind == 0x21:  # SET_CUR: there is but one way to set it
            return b""
        if kind == 0xA1 and request == GET_LEN:
            return struct.pack("<H", 26)
        if kind == 0xA1 and request == GET_INFO:
            return b"\x03"
        if kind == 0xA1:
            return self._probe()[:length]
        if kind == 0x80 and request == 0:  # GET_STATUS
            return b"\x00\x00"
        return b"" if kind in (0x00, 0x01, 0x02) else None

    def _probe(self) -> bytes:
        interval = UNITS_OF_100_NS // self.fps
        return struct.pack("<HBBIHHHHHII", 1, 1, 1, interval, 0, 0, 0, 0, 0, self._picture_bytes, PAYLOAD_BYTES)

    @property
    def _picture_bytes(self) -> int:
        return self.width * self.height * 2

    def _descriptor(self, kind: int, index: int) -> bytes | None:
        if kind == 1:
            return struct.pack("<BBHBBBBHHHBBBB", 18, 1, 0x0200, 0xEF, 2, 1, 64, 0x1D6B, 0x0102, 0x0100, 1, 2, 3, 1)
        if kind == 2:
            body = self._interfaces()
            return struct.pack("<BBHBBBBB", 9, 2, 9 + len(body), 2, 1, 0, 0x80, 50) + body
        if kind == 3 and index < len(STRINGS):
            text = STRINGS[index].encode("utf-16-le") if index else b"\x09\x04"
            return bytes([2 + len(text), 3]) + text
        return None

    def _interfaces(self) -> bytes:
        camera = struct.pack("<BBBBHBBHHHB3x", 18, 0x24, 2, 1, 0x0201, 0, 0, 0, 0, 0, 3)
        output = struct.pack("<BBBBHBBB", 9, 0x24, 3, 2, 0x0101, 0, 1, 0)
        header = struct.pack("<BBBHHIBB", 13, 0x24, 1, 0x0100, 13 + len(camera) + len(output), 48_000_000, 1, 1)
        formats = self._format() + bytes([6, 0x24, 0x0D, 1, 1, 4])
        streams = struct.pack("<BBBBHBBBBBBBB", 14, 0x24, 1, 1, 14 + len(formats), PICTURES_IN, 0, 2, 0, 0, 0, 1, 0)
        return b"".join(
            [
                bytes([8, 0x0B, 0, 2, 0x0E, 3, 0, 0]),
                bytes([9, 4, 0, 0, 0, 0x0E, 1, 0, 0]) + header + camera + output,
                bytes([9, 4, 1, 0, 1, 0x0E, 2, 0, 0]) + streams + formats,
                struct.pack("<BBBBHB", 7, 5, PICTURES_IN, 2, 512, 0),
            ]
        )

    def _format(self) -> bytes:
        rate = self._picture_bytes * 8 * self.fps
        interval = UNITS_OF_100_NS // self.fps
        frame = struct.pack("<BBHHIIIIBI", 1, 0, self.width, self.height, rate, rate, self._picture_bytes, interval, 1, interval)
        if self.pixel == "MJPG":
            return bytes([11, 0x24, 6, 1, 1, 1, 1, 0, 0, 0, 0]) + bytes([3 + len(frame), 0x24, 7]) + frame
        return bytes([27, 0x24, 4, 1, 1]) + GUIDS[self.pixel] + bytes([16, 1, 0, 0, 0, 0]) + bytes([3 + len(frame), 0x24, 5]) + frame

    # --- What it gives

    def _give(self, connection: socket.socket) -> None:
        number, due_s = 0, time.monotonic()
        with suppress(OSError):
            while True:
                data, flags = self.picture(number), 0x80 | number % 2  # end of header, and which picture of two
                while data:
                    asked = self._next_asked()
                    if asked is None:
                        return
                    transfer, room = asked
                    part, data = data[: room - 2], data[room - 2 :]
                    self._reply(connection, transfer, bytes([2, flags | (0 if data else 2)]) + part)
                self.first_ns = self.first_ns or time.monotonic_ns()
                number, self.sent = number + 1, self.sent + 1
                due_s = max(due_s + 1 / self.fps, time.monotonic())
                with self._there:
                    self._there.wait_for(lambda: self._pulled, due_s - time.monotonic())

    def _next_asked(self) -> tuple[int, int] | None:
        """The next transfer that wants pictures; None once the cable is pulled."""
        with self._there:
            self._there.wait_for(lambda: self._pulled or (self._asked and self.gives), 1e6)
            return None if self._pulled else self._asked.popleft()

    def _unlink(self, connection: socket.socket, number: int, wanted: int) -> None:
        with self._there:
            waiting = [one for one in self._asked if one[0] == wanted]
            for one in waiting:
                self._asked.remove(one)
        self._send(connection, struct.pack(">5Ii24x", RET_UNLINK, number, 0, 0, 0, -ECONNRESET if waiting else 0))

    def _reply(self, connection: socket.socket, number: int, data: bytes | None, taken: int = 0) -> None:
        """`taken`: bytes that came with the request. Only what was asked for goes back."""
        said = data or b""
        status = -EPIPE if data is None else 0
        head = struct.pack(">5I5i8x", RET_SUBMIT, number, 0, 0, 0, status, taken or len(said), 0, 0, 0)
        self._send(connection, head + said)

    def _send(self, connection: socket.socket, message: bytes) -> None:
        with self._sending:
            connection.sendall(message)


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = connection.recv(count, socket.MSG_WAITALL) if count else b""
    if len(data) < count:
        raise EOFError
    return data
