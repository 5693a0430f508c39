"""What the figures of a flow amount to, in words: what saved the picture, how its ends are encrypted, what is wrong with the stream."""

from __future__ import annotations

import time

from firmware.status import Account, EndStatus, FlowStatus, HealthStatus, MergeStatus
from firmware.wire.checks import CHECKS

IN_THE_CLEAR = "in the clear"
UNNUMBERED = ("camera", "udp")  # nothing there can be known to be lost


def account_of(status: FlowStatus) -> Account | None:
    """Where the sources can tell what was lost."""
    return status.account if any(end.protocol not in UNNUMBERED for end in status.sources) else None


def saved(account: Account) -> str:
    """By what, how often."""
    ways = (
        (account.by_retransmission, "by sending again"),
        (account.by_fec, "by FEC"),
        (account.by_merge, "by the other path"),
    )
    return ", ".join(f"{count} {way}" for count, way in ways if count) or "nothing had to be"


def would_have_lost(account: Account) -> str:
    """Without the one or the other; empty where there is nothing to take away."""
    without = [f"{name} alone would have lost {count}" for name, count in account.alone.items()]
    without += [f"no FEC would have lost {account.without_fec}"] if account.without_fec is not None else []
    first, *others = without or [""]
    return ", ".join([first, *(other.replace(" would have lost", "") for other in others)])


def plays(merge: MergeStatus) -> str:
    """Of a failover: which source, and how often that changed."""
    if not merge.playing:
        return "no source plays"
    often = f"switched {times(merge.switches)}" if merge.switches else "never switched"
    return "; ".join(part for part in (f"{merge.playing} plays, {often}", merge.message.partition("; ")[2]) if part)


def encryption(end: EndStatus) -> str:
    """Without the protocol's name, which stands beside it."""
    name, comma, cipher = end.encryption.partition(", ")
    return cipher if comma and name.lower() == end.protocol.partition("-")[0] else end.encryption


def fec(end: EndStatus) -> str:
    """The matrix, and how often it helped here."""
    if not end.fec_matrix and not end.fec_repaired:
        return ""
    return f"FEC {end.fec_matrix}".rstrip() + (f", {end.fec_repaired} repaired" if end.fec_repaired else "")


def figures_of(health: HealthStatus) -> str:
    """PCR, as far as it is known."""
    parts = [] if not health.pcr_interval_ms else [f"PCR every {health.pcr_interval_ms:.1f} ms at most"]
    parts += [] if health.pcr_accuracy_ns is None else [f"right within {health.pcr_accuracy_ns:.0f} ns"]
    return ", ".join(parts)


def faults_of(health: HealthStatus) -> list[str]:
    """One line for each kind of fault, the gravest first."""
    return [
        f"{fault.clause} {times(fault.count)}, last {clock(fault.last_at)}: "
        + (CHECKS[fault.name].words if fault.name in CHECKS else fault.name)
        for fault in sorted(health.faults, key=lambda fault: fault.clause)
    ]


def times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def clock(at: float) -> str:
    """Local time; with its day when that is not today."""
    then, now = time.localtime(at), time.localtime()
    return time.strftime("%H:%M:%S" if then[:3] == now[:3] else "%d %b %H:%M:%S", then)


def healths(status: FlowStatus) -> list[tuple[str, HealthStatus]]:
    """Of every source, and once of what all outputs are given."""
    found = [(end.name, end.health) for end in status.sources if end.health]
    given = next((end.health for end in status.outputs if end.health), None)
    if given and not (len(found) == 1 and found[0][1] == given):
        found.append(("outputs", given))
    return found
