"""A headless Chromium for tests, spoken to over a pipe in its own protocol: no further package."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

PROGRAM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
_SECONDS = 60.0  # for one answer
_KEYS = {"Enter": 13, "Escape": 27, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39,
         "ArrowDown": 40, "Tab": 9}  # fmt: skip


class Browser:
    """One page. requests: addresses asked for; complaints: errors and whatever the console said."""

    def __init__(self, profile: Path, width: int = 1280, height: int = 900, dark: bool = False):
        assert PROGRAM is not None
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._count = 0
        self._rest = b""
        (their_in, self._out), (self._in, their_out) = os.pipe(), os.pipe()
        words = [
            PROGRAM, "--headless", "--remote-debugging-pipe", f"--user-data-dir={profile}",
            "--disable-gpu", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
            *(["--no-sandbox"] if os.geteuid() == 0 else []), "about:blank",
        ]  # fmt: skip
        # The protocol wants to be on the descriptors 3 and 4.
        move = f'exec 8<&{their_in} 9>&{their_out}; exec "$@" 3<&8 4>&9 8<&- 9>&-'
        self._process = subprocess.Popen(
            ["bash", "-c", move, "bash", *words], pass_fds=(their_in, their_out),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        os.close(their_in)
        os.close(their_out)
        self._session = ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=False)  # fmt: skip

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._out)
        os.close(self._in)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer to one command; what happens meanwhile is noted."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + _SECONDS
        while time.monotonic() < end:
            answer = self._next()
            if answer.get("id") == self._count:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result
            self._note(answer)
        raise TimeoutError(f"Chromium did not answer to {method}")

    def open(self, page: Path) -> None:
        """Load a file and wait until it is there."""
        self.call("Page.navigate", url=page.as_uri())
        while not self.js("document.readyState === 'complete' && location.protocol === 'file:'"):
            time.sleep(0.02)

    def js(self, expression: str) -> Any:
        """The value of an expression in the page, a promise's once it is kept."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True,
                           awaitPromise=True, userGesture=True)  # fmt: skip
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def place(self, element: str) -> tuple[float, float]:
        """The middle of an element, given as an expression, once it is scrolled to and settled."""
        found: list[float] = self.js(
            f"(async () => {{ const one = {element}; one.scrollIntoView({{block: 'center'}});"
            "for (const _ of [1, 2]) await new Promise(requestAnimationFrame);"
            "const box = one.getBoundingClientRect();"
            "return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        return found[0], found[1]

    def click(self, element: str) -> None:
        """Press and let go of the mouse over an element."""
        x, y = self.place(element)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def point(self, x: float, y: float) -> None:
        """Move the mouse."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def key(self, name: str) -> None:
        """Press a key."""
        code = _KEYS[name]
        text = {"text": "\r"} if name == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            more = text if kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name,
                      windowsVirtualKeyCode=code, **more)  # fmt: skip

    def picture(self, file: Path, **clip: float) -> None:
        """Save what is to be seen, or the part of the page at x, y, width, height."""
        more = {"clip": {**clip, "scale": 1}, "captureBeyondViewport": True} if clip else {}
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", **more)["data"]))

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            block = os.read(self._in, 1 << 16)
            if not block:
                raise EOFError("Chromium ended")
            self._rest += block
        message, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def _note(self, event: dict[str, Any]) -> None:
        name, parameters = event.get("method", ""), event.get("params", {})
        if name == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif name in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            self.complaints.append(json.dumps(parameters))
