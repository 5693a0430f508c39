"""What came out, from pytest's JUnit file: one line a test, with the figures that it recorded."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree


def summary(report: Path) -> tuple[bool, str]:
    """Whether everything passed, and the words for a person."""
    try:
        tests = list(ElementTree.parse(report).iter("testcase"))
    except (OSError, ElementTree.ParseError):
        return False, "── no report came back: the tests were cut off\n"
    lines, bad, passed = ["── summary"], 0, 0
    for test in tests:
        verdict = _verdict(test)
        bad += verdict == "FAILED"
        passed += verdict == "passed"
        figures = ", ".join(f"{one.get('name')} {one.get('value')}" for one in test.iter("property"))
        name = f"{(test.get('classname') or '').rpartition('.')[2]}: {test.get('name')}"
        lines.append(f"{verdict:8}{float(test.get('time') or 0):6.1f} s  {name}{f'  ({figures})' if figures else ''}")
    lines.append(f"{passed} of {len(tests)} passed in the guest, {bad} failed")
    return bad == 0 and passed > 0, "\n".join(lines) + "\n"


def _verdict(test: ElementTree.Element) -> str:
    if test.find("failure") is not None or test.find("error") is not None:
        return "FAILED"
    return "passed" if test.find("skipped") is None else "skipped"
