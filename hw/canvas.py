"""Rectangles and letters on a yuv420p picture, cheap enough for every frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av import VideoFrame

Colour = tuple[int, int, int]  # Y, Cb, Cr of BT.709, narrow range

BLACK: Colour = (16, 128, 128)
WHITE: Colour = (235, 128, 128)
SLATE: Colour = (36, 132, 124)

# 5 x 7 dots: seven rows of two hex digits, the leftmost dot is bit 4.
_DOTS = {
    " ": "00000000000000",
    "-": "0000001f000000",
    ".": "00000000000c0c",
    ":": "000c0c000c0c00",
    "?": "0e110102040004",
    "0": "0e11131519110e",
    "1": "040c040404040e",
    "2": "0e11010204081f",
    "3": "1f02040201110e",
    "4": "02060a121f0202",
    "5": "1f101e0101110e",
    "6": "0608101e11110e",
    "7": "1f010204080808",
    "8": "0e11110e11110e",
    "9": "0e11110f01020c",
    "A": "0e11111f111111",
    "B": "1e11111e11111e",
    "C": "0e11101010110e",
    "D": "1c12111111121c",
    "E": "1f10101e10101f",
    "F": "1f10101e101010",
    "G": "0e11101711110f",
    "H": "1111111f111111",
    "I": "0e04040404040e",
    "J": "0702020202120c",
    "K": "11121418141211",
    "L": "1010101010101f",
    "M": "111b1515111111",
    "N": "11111915131111",
    "O": "0e11111111110e",
    "P": "1e11111e101010",
    "Q": "0e11111115120d",
    "R": "1e11111e141211",
    "S": "0f10100e01011e",
    "T": "1f040404040404",
    "U": "1111111111110e",
    "V": "11111111110a04",
    "W": "1111111515150a",
    "X": "11110a040a1111",
    "Y": "1111110a040404",
    "Z": "1f01020408101f",
}
_COLUMNS, _ROWS = 6, 7  # with the gap to the next letter


class Canvas:
    """Draws into one picture in place. Coordinates are luma pixels; colour is exact where they are even."""

    def __init__(self, picture: VideoFrame) -> None:
        self.width, self.height = picture.width, picture.height
        self._planes = [(memoryview(plane).cast("B"), plane.line_size) for plane in picture.planes]
        self._letters: dict[tuple[str, int, int], list[bytes]] = {}

    def fill(self, x: int, y: int, width: int, height: int, colour: Colour) -> None:
        """A rectangle; what lies outside the picture is cut off."""
        right, bottom = min(x + width, self.width), min(y + height, self.height)
        for index, (pixels, line) in enumerate(self._planes):
            part = 1 if index else 0
            left, end = x >> part, right >> part
            row = bytes((colour[index],)) * max(0, end - left)
            for at in range((y >> part) * line + left, (bottom >> part) * line + left, line):
                pixels[at : at + len(row)] = row

    def luma_row(self, x: int, y: int, row: bytes | memoryview) -> None:
        """One row of luma from `x` on; it must fit."""
        pixels, line = self._planes[0]
        at = y * line + x
        pixels[at : at + len(row)] = row

    def paste(self, x: int, y: int, picture: VideoFrame) -> None:
        """Another picture, yuv420p, with its corner at an even place; it must fit."""
        for index, ((pixels, line), plane) in enumerate(zip(self._planes, picture.planes, strict=True)):
            part = 1 if index else 0
            source, at = memoryview(plane).cast("B"), (y >> part) * line + (x >> part)
            for row in range(plane.height):
                start = row * plane.line_size
                pixels[at : at + plane.width] = source[start : start + plane.width]
                at += line

    def text(self, x: int, y: int, words: str, scale: int, ground: int = BLACK[0]) -> None:
        """White on `ground`, in luma alone: draw it where the picture has no colour. Letters that do not fit are left out."""
        count = (self.width - x) // (_COLUMNS * scale)
        letters = [self._letter(letter, scale, ground) for letter in words[:count]]
        pixels, line = self._planes[0]
        at = y * line + x
        for dots in range(min(_ROWS, (self.height - y) // scale)):
            row = b"".join([letter[dots] for letter in letters])
            for _ in range(scale):
                pixels[at : at + len(row)] = row
                at += line

    def _letter(self, letter: str, scale: int, ground: int) -> list[bytes]:
        rows = self._letters.get((letter, scale, ground))
        if rows is None:
            dots = bytes.fromhex(_DOTS.get(letter.upper(), _DOTS["?"]))
            shades = bytes((ground,)) * scale, bytes((WHITE[0],)) * scale
            rows = [b"".join(shades[bits >> (_COLUMNS - 2 - column) & 1] for column in range(_COLUMNS - 1)) + shades[0] for bits in dots]
            self._letters[letter, scale, ground] = rows
        return rows


def text_width(words: str, scale: int) -> int:
    return len(words) * _COLUMNS * scale
