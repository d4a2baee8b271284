"""`gs3d compare`: contact sheet, turntable, page, and invalid arguments."""

import re

import av
import numpy as np
import pytest
import yaml
from PIL import Image

import gs3d
from gs3d.cli.main import main
from gs3d.core.errors import UserError
from gs3d.distill.settings.config import config_tree, load_config
from gs3d.evaluation.reference import reference_splats
from gs3d.experiments import compare
from gs3d.experiments.compare import HEAD_PX, WORDS_PX, sides_of
from gs3d.io import save_splats
from gs3d.io.mesh import write_mesh
from gs3d.runs.outputs.files import frames
from gs3d.world.mesh import mesh_of
from gs3d.world.sample import sample

PX = 96


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Three folders in the layout of finished runs: two of splats, one of a mesh."""
    root = tmp_path_factory.mktemp("runs")
    runs = [("one", "duck", "cds"), ("two", "mug", "sds"), ("three", "duck", "cds")]
    for i, (name, kind, loss) in enumerate(runs):
        (root / name).mkdir()
        parts = sample(np.random.default_rng(i), kind, "red").parts
        if name == "three":
            write_mesh(root / name / "mesh.glb", mesh_of(parts))
        else:
            save_splats(root / name / "splats.ply", reference_splats(parts, size_px=32))
        record = {
            "prompt": f"a red {kind}",
            "seed": i,
            "timings_s": {"optimize": 100.0, "export": 20 + i},
            "result": {"outcome": "finished"},
        }
        config = config_tree(load_config("builtin", loss))
        config["losses"][loss]["cfg"]["start"] = 12.0 + i
        record |= {"config": config, "minutes": 2.0}
        (root / name / "run.yaml").write_text(yaml.safe_dump(record))
    return [root / name for name, _, _ in runs]


def test_sheet_has_a_row_per_run_from_the_same_cameras(runs, tmp_path, capsys):
    out = tmp_path / "sheet.png"
    assert main(["compare", *map(str, runs), "-o", str(out), "--size", str(PX)]) == 0
    with Image.open(out) as sheet:
        pixels = np.asarray(sheet)
    assert pixels.shape == (3 * PX, WORDS_PX + 8 * PX, 3)
    for i, run in enumerate(runs):
        views = list(frames(gs3d.load(run).asset, gs3d.ring(8, PX)))
        expected = np.concatenate(views, axis=1) * 255
        row = pixels[i * PX : (i + 1) * PX]
        assert np.abs(row[:, WORDS_PX:] - expected).max() <= 0.51
        assert (row[:, :WORDS_PX] < 128).any()  # there is text
    lines = capsys.readouterr().out.splitlines()
    cfg = "cds,losses.cds.cfg.start"
    assert re.fullmatch(rf"{runs[0]}: a red duck: {cfg}=12.0; seed 0, 120 s, \d+ splats", lines[0])
    assert re.fullmatch(rf"{runs[1]}: a red mug: sds; seed 1, 121 s, \d+ splats", lines[1])
    last = rf"{runs[2]}: a red duck: {cfg}=14.0; seed 2, 122 s, \d+ triangles"
    assert re.fullmatch(last, lines[2])


def test_turntable_shows_all_runs_side_by_side(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(compare, "FRAMES", 4)
    monkeypatch.setattr(compare, "COLUMNS", 2)
    out = tmp_path / "turn.mp4"
    compare.write_turntable(out, sides_of(runs), PX, 15.0)
    with av.open(str(out)) as video:
        images = [frame.to_ndarray(format="rgb24").astype(int) for frame in video.decode(video=0)]
    tile = HEAD_PX + PX
    assert len(images) == 4 and images[0].shape == (2 * tile, 2 * PX, 3)
    assert (images[0][tile:, PX:] > 245).all()  # the fourth tile is empty
    assert (images[0][:HEAD_PX, :PX] < 128).any() and (images[0][:HEAD_PX, PX:] < 128).any()
    expected = [255 * view for view in frames(gs3d.load(runs[2]).asset, gs3d.ring(4, PX))]
    for image, view in zip(images, expected, strict=True):
        assert np.abs(image[tile + HEAD_PX :, :PX] - view).mean() < 6


def test_page_has_a_slider_per_run_and_needs_no_other_file(runs, tmp_path):
    out = tmp_path / "page.html"
    assert main(["compare", *map(str, runs), "-o", str(out), "--size", str(PX)]) == 0
    page = out.read_text("utf-8")
    assert "{{" not in page and not re.search(r"""(src|href)\s*=|@import|url\((?!data:)""", page)
    for part in ('class="slider"', '<input type="range"', "<label>"):
        assert page.count(part) == 2
    assert page.count("data:image/webp;base64,") == 3  # one strip per run
    for words in ("a red mug", "losses.cds.cfg.start=14.0", "120 s", "seed 2", str(runs[1])):
        assert words in page
    assert page.count('class="r0"') == 16 and page.count('class="r2"') == 8


def test_prompt_is_escaped_in_the_page(runs, tmp_path):
    record = yaml.safe_load((runs[0] / "run.yaml").read_text())
    markup = tmp_path / "markup"
    markup.mkdir()
    (markup / "run.yaml").write_text(yaml.safe_dump(record | {"prompt": '<b>"duck"\n&'}))
    (markup / "splats.ply").symlink_to(runs[0] / "splats.ply")
    compare.write_page(tmp_path / "page.html", sides_of([runs[0], markup]), PX, 15.0)
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "<b>" not in page and "&lt;b&gt;&quot;duck&quot;" in page


def test_runs_without_a_difference_are_named_by_their_folders(runs, tmp_path):
    twin = tmp_path / "twin"
    twin.mkdir()
    for name in ("run.yaml", "splats.ply"):
        (twin / name).symlink_to(runs[0] / name)
    compare.write_page(tmp_path / "page.html", sides_of([runs[0], twin]), PX, 15.0)
    page = (tmp_path / "page.html").read_text("utf-8")
    assert f"cds ({runs[0]})" in page and f"cds ({twin})" in page


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["ONE"], "expected the folders of two runs or more, got 1"),
        (["ONE", "ONE/"], "expected the folders of two runs or more, got 1"),
        (
            ["ONE", "nowhere"],
            "nowhere: expected the folder of a run that has ended "
            "(run.yaml, and splats.ply or mesh.glb in it)",
        ),
        (["ONE", "."], "expected the folder of a run that has ended"),
        (["ONE", "ONE/splats.ply"], "splats.ply: expected the folder of a run that has ended"),
        (
            ["ONE", "TWO", "-o", "x.gif"],
            "-o x.gif: expected a name ending in one of .png, .mp4, .html",
        ),
        (["ONE", "TWO", "-o", "no/x.png"], "the folder no does not exist"),
        (["ONE", "TWO", "--size", "8"], "--size: expected 96 to 1024 pixels, got 8"),
        (["ONE", "TWO", "--size", "big"], "--size: expected a whole number, got 'big'"),
        (["ONE", "TWO", "--elevation-deg", "nan"], "--elevation-deg: expected -90 to 90, got nan"),
        (["ONE"] * 30 + ["--size", "1024"], "expected at most 23 runs at --size 1024, got 30"),
        ([], "expected the folders of two runs or more, got 0"),
    ],
)
def test_invalid_arguments_are_refused_in_one_line(
    runs, tmp_path, monkeypatch, capsys, arguments, expected
):
    monkeypatch.chdir(tmp_path)
    places = {
        "ONE": str(runs[0]),
        "TWO": str(runs[1]),
        "ONE/": f"{runs[0]}/",
        "ONE/splats.ply": str(runs[0] / "splats.ply"),
    }
    try:
        status = main(["compare", *(places.get(word, word) for word in arguments)])
    except SystemExit as stop:
        status = stop.code
    text = capsys.readouterr().err
    assert status == 2 and expected in text and len(text.strip().splitlines()) == 1, text
    assert not list(tmp_path.iterdir())


def test_damaged_splats_are_refused(runs, tmp_path):
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "run.yaml").symlink_to(runs[0] / "run.yaml")
    (damaged / "splats.ply").write_bytes((runs[0] / "splats.ply").read_bytes()[:900])
    with pytest.raises(UserError, match="splats.ply"):
        sides_of([runs[0], damaged])
