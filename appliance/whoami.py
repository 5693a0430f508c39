"""Who sits at the console, for the audit log and for locks."""

from __future__ import annotations

import os
import pwd


def console_user() -> str:
    """With sudo, who called it."""
    called_by = os.environ.get("SUDO_USER", "")
    if called_by and os.geteuid() == 0:
        return called_by
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"user {os.geteuid()}"
