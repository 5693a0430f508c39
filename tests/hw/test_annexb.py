from __future__ import annotations

import pytest

from hw.annexb import DELIMITER, Whole
from hw.h264 import AUD, IDR, PPS, SEI, SLICE, SPS, nal_types

SETS = b"\0\0\0\1\x67\x42\xc0\x1e\x99" + b"\0\0\0\1\x68\xce\x3c\x80"
KEY, OTHER, NOTE = b"\0\0\1\x65\x88\x84\x21", b"\0\0\0\1\x41\x9a\x02\x03", b"\0\0\1\x06\x05\x01\xff\x80"


def test_a_delimiter_comes_first_and_never_twice() -> None:
    whole = Whole(SETS)
    assert whole(OTHER) == (DELIMITER + OTHER, False)
    assert whole(DELIMITER + OTHER) == (DELIMITER + OTHER, False)


def test_sets_from_a_description_stand_before_every_key_picture() -> None:
    whole = Whole(SETS)
    for unit in (KEY, DELIMITER + KEY):
        data, key = whole(unit)
        assert (nal_types(data), key) == ([AUD, SPS, PPS, IDR], True)
    assert nal_types(whole(NOTE + KEY)[0]) == [AUD, SPS, PPS, SEI, IDR]


def test_sets_that_came_once_are_kept_and_newer_ones_count() -> None:
    whole = Whole()
    assert whole(KEY) == (DELIMITER + KEY, False), "without parameter sets nobody can begin here"
    assert whole(SETS + KEY) == (DELIMITER + SETS + KEY, True)
    assert SETS in whole(KEY)[0]
    newer = SETS.replace(b"\x99", b"\x77")
    whole(newer + KEY)
    assert newer in whole(KEY)[0]
    assert SETS not in whole(KEY)[0]


def test_pictures_of_several_slices() -> None:
    data, key = Whole(SETS)(KEY + KEY + KEY)
    assert (nal_types(data), key) == ([AUD, SPS, PPS, IDR, IDR, IDR], True)
    assert nal_types(Whole(SETS)(OTHER + OTHER)[0]) == [AUD, SLICE, SLICE]


@pytest.mark.parametrize("broken", [b"", b"\0\0\1", b"no start code at all", b"\0\0\1\x65", b"\0\0\1\x67\0\0\1\x65"])
def test_what_is_broken_is_passed_on(broken: bytes) -> None:
    data, _ = Whole(SETS)(broken)
    assert data.startswith(DELIMITER)
    assert data.endswith(broken)
