"""What gs3d refuses to add to a model: one line each."""

import importlib.util
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from gs3d.priors import load
from gs3d.priors.files import lora as lora_files
from gs3d.priors.files.lora import resolve_lora, split_weight
from gs3d.priors.loading.resolve import MIRRORS
from gs3d.runs.prepare import prepare
from gs3d.runs.request import Request
from tests.priors.files.adapters import (
    change,
    layers_of,
    random_pairs,
    save,
    write_diffusers,
    write_kohya,
)
from tests.priors.files.original import write_original
from tests.priors.loading.helpers import message

pytest.importorskip("peft")

OTHER_SIZES = "its layers have other sizes than those of the prior {}; it is for another model"


@pytest.fixture(scope="module")
def pairs(tiny_sd_folder):
    return random_pairs(layers_of(load(tiny_sd_folder, "cpu")))


@pytest.fixture
def file(pairs, tmp_path):
    return write_kohya(tmp_path / "x.safetensors", pairs, 1.0)


def refused(folder, lora) -> str:
    """The message for a LoRA, without its beginning."""
    line = message(lambda: load(folder, "cpu", lora=(str(lora),)))
    assert line.startswith("lora ")
    return line.split(": ", 1)[1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x", ("x", 1.0)),
        ("x:0.5", ("x", 0.5)),
        ("x:-1e-1", ("x", -0.1)),
        ("owner/name:2", ("owner/name", 2.0)),
        (r"C:\x.safetensors", (r"C:\x.safetensors", 1.0)),
        (r"C:\x.safetensors:0", (r"C:\x.safetensors", 0.0)),
    ],
)
def test_weights(text, expected):
    assert split_weight(text) == expected


@pytest.mark.parametrize("number", ["5", "-4.1", "nan", "inf", "-inf", "1e9"])
def test_weights_out_of_range(number):
    assert message(lambda: split_weight(f"x:{number}")) == (
        f"lora x: expected a weight from -4 to 4, such as 0.8, got {number}"
    )


@pytest.mark.parametrize("text", ["", " ", ":0.5"])
def test_no_name(text):
    line = message(lambda: split_weight(text))
    assert line.startswith("lora: expected FILE, FOLDER or owner/name, or one of them with :WEIGHT")


def test_name_with_a_colon(file, tmp_path, tiny_sd_folder):
    shutil.copy(file, tmp_path / "x:3.safetensors")
    assert resolve_lora(str(tmp_path / "x:3.safetensors")).weight == 1
    assert resolve_lora(f"{tmp_path / 'x:3.safetensors'}:0.5").weight == 0.5


@pytest.mark.parametrize("name", ["./nowhere.safetensors", "x:heavy", "nowhere", "a/b/c", "~/none"])
def test_nothing_there(name):
    line = message(lambda: resolve_lora(name))
    assert line.startswith(f"lora {name}: no such file or folder; expected FILE, FOLDER or owner")


def test_folders(file, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    assert "has no .safetensors file; " in message(lambda: resolve_lora(str(folder)))
    (folder / "pytorch_lora_weights.bin").touch()
    assert "only pytorch_lora_weights.bin, a pickle" in message(lambda: resolve_lora(str(folder)))
    shutil.copy(file, folder / "a.safetensors")
    assert resolve_lora(f"{folder}:0.5").file == folder / "a.safetensors"
    shutil.copy(file, folder / "b.safetensors")
    assert "has 2 .safetensors files, such as a.safet" in message(lambda: resolve_lora(str(folder)))
    shutil.copy(file, folder / "pytorch_lora_weights.safetensors")
    assert resolve_lora(str(folder)).file.name == "pytorch_lora_weights.safetensors"


def test_other_files(tmp_path, tiny_sd_folder):
    model = write_original(tiny_sd_folder, tmp_path / "model.safetensors")
    whole = "a whole model, not a LoRA; pass it with "
    assert refused(tiny_sd_folder, model) == whole + "prior"
    assert message(lambda: resolve_lora(str(tiny_sd_folder))).endswith(f": {whole}prior")
    unet = {n: w for n, w in load_file(model).items() if n.startswith("model.diffusion_model.")}
    line = refused(tiny_sd_folder, save(tmp_path / "unet.safetensors", unet))
    assert line.startswith("no LoRA but a U-Net, one part of a model; pass a plain LoRA")
    (tmp_path / "x.pt").touch()
    assert refused(tiny_sd_folder, tmp_path / "x.pt").startswith("a pickle ")
    for name, expected in {
        "opacity": "no LoRA but something else (it has opacity)",
        "lora_unet_x.hada_w1_a": "a change to a model (LoHa, LoKr, DoRA or the like)",
    }.items():
        save(tmp_path / "y.safetensors", {name: torch.zeros(2, 2)})
        assert refused(tiny_sd_folder, tmp_path / "y.safetensors").startswith(expected)


def test_dora(file, tiny_sd_folder):
    """diffusers would leave its scales out, which gives another model."""
    weights = load_file(file)
    name = next(n for n in weights if n.endswith("lora_down.weight"))
    save_file(weights | {name.replace("lora_down.weight", "dora_scale"): torch.ones(1, 4)}, file)
    assert refused(tiny_sd_folder, file).startswith("a change to a model (LoHa, LoKr, DoRA")


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_not_finite(bad, file, tiny_sd_folder):
    weights = load_file(file)
    weights[min(weights)] = torch.full_like(weights[min(weights)], bad)
    save_file(weights, file)
    assert refused(tiny_sd_folder, file).startswith("has NaN or infinite weights (")


def test_too_large(pairs, tmp_path, tiny_sd_folder):
    large = {key: (down * 1e20, up * 1e20) for key, (down, up) in pairs.items()}
    file = write_diffusers(tmp_path / "x.safetensors", large)
    assert "is not finite with the weight 1; use a smaller one" in refused(tiny_sd_folder, file)


@pytest.mark.parametrize("write", [write_diffusers, lambda *args: write_kohya(*args, 1.0)])
def test_another_family(write, tmp_path, tiny_sd_folder, tiny_xl_folder):
    xl = random_pairs(layers_of(load(tiny_xl_folder, "cpu")))
    sd = random_pairs(layers_of(load(tiny_sd_folder, "cpu")))
    for pairs, folder in ((xl, tiny_sd_folder), (sd, tiny_xl_folder)):
        line = refused(folder, write(tmp_path / "x.safetensors", pairs))
        assert line.endswith("it is for another model") and "torch" not in line, line
        assert pairs is xl or line == OTHER_SIZES.format(folder)


def test_other_shapes(pairs, tmp_path, tiny_sd_folder):
    """As of a LoRA for Stable Diffusion 1 on 2: the same names, another width of the text."""
    wide = {
        k: (torch.zeros(2, 24) if k[1].endswith("to_k") else d, u) for k, (d, u) in pairs.items()
    }
    line = refused(tiny_sd_folder, write_kohya(tmp_path / "x.safetensors", wide, 1.0))
    assert line == OTHER_SIZES.format(tiny_sd_folder)


@pytest.mark.parametrize("part", ["unet", "text_encoder"])
def test_layer_too_much(part, pairs, tmp_path, tiny_sd_folder):
    """A layer that the model does not have is not left out in silence."""
    key = next(key for key in pairs if key[0] == part)
    name = key[1].replace("blocks.0", "blocks.7").replace("layers.0", "layers.7")
    for write in (write_diffusers, lambda *args: write_kohya(*args, 1.0)):
        down, up = pairs[key]
        more = pairs | {(part, name): (down.clone(), up.clone())}
        file = write(tmp_path / "x.safetensors", more)
        assert refused(tiny_sd_folder, file).endswith("it is for another model")


def test_prior_without_loras(file, tiny_builtin_folder):
    line = refused(tiny_builtin_folder, file)
    begin = f"the prior {tiny_builtin_folder} takes no LoRA; pass a model of Stable Diffusion 1.5"
    assert line.startswith(begin) and line.endswith(" or FLUX.1 with prior")
    assert "the prior builtin-512 takes no LoRA" in refused("builtin-512", file)


def test_prior_without_loras_is_refused_before_downloads(file, hub_cache, no_network):
    """Neither the prior nor the LoRA is looked for."""
    for lora in (str(file), "owner/name:0.5"):
        for call in (
            lambda: load("mvdream", "cpu", lora=(lora,)),  # noqa: B023
            lambda: prepare(Request("a car", prior="mvdream", lora=(lora,), device="cpu")),  # noqa: B023
        ):
            name = lora.removesuffix(":0.5")
            line = message(call)
            assert line.startswith(f"lora {name}: the prior mvdream takes no LoRA; pass a model")
    assert no_network == []
    folders = {name for name in MIRRORS if name not in lora_files.WITHOUT}
    assert folders == {"sd21-base", "sd21", "sd15"}


def test_without_peft(file, tiny_sd_folder, monkeypatch):
    from gs3d.priors.files import lora

    found = importlib.util.find_spec
    monkeypatch.setattr(lora, "find_spec", lambda name: None if name == "peft" else found(name))
    assert message(lambda: load(tiny_sd_folder, "cpu", lora=(str(file),))) == (
        "lora: the package peft is not installed; install it with `pip install gs3d[lora]`"
    )


def test_alpha_of_each_layer(pairs, tmp_path, tiny_sd_folder):
    file = write_kohya(tmp_path / "x.safetensors", pairs, 1.0)
    weights = load_file(file)
    names = sorted(name for name in weights if name.endswith(".alpha"))
    weights |= {name: torch.tensor(0.5 + i) for i, name in enumerate(names)}
    save_file(weights, file)
    plain, changed = (
        layers_of(load(tiny_sd_folder, "cpu", lora=lora)) for lora in ((), (str(file),))
    )
    for key, pair in pairs.items():
        layer = next(n for n in names if n.endswith(key[1].replace(".", "_") + ".alpha"))
        expected = plain[key].weight + weights[layer] / 2 * change(pair)
        torch.testing.assert_close(changed[key].weight, expected, rtol=0, atol=1e-5)
