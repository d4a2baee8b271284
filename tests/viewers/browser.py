"""Screenshots of files in other viewers.

A page of `pages/` opens the file in headless Chromium and posts its image back.
"""

import contextlib
import functools
import http.server
import io
import queue
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
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
WORLD_TO_VIEW = np.array(((0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 0.0, 0.0)))
"""From world coordinates to a viewer's: +Y up and the front towards +Z."""
WAIT_S = 240.0


class ViewerError(Exception):
    """An error that a page reports."""


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Serves this folder, and the file to be shown under /shown/. Receives results by POST."""

    extensions_map = {
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }

    def __init__(self, *args, shown: Path, results: queue.Queue, **options):
        self.shown, self.results = shown, results
        super().__init__(*args, directory=str(HERE), **options)

    def translate_path(self, path: str) -> str:
        if urlsplit(path).path == f"/shown/{self.shown.name}":
            return str(self.shown)
        return super().translate_path(path)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.results.put((urlsplit(self.path).query, body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_) -> None:
        pass


@contextlib.contextmanager
def _served(file: Path) -> Iterator[tuple[str, queue.Queue]]:
    results: queue.Queue = queue.Queue()
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(_Handler, shown=file, results=results)
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", results
    finally:
        server.shutdown()
        server.server_close()


def screenshot(
    viewer: str,
    file: Path,
    eye: np.ndarray,
    fovy_deg: float,
    size_px: int,
    background: tuple[float, float, float],
) -> np.ndarray:
    """Image of `file` in the page of a viewer, [S, S, 3] in [0, 1].

    The camera is at `eye` [3], in world coordinates, and looks at the origin.

    Raises:
        ViewerError: The page reports an error, or no image within WAIT_S.
    """
    query = {
        "viewer": viewer,
        "file": f"/shown/{file.name}",
        "size": size_px,
        "fovy_deg": fovy_deg,
        "eye": ",".join(f"{x:.9g}" for x in WORLD_TO_VIEW @ eye),
        "background": ",".join(str(x) for x in background),
    }
    with (
        _served(file.resolve()) as (address, results),
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
    ):
        command = [
            CHROMIUM,
            *FLAGS,
            f"--user-data-dir={profile}",
            f"--window-size={size_px},{size_px}",
            "--remote-debugging-port=0",
        ]
        browser = subprocess.Popen(
            [*command, f"{address}/pages/index.html?{urlencode(query)}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            kind, body = results.get(timeout=WAIT_S)
        except queue.Empty:
            raise ViewerError(f"{viewer}: no image of {file.name} in {WAIT_S:.0f} s") from None
        finally:
            browser.terminate()
            browser.wait()
    if kind == "error":
        raise ViewerError(body.decode("utf-8", "replace"))
    return np.asarray(Image.open(io.BytesIO(body)).convert("RGB"), np.float32) / 255
