"""Screenshots of files in other viewers.

A page of `pages/` opens the file in headless Chromium and posts its image back.
"""

import contextlib
import functools
import http.server
import io
import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import numpy as np
from PIL import Image

from tests.viewers.devtools import WAIT_S, Page, ViewerError, opened

HERE = Path(__file__).parent
WORLD_TO_VIEW = np.array(((0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 0.0, 0.0)))
"""From world coordinates to a viewer's: +Y up and the front towards +Z."""


class _Server(http.server.ThreadingHTTPServer):
    """Serves this folder, and the file `shown` under /shown/. `results` gets what pages post."""

    shown: Path

    def __init__(self):
        super().__init__(("127.0.0.1", 0), functools.partial(_Handler, directory=str(HERE)))
        self.results: queue.Queue = queue.Queue()


class _Handler(http.server.SimpleHTTPRequestHandler):
    server: _Server
    extensions_map = {
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }

    def translate_path(self, path: str) -> str:
        shown = self.server.shown
        if urlsplit(path).path == f"/shown/{shown.name}":
            return str(shown)
        return super().translate_path(path)

    def end_headers(self) -> None:
        # Files of different tests have the same names.
        if "/shown/" in getattr(self, "path", ""):
            self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.results.put((urlsplit(self.path).query, body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_) -> None:
        pass


class Viewers:
    """Viewers of other programs in one browser tab, which starts in seconds."""

    def __init__(self, server: _Server, page: Page, size_px: int):
        self.server, self.page, self.size_px = server, page, size_px
        self.count = 0

    def screenshot(
        self,
        viewer: str,
        file: Path,
        eye: np.ndarray,
        fovy_deg: float,
        background: tuple[float, float, float],
    ) -> np.ndarray:
        """Image of `file` in the page of a viewer, [S, S, 3] in [0, 1].

        The camera is at `eye` [3], in world coordinates, and looks at the origin.

        Raises:
            ViewerError: The page reports an error, or no image within WAIT_S.
        """
        self.count += 1
        query = {
            "number": self.count,
            "viewer": viewer,
            "file": f"/shown/{file.name}",
            "size": self.size_px,
            "fovy_deg": fovy_deg,
            "eye": ",".join(f"{x:.9g}" for x in WORLD_TO_VIEW @ eye),
            "background": ",".join(str(x) for x in background),
        }
        self.server.shown = file.resolve()
        address = f"http://127.0.0.1:{self.server.server_port}/pages/index.html"
        self.page.call("Page.navigate", url=f"{address}?{urlencode(query)}")
        try:
            # An earlier page may have posted once more.
            while (result := self.server.results.get(timeout=WAIT_S))[0].split("-")[1] != str(
                self.count
            ):
                continue
        except queue.Empty:
            raise ViewerError(f"{viewer}: no image of {file.name} in {WAIT_S:.0f} s") from None
        kind, body = result
        if kind.startswith("error"):
            raise ViewerError(body.decode("utf-8", "replace"))
        return np.asarray(Image.open(io.BytesIO(body)).convert("RGB"), np.float32) / 255


@contextlib.contextmanager
def started(size_px: int, downloads: Path) -> Iterator[Viewers]:
    """Start a server and a browser for screenshots of `size_px`²."""
    server = _Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with opened("about:blank", size_px, size_px, downloads) as page:
            yield Viewers(server, page, size_px)
    finally:
        server.shutdown()
        server.server_close()
