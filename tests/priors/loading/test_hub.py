"""The model cache, downloads from mirrors, and the messages when both fail."""

import json
import time

import huggingface_hub
from huggingface_hub.errors import GatedRepoError

from gs3d.priors import load
from gs3d.priors.latent import LatentPrior
from gs3d.priors.loading import hub as hub_module
from gs3d.priors.loading.resolve import MIRRORS, resolve
from tests.priors.cache import SHA, put_in_cache
from tests.priors.loading.helpers import MODEL_FILES, message, not_found

FIRST, SECOND = MIRRORS["sd21-base"]
ADVICE = (
    "Use `--prior builtin`, which knows the words that `gs3d vocab` shows, or "
    "`--prior FOLDER` with a copy of the model"
)


def test_first_mirror_is_used(hub):
    hub.online = {FIRST: MODEL_FILES, SECOND: MODEL_FILES}
    found = resolve("sd21-base")
    assert (found.repo, found.folder.name, hub.requested) == (FIRST, SHA, [FIRST])


def test_second_mirror_if_first_is_gone(hub):
    hub.online = {SECOND: MODEL_FILES}
    assert resolve("sd21-base").repo == SECOND
    assert hub.requested == [FIRST, SECOND]


def test_mirror_without_safetensors_is_skipped(hub):
    without = [f for f in MODEL_FILES if not f.endswith(".safetensors")]
    hub.online = {FIRST: without, SECOND: MODEL_FILES}
    assert resolve("sd21-base").repo == SECOND


def test_a_repository_with_one_part_says_which(hub):
    """As that of PixArt-Σ for 512² has its transformer alone."""
    part = "transformer/diffusion_pytorch_model.safetensors"
    hub.online = {"someone/part": ["README.md", "transformer/config.json", part]}
    line = message(lambda: resolve("someone/part"))
    assert "contains no diffusers model with safetensors weights, only transformer)" in line


def test_only_needed_files_are_downloaded(hub):
    hub.online = {FIRST: MODEL_FILES}
    resolve("sd21-base")
    assert set(MODEL_FILES) - set(hub.patterns) == {
        "v2-base.ckpt",
        "v2-base.safetensors",
        "text_encoder/model.safetensors",
        "text_encoder/pytorch_model.bin",
        "unet/diffusion_pytorch_model.safetensors",
        "unet/diffusion_pytorch_model.non_ema.safetensors",
        "unet/diffusion_pytorch_model.bin",
    }


def test_a_download_says_its_size_how_to_stop_it_and_its_license(hub, hub_cache, capsys):
    hub.online = {FIRST: MODEL_FILES}
    resolve("sd21-base")
    size = 0.4 * len(hub.patterns)
    assert capsys.readouterr().err == (
        f"downloading {FIRST}, {size:.1f} GB, once, to {hub_cache}; "
        "Ctrl-C stops it, and the same command continues\n"
        f"license of {FIRST}: openrail++; see https://huggingface.co/{FIRST}\n"
    )
    resolve("sd21-base")
    assert capsys.readouterr().err == ""


def test_a_gated_model_names_what_to_do(hub, monkeypatch):
    def gated(repo, **_):
        raise GatedRepoError("403", response=not_found(repo).response)

    monkeypatch.setattr(huggingface_hub, "model_info", gated)
    assert message(lambda: resolve("someone/gated")) == (
        "prior someone/gated: its license must be accepted first, at "
        "https://huggingface.co/someone/gated; then run `hf auth login` here, and again"
    )


def test_shards_are_downloaded_with_their_index():
    stem = "unet/diffusion_pytorch_model"
    shards = [
        f"{stem}-00001-of-00002.safetensors",
        f"{stem}-00002-of-00002.safetensors",
        f"{stem}.safetensors.index.json",
    ]
    half = [f"{stem}.fp16-00001-of-00001.safetensors", f"{stem}.safetensors.index.fp16.json"]
    assert hub_module.needed_files(shards) == sorted(shards)
    assert hub_module.needed_files(shards + half) == sorted(half)


def test_cache_comes_before_network(hub, hub_cache, tiny_sd_folder):
    put_in_cache(hub_cache, SECOND, tiny_sd_folder)
    hub.online = {FIRST: MODEL_FILES}
    assert resolve("sd21-base").repo == SECOND and hub.requested == []
    assert resolve("sd21-base", offline=True).repo == SECOND


def test_cached_copy_of_retired_repository_is_used(hub, hub_cache, tiny_sd_folder):
    retired = "stabilityai/stable-diffusion-2-1-base"
    put_in_cache(hub_cache, retired, tiny_sd_folder)
    assert resolve("sd21-base").repo == retired and hub.requested == []


def test_incomplete_download_is_repeated(hub, hub_cache, tiny_sd_folder):
    snapshot = put_in_cache(hub_cache, FIRST, tiny_sd_folder)
    (snapshot / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    hub.online = {SECOND: MODEL_FILES}
    assert resolve("sd21-base").repo == SECOND and hub.requested == [FIRST, SECOND]


def test_any_hub_id(hub):
    hub.online = {"someone/my-model": MODEL_FILES}
    assert resolve("someone/my-model").repo == "someone/my-model"
    assert isinstance(load("someone/my-model", "cpu"), LatentPrior)


def test_unsupported_model_is_refused_before_download(hub, tiny_sd_folder, tmp_path):
    index = json.loads((tiny_sd_folder / "model_index.json").read_text()) | {
        "text_encoder_2": ["transformers", "CLIPTextModel"]
    }
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    hub.online, hub.index_folder = {"someone/xl": MODEL_FILES}, tmp_path
    assert message(lambda: resolve("someone/xl")).startswith(
        "prior someone/xl: a StableDiffusionPipeline has no tokenizer_2; expected a model like "
    )
    assert hub.patterns is None


def test_all_mirrors_gone(hub, hub_cache):
    assert message(lambda: resolve("sd21-base")) == (
        f"prior sd21-base: not in the cache ({hub_cache}) and not downloaded; "
        f"tried {FIRST} (not found or private), {SECOND} (not found or private). "
        f"Check the network and run again (an interrupted download resumes). {ADVICE}"
    )


def test_no_network(hub_cache, no_network):
    """The real client without a network fails at once, and skips other mirrors on the host."""
    started = time.monotonic()
    line = message(lambda: resolve("sd21-base"))
    assert time.monotonic() - started < 8
    assert f"tried {FIRST} (Connect" in line and SECOND not in line and "--prior builtin" in line
    assert no_network


def test_server_without_answer(hub, monkeypatch, hub_cache):
    monkeypatch.setattr(hub_module, "CONNECT_S", -0.9)
    monkeypatch.setattr(huggingface_hub, "model_info", lambda repo, **_: time.sleep(5))
    started = time.monotonic()
    line = message(lambda: resolve("sd21-base"))
    assert f"tried {FIRST} (TimeoutError: no answer within 0.1 s). " in line
    assert time.monotonic() - started < 2


def test_full_disk(hub, hub_cache, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    hub.online = {FIRST: MODEL_FILES}
    monkeypatch.setattr(huggingface_hub, "snapshot_download", full)
    assert message(lambda: resolve("sd21-base")) == (
        f"prior sd21-base: cannot write the download of {FIRST} "
        "([Errno 28] No space left on device); free some space or set HF_HOME"
    )


def test_offline(hub, hub_cache, monkeypatch):
    start = f"prior sd15: not in the cache ({hub_cache}), and "
    line = message(lambda: resolve("sd15", offline=True))
    assert line == f"{start}downloads are turned off. {ADVICE}"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert message(lambda: resolve("sd15")) == f"{start}HF_HUB_OFFLINE is set. {ADVICE}"
    assert hub.requested == []
