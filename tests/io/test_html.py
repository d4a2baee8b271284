"""The page that shows splats: whole in itself, small, and with the splats that were given. What it shows: tests/viewers."""

import base64
import re

import pytest

from gs3d.core.errors import UserError
from gs3d.io import load_splats, save_splats
from tests.io.splats.test_ply import random_splats


def spz_of(text: str) -> bytes:
    (packed,) = re.findall(
        r'type="application/octet-stream;base64">([A-Za-z0-9+/=]+)</script>', text
    )
    return base64.b64decode(packed)


@pytest.mark.parametrize("degree", [0, 3])
def test_the_page_holds_the_splats(tmp_path, degree):
    splats = random_splats(200, degree)
    save_splats(tmp_path / "a.html", splats)
    (tmp_path / "out.spz").write_bytes(spz_of((tmp_path / "a.html").read_text("utf-8")))
    save_splats(tmp_path / "a.spz", splats)
    assert (tmp_path / "out.spz").read_bytes() == (tmp_path / "a.spz").read_bytes()
    assert load_splats(tmp_path / "out.spz").sh.shape == splats.sh.shape


def test_the_page_needs_nothing_from_anywhere(tmp_path):
    save_splats(tmp_path / "a.html", random_splats(50))
    text = (tmp_path / "a.html").read_text("utf-8")
    assert not re.search(
        r"https?:|\bsrc=|\bhref=|@import|\bimport\b|fetch\(|XMLHttpRequest|url\(", text
    )
    assert len(text) < 30_000 + 4 * len(spz_of(text)) / 3 and "{{" not in text.replace(
        base64.b64encode(spz_of(text)).decode(), ""
    )


def test_it_can_be_used_with_keys_and_is_named_for_those_who_do_not_see(tmp_path):
    save_splats(tmp_path / "a red & blue <b>.html", random_splats(5))
    text = (tmp_path / "a red & blue <b>.html").read_text("utf-8")
    assert "<title>a red &amp; blue &lt;b&gt;</title>" in text and "<b>" not in text
    assert 'tabindex="0"' in text and "aria-label=" in text and '<html lang="en">' in text


def test_a_name_in_braces_is_only_a_name(tmp_path):
    save_splats(tmp_path / "{{SPLATS}}.html", random_splats(5))
    assert "<title>{{SPLATS}}</title>" in (tmp_path / "{{SPLATS}}.html").read_text("utf-8")


def test_it_is_written_and_never_read(tmp_path):
    save_splats(tmp_path / "a.html", random_splats(5))
    with pytest.raises(UserError, match="cannot read .*a.html: .html is written, not read"):
        load_splats(tmp_path / "a.html")
