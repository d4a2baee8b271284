"""The page of a scene in a real browser: it begins inside, and looks around."""

import base64
import io
import os

import numpy as np
import pytest
import torch
from PIL import Image

from gs3d.core.types import SH_C0, Splats
from gs3d.core.views.inside import around
from gs3d.io.html.splats import write_html
from gs3d.representations.asset import draw
from tests.viewers.devtools import opened
from tests.viewers.test_viewers import BACKGROUND, MIN_DB

pytestmark = pytest.mark.skipif(
    not os.environ.get("GS3D_TEST_VIEWERS"), reason="needs Chromium: make test-viewers"
)
PX = 256


def sky() -> Splats:
    """Splats all around the origin, each in the color of its direction."""
    means = 3 * torch.nn.functional.normalize(
        torch.randn(3000, 3, generator=torch.Generator().manual_seed(0)), dim=1
    )
    count = len(means)
    return Splats(
        means,
        torch.tensor([[1.0, 0, 0, 0]]).expand(count, 4),
        torch.full((count, 3), 0.1),
        torch.full((count,), 0.9),
        (means / 6 / SH_C0)[:, None],
    )


def test_the_page_of_a_scene_begins_inside_and_looks_around(tmp_path):
    splats = sky()
    write_html(tmp_path / "a.html", splats, inside=True)
    with opened((tmp_path / "a.html").as_uri(), PX, PX, tmp_path) as page:
        page.until(lambda: page.value("!!window.gs3d"), "no page")
        page.value(
            "gs3d.then(({ state, draw }) => { Object.assign(window, { state, redrawn: draw }) }), 0"
        )
        page.until(lambda: page.value("!!window.state"), "no drawing")
        # A canvas of exactly these pixels, whatever the window has room for.
        page.value("window.canvas = document.getElementById('view'), 0")
        page.value(f"canvas.style.width = canvas.style.height = '{PX}px'")

        def psnr(view: int) -> float:
            data = page.value("redrawn(), canvas.toDataURL('image/png')")
            png = Image.open(io.BytesIO(base64.b64decode(data.split(",")[1])))
            image = np.asarray(png.convert("RGB"), np.float32) / 255
            expected = draw(splats, around(4, PX), BACKGROUND).rgb[view].clamp(0, 1).numpy()
            return float(-10 * np.log10(((image - expected) ** 2).mean()))

        assert psnr(0) >= MIN_DB
        # A quarter turn to the left, as by the arrow key, which turns by less.
        page.value("state.azimuth += Math.PI / 2")
        assert psnr(1) >= MIN_DB
        before = page.value("state.azimuth")
        page.value("canvas.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowLeft' })), 0")
        assert page.value("state.azimuth") > before  # to the left again
        page.value("canvas.dispatchEvent(new KeyboardEvent('keydown', { key: '+' })), 0")
        assert page.value("state.fovy") < np.radians(60) and page.value("state.distance") == 0
        assert not page.errors
