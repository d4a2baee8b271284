"""Pages with hostile prompts, opened in a browser from a disk: all of it stays text.

No script of theirs runs, no request leaves the folder, and each text is shown as it is.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gs3d.batch.shown.gallery import write_page, write_rows
from gs3d.batch.shown.index import Entry
from gs3d.evaluation.report import tables
from gs3d.evaluation.report_html import write_report
from gs3d.io.html.compare import write_comparison
from gs3d.io.html.slider import strip
from tests.evaluation.test_report import result
from tests.hostile import TAKEN
from tests.io.splats.samples import random_splats
from tests.viewers.devtools import Page, opened

pytestmark = pytest.mark.skipif(
    not os.environ.get("GS3D_TEST_VIEWERS"), reason="needs Chromium and viser: make test-viewers"
)
CAUGHT = "window.hits = 0; window.hit = () => { window.hits += 1; };"
CARDS = "[...document.querySelectorAll('#cards article')]"
PROMPTS = f"{CARDS}.map((card) => card.querySelector('.prompt').textContent)"


@contextlib.contextmanager
def guarded(path: Path, folder: Path, downloads: Path) -> Iterator[Page]:
    """A page that counts calls of hit(). At the end there must be none, no error, and no request
    for anything outside `folder`."""
    with opened("about:blank", 1000, 700, downloads) as page:
        page.call("Page.addScriptToEvaluateOnNewDocument", source=CAUGHT)
        page.requests.clear()
        page.call("Page.navigate", url=path.as_uri())
        page.until(lambda: page.value("document.readyState") == "complete", "no page")
        yield page
        assert page.value("window.hits") == 0 and not page.errors
        own = (folder.as_uri(), "data:", "blob:null/", f"blob:{folder.as_uri()}")
        assert page.requests and all(url.startswith(own) for url in page.requests), page.requests


def test_a_report_shows_hostile_texts_as_they_are(tmp_path):
    splats = random_splats(20, 0)
    texts = [" ".join(text.split()) for text in TAKEN]
    # A second method, so that there are sliders too.
    rows = [replace(result(), prompt=text, method=m) for text in texts for m in ("a", texts[0])]
    settings = {text: text for text in texts}
    path = tmp_path / "report" / "report.html"
    path.parent.mkdir()
    write_report(path, rows, tables(rows), lambda r: splats, settings)
    with guarded(path, path.parent, tmp_path) as page:
        shown = page.value("[...document.querySelectorAll('.prompt')].map((e) => e.textContent)")
        assert sorted(set(shown)) == sorted(set(texts)) and len(shown) == len(rows)
        listed = page.value("[...document.querySelectorAll('dd')].map((e) => e.textContent)")
        assert listed == [" ".join(text.split()) for text in dict.fromkeys(texts)]
        labels = page.value("[...document.querySelectorAll('.turn')].map((e) => e.ariaLabel)")
        assert sorted(set(labels)) == sorted(set(texts))
        # The columns of hostile texts are sorted without harm.
        page.value("document.querySelectorAll('th button').forEach((button) => button.click())")


def test_a_comparison_shows_hostile_texts_as_they_are(tmp_path):
    views = strip([np.full((8, 8, 3), 200, np.uint8)] * 8)
    names = [" ".join(text.split()) for text in TAKEN]
    facts = [{"run": name, "prompt": name} for name in names]
    path = tmp_path / "page" / "compare.html"
    path.parent.mkdir()
    write_comparison(path, facts, names, [views] * len(names), 8)
    with guarded(path, path.parent, tmp_path) as page:
        cells = page.value("[...document.querySelectorAll('td')].map((e) => e.textContent)")
        assert cells == [text for name in names for text in (name, name)]
        page.value("document.querySelector('input').dispatchEvent(new Event('input'))")


@pytest.fixture
def gallery(tmp_path) -> tuple[Path, list[Entry]]:
    """The folder of a batch with hostile prompts, reasons and names; each third row failed."""
    folder = tmp_path / "batch"
    folder.mkdir()
    write_page(folder)
    pixels = np.zeros((96, 24 * 96, 3), np.uint8)
    entries = []
    for i, text in enumerate(TAKEN):
        prompt = " ".join(text.split())
        failed = i % 3 == 2
        # Names of rows are plain (test_hostile_text.py); here some are not.
        name = text[:40] if i % 5 == 4 else f"row-{i}"
        entries.append(
            Entry(name, i, prompt, i, "failed" if failed else "done", text if failed else "")
        )
        if name == f"row-{i}" and not failed:
            (folder / name).mkdir()
            Image.fromarray(pixels).save(folder / name / "strip.webp")
    write_rows(folder, entries, {entry.name: line_of(entry) for entry in entries})
    return folder, entries


def line_of(entry: Entry) -> str:
    return json.dumps({"prompt": entry.prompt, "seed": entry.seed}, ensure_ascii=False)


def test_a_gallery_shows_hostile_texts_as_they_are(gallery, tmp_path):
    folder, entries = gallery
    with guarded(folder / "gallery.html", folder, tmp_path) as page:
        page.until(lambda: page.value(f"{CARDS}.length") == len(entries), "no cards")
        assert page.value(PROMPTS) == [entry.prompt for entry in entries]
        facts = page.value(f"{CARDS}.map((card) => card.querySelector('.facts').textContent)")
        for entry, fact in zip(entries, facts, strict=True):
            assert fact.startswith(f"seed {entry.seed}, {entry.state}")
            assert fact.endswith(entry.reason or "s")
        # Every card comes into view, so every image is asked for.
        page.value(f"{CARDS}.forEach((card) => card.style.contentVisibility = 'visible')")
        for i in range(0, len(entries), 4):
            page.value(f"{CARDS}[{i}].scrollIntoView()")
            page.until(
                lambda i=i: (
                    entries[i].state == "failed"
                    or entries[i].name != f"row-{i}"
                    or page.value(f"{CARDS}[{i}].querySelector('.turn').style.backgroundImage")
                ),
                "no image",
            )
        # Names that are no names have no image; the browser says so.
        page.errors[:] = [text for text in page.errors if "ERR_" not in text]


def test_a_gallery_is_searched_sorted_filtered_turned_and_marked(tmp_path):
    folder = tmp_path / "batch"
    folder.mkdir()
    prompts = ("a red mug", "a blue duck", "a red duck", "an owl")
    states = ("done", "done", "failed", "waiting")
    entries = [
        Entry(f"row-{i}", i, prompt, i, state, pieces=(30, 10, 0, 0)[i])
        for i, (prompt, state) in enumerate(zip(prompts, states, strict=True))
    ]
    lines = {entry.name: line_of(entry) for entry in entries}
    for entry in entries[:2]:
        (folder / entry.name).mkdir()
    Image.new("RGB", (24 * 96, 96)).save(folder / "row-0" / "strip.webp")
    write_page(folder)
    write_rows(folder, entries, lines)
    with guarded(folder / "gallery.html", folder, tmp_path) as page:
        page.until(lambda: page.value(f"{CARDS}.length") == 4, "no cards")
        counts = "document.getElementById('counts').textContent"
        assert page.value(counts) == "2 done, 1 failed, 1 waiting, 0 kept"

        def chosen(field: str, value: str) -> list[str]:
            """Set a field of the form; the prompts that are shown then."""
            element = f"document.getElementById({field!r})"
            page.value(f"{element}.value = {value!r}, {element}.dispatchEvent(new Event('input'))")
            return page.value(PROMPTS)

        assert chosen("search", "DUCK") == ["a blue duck", "a red duck"]
        assert chosen("search", "red  duck") == ["a red duck"]
        assert chosen("search", "") == list(prompts)
        assert chosen("show", "failed") == ["a red duck"]
        assert chosen("show", "done") == ["a red mug", "a blue duck"]
        assert chosen("show", "") == list(prompts)
        assert chosen("sort", "prompt") == sorted(prompts)
        assert chosen("sort", "pieces")[-2:] == ["a blue duck", "a red mug"]
        assert chosen("sort", "number") == list(prompts)

        turn = f"{CARDS}[0].querySelector('.turn')"
        page.value(f"{turn}.focus()")

        def turned(key: str) -> str:
            for kind in ("keyDown", "keyUp"):
                page.call("Input.dispatchKeyEvent", type=kind, key=key)
            return page.value(f"{turn}.style.backgroundPositionX")

        assert [turned(key) for key in ("ArrowRight", "ArrowRight")] == ["-96px", "-192px"]
        moves = ("ArrowLeft", "ArrowLeft", "ArrowLeft")
        assert [turned(key) for key in moves] == ["-96px", "0px", "-2208px"]
        image = page.until(lambda: page.value(f"{turn}.style.backgroundImage") or None, "no image")
        assert image == 'url("row-0/strip.webp")'
        # An image that comes after its row, as from a bucket, is asked for again.
        late = f"{CARDS}[1].querySelector('.turn').style.backgroundImage"
        page.errors[:] = [text for text in page.errors if "ERR_FILE_NOT_FOUND" not in text]
        assert not page.value(late)
        Image.new("RGB", (24 * 96, 96)).save(folder / "row-1" / "strip.webp")
        page.until(lambda: page.value(late) or None, "no late image")
        page.errors[:] = [text for text in page.errors if "ERR_FILE_NOT_FOUND" not in text]

        for i in (3, 0):
            page.value(f"{CARDS}[{i}].querySelector('input').click()")
        assert page.value(counts).endswith("2 kept")
        assert chosen("show", "kept") == ["a red mug", "an owl"]
        page.click("Save the kept as a list")
        saved = tmp_path / "kept.jsonl"
        page.until(saved.is_file, "no download")
        assert saved.read_text("utf-8") == f"{lines['row-0']}\n{lines['row-3']}\n"

        # The batch goes on while the page is open.
        assert chosen("show", "") == list(prompts)
        more = Entry("row-4", 4, "a new cat", 4, "running")
        entries[3] = replace(entries[3], state="failed", reason="no room")
        write_rows(folder, [*entries, more], lines)
        page.until(lambda: page.value(f"{CARDS}.length") == 5, "no new card")
        assert page.value(PROMPTS)[-1] == "a new cat"
        assert page.value(counts) == "2 done, 2 failed, 1 running, 2 kept"
        facts = f"{CARDS}[3].querySelector('.facts').textContent"
        assert page.value(facts) == "seed 3, failed, no room"
        assert page.value(f"{CARDS}[3].querySelector('input').checked")


def test_a_long_gallery_shows_more_as_one_scrolls_and_finds_all(tmp_path):
    folder = tmp_path / "batch"
    folder.mkdir()
    write_page(folder)
    write_rows(folder, [Entry(f"row-{i}", i, f"a cup, number {i}", i) for i in range(700)], {})
    with guarded(folder / "gallery.html", folder, tmp_path) as page:
        count = f"{CARDS}.length"
        page.until(lambda: page.value(count) == 300, "no cards")
        scroll = "scrollTo(0, document.body.scrollHeight)"
        page.until(lambda: page.value(f"{scroll}, {count}") == 700, "not all cards")
        assert page.value("document.getElementById('more').hidden")
        search = "document.getElementById('search')"
        page.value(f"{search}.value = '699', {search}.dispatchEvent(new Event('input'))")
        assert page.value(PROMPTS) == ["a cup, number 699"]


def test_the_viewer_shows_hostile_texts_as_they_are(tmp_path):
    pytest.importorskip("viser")
    from gs3d.ops.place import WORLD
    from gs3d.viewer.controls import Asked, RunControls
    from gs3d.viewer.server import listen
    from gs3d.viewer.viewer import Viewer

    (tmp_path / "private.png").write_bytes(b"")
    texts = [" ".join(text.split()) for text in TAKEN]
    with (
        contextlib.closing(listen("127.0.0.1", 0)) as sock,
        contextlib.closing(Viewer(sock, "sphere", WORLD)) as viewer,
    ):
        controls = RunControls(viewer, texts[0], 0)
        viewer.about.content = "\n".join(texts)
        controls._queue.extend(Asked(text, 0) for text in texts)
        controls._show_queue()
        with opened("about:blank", 900, 600, tmp_path) as page:
            page.call("Page.addScriptToEvaluateOnNewDocument", source=CAUGHT)
            page.requests.clear()
            page.call("Page.navigate", url=viewer.address)
            divs = "[...document.querySelectorAll('div')].map((e) => e.textContent)"
            expected = "\n".join(texts)
            page.until(lambda: expected in page.value(divs), "no text about the object")
            queue = "\n".join(f"{i}. {text}, seed 0" for i, text in enumerate(texts, 1))
            page.until(lambda: queue in page.value(divs), "no queue")
            assert page.value("window.hits") == 0
            assert not [url for url in page.requests if "example.com" in url]
