"""Checkpoints in one file: converted once, and as good as the folder they came from."""

import hashlib
import json
import os
import shutil
import warnings
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from gs3d.core import rng
from gs3d.priors import describe, load
from gs3d.priors.files import layouts, single_file
from gs3d.priors.files.convert import predicts_velocity
from gs3d.priors.loading.resolve import MIRRORS, RETIRED, resolve
from gs3d.priors.scalings import Epsilon, Velocity
from tests.priors.cache import put_in_cache
from tests.priors.files.original import original_weights, write_original
from tests.priors.loading.helpers import WEIGHTS


def prediction(prior, seed: int = 0) -> torch.Tensor:
    """D for two prompts at σ 1."""
    z = rng.normal((2, *prior.latent_shape), seed, "latent")
    return prior.denoise(z, torch.ones(2), prior.embed(["a red car", "a blue dog"]))


@pytest.fixture
def file(configurations, tmp_path, tiny_sd_folder):
    return write_original(tiny_sd_folder, tmp_path / "model.safetensors")


@pytest.mark.parametrize("kind", ["1", "xl"])
def test_converted_equals_original(kind, configurations, tmp_path, tiny_sd_folder, tiny_xl_folder):
    folder = tiny_xl_folder if kind == "xl" else tiny_sd_folder
    file = write_original(folder, tmp_path / "model.safetensors", kind)
    one, other = load(folder, "cpu"), load(file, "cpu")
    torch.testing.assert_close(prediction(other), prediction(one), rtol=0, atol=1e-5)
    rgb = torch.rand(1, 16, 16, 3, generator=rng.generator(0, "pictures"))
    torch.testing.assert_close(other.encode(rgb), one.encode(rgb), rtol=0, atol=1e-5)


def test_old_scheduler_without_a_warning(file, configurations, recwarn):
    """diffusers warns at length of steps_offset 0, and corrects it."""
    for config in configurations.glob("**/scheduler_config.json"):
        tree = json.loads(config.read_text())
        config.write_text(json.dumps(tree | {"steps_offset": 0}))
    warnings.simplefilter("always")
    folder = resolve(file).folder
    corrected = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    assert corrected["steps_offset"] == 1
    assert [str(one.message) for one in recwarn if one.category is FutureWarning] == []


@pytest.mark.parametrize("said", ["epsilon", "v", None])
def test_stable_diffusion_2(said, configurations, tmp_path, tiny_sd_folder):
    """With the other layout of its text encoder. The weights do not say what the network predicts:
    the file says so, or it is tried."""
    metadata = {} if said is None else {"modelspec.prediction_type": said}
    file = write_original(tiny_sd_folder, tmp_path / "model.safetensors", "2", **metadata)
    prior, original = load(file, "cpu"), load(tiny_sd_folder, "cpu")
    prompts = ["a red car"]
    torch.testing.assert_close(prior.embed(prompts), original.embed(prompts), rtol=0, atol=1e-5)
    is_velocity = said != "epsilon"  # An untrained network does not give back the noise.
    assert isinstance(prior.network.scaling, Velocity if is_velocity else Epsilon)
    assert prior.network.backbone.config.sample_size == (96 if is_velocity else 8)


def test_prediction_is_tried(make_tiny_sd, tmp_path):
    """A network that was fitted to ε, with its last convolution alone, gives back the noise."""
    from diffusers import UNet2DConditionModel

    folder = make_tiny_sd(tmp_path / "model") / "unet"
    unet = UNet2DConditionModel.from_pretrained(folder)
    assert predicts_velocity(unet)
    seen = []
    unet.conv_out.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    x = rng.normal((4, 4, 32, 32), 1, "noise")
    with torch.no_grad():
        unet(x, torch.tensor([999]), torch.zeros(4, 77, 16))
        patches = torch.nn.functional.unfold(seen[0], 3, padding=1).transpose(1, 2).flatten(0, 1)
        targets = x.flatten(2).transpose(1, 2).flatten(0, 1)
        unet.conv_out.weight.copy_(
            torch.linalg.lstsq(patches, targets).solution.T.reshape(unet.conv_out.weight.shape)
        )
        unet.conv_out.bias.zero_()
    assert not predicts_velocity(unet)


def test_v_prediction_by_its_key(configurations, tmp_path, tiny_xl_folder):
    weights = original_weights(tiny_xl_folder, "xl") | {"v_pred": torch.zeros(0)}
    save_file(weights, tmp_path / "x.safetensors")
    assert isinstance(load(tmp_path / "x.safetensors", "cpu").network.scaling, Velocity)


def test_converted_once(file, converted, capsys, monkeypatch):
    source = resolve(file)
    (folder,) = converted.iterdir()
    assert source.folder == folder and source.download_s > 0
    line = f"converting {file} (0.0 GB), once, to the diffusers folder {folder}; Ctrl-C stops it\n"
    assert capsys.readouterr().err == line
    again = resolve(file, offline=True)
    assert (again, again.download_s, capsys.readouterr().err) == (source, 0, "")

    def fail(_):
        raise AssertionError("read again")

    monkeypatch.setattr(single_file, "sha256_of", fail)
    assert resolve(file) == source


def test_moved_file_is_known_by_its_content(file, tmp_path, capsys):
    source = resolve(file)
    other = tmp_path / "other.safetensors"
    shutil.copy(file, other)
    capsys.readouterr()
    assert resolve(other).folder == source.folder and capsys.readouterr().err == ""


def test_changed_file_is_converted_again(file, tiny_sd_folder, converted):
    one = resolve(file).folder
    weights = original_weights(tiny_sd_folder, "1")
    save_file({name: 1.1 * weight for name, weight in weights.items()}, file)
    assert resolve(file).folder != one and len(list(converted.iterdir())) == 2


def test_damaged_folder_is_written_again(file):
    folder = resolve(file).folder
    (folder / "unet" / WEIGHTS).unlink()
    assert resolve(file).folder == folder and (folder / "unet" / WEIGHTS).is_file()


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_cache_that_cannot_be_written(file, converted):
    converted.parents[1].mkdir(parents=True)
    converted.parents[1].chmod(0o500)
    _check_beside(file)


def test_cache_without_room(file, converted, monkeypatch):
    usage = shutil.disk_usage

    def free(place):
        return type("Usage", (), {"free": 0}) if "assets" in str(place) else usage(place)

    monkeypatch.setattr(single_file.shutil, "disk_usage", free)
    _check_beside(file)


def _check_beside(file) -> None:
    """The folder is beside the file, and found there the next time."""
    source = resolve(file)
    assert source.folder.parent == file.parent
    assert source.folder.name.startswith("model-diffusers-")
    assert resolve(file) == source and describe(load(source, "cpu"))["source"] == str(file)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [(torch.float16, torch.float16), (torch.bfloat16, torch.bfloat16)],
)
def test_precision_of_the_file(kind, expected, configurations, tmp_path, tiny_sd_folder):
    """Each part keeps its own: many files have an autoencoder in float32."""
    weights = original_weights(tiny_sd_folder, "1")
    half = {n: w.to(kind) if not n.startswith("first_") else w for n, w in weights.items()}
    save_file(half, tmp_path / "x.safetensors")
    folder = resolve(tmp_path / "x.safetensors").folder
    parts = {"unet": WEIGHTS, "vae": WEIGHTS, "text_encoder": "model.safetensors"}
    for part, name in parts.items():
        kinds = {w.dtype for w in load_file(folder / part / name).values()}
        assert kinds == {torch.float32 if part == "vae" else expected}


def test_8_bits_become_16(configurations, tmp_path, tiny_sd_folder):
    weights = original_weights(tiny_sd_folder, "1")
    small = {n: w.to(torch.float8_e4m3fn) for n, w in weights.items()}
    save_file(small, tmp_path / "x.safetensors")
    folder = resolve(tmp_path / "x.safetensors").folder
    loaded = load_file(folder / "unet" / WEIGHTS)
    name = "conv_in.weight"
    original = small["model.diffusion_model.input_blocks.0.0.weight"]
    assert torch.equal(loaded[name], original.half())


def test_description(file):
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert describe(load(file, "cpu")) == {
        "name": str(file),
        "source": str(file),
        "weights_sha256": digest,
        "license": None,
    }


def test_license_of_the_file(configurations, tmp_path, tiny_sd_folder):
    metadata = {"modelspec.license": 'CreativeML: "Open" RAIL-M'}
    file = write_original(tiny_sd_folder, tmp_path / "x.safetensors", **metadata)
    assert describe(load(file, "cpu"))["license"] == 'CreativeML: "Open" RAIL-M'


def test_configurations_are_those_of_the_names():
    by_name = {layout.name: layout for layout in layouts.LAYOUTS}
    for layout, name in (("Stable Diffusion 1.5", "sd15"), ("Stable Diffusion 2", "sd21-base")):
        assert by_name[layout].repos == MIRRORS[name]
        assert by_name[layout].retired == (RETIRED[name],)


def test_configuration_is_downloaded(tmp_path, tiny_sd_folder, hub_cache, converted, monkeypatch):
    """A few small files of the repository; none of its weights."""
    import huggingface_hub

    files = [str(p.relative_to(tiny_sd_folder)) for p in tiny_sd_folder.rglob("*") if p.is_file()]
    files += ["v1-5-pruned.safetensors", "safety_checker/config.json", "unet/model.bin"]
    asked = []

    def model_info(repo, **options):
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename=f, size=9) for f in files])

    def snapshot_download(repo, allow_patterns, **options):
        asked.append((repo, sorted(allow_patterns)))
        folder = put_in_cache(hub_cache, repo, tiny_sd_folder)
        for path in [p for p in folder.rglob("*") if p.is_file()]:
            if str(path.relative_to(folder)) not in allow_patterns:
                path.unlink()
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "model_info", model_info)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    file = write_original(tiny_sd_folder, tmp_path / "model.safetensors")
    prior = load(file, "cpu")
    ((repo, patterns),) = asked
    assert repo == MIRRORS["sd15"][0] and {p.split("/")[0] for p in patterns} == {
        *("model_index.json", "scheduler", "text_encoder", "tokenizer", "unet", "vae")
    }
    assert not any(p.endswith((".safetensors", ".bin", ".md")) for p in patterns)
    torch.testing.assert_close(
        prediction(prior), prediction(load(tiny_sd_folder, "cpu")), rtol=0, atol=1e-5
    )
