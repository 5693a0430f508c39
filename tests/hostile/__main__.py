"""`scripts/hostile`: every kind of port under attack, with a table of what it did."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.hostile.ports import ALLOWED, FORBIDDEN, HOST, KINDS, Kind
from tests.hostile.siege import Attack, Outcome, Siege, SiegeError, compiled_spray

MOST_GROWN_BYTES = 2 << 20
SILENT_S = 0.4  # a flow takes the next sender after half a second
COLUMNS = "from           pace    datagrams   /s  kernel drops  refused+dropped  right  missing  again  strange  memory"


def attacks(paced_count: int, full_count: int, per_second: int, seed: int) -> Iterator[Attack]:
    """Half from the right sender's own address, a quarter each from another allowed and from a forbidden one; paced, then all at once."""
    for paced in (True, False):
        for source, share in ((HOST, 2), (ALLOWED, 4), (FORBIDDEN, 4)):
            seed += 1
            count = (paced_count if paced else full_count) // share
            yield Attack(source, count, paced, seed, per_second if paced else 0)


def complaints(attack: Attack, outcome: Outcome) -> list[str]:
    """What does not hold. At full rate the kernel may drop the right sender's datagrams with the others."""
    wrong = []
    if outcome.grown_bytes > MOST_GROWN_BYTES:
        wrong.append(f"memory grew by {outcome.grown_bytes / 2**20:.1f} MB")
    if outcome.again or outcome.strange:
        wrong.append("what the right sender did not send came through")
    if attack.paced and outcome.missing:
        wrong.append(f"{outcome.missing} datagrams of the right sender are missing")
    if wrong and outcome.held_up_s > SILENT_S:  # then the next one may take his place, and memory is what such a machine makes it
        held = f"this machine held the right sender up for {outcome.held_up_s:.1f} s; let it do less beside"
        return [f"cannot be told: {'; '.join(wrong)}, but {held}"]
    return wrong


def besiege(kind: Kind, plan: list[Attack], spray: Path) -> list[str]:
    wrong: list[str] = []
    print(f"\n{kind.name}\n  {COLUMNS}", flush=True)
    with tempfile.TemporaryDirectory(prefix="pb-") as folder, Siege(kind, Path(folder), spray) as siege:
        for attack in plan:
            outcome = siege.suffer(attack)
            found = complaints(attack, outcome)
            wrong += [f"{kind.name}, {attack.source}, {'paced' if attack.paced else 'full rate'}: {what}" for what in found]
            print(f"  {row(attack, outcome)}{'   <-- ' + '; '.join(found) if found else ''}", flush=True)
        end = siege.end()
        print(f"  {end.state}; {end.message or 'nothing to say'}", flush=True)
    return wrong


def row(attack: Attack, o: Outcome) -> str:
    pace = "paced" if attack.paced else "full"
    return (
        f"{attack.source:<14} {pace:<6} {o.sent:>10} {o.sent / o.seconds:>6.0f} {o.overflowed:>11} {o.counted:>16} {o.right:>6} "
        f"{o.missing:>8} {o.again:>6} {o.strange:>8} {o.grown_bytes / 2**20:>+6.1f} MB"
    )


def main() -> int:
    if sys.argv[1:2] == ["api"]:
        from tests.hostile.api import main as api  # and schemathesis, which only this wants

        return api(sys.argv[2:])
    parser = argparse.ArgumentParser(prog="scripts/hostile", description=__doc__)
    parser.add_argument(
        "ports", nargs="*", metavar="PORT", help=f"by name, or all whose name begins so; there are: {', '.join(k.name for k in KINDS)}"
    )
    parser.add_argument("--count", type=int, default=1_000_000, help="datagrams at each port, paced, and as many at full rate")
    parser.add_argument("--paced", type=int, help="another number of paced ones, which take longer")
    parser.add_argument("--per-second", type=int, default=25_000, help="of a paced attack, at most")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    names = {kind.name for kind in KINDS}
    kinds = [
        kind
        for kind in KINDS
        if not given.ports or kind.name in given.ports or any(kind.name.startswith(name) for name in given.ports if name not in names)
    ]
    paced = given.count if given.paced is None else given.paced
    plan = list(attacks(paced, given.count, given.per_second, given.seed))
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(prefix="pb-") as folder:
        try:
            spray = compiled_spray(Path(folder))
        except SiegeError as error:
            print(error, file=sys.stderr)
            return 1
        for kind in kinds:
            try:
                wrong += besiege(kind, plan, spray)
            except SiegeError as error:
                print(f"  {error}", flush=True)
                wrong.append(str(error))
    print("\n" + ("\n".join(["What does not hold:", *wrong]) if wrong else "Everything holds."))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
