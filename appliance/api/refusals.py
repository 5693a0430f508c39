"""How many refusals an address is told, so that guessing fills neither the processor nor the audit log.

Only refusals are limited. A right signature is always taken: a truck's laptop and a stranger's may share one address, and nobody shall be
able to lock the operator out. It costs no safety: a secret has 240 bits, and trying ten thousand a second finds none.
"""

from __future__ import annotations

import ipaddress
import threading
from collections import OrderedDict
from dataclasses import dataclass

BURST = 20
EVERY_S = 3.0  # and one more in so long
ADDRESSES = 4096  # remembered, the least recent is forgotten first


@dataclass(slots=True)
class _Account:
    left: float
    at_s: float
    unsaid: int = 0


class Refusals:
    def __init__(self, burst: int = BURST, every_s: float = EVERY_S, addresses: int = ADDRESSES) -> None:
        self._burst, self._every_s, self._addresses = burst, every_s, addresses
        self._accounts: OrderedDict[str, _Account] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._accounts)

    def tell(self, address: str, now_s: float) -> int | None:
        """How many refusals of this address went untold since the last that was told; None: this one is over the limit as well."""
        with self._lock:
            account = self._account(network_of(address), now_s)
            account.left = min(self._burst, account.left + max(0.0, now_s - account.at_s) / self._every_s)
            account.at_s = now_s
            if account.left < 1:
                account.unsaid += 1
                return None
            account.left -= 1
            unsaid, account.unsaid = account.unsaid, 0
            return unsaid

    def _account(self, network: str, now_s: float) -> _Account:
        account = self._accounts.setdefault(network, _Account(self._burst, now_s))
        self._accounts.move_to_end(network)
        if len(self._accounts) > self._addresses:
            self._accounts.popitem(last=False)
        return account


def network_of(address: str) -> str:
    """The address itself, or the /64 of an IPv6 one: a host there has as many addresses as it likes."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))
