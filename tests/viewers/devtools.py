"""A page in headless Chromium, controlled through the DevTools protocol.

For pages of other servers, which scripts of `pages/` cannot access.
"""

import base64
import contextlib
import io
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

CHROMIUM = next(
    (
        found
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (found := shutil.which(name))
    ),
    None,
)
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
)
WAIT_S = 240.0
POLL_S = 0.5
CANVAS = "document.querySelector('canvas[data-engine]')"
"""The canvas of three.js. Other canvases may lie above it."""


class ViewerError(Exception):
    """An error that a page reports."""


class Page:
    """A browser tab. `errors` are its exceptions and logged errors since it was opened, `requests`
    the addresses that it asked for."""

    def __init__(self, socket):
        self.socket, self.count, self.errors, self.requests = socket, 0, [], []

    def call(self, method: str, **params) -> dict:
        """Run a command of the protocol and return its result. Collects errors from events."""
        self.count += 1
        self.socket.send(json.dumps({"id": self.count, "method": method, "params": params}))
        while True:
            message = json.loads(self.socket.recv(timeout=WAIT_S))
            if message.get("id") == self.count:
                if "error" in message:
                    raise ViewerError(f"{method}: {message['error']['message']}")
                return message["result"]
            self._collect_errors(message.get("method"), message.get("params", {}))

    def _collect_errors(self, event: str | None, params: dict) -> None:
        if event == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif event == "Runtime.exceptionThrown":
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
        """Value of a JavaScript expression, as JSON."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    def click(self, label: str) -> None:
        """Click the button or option with this label, once it exists and is enabled."""
        texts = "[...document.querySelectorAll('button, label')]"
        found = f"{texts}.find((e) => e.textContent.trim() === {json.dumps(label)} && !e.disabled)"
        self.until(lambda: self.value(f"!!{found}"), f"no button {label}")
        self.value(f"{found}.click()")

    def type(self, label: str, text: str) -> None:
        """Replace the content of the input field with this label by `text`."""
        labels = "[...document.querySelectorAll('label')]"
        element = f"{labels}.find((e) => e.textContent.trim() === {json.dumps(label)})"
        field = (
            f"(() => {{ let e = {element}; "
            "while (e && !e.querySelector('input')) e = e.parentElement; "
            "return e?.querySelector('input'); })()"
        )
        self.until(lambda: self.value(f"!!{field}"), f"no field {label}")
        self.value(f"{field}.select()")
        self.call("Input.insertText", text=text)

    def screenshot(self, accept=lambda image: True) -> np.ndarray:
        """Image of the canvas, [H, W, 3] in [0, 1].

        Waits until the canvas no longer changes, has more than one color, and `accept` is true of
        its image.
        """
        before: list[str] = []

        def settled() -> np.ndarray | None:
            data = self.value(f"{CANVAS} && {CANVAS}.toDataURL('image/png')")
            before.append(data)
            if data is None or before[-3:] != [data] * 3:
                return None
            png = Image.open(io.BytesIO(base64.b64decode(data.split(",")[1])))
            image = np.asarray(png.convert("RGB"), np.float32) / 255
            return image if np.ptp(image, axis=(0, 1)).max() > 0.1 and accept(image) else None

        return self.until(settled, "no accepted image that stays the same")

    def until(self, check, failure: str):
        """First result of `check` that is neither None nor False."""
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            if (result := check()) is not None and result is not False:
                return result
            time.sleep(POLL_S)
        raise ViewerError(f"{failure} in {WAIT_S:.0f} s; errors of the page: {self.errors}")


@contextlib.contextmanager
def opened(address: str, width: int, height: int, downloads: Path) -> Iterator[Page]:
    """Open a tab at `address`, `width` × `height` pixels; it downloads into `downloads`."""
    # A dependency of viser.
    from websockets.sync.client import connect

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
            with connect(
                _tab_address(Path(profile) / "DevToolsActivePort"),
                max_size=None,
                # On a busy machine, a browser that compiles a page answers no ping for long.
                ping_interval=None,
            ) as socket:
                page = Page(socket)
                for domain in ("Page", "Runtime", "Log", "Network"):
                    page.call(f"{domain}.enable")
                page.call(
                    "Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads)
                )
                page.call("Page.navigate", url=address)
                yield page
        finally:
            browser.terminate()
            browser.wait()


def _tab_address(port_file: Path) -> str:
    """Websocket address of the first tab, once the browser has started."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
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
