"""What an operator set: which recommended alarms are off or changed, own ones, and who is told. One file, replaced as a whole.

The file holds names of secrets and no secret; addresses of webhooks may hold tokens, so it is its owner's alone.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, get_args
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from firmware.alarms.board import Severity
from firmware.alarms.recommended import NAMES, RECOMMENDED
from firmware.alarms.rules import Comparison, Missing, Rule, Statistic
from firmware.alone import alone
from firmware.model import Port
from firmware.private import make_folder
from firmware.secrets import check_secret_name, sync_folder, write_private

FOLDER = "alarms"
MAX_OWN = 200
MAX_WEBHOOKS = 10
BUSY_S = 5.0
Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
_ENUMS = {"statistic": Statistic, "comparison": Comparison, "missing": Missing, "severity": Severity}
_MESSAGE = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<key>[^`]*)`)?$", re.DOTALL)


class AlarmError(ValueError):
    """Settings that cannot be. The message names the field and what would be right."""


class Webhook(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    name: Name
    url: str
    secret: str = ""  # name of the secret that signs
    clear: bool = False  # http, on purpose
    ca: str = ""  # file with the certificates that are believed; empty: the system's
    events: bool = True  # what happens to flows too, not alarms alone
    since: tuple[int, int] = (0, 0)  # what was told up to these numbers, of alarms and of events, is not its concern

    def __post_init__(self) -> None:
        check_address(self.url, ("https", "http"), clear=self.clear)
        if not self.secret:
            raise ValueError("secret: name the secret that signs; `pressbox secret generate NAME` makes one")
        check_secret_name(self.secret)

    @property
    def shown(self) -> str:
        """Where it goes, without user, path or query: those may be what lets one in."""
        return shown(self.url)


class Mqtt(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    host: Annotated[str, Meta(min_length=1, max_length=255)]
    port: Port = 8883
    topic: Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^#+\x00]+$")] = "pressbox"
    user: str = ""
    secret: str = ""  # name of the secret that is the password
    clear: bool = False  # without TLS, on purpose
    ca: str = ""  # file with the certificates that are believed; empty: the system's
    events: bool = True
    since: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if self.secret:
            check_secret_name(self.secret)
            if not self.user:
                raise ValueError("user: a password needs a user")
        if self.clear and self.ca:
            raise ValueError("clear: without TLS there is no certificate to check; leave `ca` out")
        if self.topic.startswith(("/", "$")) or self.topic.endswith("/"):
            raise ValueError(f"topic: `{self.topic}` begins with / or $, or ends with /; write one like pressbox/truck-3")


class Settings(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    off: list[str] = []
    changed: dict[str, dict[str, Any]] = {}
    """Of a recommended rule: the fields that differ."""
    own: Annotated[list[Rule], Meta(max_length=MAX_OWN)] = []
    webhooks: Annotated[list[Webhook], Meta(max_length=MAX_WEBHOOKS)] = []
    mqtt: Mqtt | None = None

    def __post_init__(self) -> None:
        names = [rule.name for rule in self.own]
        for name in names:
            if name in NAMES:
                raise ValueError(f"name: `{name}` is a recommended alarm; choose another name, or change that one")
            if names.count(name) > 1:
                raise ValueError(f"name: there are two alarms `{name}`")
        hooks = [webhook.name for webhook in self.webhooks]
        if len(hooks) != len(set(hooks)):
            raise ValueError("name: there are two webhooks of one name")
        if "mqtt" in hooks:
            raise ValueError("name: `mqtt` is the broker's; choose another name")
        self.every()

    def every(self) -> list[Rule]:
        """All rules, those that are off too."""
        unknown = [name for name in self.changed if name not in NAMES]
        if unknown:
            raise ValueError(f"name: `{unknown[0]}` is no recommended alarm; allowed are {', '.join(NAMES)}")
        return [changed(rule, self.changed.get(rule.name, {})) for rule in RECOMMENDED] + self.own

    @property
    def rules(self) -> list[Rule]:
        return [rule for rule in self.every() if rule.name not in self.off]


def changed(rule: Rule, fields: dict[str, Any]) -> Rule:
    """The rule with other fields, checked."""
    return parse_rule(msgspec.to_builtins(rule) | fields)


def parse_rule(fields: dict[str, Any]) -> Rule:
    try:
        return msgspec.convert(fields, type=Rule)
    except msgspec.ValidationError as error:
        raise AlarmError(in_words(str(error))) from None


def parse(kind: type[Webhook] | type[Mqtt], fields: dict[str, Any]) -> Any:
    try:
        return msgspec.convert(fields, type=kind)
    except msgspec.ValidationError as error:
        raise AlarmError(in_words(str(error))) from None


def in_words(message: str) -> str:
    """The field, what is wrong, and what is allowed. It never repeats an address."""
    found = _MESSAGE.match(message)
    assert found  # noqa: S101 - the pattern matches any text
    what, key = found["what"], found["key"] or ""
    leaf = key.rsplit(".", 1)[-1]
    if what.startswith("Invalid enum value") and leaf in _ENUMS:
        what += "; allowed are " + ", ".join(get_args(_ENUMS[leaf]))
    elif "matching regex" in what and leaf == "name":
        what = "a name is 1 to 63 of a-z, 0-9 and -, and starts with a letter or a digit"
    elif "matching regex" in what and leaf == "topic":
        what = "a topic holds no # and no +"
    return f"{key}: {what}" if key else what


def check_address(url: str, schemes: tuple[str, ...], *, clear: bool) -> None:
    try:
        parts = urlsplit(url)
        host, scheme, _ = parts.hostname, parts.scheme, parts.port
    except ValueError:
        host, scheme = None, ""
    if scheme not in schemes or not host or any(not 32 < ord(letter) < 127 for letter in url):
        raise ValueError("url: it is no address; write one like https://alarms.example.org/pressbox")
    if scheme == "http" and not clear and not is_loopback(host):
        raise ValueError("url: http would go there in the clear; write https, or say `clear` to send it so on purpose")


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def shown(url: str) -> str:
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}{port}/" + ("…" if len(parts.path) > 1 or parts.query else "")


def settings_path(state: Path) -> Path:
    return state / FOLDER / "settings.json"


def read_settings(state: Path) -> Settings:
    """As they are kept; the defaults where nothing is. AlarmError where the file is not what was written."""
    path = settings_path(state)
    try:
        return msgspec.json.decode(path.read_bytes(), type=Settings)
    except FileNotFoundError:
        return Settings()
    except OSError as error:
        raise AlarmError(f"{path} cannot be read: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, AlarmError) as error:
        raise AlarmError(f"{path} cannot be used: {in_words(str(error))}; put it right, or delete it to have the recommended set") from None


@contextmanager
def changing(state: Path, record: Callable[[Settings, Settings], None]) -> Iterator[Settings]:
    """Settings to change within the `with`; checked, recorded and written at its end."""
    folder = state / FOLDER
    make_folder(folder)
    with alone(folder / "settings.lock", BUSY_S, lambda why: AlarmError(f"the settings of alarms are busy: {why}")):
        before, settings = read_settings(state), read_settings(state)
        yield settings
        try:
            checked = msgspec.convert(msgspec.to_builtins(settings), type=Settings)
        except msgspec.ValidationError as error:
            raise AlarmError(in_words(str(error))) from None
        if checked == before:
            return
        record(before, checked)
        fresh = settings_path(state).with_suffix(".new")
        fresh.unlink(missing_ok=True)
        write_private(fresh, msgspec.json.format(msgspec.json.encode(checked), indent=2) + b"\n")
        fresh.replace(settings_path(state))
        sync_folder(folder)
