"""The parent of the workers: makes what runs agree with what is wanted, and keeps it running.

Wanted is what the store says. `reconcile` is called at the start and whenever somebody says `apply` on the control
socket; `keep` restarts what ended and ends what hangs. Nothing here touches a packet.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec

from firmware.alone import hold
from firmware.captures import Captures
from firmware.child import Child
from firmware.flow.orders import Job
from firmware.model import Flow
from firmware.places import Places
from firmware.private import is_shared
from firmware.progress import Progress
from firmware.rescue import Rescue
from firmware.secrets import SecretError, Secrets
from firmware.status import FlowStatus, read_snapshot, write_snapshot
from firmware.store import Store, StoreError

LOOK_S = 0.1
HANG_NS = 3_000_000_000  # a flow worker that wrote no snapshot for this long hangs
START_NS = 20_000_000_000  # one that starts on a machine with much else to do does not hang
HOPELESS_NS = 30_000_000_000  # without progress of any flow, through several starts of its worker
IDLE_SNAPSHOT_NS = 1_000_000_000
LONGEST_REQUEST = 1 << 16
LONGEST_WAIT_S = 1.0  # for a request: nothing else is looked after meanwhile
MAX_CUT_S = 30.0

log = logging.getLogger("pressbox.engine")


class FlowRun:
    """A flow that is wanted: its worker, and its capture worker where it has a camera."""

    def __init__(self, flow: Flow, places: Places, secrets: Secrets, rescue: Rescue) -> None:
        self.flow = flow
        self.places = places
        self.secrets = secrets
        self.rescue = rescue
        self.captures = self._captures_of(flow)
        self.recorder = self._recorder_of(flow)
        self.worker = Child(f"flow {flow.name}", "firmware.flow.worker", self._job, flow=flow.name)
        self.error = ""
        self._told = True  # the worker knows `flow`
        self._seen_at = 0.0  # the newest snapshot's time
        self._seen_ns = 0  # when it was seen first: wall clocks jump
        self._progress = Progress(flow, time.monotonic_ns())
        self._places_clean()

    def _job(self) -> bytes:
        name, places = self.flow.name, self.places
        return msgspec.json.encode(
            Job(
                flow=self.flow,
                secrets={secret: self.secrets.get(secret) for secret in self.flow.secrets},
                former={secret: former.value for secret in self.flow.secrets if (former := self.secrets.former(secret))},
                snapshot=str(places.snapshot(name)),
                handoff=str(places.handoff(name)),
                slate=str(self.captures.slate) if self.captures else "",
                key_picture=str(places.key_picture(name)),
                recording=str(places.recording(name)) if self.flow.recording else "",
            )
        )

    def _captures_of(self, flow: Flow) -> Captures | None:
        camera = flow.camera
        if camera is None:
            return None
        return Captures(flow.name, camera, self.places, lambda: self.secrets.get(camera.secret) if camera.secret else "", self.rescue)

    def _recorder_of(self, flow: Flow) -> Child | None:
        recording, places = flow.recording, self.places
        if recording is None:
            return None
        job = {
            "flow": flow.name,
            "recording": recording,
            "folder": recording.folder or str(places.recordings),
            "socket": str(places.recording(flow.name)),
            "snapshot": str(places.recording_snapshot(flow.name)),
        }
        return Child(f"recording of {flow.name}", "firmware.recording.recorder", lambda: msgspec.json.encode(job))

    def become(self, flow: Flow) -> None:
        """Another definition, while it runs."""
        before, self.flow = self.flow, flow
        if before.camera != flow.camera:
            if self.captures:
                self.captures.stop()
            self.captures = self._captures_of(flow)
        if before.recording != flow.recording:
            if self.recorder:
                self.recorder.stop()
            self.recorder = self._recorder_of(flow)
        self._told = False
        self._progress = Progress(flow, time.monotonic_ns())

    def tell_again(self) -> None:
        """A secret is another one: whose it is, the worker finds out."""
        self._told = False

    def keep(self, now_ns: int) -> None:
        try:
            if not self._told:
                self._told = True
                self.worker.tell(self._job())
            self.worker.keep(now_ns)
            self.error = ""
        except (SecretError, OSError) as error:  # a secret that went away; no more processes or files to be had
            if str(error) != self.error:
                self.error = str(error)
                log.warning("flow %s: %s", self.flow.name, error)
            if not self.worker.running:  # one that runs goes on with what it knows
                self._told = False
                return
        if self.captures:
            self.captures.keep(now_ns)
        if self.recorder:
            self.recorder.keep(now_ns)
        self._watch(now_ns)

    def stop(self) -> None:
        if self.captures:
            self.captures.stop()
        self.worker.stop()
        if self.recorder:
            self.recorder.stop()
        self._places_clean()

    def idle_status(self) -> FlowStatus | None:
        """What to tell while no worker can tell it."""
        if not self.worker.running and (self.error or self.worker.starts):
            return FlowStatus(name=self.flow.name, state="ERROR", at=time.time(), message=self.error or self.worker.words)
        return None

    def _watch(self, now_ns: int) -> None:
        """A worker whose snapshots stopped hangs, however alive its process looks."""
        status = read_snapshot(self.places.snapshot(self.flow.name), FlowStatus)
        at = status.at if status else 0.0
        if at != self._seen_at:
            self._seen_at, self._seen_ns = at, now_ns
            self._progress.look(status, now_ns)
        silent_ns = now_ns - max(self._seen_ns, self.worker.mute_ns, self.worker.started_ns + START_NS - HANG_NS)
        if self.worker.running and silent_ns > HANG_NS:
            self.worker.kill(f"no sign of life for {HANG_NS // 1_000_000_000} s")
        elif self._progress.is_stalled(now_ns):
            self.worker.kill("packets come and none goes, although somebody is there to get them")
            self._progress = Progress(self.flow, now_ns)

    @property
    def progressed_ns(self) -> int:
        return self._progress.progressed_ns

    def _places_clean(self) -> None:
        for path in (
            self.places.snapshot(self.flow.name),
            self.places.handoff(self.flow.name),
            self.places.key_picture(self.flow.name),
            self.places.preview(self.flow.name),
            self.places.recording(self.flow.name),
            self.places.recording_snapshot(self.flow.name),
        ):
            path.unlink(missing_ok=True)


class Engine:
    def __init__(self, places: Places) -> None:
        places.create()
        self.places = places
        self.store = Store(places.store)
        self.secrets = Secrets(places.secrets)
        self.rescue = Rescue(places)
        self.stopping = False
        self.on_look: Callable[[], None] = lambda: None  # called ten times a second
        self.extra: list[Child] = [
            Child("previews", "firmware.capture.preview", lambda: msgspec.json.encode({"run": str(places.run)}), niceness=10),
            Child(
                "metrics", "firmware.metrics.recorder", lambda: msgspec.json.encode({"run": str(places.run), "state": str(places.state)})
            ),
            Child("alarms", "firmware.alarms.watcher", lambda: msgspec.json.encode({"run": str(places.run), "state": str(places.state)})),
        ]
        self._runs: dict[str, FlowRun] = {}
        self.rescue.live = lambda: any(run.captures is not None and run.captures.live for run in self._runs.values())
        self._standby: set[str] = set()
        self._idle_ns = 0
        self._secrets_stamp = self.secrets.stamp
        self._lock = _lock(places)
        self._control = _listen(places)

    def reconcile(self) -> None:
        """Start, change and stop flows until they are as the store says."""
        kept = {one.flow.name: one for one in self.store.list()}
        for notice in self.store.notices:
            log.warning("%s", notice)
        self.store.notices.clear()
        for name in [name for name in self._runs if name not in kept or kept[name].desired != "ACTIVE"]:
            self._runs.pop(name).stop()
        for name in self._standby - kept.keys():
            self.places.snapshot(name).unlink(missing_ok=True)
        self._standby = {name for name, one in kept.items() if one.desired != "ACTIVE"}
        for name, one in kept.items():
            if one.desired == "ACTIVE":
                run = self._runs.get(name)
                if run is None:
                    self._runs[name] = FlowRun(one.flow, self.places, self.secrets, self.rescue)
                elif run.flow != one.flow:
                    run.become(one.flow)
        self._idle_ns = 0
        self._keep()

    def run(self) -> None:
        """Until `stopping`."""
        self.reconcile()
        while not self.stopping:
            ready, _, _ = select.select([self._control], (), (), LOOK_S)
            if ready:
                self._serve()
            if not self.stopping:  # what ends now ends with us, and is not started again
                self._keep()
                self.on_look()

    @property
    def goes_on(self) -> bool:
        """False once no flow at all has carried anything for long, although some should and the workers were started anew.

        The service manager's watchdog is fed by this: what then still helps is to start all of us anew, or the machine.
        """
        if not self._runs:
            return True
        newest_ns = max(run.progressed_ns for run in self._runs.values())
        return time.monotonic_ns() - newest_ns < HOPELESS_NS

    def close(self) -> None:
        for child in self.extra:  # first, for what watches would take the end of each flow for a fault
            child.stop()
        for run in self._runs.values():
            run.stop()
        self._control.close()
        self.places.control.unlink(missing_ok=True)
        os.close(self._lock)

    def _keep(self) -> None:
        now_ns = time.monotonic_ns()
        if self.secrets.stamp != self._secrets_stamp:
            self._secrets_stamp = self.secrets.stamp
            for run in self._runs.values():
                run.tell_again()
        for run in self._runs.values():
            run.keep(now_ns)
        for child in self.extra:
            child.keep(now_ns)
        if now_ns - self._idle_ns > IDLE_SNAPSHOT_NS:
            self._idle_ns = now_ns
            self.secrets.expire()
            self._write_idle()

    def _write_idle(self) -> None:
        idle = [FlowStatus(name=name, state="STANDBY", at=time.time()) for name in self._standby]
        idle += [status for run in self._runs.values() if (status := run.idle_status())]
        try:
            for status in idle:
                write_snapshot(self.places.snapshot(status.name), status)
        except OSError as error:
            log.warning("no snapshot can be written to %s: %s", self.places.run, error.strerror)

    # the control socket: one JSON line there, one back

    def _serve(self) -> None:
        with suppress(OSError):
            connection, _ = self._control.accept()
            with connection:
                request, until = b"", time.monotonic() + LONGEST_WAIT_S
                while not request.endswith(b"\n") and len(request) < LONGEST_REQUEST:
                    connection.settimeout(max(0.001, until - time.monotonic()))
                    data = connection.recv(LONGEST_REQUEST)
                    if not data:
                        return
                    request += data
                connection.sendall(msgspec.json.encode(self._answer(request)) + b"\n")

    def _answer(self, request: bytes) -> dict[str, Any]:
        operations: dict[str, Callable[[dict[str, Any]], None]] = {"apply": self._apply, "cut": self._cut, "stop": self._stop}
        try:
            wanted = msgspec.json.decode(request, type=dict[str, Any])
            operation = operations.get(str(wanted.get("op")))
            if operation is None:
                return {"error": f"op: `{wanted.get('op')}` is unknown; allowed are {', '.join(operations)}"}
            operation(wanted)
        except msgspec.DecodeError as error:
            return {"error": f"not a request, which is one line with a JSON object: {error}"}
        except (StoreError, ValueError) as error:
            return {"error": str(error)}
        return {"ok": True}

    def _apply(self, wanted: dict[str, Any]) -> None:
        self.reconcile()

    def _stop(self, wanted: dict[str, Any]) -> None:
        self.stopping = True

    def _cut(self, wanted: dict[str, Any]) -> None:
        name, output, seconds = wanted.get("flow"), wanted.get("output"), wanted.get("seconds", 5)
        run = self._runs.get(str(name))
        if run is None:
            raise ValueError(f"flow: `{name}` does not run; running are {', '.join(self._runs) or 'none'}")
        outputs = [one.name for one in run.flow.outputs]
        if output not in outputs:
            raise ValueError(f"output: `{output}` is not of flow {name}; it has {', '.join(outputs) or 'none'}")
        if not isinstance(seconds, int | float) or not 0 < seconds <= MAX_CUT_S:
            raise ValueError(f"seconds: {seconds} is not between 0 and {MAX_CUT_S:.0f}")
        run.worker.tell(msgspec.json.encode({"cut": {"output": output, "seconds": seconds}}))


class AlreadyRunning(RuntimeError):
    """Another engine holds these places."""


def _lock(places: Places) -> int:
    """Held as long as this process lives, however it ends."""
    lock = hold(places.run / "engine.lock")
    if lock is None:
        raise AlreadyRunning(f"another pressbox runs with {places.run}; stop it, or set PRESSBOX_RUN and PRESSBOX_STATE to other folders")
    return lock


def _listen(places: Places) -> socket.socket:
    places.control.unlink(missing_ok=True)
    control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    control.bind(str(places.control))
    os.chmod(places.control, 0o660 if is_shared(places.run) else 0o600)
    control.listen(8)
    return control
