"""Who may send here, by address."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

REMEMBERED = 1024


class Allowlist:
    """CIDR blocks. `address in allowlist` is a look-up in memory, quick enough for every datagram and for libsrt's listen callback."""

    def __init__(self, blocks: Iterable[str]) -> None:
        self._blocks = [ipaddress.ip_network(block) for block in blocks]
        self._answers: dict[str, bool] = {}

    def __contains__(self, address: str) -> bool:
        answer = self._answers.get(address)
        if answer is None:
            if len(self._answers) >= REMEMBERED:  # a flood of made-up addresses must not fill memory
                self._answers.clear()
            answer = self._answers[address] = self._decide(address)
        return answer

    def _decide(self, address: str) -> bool:
        try:
            host = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if host.version == 6 and host.ipv4_mapped:
            host = host.ipv4_mapped
        return any(host.version == block.version and host in block for block in self._blocks)
