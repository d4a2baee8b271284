"""Names, folders, the cache, mirrors, and what is said when none of them has the model."""

import hashlib
import json
import shutil
import subprocess
import sys
import time
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub.errors import RepositoryNotFoundError

from gs3d.core.errors import UserError
from gs3d.priors import builtin, default_prior, describe, load
from gs3d.priors.latent import LatentPrior
from gs3d.priors.loading import hub as hubs
from gs3d.priors.loading import resolve as resolving
from gs3d.priors.loading.resolve import MIRRORS, resolve
from gs3d.priors.pixel import PixelPrior
from tests.priors.cache import SHA, put_in_cache

FIRST, SECOND = MIRRORS["sd21-base"]
FILES = [
    "README.md",
    "model_index.json",
    "v2-base.ckpt",
    "v2-base.safetensors",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "text_encoder/model.fp16.safetensors",
    "text_encoder/pytorch_model.bin",
    "tokenizer/merges.txt",
    "tokenizer/vocab.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "unet/diffusion_pytorch_model.non_ema.safetensors",
    "unet/diffusion_pytorch_model.bin",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
]


def not_found(repo):
    return RepositoryNotFoundError(
        repo, response=SimpleNamespace(status_code=404, headers={}, request=None, url=repo)
    )


def message(name, **options):
    with pytest.raises(UserError) as error:
        resolve(name, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture
def hub(monkeypatch, hub_cache, tiny_sd_folder):
    """A hub that has `online` repositories; it counts what it is asked."""
    state = SimpleNamespace(online={}, asked=[], patterns=None, index_folder=tiny_sd_folder)

    def model_info(repo, timeout):
        state.asked.append(repo)
        answer = state.online.get(repo)
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            raise not_found(repo)
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename=f) for f in answer])

    def snapshot_download(repo, allow_patterns, etag_timeout):
        state.patterns = allow_patterns
        return str(put_in_cache(hub_cache, repo, tiny_sd_folder))

    def hf_hub_download(repo, file, etag_timeout):
        return str(state.index_folder / file)

    monkeypatch.setattr(huggingface_hub, "model_info", model_info)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hf_hub_download)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return state


def test_folder_and_builtin_never_touch_the_network(
    monkeypatch, no_network, hub, tiny_builtin_folder, tiny_sd_folder
):
    monkeypatch.setattr(builtin, "FOLDER", tiny_builtin_folder)
    assert isinstance(load("builtin", "cpu"), PixelPrior)
    assert isinstance(load(tiny_sd_folder, "cpu"), LatentPrior)
    assert isinstance(load(str(tiny_sd_folder), "cpu", offline=True), LatentPrior)
    assert hub.asked == [] and no_network == []


def test_first_mirror(hub):
    hub.online = {FIRST: FILES, SECOND: FILES}
    found = resolve("sd21-base")
    assert (found.repo, found.folder.name, hub.asked) == (FIRST, SHA, [FIRST])


def test_next_mirror_when_the_first_is_gone(hub):
    hub.online = {SECOND: FILES}
    assert resolve("sd21-base").repo == SECOND
    assert hub.asked == [FIRST, SECOND]


def test_mirror_without_safetensors_is_passed_over(hub):
    hub.online = {FIRST: [f for f in FILES if not f.endswith(".safetensors")], SECOND: FILES}
    assert resolve("sd21-base").repo == SECOND


def test_only_what_is_needed_is_fetched(hub):
    hub.online = {FIRST: FILES}
    resolve("sd21-base")
    left_out = set(FILES) - set(hub.patterns)
    assert left_out == {
        "v2-base.ckpt",
        "v2-base.safetensors",
        "text_encoder/model.safetensors",
        "text_encoder/pytorch_model.bin",
        "unet/diffusion_pytorch_model.safetensors",
        "unet/diffusion_pytorch_model.non_ema.safetensors",
        "unet/diffusion_pytorch_model.bin",
    }


def test_shards_are_fetched_with_their_index():
    stem = "unet/diffusion_pytorch_model"
    shards = [
        f"{stem}-00001-of-00002.safetensors",
        f"{stem}-00002-of-00002.safetensors",
        f"{stem}.safetensors.index.json",
    ]
    half = [f"{stem}.fp16-00001-of-00001.safetensors", f"{stem}.safetensors.index.fp16.json"]
    assert hubs.needed_files(shards) == sorted(shards)
    assert hubs.needed_files(shards + half) == sorted(half)


def test_the_cache_comes_before_the_network(hub, hub_cache, tiny_sd_folder):
    put_in_cache(hub_cache, SECOND, tiny_sd_folder)
    hub.online = {FIRST: FILES}
    assert resolve("sd21-base").repo == SECOND and hub.asked == []
    assert resolve("sd21-base", offline=True).repo == SECOND


def test_a_cached_copy_of_the_retired_repository_still_serves(hub, hub_cache, tiny_sd_folder):
    put_in_cache(hub_cache, "stabilityai/stable-diffusion-2-1-base", tiny_sd_folder)
    assert resolve("sd21-base").repo == "stabilityai/stable-diffusion-2-1-base" and hub.asked == []


def test_a_download_that_broke_off_goes_on(hub, hub_cache, tiny_sd_folder):
    snapshot = put_in_cache(hub_cache, FIRST, tiny_sd_folder)
    (snapshot / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    hub.online = {SECOND: FILES}
    assert resolve("sd21-base").repo == SECOND and hub.asked == [FIRST, SECOND]


def test_any_hub_id(hub):
    hub.online = {"someone/my-model": FILES}
    assert resolve("someone/my-model").repo == "someone/my-model"
    assert isinstance(load("someone/my-model", "cpu"), LatentPrior)


def test_model_of_another_kind_is_refused_before_it_is_fetched(hub, tiny_sd_folder, tmp_path):
    index = json.loads((tiny_sd_folder / "model_index.json").read_text()) | {
        "text_encoder_2": ["transformers", "CLIPTextModel"]
    }
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    hub.online, hub.index_folder = {"someone/xl": FILES}, tmp_path
    assert message("someone/xl").startswith(
        "prior someone/xl: a StableDiffusionPipeline has two text encoders; expected a model with one"
    )
    assert hub.patterns is None


def test_all_mirrors_gone(hub, hub_cache):
    assert message("sd21-base") == (
        f"prior sd21-base: not in the cache ({hub_cache}) and not downloaded; tried {FIRST} (gone or private), {SECOND} (gone or private). "
        "Check the network and run again (a broken download goes on where it stopped). "
        "Use `--prior builtin`, or `--prior FOLDER` with a copy of the model"
    )


def test_no_network(hub_cache, no_network):
    """The real huggingface_hub over a dead network: one line, at once, and the second mirror on the same host is not tried."""
    started = time.monotonic()
    line = message("sd21-base")
    assert time.monotonic() - started < 8
    assert f"tried {FIRST} (Connect" in line and SECOND not in line and "--prior builtin" in line
    assert no_network


def test_a_server_that_never_answers(hub, monkeypatch, hub_cache):
    monkeypatch.setattr(hubs, "CONNECT_S", -0.9)
    monkeypatch.setattr(huggingface_hub, "model_info", lambda repo, timeout: time.sleep(5))
    started = time.monotonic()
    assert f"tried {FIRST} (TimeoutError: no answer within 0.1 s). " in message("sd21-base")
    assert time.monotonic() - started < 2


def test_full_disk(hub, hub_cache, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    hub.online = {FIRST: FILES}
    monkeypatch.setattr(huggingface_hub, "snapshot_download", full)
    assert message("sd21-base") == (
        f"prior sd21-base: cannot write the download of {FIRST} ([Errno 28] No space left on device); free some space or set HF_HOME"
    )


def test_offline(hub, hub_cache, monkeypatch):
    expected = "prior sd15: not in the cache ({}), and {}. Use `--prior builtin`, or `--prior FOLDER` with a copy of the model"
    assert message("sd15", offline=True) == expected.format(hub_cache, "offline was asked for")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert message("sd15") == expected.format(hub_cache, "HF_HUB_OFFLINE is set")
    assert hub.asked == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "sd21base",
            "prior sd21base: unknown name; did you mean sd21-base or sd21? "
            "Expected one of builtin, builtin-mv, sd21-base, sd21, sd15, a hub id owner/name, or a folder",
        ),
        ("built-in", "prior built-in: unknown name; did you mean builtin or builtin-mv? "),
        (
            "qqqq",
            "prior qqqq: unknown name; Expected one of builtin, builtin-mv, sd21-base, sd21, sd15, a hub id owner/name, or a folder",
        ),
        (
            "./nowhere",
            "prior ./nowhere: no such folder; give a diffusers model folder or one of builtin, builtin-mv, sd21-base, sd21, sd15",
        ),
        ("x" * 300, f"prior {'x' * 300}: unknown name; Expected one of"),
        ("~nobody/model", "prior ~nobody/model: no such folder; "),
        (
            "/no/such/model",
            "prior /no/such/model: no such folder; give a diffusers model folder or one of ",
        ),
    ],
)
def test_unknown_names(name, expected):
    assert message(name).startswith(expected)


def test_a_file_is_not_a_folder(tmp_path):
    (tmp_path / "x.safetensors").touch()
    assert message(tmp_path / "x.safetensors").startswith(
        f"prior {tmp_path / 'x.safetensors'}: a file, not a folder; "
    )


def test_folder_that_is_no_model(tmp_path):
    assert message(tmp_path) == (
        f"prior {tmp_path}: not a diffusers model folder, it has no model_index.json; give the folder that holds one"
    )


def test_broken_index(tmp_path):
    (tmp_path / "model_index.json").write_text("{")
    assert message(tmp_path).startswith(f"prior {tmp_path}: model_index.json cannot be read (")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"unet": None, "_class_name": "StableDiffusion3Pipeline"},
            "a StableDiffusion3Pipeline has no unet or transformer; expected a model with one denoising network and one text encoder, "
            "such as Stable Diffusion 1.5 or 2.1",
        ),
        (
            {"text_encoder_2": ["transformers", "CLIPTextModelWithProjection"]},
            "a StableDiffusionPipeline has two text encoders; ",
        ),
        (
            {"text_encoder": ["transformers", "T5EncoderModel"]},
            "its text_encoder is a T5EncoderModel; expected CLIPTextModel",
        ),
        (
            {"unet": None, "transformer": ["diffusers", "PixArtTransformer2DModel"]},
            "its transformer is a PixArtTransformer2DModel; expected SD3Transformer2DModel",
        ),
        (
            {"vae": ["diffusers", "VQModel"]},
            "its vae is a VQModel; expected AutoencoderKL or AutoencoderTiny",
        ),
    ],
)
def test_models_of_another_kind(tiny_sd_folder, tmp_path, change, expected):
    index = json.loads((tiny_sd_folder / "model_index.json").read_text()) | change
    (tmp_path / "model_index.json").write_text(
        json.dumps({k: v for k, v in index.items() if v is not None})
    )
    assert message(tmp_path).startswith(f"prior {tmp_path}: {expected}")


@pytest.mark.parametrize(
    ("part", "file", "expected"),
    [
        (
            "unet",
            "diffusion_pytorch_model.safetensors",
            "no .safetensors weights in unet/; download the model again with its",
        ),
        ("scheduler", "scheduler_config.json", "its scheduler cannot be loaded ("),
        ("unet", "config.json", "its unet cannot be loaded ("),
    ],
)
def test_missing_files(tiny_sd_folder, tmp_path, part, file, expected):
    folder = tmp_path / "broken"
    shutil.copytree(tiny_sd_folder, folder)
    (folder / part / file).unlink()
    with pytest.raises(UserError) as error:
        load(folder, "cpu")
    assert str(error.value).startswith(f"prior {folder}: {expected}") and "\n" not in str(
        error.value
    )


def test_damaged_weights(tiny_sd_folder, tmp_path):
    folder = tmp_path / "damaged"
    shutil.copytree(tiny_sd_folder, folder)
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(
        b"\x10\x00\x00\x00\x00\x00\x00\x00nonsense"
    )
    with pytest.raises(UserError, match="its unet cannot be loaded"):
        load(folder, "cpu")


def test_builtin_without_its_weights(monkeypatch, tmp_path):
    monkeypatch.setattr(builtin, "FOLDER", tmp_path)
    assert message("builtin") == (
        f"prior builtin: its weights are not in {tmp_path}; reinstall gs3d, or train them with scripts/train_builtin_prior.py"
    )


def test_default_prior(hub, hub_cache, tiny_sd_folder):
    assert default_prior("cpu") == (
        "builtin",
        "prior: builtin (no GPU; it knows only the words that `gs3d vocab` shows)",
    )
    assert default_prior("cuda") == (
        "builtin",
        "prior: builtin (for any prompt, `--prior sd21-base` downloads Stable Diffusion 2.1-base once, about 2.6 GB)",
    )
    put_in_cache(hub_cache, SECOND, tiny_sd_folder)
    assert default_prior("cuda:0") == (
        "sd21-base",
        f"prior: sd21-base (Stable Diffusion 2.1-base, {SECOND}, found in the cache)",
    )
    assert hub.asked == []


def test_describe(hub, hub_cache, monkeypatch, tiny_sd_folder, tiny_builtin_folder):
    digest = hashlib.sha256(
        (tiny_sd_folder / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()
    ).hexdigest()
    folder = str(tiny_sd_folder)
    expected = {"name": folder, "source": folder, "weights_sha256": digest, "license": "openrail++"}
    assert describe(load(tiny_sd_folder, "cpu")) == expected
    put_in_cache(hub_cache, FIRST, tiny_sd_folder)
    assert describe(load("sd21-base", "cpu")) == expected | {
        "name": "sd21-base",
        "source": FIRST,
        "revision": SHA,
    }
    monkeypatch.setattr(builtin, "FOLDER", tiny_builtin_folder)
    record = describe(load("builtin", "cpu"))
    assert (record["name"], record["source"], record["license"]) == (
        "builtin",
        "gs3d",
        "Apache-2.0",
    )


def test_hash_is_read_from_the_name_of_a_blob(tmp_path):
    blob = tmp_path / ("ab" * 32)
    blob.write_bytes(b"gigabytes")
    (tmp_path / "link.safetensors").symlink_to(blob)
    assert resolving._sha256(tmp_path / "link.safetensors") == "ab" * 32


def test_import_is_light():
    """`import gs3d.priors` must not pay for diffusers, transformers or huggingface_hub."""
    code = "import sys, gs3d.priors; print([m for m in ('diffusers', 'transformers', 'huggingface_hub', 'yaml') if m in sys.modules])"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )
