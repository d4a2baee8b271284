"""Parts of a model that load, and would give a run that is wrong: each is refused in one line."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from gs3d.core.errors import UserError
from gs3d.priors import load
from gs3d.priors.builtin import known_words
from gs3d.priors.loading import cache
from gs3d.priors.loading.resolve import describe, resolve
from gs3d.priors.loading.weights import weight_files
from tests.priors.cache import put_in_cache
from tests.priors.loading.helpers import WEIGHTS, edit_config, edit_weights, message


@pytest.fixture
def folder(tiny_sd_folder, tmp_path):
    return shutil.copytree(tiny_sd_folder, tmp_path / "model")


def refusal(folder: Path) -> str:
    return message(lambda: load(folder, "cpu"))


def test_a_network_that_ignores_the_text(folder):
    def cut(weights):
        return {k: v * (0 if "attn2.to_v" in k else 1) for k, v in weights.items()}

    edit_weights(folder, "unet", cut)
    assert f"prior {folder}: its unet ignores the text; " in refusal(folder)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
@pytest.mark.parametrize("kind", [torch.int8, torch.uint8, torch.bool, torch.complex64])
def test_weights_that_are_no_floating_point_numbers(folder, part, kind):
    try:
        edit_weights(folder, part, lambda w: {k: v.to(kind) for k, v in w.items()})
    except KeyError:
        pytest.skip(f"this safetensors does not write {kind}")
    assert f"its {part} has weights of the type " in refusal(folder)


def test_quantized_parts_are_named(folder):
    edit_config(folder / "text_encoder/config.json", quantization_config={"quant_method": "x"})
    assert "its text_encoder is quantized (quantization_config)" in refusal(folder)


def test_a_tokenizer_without_merges(folder):
    """It reads letters, where the encoder knows words."""
    vocabulary = {f"word{chr(97 + i)}ing</w>": i for i in range(20)}
    words = json.loads((folder / "tokenizer/vocab.json").read_text())
    (folder / "tokenizer/vocab.json").write_text(
        json.dumps(words | {w: len(words) + i for w, i in vocabulary.items()})
    )
    (folder / "tokenizer/merges.txt").write_text("#version: 0.2\n")
    weights = load_file(folder / "text_encoder/model.safetensors")
    name = next(k for k in weights if k.endswith("token_embedding.weight"))
    size = len(words) + len(vocabulary)
    weights[name] = torch.randn(size, weights[name].shape[1])
    save_file(weights, folder / "text_encoder/model.safetensors", {"format": "pt"})
    edit_config(folder / "text_encoder/config.json", vocab_size=size)
    assert "its tokenizer reads words that it knows in pieces, such as " in refusal(folder)


def test_code_in_a_model_folder_is_not_run(folder, tmp_path, monkeypatch):
    (folder / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Mine: pass\n")
    shutil.copy(folder / "mine.py", folder / "tokenizer/mine.py")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"tokenizer": ["mine", "Mine"]}))
    path = folder / "tokenizer/tokenizer_config.json"
    edit_config(path, tokenizer_class="Mine", auto_map={"AutoTokenizer": ["mine.Mine", None]})
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("it asks"))
    assert "its tokenizer cannot be loaded" in refusal(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"_class_name": "FlowMatchEulerDiscreteScheduler"}, "is a FlowMatchEulerDiscreteSched"),
        ({"_class_name": "EDMEulerScheduler"}, "is a EDMEulerScheduler, but model_index.json"),
        ({"num_train_timesteps": 10**8}, "has num_train_timesteps 100000000; expected 3 to"),
        ({"num_train_timesteps": "1000"}, "has num_train_timesteps 1000; expected 3 to"),
        ({"prediction_type": ["x" * 5000]}, "with prediction_type ['xxx"),
    ],
)
def test_schedulers_of_another_model(folder, change, expected):
    edit_config(folder / "scheduler/scheduler_config.json", **change)
    line = refusal(folder)
    assert expected in line and len(line) < 500


def test_a_scheduler_that_says_nothing(folder):
    (folder / "scheduler/scheduler_config.json").write_text("{}")
    assert "its scheduler does not say its num_train_timesteps" in refusal(folder)


@pytest.mark.parametrize("value", [0, -0.5, 1e-30, True, "0.5"])
def test_the_standard_deviation_of_data_is_checked(tiny_builtin_folder, tmp_path, value):
    folder = shutil.copytree(tiny_builtin_folder, tmp_path / "model")
    edit_config(folder / "scheduler/scheduler_config.json", sigma_data=value)
    assert f"its scheduler has sigma_data {value}; expected 0.001 to 1000" in refusal(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("scaling_factor", -1),
        ("scaling_factor", True),
        ("scaling_factor", 1e30),
        ("scaling_factor", "x" * 5000),
        ("shift_factor", 1e30),
        ("shift_factor", []),
        ("shift_factor", False),
    ],
)
def test_numbers_of_an_autoencoder(folder, key, value):
    edit_config(folder / "vae/config.json", **{key: value})
    line = refusal(folder)
    assert f"the {key} of its vae is " in line and len(line) < 300


def test_an_autoencoder_that_sees_nothing(folder):
    edit_weights(folder, "vae", lambda w: {k: torch.zeros_like(v) for k, v in w.items()})
    assert "its vae gives the same latents for different images" in refusal(folder)


def test_images_of_a_huge_side(folder):
    edit_config(folder / "unet/config.json", sample_size=2048)
    assert "at a square size" in refusal(folder)


@pytest.mark.parametrize(
    "file", ["model_index.json", "unet/config.json", "scheduler/scheduler_config.json"]
)
@pytest.mark.parametrize("text", ["[" * 200_000, "[1]", "", "{"])
def test_json_that_cannot_be_read(folder, file, text):
    (folder / file).write_text(text)
    line = refusal(folder)
    assert "cannot be read" in line or "is no JSON object" in line


def test_pointers_of_git_lfs(folder):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n"
    (folder / "text_encoder/model.safetensors").write_text(pointer)
    assert "model.safetensors is a pointer of Git LFS" in refusal(folder)


def test_weights_under_other_names_are_named(folder):
    path = folder / "text_encoder/model.safetensors"
    path.rename(path.with_name("model.ema-only.safetensors"))
    assert "only model.ema-only.safetensors, which gs3d does not read" in refusal(folder)


def test_a_missing_part_is_named(folder):
    shutil.rmtree(folder / "scheduler")
    assert f"prior {folder}: its scheduler is missing" in refusal(folder)
    shutil.rmtree(folder / "vae")
    (folder / "scheduler").mkdir()
    assert "scheduler_config.json is missing" in refusal(folder)


def test_a_whole_variant_is_read_before_one_that_is_not(folder):
    part = folder / "text_encoder"
    (part / "model.safetensors").rename(part / "model.fp16.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (part / "model.safetensors.index.json").write_text(json.dumps(index))
    (part / "model-00002-of-00002.safetensors").write_bytes(b"")
    assert [f.name for f in weight_files(part, half=False)] == ["model.fp16.safetensors"]
    assert load(folder, "cpu").embed(["red"]).isfinite().all()
    (part / "model.fp16.safetensors").unlink()
    assert "its text_encoder lacks model-00001-of-00002.safetensors" in refusal(folder)


def test_shards_that_an_older_copy_left_do_not_count(folder):
    (folder / "unet/diffusion_pytorch_model-00001-of-00002.safetensors").write_bytes(b"")
    assert [f.name for f in weight_files(folder / "unet", half=False)] == [WEIGHTS]
    assert cache.is_complete_model(folder)
    load(folder, "cpu")


def test_a_readme_with_an_impossible_date(folder):
    (folder / "README.md").write_text("---\nlicense: mit\ndate: 2024-13-45\n---\n")
    assert describe(load(folder, "cpu"))["license"] == "mit"


@pytest.mark.parametrize("text", ["{", "{}", '{"model": [1]}'])
def test_known_words_of_a_damaged_tokenizer(tiny_builtin_folder, tmp_path, text):
    folder = shutil.copytree(tiny_builtin_folder, tmp_path / "model")
    (folder / "tokenizer/tokenizer.json").write_text(text)
    if text == "{":
        with pytest.raises(UserError, match="its tokenizer: tokenizer.json cannot be read"):
            known_words(folder)
    else:
        assert known_words(folder) is None
    model = {"model": {"type": "WordLevel", "vocab": {}}}
    (folder / "tokenizer/tokenizer.json").write_text(json.dumps(model))
    with pytest.raises(UserError, match="its tokenizer knows no words"):
        known_words(folder)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"pytorch_lora_weights.safetensors": ""}, "it is a LoRA"),
        ({"adapter_config.json": "{}"}, "it is a LoRA"),
        (
            {"config.json": '{"_class_name": "ControlNetModel"}'},
            "it is one part, a ControlNet",
        ),
        ({"v1-5.ckpt": ""}, "diffusers can convert v1-5.ckpt to one"),
        ({"v1-5.safetensors": ""}, "if v1-5.safetensors is a whole checkpoint, pass that file"),
        ({}, "it has no model_index.json)"),
    ],
)
def test_folders_of_something_else_are_named(tmp_path, files, expected):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert expected in message(lambda: resolve(str(tmp_path)))


def test_an_incomplete_copy_in_the_cache_is_named(hub_cache, tiny_sd_folder):
    snapshot = put_in_cache(hub_cache, "someone/model", tiny_sd_folder)
    (snapshot / "tokenizer/merges.txt").unlink()
    line = message(lambda: resolve("someone/model", offline=True))
    assert "someone/model: the copy in the cache lacks its tokenizer (" in line
    index = snapshot / "model_index.json"
    tree = json.loads(index.read_text()) | {"vae": ["diffusers", "VQModel"]}
    index.unlink()
    index.write_text(json.dumps(tree))
    assert "its vae is a VQModel; expected" in message(
        lambda: resolve("someone/model", offline=True)
    )
