"""Faulty models with several text encoders: each fault is one line that names the part."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from gs3d.priors import load
from gs3d.priors.loading import cache
from gs3d.priors.loading import hub as hub_module
from gs3d.priors.loading.resolve import resolve
from tests.priors.cache import put_in_cache
from tests.priors.loading.helpers import FILES, WEIGHTS, edit_config, edit_weights, message
from tests.priors.tiny import SD3_PARTS, XL_PARTS, write_t5_tokenizer, write_tiny_sd3, write_tiny_xl

PARTS = [("xl", part) for part in XL_PARTS] + [("sd3", part) for part in SD3_PARTS]
ENCODERS = [(family, part) for family, part in PARTS if part.startswith("text_encoder")]
EACH_PART = pytest.mark.parametrize(("family", "part"), PARTS)
EACH_ENCODER = pytest.mark.parametrize(("family", "part"), ENCODERS)
AGAIN = "; download the model again, or use another"


@pytest.fixture
def folder(request, family, tmp_path):
    return shutil.copytree(request.getfixturevalue(f"tiny_{family}_folder"), tmp_path / "model")


def refusal(folder: Path) -> str:
    """The line without its beginning."""
    line = message(lambda: load(folder, "cpu"))
    assert line.startswith(f"prior {folder}: ") and len(line) < 500
    return line.removeprefix(f"prior {folder}: ")


def tokenizer_of(part: str) -> str:
    return part.replace("text_encoder", "tokenizer")


@EACH_PART
def test_missing_weights(folder, part):
    edit_weights(folder, part, lambda w: dict(list(w.items())[len(w) // 2 :]))
    assert refusal(folder).startswith(f"its {part} lacks ")


@EACH_PART
def test_a_part_without_weights(folder, part):
    (folder / part / FILES[part]).unlink()
    assert refusal(folder).startswith(f"its {part} has no .safetensors weights")


@EACH_PART
def test_a_missing_part(folder, part):
    shutil.rmtree(folder / part)
    assert refusal(folder).startswith(f"its {part} ")


@EACH_PART
def test_weights_left_over(folder, part):
    edit_weights(folder, part, lambda w: w | {"another.weight": torch.zeros(2)})
    assert f"its {part} has weights that its config.json does not describe" in refusal(folder)


@EACH_PART
def test_weights_that_are_not_finite(folder, part):
    def spoil(weights):
        next(iter(weights.values())).view(-1)[0] = float("nan")
        return weights

    edit_weights(folder, part, spoil)
    assert refusal(folder).startswith(f"its {part} has NaN or infinite weights as float32")


@EACH_PART
def test_quantized_parts(folder, part):
    edit_weights(folder, part, lambda w: {k: v.to(torch.int8) for k, v in w.items()})
    assert refusal(folder).startswith(f"its {part} has weights of the type I8")


@pytest.mark.parametrize(
    ("family", "part"), [*PARTS, *((f, tokenizer_of(p)) for f, p in ENCODERS), ("sd3", "scheduler")]
)
def test_parts_of_another_class_or_none(folder, family, part):
    path = folder / "model_index.json"
    index = json.loads(path.read_text())
    edit_config(path, **{part: ["diffusers", "Another"]})
    if not part.startswith("tokenizer"):
        assert refusal(folder).startswith(f"its {part} is a Another; expected ")
    edit_config(path, **{part: [None, None]})
    if part == "text_encoder_3":
        assert load(folder, "cpu").embed(["red"]).isfinite().all()
        return
    missing = "unet or transformer" if part in ("unet", "transformer") else part
    kind = "StableDiffusionXLPipeline" if family == "xl" else "StableDiffusion3Pipeline"
    assert refusal(folder).startswith(f"a {kind} has no {missing}")
    path.write_text(json.dumps({k: v for k, v in index.items() if k != part}))
    refusal(folder)


@pytest.mark.parametrize("family", ["xl", "sd3"])
def test_both_networks(folder, family):
    other = {"xl": "transformer", "sd3": "unet"}[family]
    kind = {"xl": "SD3Transformer2DModel", "sd3": "UNet2DConditionModel"}[family]
    edit_config(folder / "model_index.json", **{other: ["diffusers", kind]})
    line = "its transformer is a SD3Transformer2DModel; expected none; use another model"
    assert refusal(folder) == line


@EACH_ENCODER
def test_missing_tokenizers(folder, part):
    shutil.rmtree(folder / tokenizer_of(part))
    assert refusal(folder) == f"its {tokenizer_of(part)} is missing; download the model again"


@EACH_ENCODER
def test_empty_tokenizers(folder, part):
    for file in (folder / tokenizer_of(part)).glob("*"):
        file.unlink()
    assert refusal(folder).startswith(f"its {tokenizer_of(part)} ")


@pytest.mark.parametrize(
    ("write", "part"),
    [(write_tiny_xl if family == "xl" else write_tiny_sd3, part) for family, part in ENCODERS],
)
def test_tokenizers_of_another_model(tmp_path, write, part):
    folder = write(tmp_path / "model", **{part: {"vocab_size": 20}})
    line = refusal(folder)
    assert line.startswith(f"its {tokenizer_of(part)} numbers words up to ")
    assert line.endswith(f"but its {part} knows 20; the two are of different models")
    folder = write(tmp_path / "larger", **{part: {"vocab_size": 200}})
    assert f"of the 200 words of its {part}; files of the tokenizer" in refusal(folder)


@pytest.mark.parametrize("family", ["xl", "sd3"])
def test_tokenizers_of_two_models(folder):
    shutil.rmtree(folder / "tokenizer_2")
    write_t5_tokenizer(folder / "tokenizer_2")
    assert refusal(folder).startswith("its tokenizer_2 ")


@EACH_ENCODER
def test_encoders_that_ignore_the_prompt(folder, part):
    def forget(weights):
        ends = ("token_embedding.weight", "shared.weight", "embed_tokens.weight")
        return {k: v * (0 if k.endswith(ends) else 1) for k, v in weights.items()}

    edit_weights(folder, part, forget)
    line = refusal(folder)
    assert line.startswith(f"its {part} gives the same for different prompts (")


POOLED = [("xl", "text_encoder_2"), ("sd3", "text_encoder"), ("sd3", "text_encoder_2")]


@pytest.mark.parametrize(("family", "part"), POOLED)
def test_encoders_whose_pooled_text_ignores_the_prompt(folder, part):
    edit_weights(
        folder, part, lambda w: {k: v * ("text_projection" not in k) for k, v in w.items()}
    )
    assert refusal(folder).startswith(f"its {part} gives the same pooled text for different ")


@pytest.mark.parametrize(("family", "part"), POOLED)
def test_encoders_without_projection(folder, part):
    edit_weights(folder, part, lambda w: {k: v for k, v in w.items() if "text_projection" not in k})
    assert refusal(folder).startswith(f"its {part} lacks the weight text_projection.weight")


@EACH_ENCODER
def test_encoders_that_overflow(folder, part):
    # The norms of T5 divide infinite numbers to zeros, up to the last one.
    ends = "final_layer_norm.weight" if part == "text_encoder_3" else "mlp.fc2.weight"
    edit_weights(folder, part, lambda w: {k: v * (3e38 if ends in k else 1) for k, v in w.items()})
    assert refusal(folder).startswith(f"its {part} gives NaN or infinite numbers")


@pytest.mark.parametrize(
    ("write", "changes", "expected"),
    [
        (
            write_tiny_xl,
            {"text_encoder": {"hidden_size": 32}},
            "its text_encoder and text_encoder_2 give 56 numbers for each token, but its unet "
            "takes 40; the parts are of different models",
        ),
        (
            write_tiny_xl,
            {"text_encoder_2": {"projection_dim": 24}},
            "its text_encoder_2 gives 24 numbers for each prompt, but its unet takes 20; "
            "the two are of different models",
        ),
        (
            # The refiner is told five sizes instead of six.
            write_tiny_xl,
            {"unet": {"projection_class_embeddings_input_dim": 20 + 5 * 8}},
            "its text_encoder_2 gives 20 numbers for each prompt, but its unet takes 12; "
            "the two are of different models",
        ),
        (
            write_tiny_xl,
            {"unet": {"addition_embed_type": None}},
            "its unet has addition_embed_type None; expected text_time, for the pooled text of "
            "its text_encoder_2; the two are of different models",
        ),
        (
            write_tiny_xl,
            {"unet": {"time_cond_proj_dim": 8}},
            "its unet wants the guidance scale beside the text, which a text-to-image prior is "
            "not given; use another model",
        ),
        (
            write_tiny_sd3,
            {"text_encoder_2": {"hidden_size": 40}},
            "its text_encoder and text_encoder_2 give 56 numbers for each token, but its "
            "transformer takes 48; the parts are of different models",
        ),
        (
            write_tiny_sd3,
            {"text_encoder_3": {"d_model": 40}},
            "its text_encoder_3 gives 40 numbers for each token, but its transformer takes 48; "
            "the two are of different models",
        ),
        (
            write_tiny_sd3,
            {"text_encoder": {"projection_dim": 16}},
            "its text_encoder and text_encoder_2 give 36 numbers for each prompt, but its "
            "transformer takes 32; the parts are of different models",
        ),
    ],
)
def test_parts_of_different_models(tmp_path, write, changes, expected):
    assert refusal(write(tmp_path / "model", **changes)) == expected


@pytest.mark.parametrize(
    ("family", "part", "weights", "ignored"),
    [
        ("xl", "unet", "attn2.to_v", "text"),
        ("xl", "unet", "add_embedding.linear_2", "pooled text"),
        ("sd3", "transformer", "context_embedder.weight", "text"),
        ("sd3", "transformer", "text_embedder.linear_2", "pooled text"),
    ],
)
def test_networks_that_ignore_a_part_of_the_text(folder, part, weights, ignored):
    edit_weights(folder, part, lambda w: {k: v * (weights not in k) for k, v in w.items()})
    assert refusal(folder) == f"its {part} ignores the {ignored}{AGAIN}"


@pytest.mark.parametrize("family", ["xl"])
@pytest.mark.parametrize("value", [1, "no", None, []])
def test_the_setting_for_the_empty_prompt(folder, value):
    edit_config(folder / "model_index.json", force_zeros_for_empty_prompt=value)
    assert "has force_zeros_for_empty_prompt " in refusal(folder)


@pytest.mark.parametrize("family", ["xl"])
def test_the_empty_prompt_is_zeros_without_a_setting(folder):
    path = folder / "model_index.json"
    tree = json.loads(path.read_text())
    del tree["force_zeros_for_empty_prompt"]
    path.write_text(json.dumps(tree))
    assert not load(folder, "cpu").embed([""]).any()


@pytest.mark.parametrize("family", ["sd3"])
def test_a_latent_that_does_not_fit_its_autoencoder(folder, tmp_path):
    small = write_tiny_sd3(tmp_path / "four", vae={"latent_channels": 4})
    assert refusal(small).startswith("expected a network on the 4 channels of its vae")


def files_of(folder: Path) -> list[str]:
    return [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]


@pytest.mark.parametrize("family", ["xl", "sd3"])
def test_needed_files_are_all_that_the_pipeline_saved(folder):
    spare = ["text_encoder_2/model.fp32.safetensors", "text_encoder_3/pytorch_model.bin"]
    spare += ["vae_1_0/config.json", "unet.safetensors", "feature_extractor/config.json"]
    assert hub_module.needed_files([*files_of(folder), *spare]) == sorted(files_of(folder))


def test_parts_that_the_index_does_not_name_are_not_downloaded(
    hub, tiny_sd3_folder, tiny_sd3_without_t5_folder, monkeypatch
):
    hub.online = {"someone/sd3": files_of(tiny_sd3_folder)}
    hub.index_folder = tiny_sd3_without_t5_folder
    resolve("someone/sd3")
    assert set(hub.patterns) == set(files_of(tiny_sd3_without_t5_folder))


@pytest.mark.parametrize("family", ["xl", "sd3", "sd3_without_t5"])
def test_model_in_the_cache(hub_cache, folder, no_network):
    put_in_cache(hub_cache, "someone/model", folder)
    found = resolve("someone/model")
    assert found.repo == "someone/model" and not no_network
    assert load("someone/model", "cpu").embed(["red"]).isfinite().all()


@pytest.mark.parametrize(
    ("family", "part", "file"),
    [(family, part, FILES[part]) for family, part in PARTS]
    + [(family, part, "config.json") for family, part in PARTS]
    + [(family, tokenizer_of(part), "tokenizer.json") for family, part in ENCODERS],
)
def test_an_incomplete_copy_in_the_cache_is_named(hub_cache, folder, part, file):
    assert cache.is_complete_model(folder)
    snapshot = put_in_cache(hub_cache, "someone/model", folder)
    if not (snapshot / part / file).exists():
        pytest.skip(f"transformers before 5 writes no {file}")
    (snapshot / part / file).unlink()
    assert not cache.is_complete_model(snapshot)
    line = message(lambda: resolve("someone/model", offline=True))
    assert f"someone/model: the copy in the cache lacks its {part} (" in line


@pytest.mark.parametrize("family", ["sd3"])
@pytest.mark.parametrize("names", [("shared",), ("encoder.embed_tokens",), None])
def test_t5_has_one_table_of_words_by_either_name(folder, names):
    before = load(folder, "cpu").embed(["red"])

    def rename(weights):
        table = weights.pop("shared.weight")
        both = names or ("shared", "encoder.embed_tokens")
        return weights | {f"{name}.weight": table.clone() for name in both}

    edit_weights(folder, "text_encoder_3", rename)
    torch.testing.assert_close(load(folder, "cpu").embed(["red"]), before, rtol=0, atol=0)


@pytest.mark.parametrize("family", ["sd3"])
def test_weights_in_shards(folder):
    """T5 comes in two files; with one of them, the copy is not whole."""
    from safetensors.torch import load_file, save_file

    part = folder / "text_encoder_3"
    weights = load_file(part / "model.safetensors")
    names, stem = sorted(weights), "model-0000{}-of-00002.safetensors"
    shards = {stem.format(1): names[::2], stem.format(2): names[1::2]}
    for file, held in shards.items():
        save_file({name: weights[name] for name in held}, part / file, {"format": "pt"})
    index = {name: file for file, held in shards.items() for name in held}
    tree = {"metadata": {}, "weight_map": index}
    (part / "model.safetensors.index.json").write_text(json.dumps(tree))
    before = load(folder, "cpu").embed(["red"])
    (part / "model.safetensors").unlink()
    torch.testing.assert_close(load(folder, "cpu").embed(["red"]), before, rtol=0, atol=0)
    (part / stem.format(2)).unlink()
    assert refusal(folder).startswith("its text_encoder_3 lacks model-00002-of-00002.safetensors")
    assert not cache.is_complete_model(folder)


@pytest.mark.parametrize("family", ["xl", "sd3"])
def test_pointers_of_git_lfs(folder):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n"
    (folder / "text_encoder_2/model.safetensors").write_text(pointer)
    assert "its text_encoder_2: model.safetensors is a pointer of Git LFS" in refusal(folder)


def test_a_unet_of_xl_in_a_model_with_one_encoder(tiny_sd_folder, tiny_xl_folder, tmp_path):
    folder = shutil.copytree(tiny_sd_folder, tmp_path / "model")
    for file in ("config.json", WEIGHTS):
        shutil.copy(tiny_xl_folder / "unet" / file, folder / "unet" / file)
    assert refusal(folder).startswith("its unet wants an added condition beside the text")
