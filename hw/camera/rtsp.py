"""Cameras in the network, by RTSP (RFC 2326, RFC 6184) through FFmpeg's libraries: their H.264 as it is, and their sound.

A picture is known to be whole when the next one begins, so it comes one picture late; its time is its own nevertheless. Until the first
key picture there is nothing that a decoder could begin with, so nothing is given.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

from hw.annexb import Whole
from hw.camera import CameraError, Transport
from hw.camera.count import Count
from hw.camera.rtspsound import CameraSound
from hw.frame import Coded, Sound
from hw.timeline import Timeline

OPEN_S, SILENT_S, KEY_S = 4.0, 2.0, 12.0
SECOND_NS = 1_000_000_000
REORDER_US = 200_000  # how long a packet that UDP brought too early waits for the one before it
UDP_BUFFER = 1 << 20
B_FRAMES = 3  # steps back in time within B_WINDOW pictures: that is no clock that was set
B_WINDOW = 50
TIMELESS = 300
SETTLED = 10  # pictures until their times stand; sound before that would be stretched to follow
REFUSED = {
    "HTTPUnauthorizedError": "it does not take this user and password",
    "HTTPForbiddenError": "it forbids that",
    "HTTPNotFoundError": "it has no stream of that path",
}


class RtspCamera:
    """`url` without a password: whoever opens the camera looks that up and gives it here, and it is never shown."""

    _packets: Iterator[Any]

    def __init__(self, url: str, transport: Transport = "tcp", *, user: str = "", password: str = "") -> None:
        place = urlsplit(url)
        where = place.netloc.rpartition("@")[2]
        self.name = f"network camera rtsp://{where}{place.path}"  # what stands behind a question mark may be a password too
        if place.password is not None:
            raise CameraError(f"{self.name}: a password in an address is there for everybody to read; keep it as a secret and name that")
        user = user or place.username or ""
        allowed = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user else ""
        self._connect(f"{place.scheme}://{allowed}{where}{place.path}" + (f"?{place.query}" if place.query else ""), transport)
        video = self._choose(transport)
        self._whole, self._line = Whole(video.codec_context.extradata or b""), Timeline()
        self._sounds: list[Sound] = []
        self._ready: deque[Coded] = deque()
        self._first: list[tuple[bytes, int | None, int]] = []  # data, carried time, arrival
        self._count, self._started = Count(self.fps), False
        self._carried: deque[int] = deque(maxlen=B_WINDOW)
        self._seen_ns = self._key_ns = time.monotonic_ns()

    def read(self) -> Coded:
        while not self._ready:
            packet, now_ns = self._next(), time.monotonic_ns()
            if packet.stream.type == "video":
                self._seen_ns = now_ns
                self._take(packet, now_ns)
            elif now_ns - self._seen_ns > SILENT_S * SECOND_NS:
                raise CameraError(f"{self.name}: no picture for {SILENT_S:.0f} seconds, only sound")
            elif self._ear is not None and self._count.number >= SETTLED:
                self._sounds += self._ear.take(packet, self._line.offset_ns, now_ns)
        return self._ready.popleft()

    def close(self) -> None:
        """Not waited for: it says goodbye to the camera, which may not be there any more."""
        self._packets = iter(())
        threading.Thread(target=self._container.close, daemon=True).start()

    def _connect(self, url: str, transport: Transport) -> None:
        import av

        self._error, self._packets = av.FFmpegError, iter(())
        options = {
            "rtsp_transport": transport,
            "timeout": str(int(OPEN_S * 1_000_000)),  # of one answer
            "max_delay": str(REORDER_US),
            "buffer_size": str(UDP_BUFFER),
            "allowed_media_types": "video+audio",
            "analyzeduration": "1000000",  # at most; the description says most of it
            "probesize": "200000",
            "fpsprobesize": "0",
        }
        begun = time.monotonic()
        try:
            self._container: Any = av.open(url, options=options, timeout=(OPEN_S, SILENT_S))
        except (self._error, ValueError) as error:
            raise CameraError(f"{self.name} cannot be opened: {self._why(error, begun + OPEN_S)}") from None  # its text has the password

    def _choose(self, transport: Transport) -> Any:
        """Picture and sound out of what there is."""
        known = [stream for stream in self._container.streams if stream.codec_context is not None]
        video = next((stream for stream in known if stream.type == "video"), None)
        sound = next((stream for stream in known if stream.type == "audio"), None)
        if video is None or video.codec_context.name != "h264":
            self.close()
            raise CameraError(
                f"{self.name} sends {video.codec_context.name if video else 'no picture'}; set it to H.264, which is passed on"
            )
        self._ear = CameraSound(sound) if sound else None
        self._packets = self._container.demux([video, sound] if sound else [video])
        rate, codec = video.average_rate or video.guessed_rate, video.codec_context
        self.fps = float(rate) if rate and 1 <= rate <= 120 else 25.0
        size = f" {codec.width} x {codec.height}" if codec.width else ""
        self.name += f", H.264{size} {self.fps:g}/s{f' and {sound.codec_context.name}' if sound else ''}, by {transport.upper()}"
        return video

    def _next(self) -> Any:
        begun = time.monotonic()
        try:
            packet = next(self._packets, None)
        except self._error as error:
            raise CameraError(f"{self.name}: {self._why(error, begun + SILENT_S)}") from None
        if packet is None or not packet.size:
            raise CameraError(f"{self.name}: it ended the stream")
        return packet

    def _take(self, packet: Any, now_ns: int) -> None:
        stamp = packet.pts if packet.pts is not None else packet.dts
        carried_ns = None if stamp is None else int(stamp * packet.time_base * SECOND_NS)
        if carried_ns is not None:
            self._check_order(carried_ns)
            if self._line.offset_ns is not None:
                self._give(bytes(packet), self._line.push(carried_ns, now_ns), now_ns)
                return
        self._first.append((bytes(packet), carried_ns, now_ns))
        if self._is_live():
            self._begin()
        elif len(self._first) > TIMELESS:
            raise CameraError(f"{self.name}: its pictures carry no times")

    def _is_live(self) -> bool:
        """Pictures that waited while the stream was looked into come at once; then they come as they are taken."""
        (_, before_ns, came_ns), (_, after_ns, now_ns) = [self._first[0], *self._first][-2:]
        if before_ns is None or after_ns is None:
            return False
        return 2 * (now_ns - came_ns) > after_ns - before_ns > 0 or now_ns - self._first[0][2] > SECOND_NS

    def _begin(self) -> None:
        """FFmpeg does not know the times of the first ones; they follow from the next."""
        pairs: list[tuple[int, int]] = []
        step_ns, next_ns = int(SECOND_NS / self.fps), 0
        for _, carried_ns, now_ns in reversed(self._first):
            next_ns = carried_ns if carried_ns is not None else next_ns - step_ns
            pairs.insert(0, (next_ns, now_ns))
        self._line.begin(pairs)
        for (data, _, now_ns), (carried_ns, _) in zip(self._first, pairs, strict=True):
            self._give(data, self._line.push(carried_ns, now_ns), now_ns)
        self._first.clear()

    def _give(self, data: bytes, capture_ns: int, now_ns: int) -> None:
        unit = self._whole.unit(data, capture_ns)
        self._started = self._started or unit.key
        if not self._started:
            if now_ns - self._key_ns > KEY_S * SECOND_NS:
                raise CameraError(f"{self.name}: no key picture for {KEY_S:.0f} seconds; let it send one every second or two")
            return
        number, self.fps = self._count.push(capture_ns), self._count.fps
        sounds, self._sounds = self._sounds, []
        self._ready.append(Coded(number, unit, capture_ns, sounds))

    def _check_order(self, carried_ns: int) -> None:
        self._carried.append(carried_ns)
        back = sum(0 < before - after < SECOND_NS for before, after in itertools.pairwise(self._carried))
        if back >= B_FRAMES:
            raise CameraError(f"{self.name} sends B-frames, which cost delay; set it to Baseline, or switch them off")

    def _why(self, error: Exception, due: float) -> str:
        """FFmpeg's own words for it, never its text, which has the whole address."""
        import av

        if isinstance(error, av.error.ExitError) or time.monotonic() > due:
            return "nothing comes from it"
        return REFUSED.get(type(error).__name__) or str(getattr(error, "strerror", "") or "it is no address of a stream")
