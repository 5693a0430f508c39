"""The long proofs, one a name: cuts, losses and late paths, kills at random moments, ten minutes on air. Figures as JSON lines.

scripts/prove --list
scripts/prove cuts kill-flow --times 50
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable

from . import changes, drifting, entitled, erasures, kills, narrows, paths, recipe, rotations, ways
from .proof import Bench, Figures, health, judged, unharmed

PCR_MS, PCR_NS = 40, 500  # TR 101 290, 2.3a and 2.4


def air(options: argparse.Namespace) -> Figures:
    """`--seconds` of 1080p30 on air, every packet looked at"""
    camera = {"camera": options.camera, "width": 1920, "height": 1080, "video_bps": 6_000_000, "preset": "ultrafast"}
    with Bench(options, camera=camera) as bench:
        bench.pause(bench.seconds)
        figures = bench.loss() | health(bench.lab)
    regular = figures["pcr_gap_ms"] <= PCR_MS and figures["pcr_error_ns"] <= PCR_NS
    return judged(figures, unharmed(figures) | {"PCR is regular and right": regular})


PROOFS: dict[str, Callable[[argparse.Namespace], Figures]] = {
    "cuts": paths.cuts,
    "cuts-rtp": paths.cuts_rtp,
    "loss": paths.loss,
    "srt-pair": paths.srt_pair,
    "fec-pair": paths.fec_pair,
    "skew": paths.skew,
    "flap": paths.flap,
    "cables": ways.cables,
    "leases": ways.leases,
    "blackhole": ways.blackhole,
    "narrows": narrows.narrows,
    "fec-ideal": erasures.fec_ideal,
    "fec-pair-simulated": erasures.fec_pair_simulated,
    "burst": erasures.burst,
    "drift": drifting.drift,
    "entitlements": entitled.entitlements,
    "rotate": rotations.rotate,
    "kill-web": kills.kill_web,
    "kill-api": changes.kill_api,
    "kill-capture": kills.kill_capture,
    "hang-capture": kills.hang_capture,
    "block-capture": kills.block_capture,
    "fail-capture": kills.fail_capture,
    "unplug-capture": kills.unplug_capture,
    "change-camera": kills.change_camera,
    "kill-flow": kills.kill_flow,
    "recipe": recipe.recipe,
    "air": air,
}


def main() -> int:
    """1 when one of them does not hold."""
    told = "\n".join(f"  {name:18} {(proof.__doc__ or '').strip()}" for name, proof in PROOFS.items())
    parser = argparse.ArgumentParser(
        description=f"{(__doc__ or '').strip()}\n\n{told}", formatter_class=argparse.RawDescriptionHelpFormatter, prog="scripts/prove"
    )
    parser.add_argument("proofs", nargs="*", choices=[*PROOFS, []], metavar="PROOF", help="which (default: all)")
    parser.add_argument("--list", action="store_true", help="the names alone")
    parser.add_argument("--times", type=int, help="cuts, flaps or kills (default: 50, or what the proof says)")
    parser.add_argument("--seconds", type=float, help="length of the loss and air proofs (default: 60, or what the proof says)")
    parser.add_argument("--packets", type=int, help="media packets of the simulated proofs (default: what the proof says)")
    parser.add_argument("--camera", default="pattern", help="camera of the air proof: pattern or clip:FILE")
    parser.add_argument("--seed", type=int, default=1, help="of everything random")
    options = parser.parse_args()
    if options.list:
        print("\n".join(PROOFS))
        return 0
    failed = False
    for name in options.proofs or PROOFS:
        began = time.monotonic()
        print(f"{name}: {(PROOFS[name].__doc__ or '').strip()}", file=sys.stderr)
        try:
            figures = PROOFS[name](options)
        except AssertionError as error:
            first, _, more = str(error).partition("\n")
            figures = {"holds": False, "broken": [first]}
            print(more, file=sys.stderr)
        print(json.dumps({"proof": name, "took_s": round(time.monotonic() - began)} | figures), flush=True)
        failed = failed or not figures.get("holds", "skipped" in figures)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
