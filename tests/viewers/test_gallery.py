"""The gallery of the site in a real browser: objects open in place, by click, touch and keys."""

import contextlib
import functools
import http.server
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.programs import ROOT
from tests.viewers.devtools import Page, opened

pytestmark = pytest.mark.skipif(
    not os.environ.get("GS3D_TEST_VIEWERS"), reason="needs Chromium: make test-viewers"
)
LARGEST = 15 * 2**20
"""Bytes of the gallery, as its readers fetch it, if they open everything."""
OPENED = (*range(0, 18, 4), *range(18, 24))
"""Objects that are opened: some of the splats, all meshes and the scene."""
FRAME = "document.querySelector('iframe')"
STATE = f"{FRAME}?.contentWindow.shownState"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_) -> None:
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site: that in the folder GS3D_SITE, or one that is built here."""
    if (built := os.environ.get("GS3D_SITE")) is not None:
        return Path(built).absolute()
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("site") / "site"
    build = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)]
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    subprocess.run(build, cwd=ROOT, env=env, check=True, timeout=300)
    return folder


@contextlib.contextmanager
def gallery(site: Path, downloads: Path) -> Iterator[Page]:
    handler = functools.partial(Quiet, directory=str(site))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with opened(
            f"http://127.0.0.1:{server.server_port}/gallery.html", 1000, 800, downloads
        ) as page:
            page.until(lambda: page.value("document.readyState") == "complete", "no page")
            yield page
    finally:
        server.shutdown()
        server.server_close()


def open_object(page: Page, number: int) -> None:
    """Open an object by a click, and wait until it is drawn."""
    frames = "document.querySelectorAll('iframe')"
    page.value(f"document.querySelectorAll('figure')[{number}].querySelector('a').click()")
    loaded = f"[...{frames}].every((f) => f.contentWindow.gs3d)"
    page.until(lambda: page.value(loaded), "no object")
    last = f"document.querySelectorAll('figure')[{number}].querySelector('iframe').contentWindow"
    page.value(f"{last}.gs3d.then(({{ state }}) => {{ {last}.shownState = state; }}), null")
    page.until(lambda: page.value(f"!!{last}.shownState"), "no drawing")


def test_the_gallery_is_small_and_lazy(site, tmp_path):
    files = [path for path in (site / "gallery").iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= LARGEST
    assert {path.suffix for path in files} == {".html", ".webp"}
    with gallery(site, tmp_path) as page:
        assert page.value("document.querySelectorAll('figure').length") == 24
        assert page.value("document.querySelectorAll('iframe').length") == 0
        captions = page.value(
            "[...document.querySelectorAll('figcaption')].map((c) => c.innerText)"
        )
        assert all(re.search(r"\d s\n+gs3d ", text) for text in captions)
        objects = [url for url in page.requests if "/gallery/" in url and url.endswith(".html")]
        pictures = [url for url in page.requests if url.endswith(".webp")]
        assert not objects and len(pictures) < 24
        # Nothing comes from elsewhere.
        assert all(url.startswith(("http://127.0.0.1:", "data:", "blob:")) for url in page.requests)
        assert not page.errors


def test_objects_of_all_kinds_open(site, tmp_path):
    with gallery(site, tmp_path) as page:
        for number in OPENED:
            open_object(page, number)
            assert page.value("document.querySelectorAll('iframe').length") <= 4
        assert not page.errors


def test_an_object_is_turned_by_keys_and_touch(site, tmp_path):
    with gallery(site, tmp_path) as page:
        page.value("document.body.dataset.mdColorScheme = 'slate'")
        open_object(page, 0)
        assert page.value(f"{STATE}.background") == 2  # the dark one
        before = page.value(f"{STATE}.azimuth")
        page.call("Input.dispatchKeyEvent", type="keyDown", key="ArrowLeft")
        page.until(lambda: page.value(f"{STATE}.azimuth") != before, "no turn by a key")
        before = page.value(f"{STATE}.azimuth")
        page.value(f"{FRAME}.scrollIntoView({{ block: 'center' }})")
        box = page.value(f"(({{ x, y }}) => ({{ x, y }}))({FRAME}.getBoundingClientRect())")
        x, y = box["x"] + 60, box["y"] + 60
        for kind, points in (
            ("touchStart", [{"x": x, "y": y}]),
            ("touchMove", [{"x": x + 40, "y": y}]),
            ("touchEnd", []),
        ):
            page.call("Input.dispatchTouchEvent", type=kind, touchPoints=points)
        page.until(lambda: page.value(f"{STATE}.azimuth") != before, "no turn by touch")
        assert not page.errors
