"""Settings of the alarms, changed by a person."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from appliance.whoami import console_user
from firmware.alarms.settings import Settings, changing
from firmware.audit import Audit
from firmware.places import Places


def change_settings(
    places: Places, what: str, target: str, change: Callable[[Settings], None], told: Callable[[Settings], dict[str, Any] | None]
) -> None:
    """Change, record and keep them; what is not recorded is not done."""

    def record(before: Settings, after: Settings) -> None:
        Audit(places.audit).record(console_user(), what, target, role="administrator", before=told(before), after=told(after))

    with changing(places.state, record) as settings:
        change(settings)
