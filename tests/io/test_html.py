"""HTML pages of splats and meshes: self-contained, small and accessible, with the right object.

tests/viewers checks what a browser shows.
"""

import base64
import json
import re
import shutil
import subprocess
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
import torch

from gs3d.core.errors import UserError
from gs3d.io import load_splats, save_splats
from gs3d.io.mesh import write_mesh
from gs3d.ops.place import WORLD, place_of
from tests.io.splats.test_ply import random_splats
from tests.io.test_mesh import tetrahedron


def embedded_file(text: str) -> bytes:
    (packed,) = re.findall(
        r'type="application/octet-stream;base64">([A-Za-z0-9+/=]+)</script>', text
    )
    return base64.b64decode(packed)


@pytest.mark.parametrize("degree", [0, 3])
def test_the_page_embeds_the_splats_as_spz(tmp_path, degree):
    splats = random_splats(200, degree)
    save_splats(tmp_path / "a.html", splats)
    (tmp_path / "out.spz").write_bytes(embedded_file((tmp_path / "a.html").read_text("utf-8")))
    save_splats(tmp_path / "a.spz", splats)
    assert (tmp_path / "out.spz").read_bytes() == (tmp_path / "a.spz").read_bytes()
    assert load_splats(tmp_path / "out.spz").sh.shape == splats.sh.shape


@pytest.mark.parametrize("kind", ["splats", "mesh"])
def test_the_page_is_small_and_self_contained(tmp_path, kind):
    if kind == "splats":
        save_splats(tmp_path / "a.html", random_splats(50))
    else:
        write_mesh(tmp_path / "a.html", tetrahedron())
    text = (tmp_path / "a.html").read_text("utf-8")
    assert not re.search(
        r"https?:|\bsrc=|\bhref=|@import|\bimport\b|fetch\(|XMLHttpRequest|url\(", text
    )
    packed = embedded_file(text)
    assert len(text) < 30_000 + 4 * len(packed) / 3
    assert "{{" not in text.replace(base64.b64encode(packed).decode(), "")


def test_the_page_supports_keyboards_and_screen_readers(tmp_path):
    save_splats(tmp_path / "a red & blue <b>.html", random_splats(5))
    text = (tmp_path / "a red & blue <b>.html").read_text("utf-8")
    assert "<title>a red &amp; blue &lt;b&gt;</title>" in text and "<b>" not in text
    assert 'tabindex="0"' in text and "aria-label=" in text and '<html lang="en">' in text


def test_a_placeholder_in_the_file_name_is_not_replaced(tmp_path):
    save_splats(tmp_path / "{{ASSET}}.html", random_splats(5))
    assert "<title>{{ASSET}}</title>" in (tmp_path / "{{ASSET}}.html").read_text("utf-8")


def test_html_cannot_be_loaded(tmp_path):
    save_splats(tmp_path / "a.html", random_splats(5))
    with pytest.raises(UserError, match="cannot read .*a.html: .html is written, not read"):
        load_splats(tmp_path / "a.html")


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
@pytest.mark.parametrize("center", [0.0, 0.1, 0.5, 40.0])
@pytest.mark.parametrize("size", [0.02, 0.3, 1.0])
@pytest.mark.parametrize("strays", [0, 1, 4])
def test_the_first_view_is_that_of_gs3d_render(center, size, strays):
    splats = replace(random_splats(200), scales=torch.zeros(200, 3))
    means = torch.nn.functional.normalize(splats.means, dim=1) * size + center
    means[:strays] = 900.0
    script = files("gs3d.io.html").joinpath("page.js").read_text("utf-8")
    (fit,) = re.findall(r"^function fitHome.*?^}", script, re.MULTILINE | re.DOTALL)
    text = (
        f"const HOME = {{ distance: 3.2, target: [0, 0, 0] }};\n{fit}\n"
        f"fitHome(Float32Array.from({means.flatten().tolist()}), 0.02);"
        "console.log(JSON.stringify(HOME));"
    )
    run = subprocess.run(["node", "-e", text], capture_output=True, text=True, check=True)
    home, place = json.loads(run.stdout), place_of(replace(splats, means=means))
    assert np.allclose(home["target"], place.center, atol=1e-5)
    assert home["distance"] == pytest.approx(3.2 * place.radius, rel=1e-5)
    assert (place is WORLD) == (center < 0.5 and size == 1)
