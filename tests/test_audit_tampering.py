"""Nobody changes the audit log unseen."""

from __future__ import annotations

from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.audit import Audit
from firmware.audit.chain import Line, judge


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a log of six entries, to be copied."""
    audit = Audit(tmp_path_factory.mktemp("audit") / "audit.jsonl")
    for number in range(6):
        audit.record("ann", "flow.update", "show", before={"latency_ms": number}, after={"latency_ms": number + 1})
    return audit.path.parent


@pytest.fixture
def audit(six: Path, tmp_path: Path) -> Audit:
    return Audit(copytree(six, tmp_path / "state") / "audit.jsonl")


@pytest.fixture
def written(audit: Audit) -> list[bytes]:
    return audit.path.read_bytes().splitlines(keepends=True)


def verdict_of(audit: Audit, lines: list[bytes]) -> str:
    audit.path.write_bytes(b"".join(lines))
    return str(audit.verify())


def test_every_changed_byte_is_found(tmp_path: Path) -> None:
    audit = Audit(tmp_path / "audit.jsonl")
    for _ in range(3):
        audit.record("ann", "flow.update", "show", before=1, after=2)
    for path in (audit.path, audit.trail.head):
        whole = path.read_bytes()
        size = whole.index(b'"size"') if path == audit.trail.head else -1
        for offset, byte in enumerate(whole):
            if size < 0 or not size + 7 <= offset < whole.index(b',"first"'):  # a wrong size is told by the next writer
                path.write_bytes(whole[:offset] + bytes([byte ^ 1]) + whole[offset + 1 :])
                assert not audit.verify().intact, f"{path.name} {offset}"
        path.write_bytes(whole)
        assert audit.verify().intact


def test_the_first_line_that_does_not_fit_is_named(audit: Audit, written: list[bytes]) -> None:
    a, b, c, d, e, f = written
    assert verdict_of(audit, [a, b.replace(b"ann", b"bob"), c, d, e, f]) == (
        "changed: line 2 of audit.jsonl is not as it was written; entry 2 should be there"
    )
    assert verdict_of(audit, [a, b, d, e, f]) == "missing: line 3 of audit.jsonl is entry 4, and entry 3 should be there"
    assert verdict_of(audit, [b, c, d, e, f]) == "missing: line 1 of audit.jsonl is entry 2, and entry 1 should be there"
    assert verdict_of(audit, [a, c, b, d, e, f]) == "out of order: line 2 of audit.jsonl is entry 3, and entry 2 should be there"
    assert verdict_of(audit, [a, a, b, c, d, e, f]) == "out of order: line 2 of audit.jsonl is entry 1, and entry 2 should be there"
    assert verdict_of(audit, [a, b, c, d]) == "cut off: the log ends with entry 4, and entry 6 was written"
    assert verdict_of(audit, [a, b, c, d, e, f[:-1]]) == "cut off: the log ends with entry 5, and entry 6 was written"
    assert verdict_of(audit, []) == "cut off: the log ends with entry 0, and entry 6 was written"
    audit.path.unlink()
    assert audit.verify().fault == "cut off"


def test_entries_sealed_anew_are_found(audit: Audit, written: list[bytes], tmp_path: Path) -> None:
    other = Audit(tmp_path / "other" / "audit.jsonl")
    for _ in range(6):
        other.record("mallory", "flow.update", "show")
    forged = other.path.read_bytes().splitlines(keepends=True)
    assert verdict_of(audit, forged) == "changed: line 6 of audit.jsonl, entry 6, is not the one that the head names"
    assert verdict_of(audit, [*forged[:3], *written[3:]]) == (
        "changed: line 4 of audit.jsonl, entry 4, was sealed after another entry 3 than the one that is there now"
    )


def test_a_head_that_is_gone_is_found_and_told(audit: Audit, written: list[bytes]) -> None:
    audit.trail.head.unlink()
    assert str(audit.verify()) == "missing: audit.head, which says where the log ends, is gone or was changed"
    audit.record("ann", "flow.stop", "show")
    assert audit.verify().last == 8
    [told] = audit.read(what="audit.repair")
    assert told.why == "audit.head was gone or changed; whether entries after number 6 were cut off cannot be told"


@pytest.mark.parametrize("keep", [0, 3, 5])
def test_a_cut_stays_to_be_seen_after_the_next_entry(audit: Audit, written: list[bytes], keep: int) -> None:
    audit.path.write_bytes(b"".join(written[:keep]) + written[keep][: keep * 10])
    audit.record("ann", "flow.stop", "show")
    verdict = audit.verify()
    assert verdict.fault == "missing"
    assert verdict.why == f"line {keep + 1} of audit.jsonl is entry 7, and entry {keep + 1} should be there"
    assert next(audit.read(what="audit.repair")).why.startswith("audit.jsonl did not end with entry 6, as it should")
    assert [entry.number for entry in audit.read()][:keep] == [1, 2, 3, 4, 5][:keep]


def test_a_damaged_line_is_left_out_and_told_when_read(audit: Audit, written: list[bytes]) -> None:
    audit.path.write_bytes(b"".join([*written[:2], b"not an entry\n", *written[3:]]))
    assert [entry.number for entry in audit.read()] == [1, 2, 4, 5, 6]
    assert audit.notices == ["line 3 of audit.jsonl is not as it was written and is left out; `pressbox audit --verify` says more"]
    audit.record("ann", "flow.stop", "show")
    assert audit.verify().fault == "changed"


EDITS = st.one_of(
    st.tuples(st.just("drop"), st.integers(0, 5), st.just(0)),
    st.tuples(st.just("swap"), st.integers(0, 5), st.integers(0, 5)),
    st.tuples(st.just("repeat"), st.integers(0, 5), st.integers(0, 6)),
    st.tuples(st.just("insert"), st.integers(0, 6), st.binary(min_size=1, max_size=40)),
    st.tuples(st.just("cut"), st.integers(0, 5), st.integers(0, 200)),
)


def edited(lines: list[bytes], edit: tuple[str, int, Any]) -> list[bytes]:
    kind, at, other = edit
    lines = list(lines)
    if at >= len(lines) and kind != "insert":
        return lines
    if kind == "drop":
        del lines[at]
    elif kind == "swap" and other < len(lines):
        lines[at], lines[other] = lines[other], lines[at]
    elif kind == "repeat":
        lines.insert(other, lines[at])
    elif kind == "insert":
        lines.insert(at, other)
    elif kind == "cut":
        lines[at:] = [lines[at][:other]]
    return lines


@settings(max_examples=200, deadline=None)
@given(edits=st.lists(EDITS, min_size=1, max_size=4))
def test_any_edit_is_found_unless_only_bytes_behind_the_head_differ(edits: list[tuple[str, int, Any]], six: Path) -> None:
    head = Audit(six / "audit.jsonl").trail.read_head()
    assert head
    lines = (six / "audit.jsonl").read_bytes().splitlines(keepends=True)
    now = lines
    for edit in edits:
        now = edited(now, edit)
    data = b"".join(now)
    judged = judge(head, [Line("audit.jsonl", row, line) for row, line in enumerate(data.splitlines(keepends=True), 1)])
    whole = b"".join(lines)
    assert judged.intact == (data == whole or (data.startswith(whole) and b"\n" not in data[len(whole) :])), judged


@settings(max_examples=20, deadline=None)
@given(
    said=st.lists(st.tuples(st.text(max_size=30), st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists)), max_size=5)
)
def test_whatever_is_said_is_kept_and_verifies(said: list[tuple[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> None:
    audit = Audit(tmp_path_factory.mktemp("audit") / "audit.jsonl")
    made = [audit.record(text, text, text, why=text, before=value, after=[value]) for text, value in said]
    assert list(audit.read()) == made
    assert audit.verify().intact
