"""How commands end: 0 done, else whose fault it is."""

from __future__ import annotations

OK, FAILED, USAGE, NETWORK, AUTH, MEDIA, NOT_ARRIVING = range(7)

MEANINGS = "Exit codes: 0 done, 1 failed, 2 wrong use, 3 network, 4 not allowed, 5 no picture from the camera or clip, 6 nothing arrives."


class Failure(Exception):
    """A command that ends with this code and this sentence."""

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
