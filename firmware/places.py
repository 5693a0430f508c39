"""Where things lie: what must survive a restart (`state`) and what must not (`run`)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Places:
    state: Path
    run: Path

    @classmethod
    def from_environment(cls) -> Places:
        """`PRESSBOX_STATE` and `PRESSBOX_RUN`, else the system's folders for root and the user's own for anybody else."""
        if os.geteuid() == 0:
            state, run = Path("/var/lib/pressbox"), Path("/run/pressbox")
        else:
            state = Path(os.environ.get("XDG_STATE_HOME", Path.home() / ".local/state")) / "pressbox"
            run = Path(os.environ.get("XDG_RUNTIME_DIR", state / "run")) / "pressbox"
        return cls(Path(os.environ.get("PRESSBOX_STATE", state)), Path(os.environ.get("PRESSBOX_RUN", run)))

    def create(self) -> None:
        """Make the folders, for their owner alone."""
        for folder in (self.state, self.secrets, self.slates, self.run):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def store(self) -> Path:
        return self.state / "pressbox.db"

    @property
    def audit(self) -> Path:
        return self.state / "audit.jsonl"

    @property
    def secrets(self) -> Path:
        return self.state / "secrets"

    @property
    def slates(self) -> Path:
        return self.state / "slates"

    @property
    def access_keys(self) -> Path:
        return self.state / "access-keys"

    @property
    def control(self) -> Path:
        return self.run / "control.sock"

    def snapshot(self, flow: str) -> Path:
        return self.run / f"{flow}.flow.json"

    def recording(self, flow: str) -> Path:
        """The socket on which its recorder takes what leaves a flow."""
        return self.run / f"{flow}.recording.sock"

    def recording_snapshot(self, flow: str) -> Path:
        return self.run / f"{flow}.recording.json"

    @property
    def recordings(self) -> Path:
        return self.state / "recordings"

    @property
    def rescue(self) -> Path:
        """What the root service is asked to do."""
        return self.run / "rescue.json"

    @property
    def rescued(self) -> Path:
        """What it did."""
        return self.run / "rescued.json"

    @property
    def box(self) -> Path:
        """How this machine is: temperature, power, disk, clock."""
        return self.run / "box.json"

    def capture_snapshot(self, flow: str) -> Path:
        return self.run / f"{flow}.capture.json"

    def handoff(self, flow: str) -> Path:
        """The socket on which a flow worker takes the lists of its capture worker."""
        return self.run / f"{flow}.capture.sock"

    def key_picture(self, flow: str) -> Path:
        """The newest key picture that left the flow, as MPEG-TS; what the preview is decoded from."""
        return self.run / f"{flow}.key.ts"

    def preview(self, flow: str) -> Path:
        return self.run / f"{flow}.jpg"
