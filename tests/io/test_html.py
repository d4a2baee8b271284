"""HTML pages of splats: self-contained, small and accessible, with the right splats.

tests/viewers checks what a browser shows.
"""

import base64
import re

import pytest

from gs3d.core.errors import UserError
from gs3d.io import load_splats, save_splats
from tests.io.splats.test_ply import random_splats


def embedded_spz(text: str) -> bytes:
    (packed,) = re.findall(
        r'type="application/octet-stream;base64">([A-Za-z0-9+/=]+)</script>', text
    )
    return base64.b64decode(packed)


@pytest.mark.parametrize("degree", [0, 3])
def test_the_page_embeds_the_splats_as_spz(tmp_path, degree):
    splats = random_splats(200, degree)
    save_splats(tmp_path / "a.html", splats)
    (tmp_path / "out.spz").write_bytes(embedded_spz((tmp_path / "a.html").read_text("utf-8")))
    save_splats(tmp_path / "a.spz", splats)
    assert (tmp_path / "out.spz").read_bytes() == (tmp_path / "a.spz").read_bytes()
    assert load_splats(tmp_path / "out.spz").sh.shape == splats.sh.shape


def test_the_page_is_small_and_self_contained(tmp_path):
    save_splats(tmp_path / "a.html", random_splats(50))
    text = (tmp_path / "a.html").read_text("utf-8")
    assert not re.search(
        r"https?:|\bsrc=|\bhref=|@import|\bimport\b|fetch\(|XMLHttpRequest|url\(", text
    )
    spz = embedded_spz(text)
    assert len(text) < 30_000 + 4 * len(spz) / 3
    assert "{{" not in text.replace(base64.b64encode(spz).decode(), "")


def test_the_page_supports_keyboards_and_screen_readers(tmp_path):
    save_splats(tmp_path / "a red & blue <b>.html", random_splats(5))
    text = (tmp_path / "a red & blue <b>.html").read_text("utf-8")
    assert "<title>a red &amp; blue &lt;b&gt;</title>" in text and "<b>" not in text
    assert 'tabindex="0"' in text and "aria-label=" in text and '<html lang="en">' in text


def test_a_placeholder_in_the_file_name_is_not_replaced(tmp_path):
    save_splats(tmp_path / "{{SPLATS}}.html", random_splats(5))
    assert "<title>{{SPLATS}}</title>" in (tmp_path / "{{SPLATS}}.html").read_text("utf-8")


def test_html_cannot_be_loaded(tmp_path):
    save_splats(tmp_path / "a.html", random_splats(5))
    with pytest.raises(UserError, match="cannot read .*a.html: .html is written, not read"):
        load_splats(tmp_path / "a.html")
