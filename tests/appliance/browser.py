"""A real browser without a window, driven over the DevTools pipe (descriptors 3 and 4, messages end with a zero byte)."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from types import TracebackType
from typing import Any

FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--remote-debugging-pipe"),
]


class Browser:
    def __init__(self, chromium: str) -> None:
        self.chromium = chromium
        self._id = 0
        self._session = ""

    def __enter__(self) -> Browser:
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        self._profile = tempfile.TemporaryDirectory(prefix="pb-browser-", ignore_cleanup_errors=True)
        command = [self.chromium, *FLAGS, f"--user-data-dir={self._profile.name}"]
        shell = ["bash", "-c", f'exec "$@" 3<&{to_read} 4>&{to_write}', "bash", *command]
        self._process = subprocess.Popen(shell, pass_fds=(to_read, to_write), stderr=subprocess.DEVNULL)
        os.close(to_read)
        os.close(to_write)
        self._answers = os.fdopen(self._read, "rb")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        os.close(self._write)  # which it takes as the wish to end
        self._process.wait(10)
        self._answers.close()
        self._profile.cleanup()

    def open(self, url: str, width: int = 1280, height: int = 800) -> None:
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self._ask("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """The value of a line of JavaScript in the page; promises are waited for."""
        answer = self._ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def text(self, selector: str) -> str:
        """What a person reads there; nothing where there is no such part yet."""
        return str(self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._id += 1
        request = {"id": self._id, "method": method, "params": parameters} | ({"sessionId": self._session} if self._session else {})
        os.write(self._write, json.dumps(request).encode() + b"\0")
        while True:
            answer = json.loads(self._next())
            if answer.get("id") == self._id:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def _next(self) -> bytes:
        message = bytearray()
        while (byte := self._answers.read(1)) not in (b"\0", b""):
            message += byte
        assert message, "the browser is gone"
        return bytes(message)
