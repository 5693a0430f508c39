from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from firmware.model import Camera, Flow, SrtListenerSource, UdpOutput
from firmware.store import Kept, Store, StoreError


def flow(name: str, port: int = 5000) -> Flow:
    return Flow(
        name=name,
        sources=[SrtListenerSource(name="a", port=port, clear=True)],
        outputs=[UdpOutput(name="out", host="127.0.0.1", port=5001)],
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "state" / "pressbox.db")


@pytest.fixture
def filled(store: Store) -> Store:
    for number in range(12):
        store.create(flow(f"flow-{number}", 5000 + number))
    store.set_desired("flow-3", "ACTIVE")
    return store


def test_flows_are_kept(store: Store) -> None:
    assert store.list() == []
    store.create(flow("b"))
    store.create(Flow(name="a", sources=[Camera(name="cam")]), "ACTIVE")
    store.replace(flow("b", 6000))
    store.set_desired("b", "ACTIVE")
    again = Store(store.path)
    assert again.list() == [Kept(Flow(name="a", sources=[Camera(name="cam")]), "ACTIVE"), Kept(flow("b", 6000), "ACTIVE")]
    assert again.get("b").flow.sources[0].port == 6000
    again.delete("a")
    assert [kept.flow.name for kept in store.list()] == ["b"]
    assert store.revision == 5
    assert store.notices == []


def test_what_cannot_be_done_changes_nothing(store: Store) -> None:
    store.create(flow("a"))
    with pytest.raises(StoreError, match="there is a flow `a` already"):
        store.create(flow("a", 1))
    for act in (store.get, store.delete, lambda name: store.set_desired(name, "ACTIVE"), lambda name: store.replace(flow(name))):
        with pytest.raises(StoreError, match="there is no flow `zz`"):
            act("zz")
    with pytest.raises(StoreError, match="`RUNNING` is not one of ACTIVE, STANDBY"):
        store.set_desired("a", "RUNNING")  # type: ignore[arg-type]
    assert store.revision == 1
    assert store.list() == [Kept(flow("a"), "STANDBY")]


def test_a_change_sees_all_flows_and_what_it_raises_undoes_it(filled: Store) -> None:
    def rename_port(kept: Kept, others: Sequence[Kept]) -> Kept:
        assert len(others) == 11
        return Kept(flow(kept.flow.name, 7000), "ACTIVE", b"a note")

    after = filled.change("flow-5", rename_port)
    assert after == filled.get("flow-5") == Kept(flow("flow-5", 7000), "ACTIVE", b"a note")
    filled.replace(flow("flow-5", 7001))
    assert filled.get("flow-5").notes == b"a note"
    revision = filled.revision
    with pytest.raises(KeyError):
        filled.change("flow-5", lambda kept, others: {}["x"])
    with pytest.raises(KeyError):
        filled.add(lambda kept: {}["x"])
    with pytest.raises(StoreError, match="there is no flow `zz`"):
        filled.change("zz", lambda kept, others: None)
    assert filled.revision == revision
    assert filled.change("flow-5", lambda kept, others: None) is None
    assert filled.add(lambda kept: Kept(flow(f"of-{len(kept)}"), "STANDBY")).flow.name == "of-11"


def test_a_store_of_the_first_version_is_taken_over(filled: Store) -> None:
    from firmware import store as module

    content = filled.list()
    with closing(sqlite3.connect(filled.path, isolation_level=None)) as db:
        db.execute("ALTER TABLE flows DROP COLUMN notes")
        db.execute("PRAGMA user_version = 1")
        db.execute("UPDATE state SET digest = ?", (module._digest(db, 13),))
    filled.good.unlink()
    again = Store(filled.path)
    assert again.list() == content
    assert again.revision == 13
    again.change("flow-3", lambda kept, others: Kept(kept.flow, kept.desired, b"new"))
    filled.path.write_bytes(b"")
    assert again.get("flow-3").notes == b"new"


def test_the_files_are_their_owners_alone(filled: Store) -> None:
    assert {oct(file.stat().st_mode & 0o777) for file in filled.path.parent.iterdir()} == {"0o600"}


def test_several_processes_change_it_at_once(filled: Store) -> None:
    change = (
        "import sys; from pathlib import Path; from firmware.store import Store; store = Store(Path(sys.argv[1]))\n"
        "for _ in range(10):\n  kept = store.get(sys.argv[2]); store.set_desired(kept.flow.name, 'ACTIVE'); store.replace(kept.flow)"
    )
    before = filled.revision
    running = [subprocess.Popen([sys.executable, "-c", change, str(filled.path), f"flow-{number}"]) for number in range(4)]
    assert [process.wait(30) for process in running] == [0, 0, 0, 0]
    assert filled.revision == before + 4 * 20
    assert [kept.desired for kept in filled.list()].count("ACTIVE") == 4
    assert filled.notices == []


def test_a_truncated_store_comes_back_whole(filled: Store, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    whole, content = filled.path.read_bytes(), filled.list()
    for length in [*range(0, 200, 13), *range(200, len(whole), 509), len(whole) - 1]:
        filled.path.write_bytes(whole[:length])
        assert Store(filled.path).list() == content, length


def test_a_changed_byte_is_found_and_put_right(filled: Store, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    whole, content = filled.path.read_bytes(), filled.list()
    put_right = 0
    for offset in [*range(0, 100), *range(100, len(whole), 31)]:
        filled.path.write_bytes(whole[:offset] + bytes([whole[offset] ^ 0x15]) + whole[offset + 1 :])
        store = Store(filled.path)
        assert store.list() == content, offset
        assert store.revision == filled.revision
        put_right += len(store.notices)
        filled.path.write_bytes(whole)
    assert put_right > 100


def test_damage_is_told_in_one_sentence_and_nothing_is_thrown_away(filled: Store, caplog: pytest.LogCaptureFixture) -> None:
    broken = b"not a database at all" * 400
    filled.path.write_bytes(broken)
    Store(filled.path).list()
    [sentence] = caplog.messages
    assert "was damaged (file is not a database) and is kept as pressbox.db.damaged-20" in sentence
    assert sentence.endswith("the copy of its last change, number 13, took its place")
    [aside] = filled.path.parent.glob("*.damaged-*")
    assert aside.read_bytes() == broken


def test_a_store_that_is_gone_comes_back(filled: Store) -> None:
    content = filled.list()
    filled.path.unlink()
    store = Store(filled.path)
    assert store.list() == content
    assert "was damaged (it is gone); the copy" in store.notices[0]


def test_a_log_that_lost_its_end_costs_no_change(filled: Store) -> None:
    """Killed before the log went into the database: the log is all there is of the last changes, and it is torn."""
    write = f"""
import os
from pathlib import Path
from firmware.store import Store, sqlite3
store = Store(Path({str(filled.path)!r}))
holder = sqlite3.connect(store.path)          # a second connection keeps the log alive
holder.execute("SELECT * FROM state").fetchall()
store.set_desired("flow-5", "ACTIVE")
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", write], check=False).returncode == -9
    log = Path(f"{filled.path}-wal")
    log.write_bytes(log.read_bytes()[: log.stat().st_size // 2])
    store = Store(filled.path)
    assert store.get("flow-5").desired == "ACTIVE"
    assert "it is at change 13 and its copy at change 14" in store.notices[0]


def test_without_a_whole_copy_the_damage_is_reported_and_left_alone(filled: Store) -> None:
    filled.path.write_bytes(b"x" * 5000)
    filled.good.write_bytes(b"y" * 5000)
    for _ in range(2):
        with pytest.raises(StoreError, match=r"is damaged .* and has no copy that is whole; put a backup in its place"):
            filled.list()
    assert filled.path.read_bytes() == b"x" * 5000


def test_a_damaged_copy_is_renewed(filled: Store) -> None:
    filled.good.write_bytes(b"y" * 5000)
    content = filled.list()
    filled.path.write_bytes(b"")
    assert filled.list() == content


def test_a_later_version_is_not_touched(filled: Store) -> None:
    with closing(sqlite3.connect(filled.path)) as db:
        from firmware import store as module

        later = module.SCHEMA_VERSION + 1
        db.execute(f"PRAGMA user_version = {later}")
        db.execute("UPDATE state SET digest = ?", (module._digest(db, 13),))
        db.commit()
    filled.good.unlink()
    with pytest.raises(StoreError, match=f"of version {later}, made by a later Pressbox"):
        filled.list()


def test_a_folder_that_cannot_be_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match=r"cannot be used: Not a directory|cannot be used: File exists"):
        Store(tmp_path / "file" / "pressbox.db").list()
