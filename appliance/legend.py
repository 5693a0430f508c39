"""The table of the lamps as a document has it: docs/lights.md holds these lines, and a test holds it to them."""

from __future__ import annotations

from appliance.lights import ABOUT, HELD, LAMPS, NUMBERS, TABLE, TITLES, Entry, colour_words


def legend_lines() -> list[str]:
    lines: list[str] = []
    for lamp in LAMPS:
        if lamp == "b":
            continue  # it reads as A does
        title = "A and B" if lamp == "a" else TITLES[lamp]
        about = "paths A and B, the first and the second output of the flow" if lamp == "a" else ABOUT[lamp]
        lines += [f"### {title}: {about}", "", "| the lamp | colour | means | what to do |", "|---|---|---|---|"]
        lines += [_row(entry) for entry in TABLE[lamp].values()]
        lines.append("")
    return lines[:-1]


def _row(entry: Entry) -> str:
    words = entry.words.replace("path A", "the path")
    return f"| {entry.pattern.rhythm.words} | {colour_words(entry.pattern)} | {words} | {entry.advice} |".replace("|  |", "| |")


def code_lines() -> list[str]:
    """The numbers alone, for a label."""
    return [f"{number} {TABLE['sys'][fault].words}" for fault, number in NUMBERS.items()]


def held_lines() -> list[str]:
    """What SYS shows while the button is held, in the order in which one meets it."""
    times = ("at once", "0.8 s", "2 s", "2.75 s", "3 s", "5 s", "10 s", "20 s")
    lines = ["| held for | SYS | letting it go does |", "|---|---|---|"]
    return lines + [
        f"| {at} | {pattern.words.removeprefix('is ')} | {does} |" for at, (pattern, does) in zip(times, HELD.values(), strict=True)
    ]
