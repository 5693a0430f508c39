"""What the lamps say: one table from state to pattern. The lamps, the page, `pressbox lights`, docs/lights.md and the tests come from it.

The same rhythm means the same on every lamp: dark is not used, breathing is on its way, lit is well, a double flash is well enough for now,
fast is broken, a wink is "nobody knows". Each state of a lamp has a rhythm of its own, so that no meaning hangs on a colour; colours help
those who see them, and there is no green that could be taken for red.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from hw.button import Zone
from hw.rhythm import BREATHE, DIP, DOUBLE, FAST, NOTHING, OFF, SOLID, SWAP, WINK, Colour, Pattern, Rhythm, Step, code

Lamp = Literal["sys", "in", "a", "b", "on-air"]
LAMPS: tuple[Lamp, ...] = get_args(Lamp)
TITLES: dict[Lamp, str] = {"sys": "SYS", "in": "IN", "a": "A", "b": "B", "on-air": "ON AIR"}
ABOUT: dict[Lamp, str] = {
    "sys": "the box itself",
    "in": "picture and sound from the camera",
    "a": "path A, the first output of the flow",
    "b": "path B, the second output of the flow",
    "on-air": "whether it arrives",
}

Doing = Literal["starting", "running", "set-up", "updating"]
In = Literal["unused", "looking", "good", "part", "lost", "unknown"]
Path = Literal["unused", "connecting", "clean", "repairing", "down", "unknown"]
Air = Literal["off", "sent", "confirmed", "at-risk", "lost", "unknown"]
Fault = Literal["link", "way-out", "login", "refused", "camera", "hot", "power", "storage", "box"]


@dataclass(frozen=True)
class Entry:
    """One line of the table."""

    state: str
    pattern: Pattern
    words: str  # what it means
    advice: str = ""  # what to do, a sentence


@dataclass(frozen=True)
class BoxState:
    """All that the lamps depend on."""

    doing: Doing = "running"
    faults: tuple[Fault, ...] = ()  # that nobody has acknowledged
    notices: bool = False  # an alarm is raised, or a fault is acknowledged and still there
    camera: In = "unused"
    paths: tuple[Path, Path] = ("unused", "unused")
    air: Air = "off"
    identify: bool = False
    dark: bool = False
    dark_keeps_on_air: bool = True


NUMBERS: dict[Fault, int] = {
    "link": 2,
    "way-out": 3,
    "login": 4,
    "refused": 5,
    "camera": 6,
    "hot": 7,
    "power": 8,
    "storage": 9,
    "box": 10,
}
ORDER: tuple[Fault, ...] = ("power", "box", "link", "way-out", "login", "refused", "camera", "hot", "storage")
"""Of several faults the first one flashes: causes come before what they cause."""


WAIT = "It is started again by itself; if this lasts, SYS flashes 10 times."


def _entry(state: str, pattern: Pattern, words: str, advice: str = "") -> tuple[str, Entry]:
    return state, Entry(state, pattern, words, advice)


def _fault(fault: Fault, words: str, advice: str) -> tuple[str, Entry]:
    return _entry(fault, Pattern(code(NUMBERS[fault]), ("amber",)), words, advice)


def _path(name: str) -> dict[str, Entry]:
    return dict(
        [
            _entry("unused", NOTHING, f"path {name} is not used"),
            _entry("connecting", Pattern(BREATHE, ("white",)), f"path {name} connects, or waits for its receiver"),
            _entry("clean", Pattern(SOLID, ("white",)), f"path {name} carries the stream, and nothing was lost on it lately"),
            _entry(
                "repairing",
                Pattern(DOUBLE, ("white",)),
                f"path {name} carries the stream, with losses on the way",
                "They are repaired as far as `pressbox status` says; look for what else loads this network.",
            ),
            _entry(
                "down",
                Pattern(FAST, ("amber",)),
                f"path {name} is down",
                "Check its cable or modem, and the far end; the box goes on trying.",
            ),
            _entry("unknown", Pattern(WINK, ("amber",)), f"nothing is known of path {name}: its flow tells nothing", WAIT),
        ]
    )


TABLE: dict[Lamp, dict[str, Entry]] = {
    "sys": dict(
        [
            _entry("dark", NOTHING, "no power, or a dark stage: the lamps are switched off"),
            _entry("starting", Pattern(BREATHE, ("white",)), "the box starts"),
            _entry("running", Pattern(SOLID, ("white",)), "the box is well"),
            _entry(
                "notice",
                Pattern(WINK, ("amber",)),
                "something wants to be seen: an alarm is raised, or a fault was acknowledged and is still there",
                "The page of the box and `pressbox alarm list` say what.",
            ),
            _entry("set-up", Pattern(DIP, ("blue",)), "set-up: the box waits for your phone", "Scan the code on the label."),
            _entry("identify", Pattern(DOUBLE, ("blue",)), "this is the box that you asked for"),
            _entry("updating", Pattern(SWAP, ("white", "amber")), "the box updates itself", "Leave it plugged in."),
            _fault("link", "no network: no cable has a link, and no Wi-Fi is joined", "Check the cable at both ends, or the Wi-Fi."),
            _fault(
                "way-out",
                "a network, but no way out: no address, or no router",
                "Ask for the network's settings: an address by DHCP, and UDP outwards.",
            ),
            _fault("login", "the network wants a login on a page of its own", "Log in from the box's page, or have its address let in."),
            _fault(
                "refused",
                "the destination refuses the box",
                "Compare the passphrase, the stream id and the far end's allowlist; `pressbox status` has the reason.",
            ),
            _fault("camera", "no picture from the camera", "Check the camera's cable and power; the box goes on trying."),
            _fault("hot", "too hot: the board slows itself down", "Give it air and shade."),
            _fault(
                "power", "too little power: the supply's voltage is too low", "Use the supply that came with the box, on a short cable."
            ),
            _fault("storage", "the storage is nearly full, or worn out", "Delete recordings, or replace the card: `pressbox doctor`."),
            _fault("box", "the box's own program does not run as it should", "`pressbox status` says why; it is started again by itself."),
        ]
    ),
    "in": dict(
        [
            _entry("unused", NOTHING, "no camera is in use"),
            _entry("looking", Pattern(BREATHE, ("white",)), "looking for the camera's picture"),
            _entry("good", Pattern(SOLID, ("white",)), "a moving picture, and sound where a microphone is set"),
            _entry(
                "part",
                Pattern(DOUBLE, ("white",)),
                "only part of it: the picture is black or stands still, or there is no sound",
                "Look at the lens, the camera's output and the microphone.",
            ),
            _entry("lost", Pattern(FAST, ("amber",)), "the picture is gone; the slate is sent", "Check the camera's cable and power."),
            _entry("unknown", Pattern(WINK, ("amber",)), "nothing is known of the camera: its flow tells nothing", WAIT),
        ]
    ),
    "a": _path("A"),
    "b": _path("B"),
    "on-air": dict(
        [
            _entry("off", NOTHING, "not on air"),
            _entry("sent", Pattern(BREATHE, ("red",)), "starting, or sent and not confirmed: nobody says that it arrives"),
            _entry("confirmed", Pattern(SOLID, ("red",)), "on air: the far end confirms that it arrives, on every path in use"),
            _entry(
                "at-risk",
                Pattern(DOUBLE, ("red",)),
                "on air and at risk: it arrives, but a path is down or the slate is sent",
                "Look at IN, A and B.",
            ),
            _entry("lost", Pattern(FAST, ("red",)), "it should be on air, and does not arrive", "Look at A, B and SYS."),
            _entry("unknown", Pattern(WINK, ("red",)), "nobody knows whether it is on air: the flow tells nothing", WAIT),
        ]
    ),
}

DARK_STAGE = Entry("dark", NOTHING, "dark stage: the lamps are switched off", "`pressbox lights --dark off` lights them.")

_SLOWLY = Rhythm("slowly", "blinks", (Step(400, 0.0), Step(400, 1.0)))

HELD: dict[Zone, tuple[Pattern, str]] = {
    "press": (Pattern(SOLID, ("white",)), "acknowledge what flashes; where nothing does, identify the box"),
    "keep on": (Pattern(_SLOWLY, ("white",)), "nothing"),
    "start-stop": (Pattern(SOLID, ("white",)), "start or stop the flow, where panel.toml allows it"),
    "gap": (NOTHING, "nothing"),
    "set-up": (Pattern(SOLID, ("blue",)), "ask for set-up"),
    "keep on, faster": (Pattern(FAST, ("amber",)), "nothing"),
    "factory": (Pattern(SOLID, ("amber",)), "ask for factory settings"),
    "nothing": (NOTHING, "nothing"),
}
"""What SYS shows while the button is held, and what letting it go does then."""


def show(state: BoxState) -> dict[Lamp, Entry]:
    """The line of the table for each lamp."""
    if state.dark:
        lit: dict[Lamp, Entry] = {"sys": TABLE["sys"]["identify"]} if state.identify else {}
        return dict.fromkeys(LAMPS, DARK_STAGE) | lit | ({"on-air": TABLE["on-air"][state.air]} if state.dark_keeps_on_air else {})
    return {
        "sys": TABLE["sys"][system(state)],
        "in": TABLE["in"][state.camera],
        "a": TABLE["a"][state.paths[0]],
        "b": TABLE["b"][state.paths[1]],
        "on-air": TABLE["on-air"][state.air],
    }


def system(state: BoxState) -> str:
    """What SYS says: of all that there is to say, the most pressing."""
    if state.identify:
        return "identify"
    if state.doing != "running":
        return state.doing
    fault = next((fault for fault in ORDER if fault in state.faults), None)
    return fault or ("notice" if state.notices else "running")


def colour_words(pattern: Pattern) -> str:
    return "" if pattern.rhythm is OFF else " and ".join(pattern.colours)


def colours_of(lamp: Lamp) -> list[Colour]:
    """All that this lamp ever shows."""
    return sorted({colour for entry in TABLE[lamp].values() if entry.pattern.rhythm is not OFF for colour in entry.pattern.colours})
