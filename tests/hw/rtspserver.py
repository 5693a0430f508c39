"""A network camera: GStreamer's RTSP server.

`python -m tests.hw.rtspserver PIPELINE [USER PASSWORD]` prints its port; the end of stdin ends it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
PICTURE = "videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=320,height=240,framerate=25/1"
H264 = f"{PICTURE} ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=12 aud=false ! rtph264pay name=pay0 pt=96"
REORDERED = "x264enc bframes=2 b-adapt=false rc-lookahead=4 speed-preset=veryfast key-int-max=12 ! video/x-h264,profile=main"
B_FRAMES = f"{PICTURE} ! {REORDERED} ! rtph264pay name=pay0 pt=96"
JPEG = f"{PICTURE} ! jpegenc ! rtpjpegpay name=pay0 pt=26"
TONE = "audiotestsrc is-live=true freq=500 samplesperbuffer={} ! audioconvert ! audio/x-raw,rate={},channels={}"
G711 = f"{TONE.format(160, 8000, 1)} ! mulawenc ! rtppcmupay name=pay1"
AAC = f"{TONE.format(1024, 44100, 2)} ! avenc_aac ! aacparse ! rtpmp4gpay name=pay1 pt=97"


def missing() -> str:
    """Why there can be none here; empty if there can."""
    try:
        import gi

        gi.require_version("GstRtspServer", "1.0")
    except (ImportError, ValueError):
        return "GStreamer's RTSP server is missing (python3-gi, gir1.2-gst-rtsp-server-1.0); scripts/test installs it"
    return ""


@contextmanager
def serving(*streams: str, login: tuple[str, str] | None = None) -> Iterator[int]:
    """The port of a camera whose stream is at /cam."""
    command = [sys.executable, "-m", "tests.hw.rtspserver", f"( {' '.join(streams)} )", *(login or ())]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline())
        finally:
            server.stdin.close()
            server.kill()


def main() -> None:
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtsp", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtsp, GstRtspServer

    Gst.init(None)
    server, factory = GstRtspServer.RTSPServer.new(), GstRtspServer.RTSPMediaFactory.new()
    server.set_address("127.0.0.1")
    server.set_service("0")
    factory.set_launch(sys.argv[1])
    factory.set_shared(True)
    if sys.argv[2:]:
        user, password = sys.argv[2:]
        auth, token = GstRtspServer.RTSPAuth.new(), GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", user)
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(user, password, token)
        server.set_auth(auth)
        factory.add_role_from_structure(
            Gst.Structure.new_from_string(f"{user}, media.factory.access=(boolean)true, media.factory.construct=(boolean)true")
        )
    server.get_mount_points().add_factory("/cam", factory)
    server.attach(None)
    print(server.get_bound_port(), flush=True)
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
