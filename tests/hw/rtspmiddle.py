"""Stands between a client and a network camera, on RTSP's TCP connection, and spoils what goes through."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator

PICTURE, PICTURE_RTCP = 0, 1  # the first channels that a client asks for
MASK = 0xFFFFFFFF


class Middle:
    def __init__(self, port: int) -> None:
        self._server_port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.dropped: set[int] = set()  # channels; -1: everything from the camera
        self.leap_s = 0.0  # of the camera's clock: RTP times and those of its reports
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def cut(self) -> None:
        """Both connections break, as when a cable is pulled and the kernels find out."""
        for end in self._ends:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()
        for end in self._ends:
            end.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            camera = socket.create_connection(("127.0.0.1", self._server_port))
            self._ends += [client, camera]
            threading.Thread(target=self._up, args=(client, camera), daemon=True).start()
            threading.Thread(target=self._down, args=(camera, client), daemon=True).start()

    def _up(self, client: socket.socket, camera: socket.socket) -> None:
        try:
            while data := client.recv(65_536):
                camera.sendall(data)
            camera.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def _down(self, camera: socket.socket, client: socket.socket) -> None:
        try:
            for channel, data in _pieces(camera):
                if not self.dropped & {channel, -1}:
                    client.sendall(self._shifted(channel, data))
            client.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def _shifted(self, channel: int | None, data: bytes) -> bytes:
        if not self.leap_s or channel not in (PICTURE, PICTURE_RTCP):
            return data
        packet = bytearray(data)
        if channel == PICTURE:
            _add(packet, 4 + 4, round(self.leap_s * 90_000))
        elif packet[5] == 200:  # sender report: NTP seconds, then fraction, then the RTP time
            _add(packet, 4 + 8, round(self.leap_s))
            _add(packet, 4 + 16, round(self.leap_s * 90_000))
        return bytes(packet)


def _add(packet: bytearray, at: int, amount: int) -> None:
    packet[at : at + 4] = ((int.from_bytes(packet[at : at + 4], "big") + amount) & MASK).to_bytes(4, "big")


def _pieces(camera: socket.socket) -> Iterator[tuple[int | None, bytes]]:
    """RFC 2326 section 10.12: `$`, channel, length, a packet; between them answers as text, with channel None."""
    with camera.makefile("rb") as stream:
        while first := stream.read(1):
            if first == b"$":
                head = stream.read(3)
                yield head[0], first + head + stream.read(int.from_bytes(head[1:], "big"))
            else:
                answer = first
                while not answer.endswith(b"\r\n\r\n"):
                    answer += stream.readline()
                length = next((line[15:] for line in answer.split(b"\r\n") if line.lower().startswith(b"content-length:")), b"0")
                yield None, answer + stream.read(int(length))
