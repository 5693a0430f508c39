from __future__ import annotations

import os
import re
import stat
import threading
from pathlib import Path

import pytest

from appliance.api.accesskeys import ACCOUNT, USE_NOTED_EVERY_S, AccessKeyError, AccessKeys
from appliance.api.roles import OPERATOR, ROLES, least_role, may


@pytest.fixture
def keys(tmp_path: Path) -> AccessKeys:
    return AccessKeys(tmp_path / "access-keys")


def test_a_key_is_kept_for_its_owner_alone(keys: AccessKeys) -> None:
    key = keys.issue("truck", "operator")
    assert re.fullmatch(r"PBOX[A-Z2-7]{16}", key.id)
    assert re.fullmatch(r"[A-Za-z0-9+/]{40}", key.secret)
    assert AccessKeys(keys.folder).get(key.id) == key
    assert stat.S_IMODE((keys.folder / key.id).stat().st_mode) == 0o600
    assert stat.S_IMODE(keys.folder.stat().st_mode) == 0o700
    assert [entry.name for entry in keys.folder.iterdir()] == [key.id]


def test_no_two_keys_are_alike(keys: AccessKeys) -> None:
    issued = [keys.issue("truck", "viewer") for _ in range(50)]
    assert len({key.id for key in issued}) == len({key.secret for key in issued}) == 50


def test_a_secret_is_in_no_list_and_no_repr(keys: AccessKeys) -> None:
    key = keys.issue("truck", "operator", "123456789012")
    assert key.secret not in repr(key)
    (listed,) = keys.list()
    assert key.secret not in repr(listed)
    assert (listed.id, listed.name, listed.role, listed.account) == (key.id, "truck", "operator", "123456789012")
    assert listed.last_used is None


@pytest.mark.parametrize(
    ("name", "role", "account", "told"),
    [
        ("", "viewer", ACCOUNT, "name: 1 to 64 letters"),
        ("a b", "viewer", ACCOUNT, "name: 1 to 64 letters"),
        ("a\n", "viewer", ACCOUNT, "name: 1 to 64 letters"),
        ("x" * 65, "viewer", ACCOUNT, "name: 1 to 64 letters"),
        ("truck", "root", ACCOUNT, "role: one of subscriber, viewer, operator, administrator"),
        ("truck", "viewer", "12345678901", "account: 12 digits"),
        ("truck", "viewer", "12345678901x", "account: 12 digits"),
        ("truck", "viewer", "١٢٣٤٥٦٧٨٩٠١٢", "account: 12 digits"),
    ],
)
def test_what_cannot_be_a_key_is_named(keys: AccessKeys, name: str, role: str, account: str, told: str) -> None:
    with pytest.raises(AccessKeyError, match=told):
        keys.issue(name, role, account)
    assert keys.list() == []


def test_disabled_enabled_deleted(keys: AccessKeys) -> None:
    key = keys.issue("truck", "viewer")
    assert keys.disable(key.id).disabled
    assert keys.get(key.id).disabled
    assert keys.get(key.id).secret == key.secret
    assert not keys.enable(key.id).disabled
    keys.note_use(key.id)
    assert keys.delete(key.id).name == "truck"
    assert keys.get(key.id) is None
    assert list(keys.folder.iterdir()) == []
    for change in (keys.disable, keys.enable, keys.delete):
        with pytest.raises(AccessKeyError, match=f"there is no access key {key.id}"):
            change(key.id)


@pytest.mark.parametrize(
    "key_id", ["", ".", "..", "../secrets/a", "PBOX", "PBOX" + "a" * 16, "PBOX" + "A" * 17, "AKIA" + "A" * 16, "PBOX" + "A" * 16 + "\n"]
)
def test_an_id_cannot_leave_the_folder(keys: AccessKeys, key_id: str) -> None:
    assert keys.get(key_id) is None
    with pytest.raises(AccessKeyError, match="the id of an access key is PBOX"):
        keys.delete(key_id)


def test_a_use_is_noted_coarsely_and_never_rewrites_the_key(keys: AccessKeys) -> None:
    key = keys.issue("truck", "viewer")
    written = (keys.folder / key.id).stat()
    keys.note_use(key.id, 1_800_000_000)
    keys.note_use(key.id, 1_800_000_000 + USE_NOTED_EVERY_S - 1)
    assert keys.list()[0].last_used.timestamp() == 1_800_000_000
    keys.note_use(key.id, 1_800_000_000 + USE_NOTED_EVERY_S)
    assert keys.list()[0].last_used.timestamp() == 1_800_000_000 + USE_NOTED_EVERY_S
    after = (keys.folder / key.id).stat()
    assert (written.st_ino, written.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_use_that_cannot_be_noted_keeps_nobody_out(tmp_path: Path) -> None:
    AccessKeys(tmp_path / "gone").note_use("PBOX" + "A" * 16)


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff\xfe", b"[]", b'{"id": "PBOXAAAAAAAAAAAAAAAA"}', b"{}" * 5000])
def test_a_damaged_key_is_named_and_the_others_work(keys: AccessKeys, damage: bytes) -> None:
    bad, good = keys.issue("truck", "viewer"), keys.issue("studio", "viewer")
    (keys.folder / bad.id).write_bytes(damage)
    with pytest.raises(AccessKeyError, match=f"file of the access key {bad.id} is damaged"):
        keys.get(bad.id)
    assert {listed.id: bool(listed.problem) for listed in keys.list()} == {bad.id: True, good.id: False}
    keys.delete(bad.id)
    assert [listed.id for listed in keys.list()] == [good.id]


def test_every_cut_of_a_key_file_is_damage(keys: AccessKeys) -> None:
    key = keys.issue("truck", "viewer")
    whole = (keys.folder / key.id).read_bytes()
    for length in range(len(whole)):
        (keys.folder / key.id).write_bytes(whole[:length])
        with pytest.raises(AccessKeyError, match="damaged") as error:
            keys.get(key.id)
        assert key.secret not in str(error.value)


def test_a_key_that_others_can_read_is_not_used(keys: AccessKeys) -> None:
    key = keys.issue("truck", "viewer")
    (keys.folder / key.id).chmod(0o640)
    with pytest.raises(AccessKeyError, match="can be read by others"):
        keys.get(key.id)


def test_a_copied_key_is_not_another_one(keys: AccessKeys) -> None:
    key = keys.issue("truck", "administrator")
    other = "PBOX" + "A" * 16
    os.link(keys.folder / key.id, keys.folder / other)
    with pytest.raises(AccessKeyError, match="damaged"):
        keys.get(other)


def test_changes_at_once_bring_no_deleted_key_back(keys: AccessKeys) -> None:
    for _ in range(10):
        key = keys.issue("truck", "viewer")
        start = threading.Barrier(3)

        def change(act: str, key_id: str = key.id, start: threading.Barrier = start) -> None:
            own = AccessKeys(keys.folder)
            start.wait()
            try:
                getattr(own, act)(key_id)
            except AccessKeyError as error:
                assert "there is no access key" in str(error)  # noqa: PT017

        threads = [threading.Thread(target=change, args=(act,)) for act in ("disable", "delete", "enable")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert keys.get(key.id) is None


def test_roles() -> None:
    assert [role for role in ROLES if may(role, "DescribeFlow")] == ["viewer", "operator", "administrator"]
    assert [role for role in ROLES if may(role, "ListFlows")] == ["viewer", "operator", "administrator"]
    for operation in OPERATOR:
        assert [role for role in ROLES if may(role, operation)] == ["operator", "administrator"]
    for operation in ("CreateFlow", "DeleteFlow", "GrantFlowEntitlements", "RevokeFlowEntitlement", "AnythingNew"):
        assert [role for role in ROLES if may(role, operation)] == ["administrator"]


def test_an_operator_switches_a_subscriber_and_makes_none() -> None:
    assert least_role("UpdateFlowEntitlement", {"entitlementStatus", "description"}) == "operator"
    assert least_role("UpdateFlowEntitlement", {"entitlementStatus", "subscribers"}) == "administrator"
    assert least_role("UpdateFlowEntitlement", {"encryption"}) == "administrator"
