"""The audit log on real files, with real processes that write it together and die at it."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import threading
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from firmware.audit import Audit, AuditError

WRITER = """
import sys; from pathlib import Path; from firmware.audit import Audit
audit = Audit(Path(sys.argv[1]), max_bytes=6000, keep=100)
for number in range(int(sys.argv[2])):
    print(audit.record(sys.argv[3], "flow.update", "show", before={"at": number}, after={"at": number + 1}).number, flush=True)
"""
# For k = 1, 2, …: a child, at a log that is about to be rotated and may have a torn line, dies before the k-th thing it does to a file.
DIES = """
import os, shutil, signal, sys; from pathlib import Path; from firmware.audit import Audit
def dies_at(k):
    left = [k]
    def count(event, arguments):
        if event in ("open", "os.rename", "os.remove", "os.truncate"):
            left[0] -= 1
            if not left[0]: os.kill(os.getpid(), signal.SIGKILL)
    return count
root, code, k = Path(sys.argv[1]), -1, 0
audit = Audit(root / "1" / "audit.jsonl", max_bytes=700, keep=2)
for _ in range(6): audit.record("ann", "flow.update", "show")
with audit.path.open("a") as file: file.write(sys.argv[2])
while code:
    k += 1
    shutil.copytree(root / "1", root / str(k + 1))
    audit = Audit(root / str(k + 1) / "audit.jsonl", max_bytes=700, keep=2)
    child = os.fork()
    if not child:
        sys.addaudithook(dies_at(k))
        audit.record("dying", "flow.update", "show")
        os._exit(0)
    code = os.waitpid(child, 0)[1]
    assert code in (0, signal.SIGKILL), code
"""


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    return Audit(tmp_path / "state" / "audit.jsonl", syslog=tmp_path / "log")


def fill(audit: Audit, count: int) -> None:
    for number in range(count):
        audit.record("ann", "flow.update", "show", origin="192.0.2.7", before={"latency_ms": number}, after={"latency_ms": number + 1})


def numbers(audit: Audit) -> list[int]:
    return [entry.number for entry in audit.read()]


def writer(path: Path, count: int, who: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(count), who], stdout=subprocess.PIPE, text=True)


def test_an_entry_says_who_did_what_when_and_from_where(audit: Audit) -> None:
    assert audit.verify().intact
    assert str(audit.verify()) == "intact: no entry so far"
    assert list(audit.read()) == []
    audit.record("ann", "flow.create", "show", role="operator", origin="192.0.2.7", after={"name": "show", "latency_ms": 120})
    audit.record("eve", "flow.delete", "show", outcome="refused", why="viewer may not delete")
    first, second = (json.loads(line) for line in audit.path.read_text().splitlines())
    assert datetime.fromisoformat(first.pop("at")).utcoffset() == timedelta(0)
    assert isinstance(first.pop("synced"), bool)
    assert second["previous"] == first.pop("hash")
    assert first == {
        "number": 1,
        "who": "ann",
        "role": "operator",
        "from": "192.0.2.7",
        "what": "flow.create",
        "target": "show",
        "before": None,
        "after": {"name": "show", "latency_ms": 120},
        "outcome": "done",
        "why": "",
        "previous": "0" * 64,
    }
    assert (second["outcome"], second["why"], second["from"]) == ("refused", "viewer may not delete", "console")
    assert {file.stat().st_mode & 0o777 for file in audit.path.parent.iterdir()} == {0o600}
    assert str(audit.verify()) == f"intact: entries 1 to 2, the last has the hash {second['hash']}"


def test_a_line_can_be_checked_without_pressbox(audit: Audit) -> None:
    fill(audit, 3)
    by_hand = """sed -n 2p audit.jsonl | sed 's/"hash":"[0-9a-f]*"}$/"hash":""}/' | tr -d '\\n' | sha256sum"""
    told = subprocess.run(["sh", "-c", by_hand], cwd=audit.path.parent, capture_output=True, text=True, check=True).stdout
    assert told.split()[0] == json.loads(audit.path.read_text().splitlines()[1])["hash"]


def test_it_is_asked_by_who_what_target_time_and_outcome(audit: Audit) -> None:
    for number in range(6):
        audit.record("ann" if number % 2 else "bob", f"flow.{'stop' if number > 3 else 'update'}", f"show-{number}")
    audit.record("eve", "key.create", "eve", outcome="refused", why="viewer may not")
    entries = list(audit.read())
    assert [entry.number for entry in audit.read(who="ann")] == [2, 4, 6]
    assert [entry.number for entry in audit.read(who="ann", last=2)] == [4, 6]
    assert [entry.number for entry in audit.read(what="flow.*", target="*-[45]")] == [5, 6]
    assert [entry.who for entry in audit.read(outcome="refused")] == ["eve"]
    middle = datetime.fromisoformat(entries[3].at)
    assert entries[3] in audit.read(since=middle)
    assert entries[3] in audit.read(until=middle)
    assert list(audit.read(since=middle + timedelta(hours=1))) == []
    assert list(audit.read(until=middle - timedelta(hours=1))) == []
    assert list(audit.read(last=3)) == entries[-3:]


def test_files_are_rotated_the_oldest_dropped_and_the_chain_runs_on(tmp_path: Path) -> None:
    audit = Audit(tmp_path / "audit.jsonl", max_bytes=1500, keep=3)
    fill(audit, 40)
    old = sorted((path.name for path in tmp_path.glob("audit-*.jsonl")), key=lambda name: int(name.split("-")[1]))
    assert len(old) == 3
    first = int(old[0].split("-")[1])
    assert first > 20
    assert numbers(audit) == list(range(first, 41))
    verdict = audit.verify()
    assert (verdict.intact, verdict.first, verdict.last) == (True, first, 40)
    assert [entry.number for entry in audit.read(last=9)] == list(range(32, 41))
    (tmp_path / old[0]).rename(tmp_path / "elsewhere")
    assert audit.verify().fault == "missing"
    (tmp_path / "elsewhere").rename(tmp_path / old[0])
    (tmp_path / old[1]).unlink()
    assert audit.verify().fault == "missing"


def test_four_processes_and_threads_leave_no_gap(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    running = [writer(path, 25, f"process-{number}") for number in range(4)]
    threads = [threading.Thread(target=fill, args=(Audit(path, max_bytes=6000, keep=100), 10)) for _ in range(2)]
    for thread in threads:
        thread.start()
    while any(process.poll() is None for process in running):
        assert Audit(path).verify().intact
    assert [(process.communicate(), process.returncode)[1] for process in running] == [0, 0, 0, 0]
    for thread in threads:
        thread.join()
    assert numbers(Audit(path)) == list(range(1, 121))
    assert Audit(path).verify().intact
    assert len(list(tmp_path.glob("audit-*.jsonl"))) > 3


def test_killed_at_any_moment_it_verifies_and_has_what_was_acknowledged(tmp_path: Path) -> None:
    path, chance, acknowledged = tmp_path / "audit.jsonl", random.Random(4), 0
    for _ in range(8):
        with writer(path, 200, "ann") as process:
            assert process.stdout
            for _ in range(chance.randrange(1, 20)):
                acknowledged = int(process.stdout.readline())
            process.kill()
            acknowledged = max([acknowledged, *map(int, process.stdout.read().split())])
        verdict = Audit(path).verify()
        assert verdict.intact, verdict
        assert acknowledged <= verdict.last <= acknowledged + 1
    assert Audit(path).record("ann", "flow.stop", "show").number >= acknowledged + 1
    assert Audit(path).verify().intact
    assert numbers(Audit(path)) == list(range(1, Audit(path).verify().last + 1))


@pytest.mark.parametrize("torn", ["", '{"number":7,"at":"20'])
def test_killed_before_each_thing_it_does_to_a_file_it_verifies(tmp_path: Path, torn: str) -> None:
    subprocess.run([sys.executable, "-c", DIES, str(tmp_path), torn], check=True)
    cases = [Audit(folder / "audit.jsonl", max_bytes=700, keep=2) for folder in tmp_path.iterdir()]
    assert len(cases) > 8
    for audit in cases:
        assert audit.verify().intact, f"{audit.path}: {audit.verify()}"
        audit.record("ann", "flow.stop", "show")
        assert audit.verify().intact, f"{audit.path}: {audit.verify()}"
        told = [entry.before for entry in audit.read(what="audit.repair")]
        assert bool(told) == bool(torn)
        assert all(torn in text for text in told)
        assert not audit.trail.torn.exists()


def test_a_torn_line_is_told_whatever_its_length(audit: Audit) -> None:
    fill(audit, 2)
    whole, head = audit.path.read_bytes(), audit.trail.head.read_bytes()
    line = len(whole.splitlines(keepends=True)[0])
    fill(audit, 1)
    added = audit.path.read_bytes()[len(whole) :]
    assert len(added) > line / 2
    for length in range(1, len(added), 7):
        audit.path.write_bytes(whole + added[:length])
        audit.trail.head.write_bytes(head)
        assert audit.verify().intact
        assert numbers(audit) == [1, 2]
        audit.notices.clear()
        audit.record("ann", "flow.stop", "show")
        assert audit.verify().intact
        [told] = audit.read(what="audit.repair")
        assert told.number == 3
        assert told.before == added[:length].decode()
        assert told.why == f"whoever wrote an entry died at it, and the {length} bytes that were there of it were taken out"
    audit.path.write_bytes(whole + added)
    audit.trail.head.write_bytes(head)
    assert audit.verify().last == 3
    fill(audit, 1)
    assert audit.verify().last == 4
    assert list(audit.read(what="audit.repair")) == []


def test_a_full_disk_fails_the_record_and_leaves_the_log_whole(tmp_path: Path) -> None:
    """The limit on a file's size stands for the disk: the write is cut in the middle of a line in the same way."""
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2500, 2500))\n{WRITER}"
    path = tmp_path / "audit.jsonl"
    ended = subprocess.run([sys.executable, "-c", limited, str(path), "99", "ann"], capture_output=True, text=True, check=False)
    written = int(ended.stdout.split()[-1])
    assert f"AuditError: the audit log {path} cannot be written: File too large" in ended.stderr
    assert path.read_bytes().endswith(b"\n")
    audit = Audit(path)
    assert (audit.verify().intact, audit.verify().last) == (True, written)
    fill(audit, 1)
    assert numbers(audit) == list(range(1, written + 2))
    assert list(audit.read(what="audit.repair")) == []


def test_what_cannot_be_written_is_refused_in_a_sentence(audit: Audit, tmp_path: Path) -> None:
    with pytest.raises(AuditError, match=r"flow.update cannot be recorded: before and after are plain JSON"):
        audit.record("ann", "flow.update", "show", after={"what": object()})
    (tmp_path / "file").write_text("")
    with pytest.raises(AuditError, match=r"the audit log .*/file/audit.jsonl cannot be written: "):
        Audit(tmp_path / "file" / "audit.jsonl").record("ann", "flow.update", "show")
    told = audit.record("e\udcff\x1b[2J" + "e" * 9000, "flow.update", "show", outcome="refused", why="\n")
    assert told.who.startswith("e\\udcff\x1b[2Jeee")
    assert len(told.who) == 512
    assert audit.verify().intact


def test_each_entry_goes_to_syslog_and_a_dead_syslog_costs_nothing(audit: Audit, tmp_path: Path) -> None:
    fill(audit, 1)
    assert audit.unshipped == 1  # nobody is there
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(tmp_path / "log"))
        log.settimeout(5)
        fill(audit, 1)
        assert log.recv(65536) == b"<85>pressbox-audit: " + audit.path.read_bytes().splitlines()[1]
        audit.record("eve", "flow.update", "show", outcome="refused", after="x" * 500_000)
        told = log.recv(65536)
        assert told.startswith(b'<84>pressbox-audit: {"number":3,')
        assert json.loads(told.partition(b": ")[2])["hash"] == list(audit.read())[-1].hash
        fill(audit, int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text()) + 3)  # nobody reads
    assert audit.unshipped > 1
    assert audit.verify().intact


def test_a_hanging_writer_is_named(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    monkeypatch.setattr("firmware.audit.BUSY_S", 0.1)
    fill(audit, 1)
    held = os.open(audit.path.with_suffix(".lock"), os.O_RDWR)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(AuditError, match=r"is busy: another process has held .*audit.lock"):
            fill(audit, 1)
    finally:
        os.close(held)
