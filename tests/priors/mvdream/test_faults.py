"""Faults in an MVDream folder and in a run with it: one line that names the part."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from gs3d.core.errors import UserError
from gs3d.priors import ViewPrompts, load
from gs3d.priors.loading.resolve import resolve
from gs3d.runs.prepare import prepare
from gs3d.runs.request import Request
from tests.priors.mvdream.tiny import write_tiny_mvdream

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(tmp_path, tiny_mvdream_folder):
    return shutil.copytree(tiny_mvdream_folder, tmp_path / "model")


def message(call) -> str:
    with pytest.raises(UserError) as caught:
        call()
    text = caught.value.for_command_line
    assert "\n" not in text
    return text


def edit_index(folder, **entries):
    path = folder / "model_index.json"
    tree = json.loads(path.read_text()) | entries
    path.write_text(json.dumps({k: v for k, v in tree.items() if v is not None}))


@pytest.mark.parametrize("part", ["vae", "text_encoder", "tokenizer", "scheduler", "unet"])
def test_part_that_the_index_lacks(folder, part):
    edit_index(folder, **{part: None})
    found = message(lambda: load(folder, "cpu"))
    assert found.startswith(f"prior {folder}: ") and part in found


@pytest.mark.parametrize("part", ["vae", "text_encoder", "scheduler", "unet"])
def test_part_whose_folder_is_gone(folder, part):
    shutil.rmtree(folder / part)
    assert f"prior {folder}: its {part}" in message(lambda: load(folder, "cpu"))


@pytest.mark.parametrize(
    ("part", "cls", "expected"),
    [
        ("unet", "MultiViewUNetWrapperModel", "MultiViewUNetModel"),
        ("unet", "UNet2DConditionModel", "MultiViewUNetModel"),
        ("text_encoder", "T5EncoderModel", "CLIPTextModel"),
        ("vae", "AutoencoderKLWan", "AutoencoderKL"),
    ],
)
def test_part_of_another_class(folder, part, cls, expected):
    edit_index(folder, **{part: ["diffusers", cls]})
    found = message(lambda: resolve(folder))
    assert f"its {part} is a {cls}" in found and f"expected {expected}" in found


def test_imagedream_is_refused(tmp_path):
    folder = write_tiny_mvdream(tmp_path / "model", unet={"ip_dim": 16})
    assert "this is ImageDream, which wants an image beside the text" in message(
        lambda: load(folder, "cpu")
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"context_dim": 24},
            "text_encoder gives 16 numbers for each token, but its unet takes 24",
        ),
        ({"in_channels": 5}, "got 5 in, 4 out"),
        ({"image_size": 0}, "size 0"),
    ],
)
def test_sizes_of_another_model(tmp_path, changes, expected):
    folder = write_tiny_mvdream(tmp_path / "model", unet=changes)
    assert expected in message(lambda: load(folder, "cpu"))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"model_channels": 64}, "expected shape"),
        ({"num_res_blocks": 2}, "expected shape"),
        ({"camera_dim": 12}, "expected camera_dim 16, got 12"),
        ({"channel_mult": "big"}, "its unet cannot be loaded"),
        ({"num_head_channels": None}, "its unet cannot be loaded"),
    ],
)
def test_settings_that_the_weights_do_not_fit(folder, changes, expected):
    path = folder / "unet" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    found = message(lambda: load(folder, "cpu"))
    assert expected in found and "its unet" in found


def test_weights_of_the_cameras_are_missing(folder):
    path = folder / "unet" / WEIGHTS
    kept = {k: v for k, v in load_file(path).items() if "camera" not in k}
    save_file(kept, path, {"format": "pt"})
    found = message(lambda: load(folder, "cpu"))
    assert "its unet lacks 4 weights such as camera_embed.0.bias" in found


def test_weights_that_are_not_finite(folder):
    path = folder / "unet" / WEIGHTS
    weights = load_file(path)
    weights["camera_embed.0.bias"][0] = torch.nan
    save_file(weights, path, {"format": "pt"})
    assert "NaN or infinite weights" in message(lambda: load(folder, "cpu"))


def test_pickled_weights_are_not_read(folder):
    path = folder / "unet" / WEIGHTS
    path.rename(path.with_suffix(".bin"))
    assert "its unet has no .safetensors weights" in message(lambda: load(folder, "cpu"))


def test_batch_of_a_run_is_whole_groups(folder, tmp_path):
    (config := tmp_path / "six.yaml").write_text("batch: 6\n")
    request = Request("a red car", prior=str(folder), config=config, device="cpu", steps=2)
    found = message(lambda: prepare(request))
    assert "batch: expected a multiple of 4" in found and "got 6" in found


def test_perp_neg_is_refused(tiny_mvdream):
    found = message(lambda: ViewPrompts.of(tiny_mvdream, "a car", perp_neg=1.0))
    assert found.startswith("perp_neg: ") and found.endswith("set `perp_neg: 0`")


def test_blended_views_are_refused(tiny_mvdream):
    found = message(lambda: ViewPrompts.of(tiny_mvdream, "a car", blend=True))
    assert found.startswith("blend_views: ") and found.endswith("set `blend_views: false`")


def test_xformers_are_refused(folder):
    found = message(lambda: load(folder, "cpu", attention="xformers"))
    assert found.startswith("attention xformers: ")
