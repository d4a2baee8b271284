"""Runs of scenes: cameras inside, directions of the prior, and files."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import gs3d
from gs3d.core.errors import UserError
from gs3d.core.views.inside import around
from gs3d.core.views.words import INSIDE_VIEWS, VIEW_WORDS
from gs3d.distill.settings.config import load_config
from gs3d.distill.step import cameras_at
from gs3d.priors import builtin, load
from gs3d.priors.prompts import ViewPrompts
from gs3d.runs.outputs import files
from gs3d.runs.prepare import prepare
from gs3d.runs.request import Request
from gs3d.world.captions import vocabulary_texts
from gs3d.world.places import meaning
from tests.runs.running import SPLATS_FILES, generate

PROMPT = "a blue room with a red chair and a lamp"


@pytest.fixture(scope="module")
def place_prior(tmp_path_factory):
    """Model folder of an untrained prior that knows the words of places."""
    folder = tmp_path_factory.mktemp("places") / "model"
    texts = [*vocabulary_texts(), *meaning.vocabulary_texts()]
    tokenizer = builtin.new_tokenizer(texts, meaning.MAX_TOKENS)
    backbone = builtin.new_backbone(layers=1, heads=2, head_width=24)
    builtin.save(folder, backbone, builtin.new_text_encoder(tokenizer), tokenizer)
    return folder


def test_prior_of_places_gets_directions_in_which_cameras_look(place_prior):
    prompts = ViewPrompts.of(load(place_prior, "cpu"), PROMPT, inside=True)
    assert prompts.views == INSIDE_VIEWS and not prompts.warnings
    text = prompts.at(around(4, 64)).text
    front, left = (INSIDE_VIEWS.index(v) for v in ("front level", "90 degrees left level"))
    assert torch.equal(text[0], prompts.directions[front])
    assert torch.equal(text[1], prompts.directions[left])


def test_prior_of_single_objects_is_warned_about(tiny_builtin):
    (warning,) = ViewPrompts.of(tiny_builtin, "a red house", inside=True).warnings
    assert "was trained on single objects" in warning
    assert not ViewPrompts.of(tiny_builtin, "a red house").warnings


def test_prior_of_objects_gets_no_words_about_directions(tiny_sd_folder):
    prompts = ViewPrompts.of(load(tiny_sd_folder, "cpu"), PROMPT, inside=True, perp_neg=1.0)
    assert prompts.views == VIEW_WORDS
    condition = prompts.at(around(4, 64))
    assert all(torch.equal(text, condition.text[0]) for text in condition.text)
    assert condition.wrong is None


@pytest.mark.parametrize("preset", ["builtin-scene", "scene"])
def test_cameras_of_the_presets_are_inside(preset):
    (stage,) = load_config(preset).stages
    cameras = cameras_at(stage, 0, 0, 5, 0.5, 1)
    assert cameras.inside and (cameras.centers.norm(dim=1) <= stage.cameras.eye_radius).all()
    assert stage.gaussians.start == "surroundings"


def test_scene_writes_splats_a_panorama_and_a_look_around(place_prior, tmp_path):
    out = tmp_path / "run"
    changes = ("gaussians.count=300", "densify.start=2.0", "densify.stop=3.0")
    result = generate(
        Request(PROMPT, steps=2, prior=str(place_prior), mode="scene", out=out, set=changes)
    )
    assert result.outcome == "finished" and {p.name for p in out.iterdir()} == SPLATS_FILES
    record = yaml.safe_load((out / "run.yaml").read_text())
    assert record["config"]["cameras"]["inside"] is True
    height = files.PANORAMA_PX
    assert Image.open(out / "preview.png").size == (2 * height, height)
    assert len(gs3d.load(out).splats) == 300


def test_panorama_of_a_file_has_the_front_in_its_middle(tmp_path, capsys):
    from gs3d.cli.main import main

    means = torch.tensor([[3.0, 0, 0], [0, 3.0, 0], [-3.0, 0, 0]])
    colors = torch.tensor([[[1.7, -1.7, -1.7]], [[-1.7, 1.7, -1.7]], [[-1.7, -1.7, 1.7]]])
    scene = gs3d.Scene(
        gs3d.Splats(
            means,
            torch.tensor([[1.0, 0, 0, 0]] * 3),
            torch.full((3, 3), 0.5),
            torch.full((3,), 0.99),
            colors,
        )
    )
    scene.save(tmp_path / "three.ply")
    out = tmp_path / "all.png"
    command = ["render", str(tmp_path / "three.ply"), "--panorama", "--size", "64", "-o", str(out)]
    assert main(command) == 0
    pixels = np.asarray(Image.open(out)).astype(int)
    assert pixels.shape == (64, 128, 3)
    # Front, left and, at both ends, the back.
    for column, channel in ((64, 0), (32, 1), (0, 2), (127, 2)):
        red = pixels[32, column]
        assert red.argmax() == channel and red.max() > 2 * np.sort(red)[1]
    assert main([*command[:-1], str(tmp_path / "all.mp4")]) == 2
    assert "--panorama: expected a name ending in .png" in capsys.readouterr().err


def test_scene_refuses_what_is_about_objects(place_prior, tiny_multiview_folder, tmp_path):
    (tmp_path / "start.ply").touch()
    request = Request(PROMPT, steps=2, prior=str(place_prior), mode="scene", out=tmp_path / "run")
    with pytest.raises(UserError, match="a scene begins as a floor"):
        prepare(replace(request, start=Path("builtin")))
    with pytest.raises(UserError, match="choose a prior of single images"):
        prepare(replace(request, prior=str(tiny_multiview_folder)))
    with pytest.raises(UserError, match="cameras: inside: expected true for splats with"):
        prepare(replace(request, mode="splats", set=("cameras.inside=true",)))
    plan = prepare(replace(request, config="builtin"))
    assert any("--mode scene: has no effect" in message.text for message in plan.messages)


def test_seeds_of_a_scene_are_compared_from_inside(place_prior, tmp_path):
    changes = ("gaussians.count=200", "densify.start=2.0", "densify.stop=3.0")
    request = Request(PROMPT, steps=6, prior=str(place_prior), mode="scene", seeds=2, set=changes)
    result = generate(replace(request, out=tmp_path / "run"))
    assert result.outcome == "finished"
    assert Image.open(tmp_path / "run" / "preview.png").width == 2 * files.PANORAMA_PX
