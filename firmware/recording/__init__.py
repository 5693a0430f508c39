"""Recording a flow beside its outputs: settings here, `segments` on the disk, `recorder` the process."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

MB = 1_000_000


class Recording(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Of what the flow's outputs get, as MPEG-TS files. The oldest go first, when the bound or the disk's end is near."""

    folder: str = ""  # empty: `recordings` in the state folder
    keep_mb: Annotated[int, Meta(ge=50, le=100_000_000)] = 20_000
    segment_s: Annotated[int, Meta(ge=5, le=3600)] = 60  # a file, cut at a key picture
    leave_mb: Annotated[int, Meta(ge=50, le=10_000_000)] = 500  # free on the disk, for everything else

    def __post_init__(self) -> None:
        if self.folder and not self.folder.startswith("/"):
            raise ValueError("folder: write it from / on, or leave it out for `recordings` in the state folder")
