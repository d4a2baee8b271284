"""A page in headless Chromium, driven by its DevTools protocol: for pages of other servers, which a page of ours cannot look into."""

import base64
import contextlib
import io
import json
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from tests.viewers.browser import CHROMIUM, FLAGS, WAIT_S, ViewerError

POLL_S = 0.5
CANVAS = "document.querySelector('canvas[data-engine]')"
"""Of three.js; there may be others above it."""


class Page:
    """One tab. `errors` are what it threw or complained of since it was opened."""

    def __init__(self, socket):
        self.socket, self.count, self.errors = socket, 0, []

    def call(self, method: str, **params) -> dict:
        """A command of the protocol and its result; events that come meanwhile are looked through for errors."""
        self.count += 1
        self.socket.send(json.dumps({"id": self.count, "method": method, "params": params}))
        while True:
            message = json.loads(self.socket.recv(timeout=WAIT_S))
            if message.get("id") == self.count:
                if "error" in message:
                    raise ViewerError(f"{method}: {message['error']['message']}")
                return message["result"]
            self._note(message.get("method"), message.get("params", {}))

    def _note(self, event: str | None, params: dict) -> None:
        if event == "Runtime.exceptionThrown":
            self.errors.append(
                params["exceptionDetails"].get("exception", {}).get("description", "an exception")
            )
        elif event == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            self.errors.append(
                " ".join(str(a.get("value", a.get("description"))) for a in params["args"])
            )
        elif event == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")

    def value(self, expression: str):
        """Of JavaScript, as JSON has it."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)[
            "result"
        ].get("value")

    def click(self, label: str) -> None:
        """The button or the option with this label, once it is there and can be pressed."""
        texts = "[...document.querySelectorAll('button, label')]"
        found = f"{texts}.find((e) => e.textContent.trim() === {json.dumps(label)} && !e.disabled)"
        self._until(lambda: self.value(f"!!{found}"), f"no button {label}")
        self.value(f"{found}.click()")

    def type(self, label: str, text: str) -> None:
        """Put `text` in the place of what the box beside this label holds."""
        of = f"[...document.querySelectorAll('label')].find((e) => e.textContent.trim() === {json.dumps(label)})"
        box = f"(() => {{ let e = {of}; while (e && !e.querySelector('input')) e = e.parentElement; return e?.querySelector('input'); }})()"
        self._until(lambda: self.value(f"!!{box}"), f"no box {label}")
        self.value(f"{box}.select()")
        self.call("Input.insertText", text=text)

    def picture(self, like=lambda picture: True) -> np.ndarray:
        """[H, W, 3] in [0, 1]: the canvas once it stays as it is, shows more than one color and is `like` what is waited for."""
        before: list[str] = []

        def still() -> np.ndarray | None:
            data = self.value(f"{CANVAS} && {CANVAS}.toDataURL('image/png')")
            before.append(data)
            if data is None or before[-3:] != [data] * 3:
                return None
            seen = (
                np.asarray(
                    Image.open(io.BytesIO(base64.b64decode(data.split(",")[1]))).convert("RGB"),
                    np.float32,
                )
                / 255
            )
            return seen if np.ptp(seen, axis=(0, 1)).max() > 0.1 and like(seen) else None

        return self._until(still, "no picture that stays")

    def _until(self, found, otherwise: str):
        ends = time.monotonic() + WAIT_S
        while time.monotonic() < ends:
            if (result := found()) is not None and result is not False:
                return result
            time.sleep(POLL_S)
        raise ViewerError(f"{otherwise} in {WAIT_S:.0f} s; the page said {self.errors}")


@contextlib.contextmanager
def opened(address: str, width: int, height: int, downloads: Path) -> Iterator[Page]:
    """A tab of this size at `address`; files that it downloads go to `downloads`."""
    from websockets.sync.client import connect  # which viser brings

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [
            CHROMIUM,
            *FLAGS,
            f"--user-data-dir={profile}",
            f"--window-size={width},{height}",
            "--remote-debugging-port=0",
        ]
        browser = subprocess.Popen(
            [*command, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            with connect(_tab(Path(profile) / "DevToolsActivePort"), max_size=None) as socket:
                page = Page(socket)
                for domain in ("Page", "Runtime", "Log"):
                    page.call(f"{domain}.enable")
                page.call(
                    "Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads)
                )
                page.call("Page.navigate", url=address)
                yield page
        finally:
            browser.terminate()
            browser.wait()


def _tab(port_file: Path) -> str:
    """Address of the first tab's websocket, once the browser is up."""
    ends = time.monotonic() + WAIT_S
    while time.monotonic() < ends:
        with contextlib.suppress(OSError, IndexError):
            port = port_file.read_text().splitlines()[0]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=WAIT_S) as answer:
                return next(
                    target["webSocketDebuggerUrl"]
                    for target in json.load(answer)
                    if target["type"] == "page"
                )
        time.sleep(0.1)
    raise ViewerError(f"no browser in {WAIT_S:.0f} s")
