from __future__ import annotations

import stat
from pathlib import Path

import pytest

from firmware.secrets import SecretError, Secrets, generate, generate_srtp_key, parse_srtp_key


def test_a_secret_is_kept_for_its_owner_alone(tmp_path: Path) -> None:
    secrets = Secrets(tmp_path / "secrets")
    secrets.set("studio.a", "sesame open up")
    assert Secrets(tmp_path / "secrets").get("studio.a") == "sesame open up"
    assert stat.S_IMODE(secrets.path("studio.a").stat().st_mode) == 0o600
    assert stat.S_IMODE(secrets.folder.stat().st_mode) == 0o700
    secrets.set("studio.a", "another passphrase")
    assert secrets.get("studio.a") == "another passphrase"
    assert secrets.names() == ["studio.a"]
    assert [entry.name for entry in secrets.folder.iterdir()] == ["studio.a"]
    secrets.delete("studio.a")
    assert secrets.names() == []


def test_a_generated_passphrase_has_160_bits_and_fits_srt() -> None:
    phrases = {generate() for _ in range(1000)}
    assert len(phrases) == 1000
    assert {len(phrase) for phrase in phrases} == {32}


def test_a_generated_srtp_key_is_what_srtp_takes(tmp_path: Path) -> None:
    text = generate_srtp_key()
    assert text != generate_srtp_key()
    assert len(parse_srtp_key(text + "\n")) == 44
    secrets = Secrets(tmp_path)
    secrets.set("wall", text)
    assert parse_srtp_key(secrets.get("wall")) == parse_srtp_key(text)


@pytest.mark.parametrize("wrong", ["", "one+two", "A" * 60, "A" * 59, "ä" * 60, "correct horse battery"])
def test_what_is_no_srtp_key_is_not_repeated(wrong: str) -> None:
    with pytest.raises(SecretError, match="no SRTP key, which is 44 random bytes in base64") as error:
        parse_srtp_key(wrong)
    assert not wrong or wrong not in str(error.value)


def test_a_missing_secret_says_how_to_set_it(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match=r"`studio` is missing; set it with: pressbox secret set studio"):
        Secrets(tmp_path).get("studio")


@pytest.mark.parametrize("name", ["", "..", "../x", ".hidden", "A", "a/b", "a b", "x" * 128, "a\n"])
def test_a_name_cannot_leave_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(SecretError, match="the name of a secret is"):
        Secrets(tmp_path).path(name)


@pytest.mark.parametrize("value", ["", "ninebytes", "x" * 80, "ä" * 40, "with\nnewline", "\udcff" * 12])
def test_a_passphrase_srt_would_not_take_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(SecretError) as error:
        Secrets(tmp_path).set("a", value)
    assert not value or value not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_secret_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    secrets = Secrets(tmp_path)
    secrets.set("a", "sesame open up")
    secrets.path("a").chmod(0o640)
    with pytest.raises(SecretError, match="can be read by others; change it, then: chmod 600"):
        secrets.get("a")


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 20, b"x" * 5000])
def test_a_damaged_secret_is_named(tmp_path: Path, content: bytes) -> None:
    secrets = Secrets(tmp_path)
    secrets.set("a", "sesame open up")
    secrets.path("a").write_bytes(content)
    with pytest.raises(SecretError, match="the secret `a` cannot be used"):
        secrets.get("a")
