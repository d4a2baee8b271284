"""Files that are no checkpoint: one line that says what they are."""

import json
import pickle

import pytest
import torch
from safetensors.torch import save_file

from gs3d.priors.files.contents import kind_of
from gs3d.priors.loading.resolve import resolve
from tests.priors.files.original import original_weights, write_original
from tests.priors.loading.helpers import message

WHOLE = "expected a whole checkpoint of Stable Diffusion 1, 2 or XL, or a diffusers folder"


@pytest.fixture(autouse=True)
def _configurations(configurations):
    pass


@pytest.fixture
def weights(tiny_sd_folder):
    return original_weights(tiny_sd_folder, "1")


def refused(file, weights: dict | None = None) -> str:
    """The message for a file, written from `weights`, without its beginning."""
    if weights is not None:
        save_file(weights, file)
    line = message(lambda: resolve(file))
    assert line.startswith(f"prior {file}: ")
    return line.removeprefix(f"prior {file}: ")


@pytest.mark.parametrize("suffix", ["ckpt", "pt", "bin"])
def test_pickles_are_not_opened(suffix, tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was opened",))

    for name in (f"x.{suffix}", "x.safetensors"):
        (tmp_path / name).write_bytes(pickle.dumps(Trap()))
        assert refused(tmp_path / name) == (
            "a pickle (.ckpt, .pt or .bin), which can run any code when it is read, so gs3d does "
            "not open it; get the .safetensors file of the same model"
        )
    torch.save({"a": torch.zeros(1)}, tmp_path / "y.safetensors")
    assert refused(tmp_path / "y.safetensors").startswith("a pickle ")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "the file is empty; download it again"),
        (
            b"<!DOCTYPE html><html>Please log in",
            "no safetensors file but text (<!DOCTYPE html><html>Please log in), maybe the message "
            "of a server; download it again",
        ),
        (b"hi\n", "no safetensors file but text (hi), maybe the message of a server; "),
        (bytes(range(200, 256)) * 9, "no safetensors file; download it again"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4265380512\n",
            "x.safetensors is a pointer of Git LFS, not the file; run `git lfs pull` in the ",
        ),
        (b"\x02" + bytes(7) + b"{}", "the file holds no weights; download it again"),
        (b"\x02" + bytes(7) + b"[]", "no safetensors file"),
        (b"\x08" + bytes(7) + b'{"a": 1}', "no safetensors file"),
        (b"\xff" * 8 + b"{}", "no safetensors file"),
    ],
)
def test_other_contents(content, expected, tmp_path):
    (tmp_path / "x.safetensors").write_bytes(content)
    assert refused(tmp_path / "x.safetensors").startswith(expected)


def test_cut_short(tmp_path, tiny_sd_folder):
    file = write_original(tiny_sd_folder, tmp_path / "x.safetensors")
    data = file.read_bytes()
    file.write_bytes(data[:-1])
    size = len(data)
    assert refused(file) == (
        f"the file is cut short, {size - 1:,} of {size:,} bytes; download it again"
    )
    file.write_bytes(data[:100])
    assert refused(file) == "no safetensors file; download it again"


@pytest.mark.parametrize("channels", [5, 7, 8, 9, 12])
def test_other_inputs(channels, weights, tmp_path):
    name = "model.diffusion_model.input_blocks.0.0.weight"
    weights[name] = torch.zeros(16, channels, 3, 3)
    what = {5: "a depth", 7: "an upscaler", 8: "an InstructPix2Pix", 9: "an inpainting model"}
    line = refused(tmp_path / "x.safetensors", weights)
    assert line.startswith(f"the file is {what.get(channels, 'a model with 12 input channels')}")


KINDS = {
    "lora_unet_mid_block_attentions_0_proj_in.lora_down.weight": "a LoRA, which changes a model",
    "unet.mid_block.attentions.0.proj_in.lora_A.weight": "a LoRA, which changes a model",
    "lora_unet_x.hada_w1_a": "a change to a model (LoHa, LoKr, DoRA or the like)",
    "control_model.input_blocks.0.0.weight": "a ControlNet",
    "controlnet_cond_embedding.conv_in.weight": "a ControlNet",
    "model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight": "a Stable Diffusion 3",
    "double_blocks.0.img_attn.qkv.weight": "a FLUX",
    "conditioner.embedders.0.model.ln_final.bias": "a refiner of Stable Diffusion XL",
    "edm_mean": "a model with EDM noise",
    "first_stage_model.encoder.conv_in.weight": "an autoencoder, one part of a model",
    "encoder.down_blocks.0.resnets.0.conv1.weight": "an autoencoder, one part of a model",
    "text_model.encoder.layers.0.mlp.fc1.weight": "a text encoder, one part of a model",
    "encoder.block.0.layer.0.layer_norm.weight": "a text encoder, one part of a model",
    "down_blocks.0.resnets.0.conv1.weight": "a U-Net, one part of a model",
    "model.diffusion_model.input_blocks.0.0.weight": "a U-Net, one part of a model",
    "cond_stage_model.transformer.encoder.layers.0.mlp.fc1.bias": "a checkpoint in an older layout",
    "emb_params": "a textual inversion, which adds a word",
    "opacity": "weights that gs3d does not know (opacity)",
}


@pytest.mark.parametrize("name", KINDS)
def test_other_kinds(name, tmp_path):
    line = refused(tmp_path / "x.safetensors", {name: torch.zeros(4, 4, 1, 1)})
    assert line.startswith(f"the file is {KINDS[name]}") and line.endswith(WHOLE)


def test_control_net_with_its_model(weights, tmp_path):
    weights["control_model.input_blocks.0.0.weight"] = torch.zeros(4, 4)
    line = refused(tmp_path / "x.safetensors", weights)
    assert line == f"the file is a ControlNet; {WHOLE}"


def test_lacking_parts(weights, tmp_path):
    file = tmp_path / "x.safetensors"
    without = {n: w for n, w in weights.items() if not n.startswith("first_stage_model.")}
    expected = WHOLE.removesuffix(", or a diffusers folder")
    assert refused(file, without) == f"a Stable Diffusion 1.5 without its autoencoder; {expected}"
    without = {n: w for n, w in weights.items() if not n.startswith("cond_stage_model.")}
    assert refused(file, without).startswith("the file is a U-Net, one part of a model; ")


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("model.diffusion_model.middle_block.1.proj_in.weight", "unet"),
        ("first_stage_model.encoder.conv_in.weight", "vae"),
        (
            "cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1.weight",
            "text_encoder",
        ),
    ],
)
def test_lacking_weights(name, part, weights, tmp_path, converted):
    file = tmp_path / "x.safetensors"
    lacking = {n: w for n, w in weights.items() if n != name}
    line = refused(file, lacking)
    if part == "text_encoder":
        assert line.startswith(f"its {part} lacks 1 weights such as ")
    else:
        assert line.startswith(f"its {part} has ") and "the file is incomplete" in line
    weights[name] = weights[name].flatten()
    assert "shape" in refused(file, weights)
    # Nothing half-written is left.
    assert list(converted.iterdir()) == []


def test_other_architecture(weights, tmp_path):
    weights["model.diffusion_model.middle_block.9.weight"] = torch.zeros(7, 7)
    assert "or of another architecture" in refused(tmp_path / "x.safetensors", weights)


def test_zero_signal(weights, tmp_path):
    line = refused(tmp_path / "x.safetensors", weights | {"ztsnr": torch.zeros(0)})
    assert line.startswith("its noise ends at zero signal (ztsnr)")


def test_not_finite(weights, tmp_path):
    from gs3d.priors import load

    file = tmp_path / "x.safetensors"
    weights["model.diffusion_model.out.2.bias"][0] = torch.nan
    save_file(weights, file)
    assert "its unet has NaN or infinite weights" in message(lambda: load(file, "cpu"))


def test_without_configuration(tmp_path, tiny_sd_folder, monkeypatch, configurations):
    from huggingface_hub import constants

    file = write_original(tiny_sd_folder, tmp_path / "x.safetensors")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
    what = "the configuration of Stable Diffusion 1.5 (a few megabytes, not in the file)"
    line = message(lambda: resolve(file, offline=True))
    assert line == (
        f"prior {file}: {what}: not in the cache ({tmp_path / 'empty'}), and downloads are "
        "turned off; run once with a network, or copy stable-diffusion-v1-5/"
        "stable-diffusion-v1-5 into the cache"
    )
    line = message(lambda: resolve(file))
    assert line.startswith(f"prior {file}: {what}: not in the cache (")
    assert "tried stable-diffusion-v1-5" in line and line.endswith(
        "Or copy stable-diffusion-v1-5/stable-diffusion-v1-5 into the cache, or pass a diffusers "
        "folder of the model"
    )


def test_no_room(tmp_path, tiny_sd_folder, monkeypatch):
    from gs3d.priors.files import single_file

    file = write_original(tiny_sd_folder, tmp_path / "x.safetensors")
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr(single_file.shutil, "disk_usage", lambda _: usage)
    line = message(lambda: resolve(file))
    assert "no room for its diffusers folder" in line and "0.0 GB free" in line


def test_kinds_of_real_names():
    """The first pattern that fits decides: a complete model has names of all parts."""
    assert kind_of(["cond_stage_model.model.ln_final.bias"]).startswith("a text encoder")
    assert kind_of([]) == "" and kind_of(["means", "scales"]) == ""


def test_header_with_other_types(tmp_path):
    header = json.dumps({"a": {"dtype": "F32", "shape": "x", "data_offsets": [0, 4]}}).encode()
    data = len(header).to_bytes(8, "little") + header + bytes(4)
    (tmp_path / "x.safetensors").write_bytes(data)
    assert refused(tmp_path / "x.safetensors") == "no safetensors file; download it again"
