"""libcamera's virtual camera under picamera2 as it is: what it lacks of a Raspberry Pi's is put beside it here, never in the product.

It has no raw stream, its buffers have two planes, and it does not say how much of them is used. picamera2 wants `pykms` for previews on
a screen, which Debian does not have.
"""

from __future__ import annotations

import mmap
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

CONFIGURATION = Path("/usr/share/libcamera/pipeline/virtual/virtual.yaml")  # without it there is no virtual camera
HEAP = Path("/dev/dma_heap/linux,cma")
CAMERA = """\
"Virtual0":
  supported_formats:
  - {width: 640, height: 480, frame_rates: [30]}
  - {width: 320, height: 240, frame_rates: [30]}
  test_pattern: "bars"
  model: "Virtual"
"""


def _without_screen() -> None:
    class Names:
        def __getattr__(self, name: str) -> str:
            return name

    kms: Any = ModuleType("pykms")
    kms.PixelFormat, kms.Card = Names(), object
    sys.modules.setdefault("pykms", kms)


def open_virtual(_number: int = 0) -> Any:
    """What `Picamera2(number)` gives on a Raspberry Pi."""
    CONFIGURATION.parent.mkdir(parents=True, exist_ok=True)
    CONFIGURATION.write_text(CAMERA)
    if not HEAP.exists():  # picamera2 opens it, though these buffers are libcamera's
        HEAP.symlink_to("system")
    _without_screen()
    import libcamera
    from picamera2 import Picamera2
    from picamera2.allocators import LibcameraAllocator

    class Mapped:
        """picamera2's `Sync`: the memory of one buffer for as long as it is looked at."""

        def __init__(self, _allocator: Any, buffer: Any, _write: bool) -> None:
            self._buffer = buffer

        def __enter__(self) -> mmap.mmap:
            planes = self._buffer.planes
            size = sum(plane.length for plane in planes)
            self._memory = mmap.mmap(planes[0].fd, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
            return self._memory

        def __exit__(self, *_: object) -> None:
            try:
                self._memory.close()
            except BufferError:
                return  # somebody still looks

    class Allocator(LibcameraAllocator):  # type: ignore[misc]
        def __init__(self, camera: Any) -> None:
            super().__init__(camera)
            self.sync = Mapped

        def acquire(self, _buffers: Any) -> None: ...

        def release(self, _buffers: Any) -> None: ...

    class Virtual(Picamera2):  # type: ignore[misc]
        def _get_raw_modes(self) -> list[dict[str, Any]]:
            formats = self.camera.generate_configuration([libcamera.StreamRole.VideoRecording]).at(0).formats
            return [
                {"format": str(kind), "size": (size.width, size.height)} for kind in formats.pixel_formats for size in formats.sizes(kind)
            ]

    number = next(camera["Num"] for camera in Picamera2.global_camera_info() if camera["Id"] == "Virtual0")
    camera = Virtual(number)
    camera.allocator = Allocator(camera.camera)
    return camera
