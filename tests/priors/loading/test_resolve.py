"""Names and folders of priors, the default prior, and the facts for run.yaml."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from gs3d.priors import builtin, default_prior, describe, load
from gs3d.priors.files.contents import sha256_of
from gs3d.priors.latent import LatentPrior
from gs3d.priors.loading.resolve import MIRRORS, resolve
from gs3d.priors.pixel import PixelPrior
from tests.priors.cache import SHA, put_in_cache
from tests.priors.loading.helpers import message

FIRST, SECOND = MIRRORS["sd21-base"]
KNOWN = "builtin, sd21-base, sd21, sd15, mvdream, builtin-512, builtin-512-front"
EXPECTED = f"one of {KNOWN}, a hub id owner/name, a diffusers folder, or a .safetensors file"
DOWNLOAD = "a web address, not a model; download the .safetensors file, and pass that"


def test_folder_and_builtin_do_not_use_network(
    monkeypatch, no_network, hub, tiny_builtin_folder, tiny_sd_folder
):
    monkeypatch.setattr(builtin, "FOLDER", tiny_builtin_folder)
    assert isinstance(load("builtin", "cpu"), PixelPrior)
    assert isinstance(load(tiny_sd_folder, "cpu"), LatentPrior)
    assert isinstance(load(str(tiny_sd_folder), "cpu", offline=True), LatentPrior)
    assert hub.requested == [] and no_network == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "sd21base",
            f"prior sd21base: unknown name; did you mean sd21-base or sd21? Expected {EXPECTED}",
        ),
        ("built-in", "prior built-in: unknown name; did you mean builtin or builtin-512? "),
        (
            "qqqq",
            f"prior qqqq: unknown name; expected {EXPECTED}",
        ),
        (
            "./nowhere",
            f"prior ./nowhere: no such folder; expected {EXPECTED}",
        ),
        ("x" * 300, f"prior {'x' * 300}: unknown name; expected one of"),
        ("~nobody/model", "prior ~nobody/model: no such folder; "),
        (
            "/no/such/model",
            f"prior /no/such/model: no such folder; expected {EXPECTED}",
        ),
    ],
)
def test_unknown_names(name, expected):
    assert message(lambda: resolve(name)).startswith(expected)


@pytest.mark.parametrize(
    "name", ["nosuch.safetensors", "models/nosuch.SafeTensors", "/no/such.ckpt", "~/no.safetensors"]
)
def test_missing_files(name, hub):
    assert message(lambda: resolve(name)) == f"prior {name}: no such file; expected {EXPECTED}"
    assert hub.requested == []


def test_empty_name_and_too_many_parts():
    assert message(lambda: resolve(" ")) == f"prior: the name is empty; expected {EXPECTED}"
    assert message(lambda: resolve("foo/bar/baz")) == (
        "prior foo/bar/baz: no such folder, and a hub id has two parts, as foo/bar; expected "
        + EXPECTED
    )


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://civitai.com/models/4384/dreamshaper", DOWNLOAD),
        ("civitai.com/models/4384", DOWNLOAD),
        ("https://huggingface.co/spaces/owner/name", DOWNLOAD),
        (
            "https://huggingface.co/owner/na.me",
            "a web address, not a model; pass its hub id, owner/na.me",
        ),
        (
            "http://www.huggingface.co/owner/name/tree/main?x=1",
            "a web address, not a model; pass its hub id, owner/name",
        ),
        ("hf.co/owner/name/", "a web address, not a model; pass its hub id, owner/name"),
        (
            "https://huggingface.co/owner/name/resolve/main/x.safetensors?download=true",
            f"{DOWNLOAD}, or pass owner/name if that has the diffusers layout",
        ),
    ],
)
def test_web_addresses(address, expected, hub):
    assert message(lambda: resolve(address)) == f"prior {address}: {expected}"
    assert hub.requested == []


@pytest.mark.parametrize(
    ("names", "repo"),
    [
        (["sdxl", "SD-XL", "sdxl-base", "xl"], "stabilityai/stable-diffusion-xl-base-1.0"),
        (["sd3", "sd3.5"], "stabilityai/stable-diffusion-3.5-medium"),
        (["flux", "FLUX.1-dev"], "black-forest-labs/FLUX.1-dev"),
        (["pixart", "PixArt-Sigma"], "PixArt-alpha/PixArt-Sigma-XL-2-1024-MS"),
        (["if", "deepfloyd"], "DeepFloyd/IF-I-XL-v1.0"),
    ],
)
def test_names_of_models_without_a_short_name(names, repo):
    docs = Path(__file__).parents[3] / "docs"
    assert repo in (docs / "priors.md").read_text("utf-8")
    for name in names:
        line = message(lambda: resolve(name))  # noqa: B023
        assert line.startswith(f"prior {name}: no short name; for ")
        assert line.endswith(f" pass a hub id, such as {repo}")


def test_file_instead_of_folder(tmp_path):
    """Files of models are tested in tests/priors/files."""
    file = tmp_path / "x.txt"
    file.touch()
    line = message(lambda: resolve(file))
    assert line == f"prior {file}: a .txt file, not a model; expected .safetensors or a folder"


def test_builtin_without_weights(monkeypatch, tmp_path):
    monkeypatch.setattr(builtin, "FOLDER", tmp_path)
    assert message(lambda: resolve("builtin")) == (
        f"prior builtin: its weights are not in {tmp_path}; reinstall gs3d, or train them "
        "with scripts/train_builtin_prior.py"
    )


def test_source_names_kind_of_model(tiny_sd_folder, tiny_builtin_folder, tiny_multiview_folder):
    folders = (tiny_sd_folder, tiny_builtin_folder, tiny_multiview_folder)
    sources = [resolve(folder) for folder in folders]
    assert [source.in_pixels for source in sources] == [False, True, True]
    assert [source.views for source in sources] == [1, 1, 4]
    assert load(sources[1], "cpu").source is sources[1]


def test_default_prior(hub, hub_cache, tiny_sd_folder):
    assert default_prior("cpu") == (
        "builtin",
        "prior: builtin (no GPU; it knows only the words that `gs3d vocab` shows)",
    )
    for prompt in ("", "a DSLR photo of a red mushroom, with white spots", "the mug's handle"):
        assert default_prior("cuda", prompt) == (
            "builtin",
            "prior: builtin, which knows what the prompt names (`--prior sd21-base` downloads "
            "Stable Diffusion 2.1-base once, about 2.6 GB)",
        )
    for prompt, word in (("a red Corgi", "corgi"), ("un château", "un"), ("a 犬", "犬")):
        assert default_prior("cuda", prompt) == (
            "sd21-base",
            "prior: sd21-base (Stable Diffusion 2.1-base; the built-in prior does not know "
            f'"{word}")',
        )
        assert default_prior("cpu", prompt)[0] == "builtin"
    put_in_cache(hub_cache, SECOND, tiny_sd_folder)
    assert default_prior("cuda:0") == (
        "sd21-base",
        f"prior: sd21-base (Stable Diffusion 2.1-base, {SECOND}, found in the cache)",
    )
    assert hub.requested == []


def test_describe(hub, hub_cache, monkeypatch, tiny_sd_folder, tiny_builtin_folder):
    weights = tiny_sd_folder / "unet" / "diffusion_pytorch_model.safetensors"
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
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
    facts = describe(load("builtin", "cpu"))
    assert (facts["name"], facts["source"], facts["license"]) == ("builtin", "gs3d", "Apache-2.0")


def test_hash_is_read_from_blob_name(tmp_path):
    blob = tmp_path / ("ab" * 32)
    blob.write_bytes(b"gigabytes")
    (tmp_path / "link.safetensors").symlink_to(blob)
    assert sha256_of(tmp_path / "link.safetensors") == "ab" * 32


def test_import_is_light():
    """`import gs3d.priors` does not import diffusers, transformers or huggingface_hub."""
    heavy = ("diffusers", "transformers", "huggingface_hub", "yaml")
    code = f"import sys, gs3d.priors; print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
