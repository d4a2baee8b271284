"""The programs in examples/ run, and do what their first lines say."""

import importlib
import json
import runpy

import matplotlib
import pytest
import torch
import trimesh
import yaml

import gs3d
from gs3d import io
from gs3d.distill.settings.config import parse_config
from gs3d.guidance import GUIDANCE
from gs3d.io.gltf.container import open_glb
from tests.cli.assets.files import ball
from tests.io.splats.test_ply import random_splats
from tests.programs import ROOT, run_program
from tests.sweeps import use_quick_sweeps

EXAMPLES = ROOT / "examples"
SMALL = {
    "splats": "gaussians: {count: 200}\n",
    "mesh": """
stages:
  - {representation: splats, gaussians: {count: 200}}
  - {representation: dmtet, dmtet: {resolution: 12}}
""",
    "two-stage": """
stages:
  - {representation: nerf, nerf: {samples: 8, occupancy_resolution: 8}}
  - {representation: dmtet, normals: 0.5, dmtet: {resolution: 12}}
""",
}


def test_own_loss_runs_and_is_recorded(capsys, tmp_path, monkeypatch):
    options = ["a red ball", "--steps", 3, "--out", tmp_path / "a"]
    assert run_program(monkeypatch, "examples/own_loss.py", *options) == 0
    assert "Scene(" in capsys.readouterr().out
    record = yaml.safe_load((tmp_path / "a" / "run.yaml").read_text())
    assert record["python_objects"] == ["guidance"] and "Python" in record["resumable"]
    assert record["config"]["guidance"].endswith(".NormalizedSds")
    assert '"cfg"' in (tmp_path / "a" / "log.jsonl").read_text()


def test_hello_splat_saves_and_renders(tmp_path, monkeypatch, capsys):
    options = ["a red ball", "--steps", 2, "--out", tmp_path / "hello"]
    assert run_program(monkeypatch, "examples/hello_splat.py", *options) == 0
    assert "finished run" in capsys.readouterr().out
    assert len(gs3d.load(tmp_path / "hello" / "hello.spz")) > 5000
    assert "<html" in (tmp_path / "hello" / "hello.html").read_text("utf-8")[:200]
    assert len(list((tmp_path / "hello").glob("view-*.png"))) == 4


def test_mesh_for_an_engine_stands_on_the_ground_and_has_its_height(tmp_path, monkeypatch, capsys):
    io.save_splats(tmp_path / "ball.ply", ball(400))
    options = [tmp_path / "ball.ply", "--height-m", 1.5, "--resolution", 24, "--out", tmp_path]
    assert run_program(monkeypatch, "examples/mesh_to_game_engine.py", *options) == 0
    assert capsys.readouterr().out.count("closed: True") == 3
    faces = []
    for level in range(3):
        mesh = trimesh.load(tmp_path / f"lod-{level}.glb", force="mesh")
        assert mesh.bounds[0][1] == pytest.approx(0, abs=1e-5)
        assert mesh.extents[1] == pytest.approx(1.5, rel=1e-5)
        assert mesh.visual.material.baseColorTexture is not None
        (primitive,) = open_glb(tmp_path / f"lod-{level}.glb").tree["meshes"][0]["primitives"]
        assert {"NORMAL", "TEXCOORD_0"} <= primitive["attributes"].keys()
        faces.append(len(mesh.faces))
    assert faces[0] >= faces[1] >= faces[2] and faces[2] <= 1000


def test_batch_makes_its_rows_and_says_what_came_out(tmp_path, monkeypatch, capsys):
    options = ["--steps", 1, "--out", tmp_path / "many", "--prompts", "a red ball", "a blue ball"]
    assert run_program(monkeypatch, "examples/batch_on_ray.py", *options) == 0
    captured = capsys.readouterr()
    assert captured.out.count(" done ") == 2 and "a-red-ball-s0: ended" in captured.err
    assert (tmp_path / "many" / "gallery.html").exists()


def test_notebook_compares_losses(tmp_path, monkeypatch):
    """Its cells, one after the other, on a small setting."""
    use_quick_sweeps(monkeypatch)
    monkeypatch.setenv("OUT", str(tmp_path / "losses"))
    monkeypatch.setenv("EVALUATIONS", "64")
    matplotlib.use("agg")
    book = json.loads((EXAMPLES / "compare_losses.ipynb").read_text("utf-8"))
    cells = ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code"]
    names: dict = {}
    exec(cells[0], names)
    names |= {"PROMPTS": ["a red ball"], "METHODS": ["sds", "cds"]}
    for cell in cells[1:]:
        exec(cell, names)
    assert [row["method"] for row in names["results"]] == ["sds", "cds"]
    assert len(names["axes"]) == 2


def test_cds_in_forty_lines_writes_splats(tmp_path, monkeypatch):
    out = tmp_path / "cds.ply"
    run_program(monkeypatch, "examples/cds_in_forty_lines.py", "--steps", 2, "--out", out)
    assert len(gs3d.load(out)) == 1500


def test_own_format_is_read_and_written_by_every_function(tmp_path, monkeypatch):
    monkeypatch.setattr(io, "FORMATS", dict(io.FORMATS))
    monkeypatch.syspath_prepend(EXAMPLES)
    importlib.import_module("own_format")
    scene = gs3d.Scene(random_splats(50, 1))
    scene.save(tmp_path / "a.csv")
    got, expected = gs3d.load(tmp_path / "a.csv").splats, scene.splats
    assert torch.allclose(got.means, expected.means, rtol=1e-6) and got.sh.shape == (50, 1, 3)
    assert torch.allclose(got.sh, expected.sh[:, :1], rtol=1e-6)
    (tmp_path / "b.csv").write_text("1,2\n")
    with pytest.raises(gs3d.UserError, match="expected rows of 14 numbers"):
        gs3d.load(tmp_path / "b.csv")
    (tmp_path / "b.csv").write_text("x,y\n")
    with pytest.raises(gs3d.UserError, match="expected rows of numbers"):
        gs3d.load(tmp_path / "b.csv")


@pytest.mark.usefixtures("fast_conversions")
@pytest.mark.parametrize("mode", SMALL)
def test_own_prior_runs_in_every_mode(mode, tmp_path):
    prior = runpy.run_path(str(EXAMPLES / "own_prior.py"))["DiskPrior"]()
    (config := tmp_path / "small.yaml").write_text(
        "batch: 2\nguidance: sds\ncameras: {resolution_px: {at: [0.0], values: [24]}}\n"
        + SMALL[mode]
    )
    scene = gs3d.generate(
        "a red ball", steps=4, prior=prior, config=config, out=tmp_path / "run", device="cpu"
    )
    assert scene.outcome == "finished" and len(scene)
    record = yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())
    assert record["prior"]["name"] == "disk" and record["python_objects"] == ["prior"]
    assert parse_config(record["config"], "run.yaml").stages


def test_own_prior_gives_its_color(tmp_path):
    prior = runpy.run_path(str(EXAMPLES / "own_prior.py"))["DiskPrior"]()
    changes = ["gaussians.count=300", "gaussians.rates.iterations=60", "cameras.draws=60"]
    scene = gs3d.generate(
        "a green ball", steps=60, prior=prior, config="builtin", set=changes, out=tmp_path / "run"
    )
    center = scene.render(gs3d.ring(4, 32)).rgb[:, 14:18, 14:18].mean((0, 1, 2))
    assert center.argmax() == 1 and torch.isfinite(center).all()


def flat(prior, condition, z0, progress, seed, step):
    """A guidance loss that is a function."""
    return gs3d.GuidanceOut(z0.detach() * 0.01)


def test_guidance_may_be_a_function(tmp_path):
    out, changes = tmp_path / "run", ["gaussians.count=50", "batch=1"]
    options = {"prior": "builtin", "guidance": flat, "set": changes, "out": out, "device": "cpu"}
    gs3d.generate("a red ball", steps=2, **options)
    record = yaml.safe_load((out / "run.yaml").read_text())
    assert record["config"]["guidance"].endswith("test_examples.flat")
    assert gs3d.generate("a red ball", steps=3, resume=True, **options).outcome == "finished"
    with pytest.raises(gs3d.UserError, match="made in Python with its own guidance"):
        gs3d.generate("a red ball", steps=3, resume=True, **(options | {"guidance": "sds"}))


@pytest.mark.parametrize(
    "wrong,expected",
    [
        ({"prior": object()}, "prior: expected a name or an object like gs3d.Prior"),
        ({"guidance": 3}, f"guidance: expected one of {', '.join(GUIDANCE)}, or an object"),
        ({"seed": 1.5}, "seed: expected a whole number, got 1.5"),
        ({"minutes": -1}, "^minutes: expected a number above 0, got -1"),
        ({"device": "cuda:x"}, "device cuda:x: expected auto, cpu, cuda, cuda:N, mps or xpu"),
        ({"set": ["gausians.count=3"]}, "set gausians.count=3: unknown setting"),
    ],
)
def test_wrong_arguments_name_the_argument(wrong, expected, tmp_path):
    with pytest.raises(ValueError, match=expected):
        gs3d.generate("a red ball", **({"prior": "builtin", "out": tmp_path / "x"} | wrong))


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_examples_are_short(path):
    assert len(path.read_text("utf-8").splitlines()) <= 60
