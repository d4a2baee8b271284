"""Faulty models of PixArt, DeepFloyd IF and FLUX.1: each fault is one line that names the part."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from gs3d.priors import load
from gs3d.priors.loading import cache, hub
from gs3d.priors.loading.resolve import resolve
from gs3d.priors.text.several import tokenizer_of
from tests.priors.cache import put_in_cache
from tests.priors.families.conftest import WRITERS
from tests.priors.families.tiny import write_tiny_flux, write_tiny_if, write_tiny_pixart
from tests.priors.loading.helpers import FILES, edit_config, edit_weights, message

PARTS = [
    *(("sigma", part) for part in ("transformer", "vae", "text_encoder")),
    *(("if", part) for part in ("unet", "text_encoder")),
    *(("dev", part) for part in ("transformer", "vae", "text_encoder", "text_encoder_2")),
]
ENCODERS = [(name, part) for name, part in PARTS if part.startswith("text_encoder")]
T5S = [("sigma", "text_encoder"), ("if", "text_encoder"), ("dev", "text_encoder_2")]
EACH_PART = pytest.mark.parametrize(("name", "part"), PARTS)
EACH_ENCODER = pytest.mark.parametrize(("name", "part"), ENCODERS)
PIPELINES = {"sigma": "PixArtSigmaPipeline", "if": "IFPipeline", "dev": "FluxPipeline"}
AGAIN = "; download the model again, or use another"
NO_NETWORK = "unet or transformer"


@pytest.fixture
def folder(folders, name, tmp_path):
    return shutil.copytree(folders[name], tmp_path / "model")


def refusal(folder: Path) -> str:
    """The line without its beginning."""
    line = message(lambda: load(folder, "cpu"))
    assert line.startswith(f"prior {folder}: ") and len(line) < 500
    return line.removeprefix(f"prior {folder}: ")


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
    assert refusal(folder).startswith(f"its {part} has no .safetensors weights")


@EACH_PART
def test_damaged_weights(folder, part):
    path = folder / part / FILES[part]
    path.write_bytes(path.read_bytes()[:-1000])
    assert refusal(folder).startswith(f"its {part} cannot be loaded (")
    path.write_bytes(b"\x10" + 7 * b"\x00" + b"nonsense")
    assert refusal(folder).startswith(f"its {part}: {path.name} is no safetensors file, or cut sh")


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
    config = folder / part / "config.json"
    plain = config.read_text()
    edit_config(config, quantization_config={"quant_method": "bitsandbytes"})
    line = f"its {part} is quantized (quantization_config); use the plain model"
    assert refusal(folder) == line
    config.write_text(plain)
    edit_weights(folder, part, lambda w: {k: v.to(torch.uint8) for k, v in w.items()})
    assert refusal(folder).startswith(f"its {part} has weights of the type U8")


@pytest.mark.parametrize(
    ("name", "part"),
    [
        *PARTS,
        *((n, tokenizer_of(p)) for n, p in ENCODERS),
        ("dev", "scheduler"),
        ("if", "scheduler"),
    ],
)
def test_parts_of_another_class_or_none(folder, name, part):
    path = folder / "model_index.json"
    index = json.loads(path.read_text())
    if not part.startswith("tokenizer") and (name, part) != ("if", "scheduler"):
        edit_config(path, **{part: ["diffusers", "Another"]})
        assert refusal(folder).startswith(f"its {part} is a Another; expected ")
    missing = NO_NETWORK if part in ("unet", "transformer") else part
    for tree in (index | {part: [None, None]}, {k: v for k, v in index.items() if k != part}):
        path.write_text(json.dumps(tree))
        assert refusal(folder).startswith(f"a {PIPELINES[name]} has no {missing}; expected a mod")


@pytest.mark.parametrize("name", PIPELINES)
def test_a_part_too_many(folder, name):
    other = "unet" if name != "if" else "transformer"
    for part in (other, "text_encoder_3", *(["vae"] if name == "if" else [])):
        tree = json.loads((folder / "model_index.json").read_text())
        edit_config(folder / "model_index.json", **{part: ["diffusers", "Another"]})
        assert refusal(folder) == f"its {part} is a Another; expected none; use another model"
        (folder / "model_index.json").write_text(json.dumps(tree))


@pytest.mark.parametrize("name", ["if"])
def test_parts_for_finished_images_are_not_read(folder):
    edit_config(
        folder / "model_index.json",
        safety_checker=["deepfloyd_if", "IFSafetyChecker"],
        watermarker=["deepfloyd_if", "IFWatermarker"],
    )
    assert load(folder, "cpu").image_size == 16
    files = ["safety_checker/model.safetensors", "watermarker/diffusion_pytorch_model.safetensors"]
    assert hub.needed_files([*files_of(folder), *files]) == files_of(folder)


def files_of(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize("name", PIPELINES)
def test_needed_files_are_all_that_the_pipeline_saved(folder):
    spare = ["flux1-dev.safetensors", "ae.safetensors", "text_encoder_3/pytorch_model.bin"]
    assert hub.needed_files([*files_of(folder), *spare]) == files_of(folder)


@pytest.mark.parametrize("name", PIPELINES)
def test_model_in_the_cache(hub_cache, folder, no_network, name):
    assert cache.is_complete_model(folder)
    snapshot = put_in_cache(hub_cache, "someone/model", folder)
    assert resolve("someone/model").repo == "someone/model" and not no_network
    encoder = [part for n, part in T5S if n == name][0]
    (snapshot / tokenizer_of(encoder) / "tokenizer.json").unlink()
    line = message(lambda: resolve("someone/model", offline=True))
    assert f"the copy in the cache lacks its {tokenizer_of(encoder)} (" in line


@EACH_ENCODER
def test_empty_and_missing_tokenizers(folder, part):
    for file in (place := folder / tokenizer_of(part)).glob("*"):
        file.unlink()
    assert refusal(folder).startswith(f"its {tokenizer_of(part)} ")
    place.rmdir()
    assert refusal(folder) == f"its {tokenizer_of(part)} is missing; download the model again"


@EACH_ENCODER
def test_tokenizers_of_another_model(tmp_path, name, part):
    folder = WRITERS[name](tmp_path / "model", **{part: {"vocab_size": 20}})
    line = refusal(folder)
    assert line.startswith(f"its {tokenizer_of(part)} numbers words up to ")
    assert line.endswith(f"but its {part} knows 20; the two are of different models")


@EACH_ENCODER
def test_encoders_that_ignore_the_prompt(folder, name, part):
    def forget(weights):
        ends = ("token_embedding.weight", "shared.weight", "embed_tokens.weight")
        # The end of a text, where CLIP has its pooled text, is a place of its own.
        ends += ("position_embedding.weight",)
        return {k: v * (0 if k.endswith(ends) else 1) for k, v in weights.items()}

    edit_weights(folder, part, forget)
    what = " pooled text" if (name, part) == ("dev", "text_encoder") else ""
    assert refusal(folder).startswith(f"its {part} gives the same{what} for different prompts (")


@EACH_ENCODER
def test_encoders_that_overflow(folder, part):
    ends = "final_layer_norm.weight"
    edit_weights(folder, part, lambda w: {k: v * (3e38 if ends in k else 1) for k, v in w.items()})
    assert refusal(folder).startswith(f"its {part} gives NaN or infinite numbers")


@pytest.mark.parametrize(
    ("name", "part", "weights", "ignored"),
    [
        ("sigma", "transformer", "attn2.to_v", "text"),
        ("if", "unet", "encoder_hid_proj", "text"),
        ("dev", "transformer", "context_embedder.weight", "text"),
        ("dev", "transformer", "text_embedder.linear_2", "pooled text"),
    ],
)
def test_networks_that_ignore_a_part_of_the_text(folder, name, part, weights, ignored):
    def forget(named):
        # The U-Net of IF also pools the states by themselves.
        spared = ("add_embedding.",) if name == "if" else ()
        keys = (weights, *spared)
        return {k: v * (not any(key in k for key in keys)) for k, v in named.items()}

    edit_weights(folder, part, forget)
    assert refusal(folder) == f"its {part} ignores the {ignored}{AGAIN}"


@pytest.mark.parametrize(
    ("write", "changes", "expected"),
    [
        (
            write_tiny_pixart,
            {"text_encoder": {"d_model": 40}},
            "its text_encoder gives 40 numbers for each token, but its transformer takes 48; "
            "the two are of different models",
        ),
        (
            write_tiny_if,
            {"text_encoder": {"d_model": 48}},
            "its text_encoder gives 48 numbers for each token, but its unet takes 40; "
            "the two are of different models",
        ),
        (
            write_tiny_flux,
            {"text_encoder_2": {"d_model": 40}},
            "its text_encoder_2 gives 40 numbers for each token, but its transformer takes 48; "
            "the two are of different models",
        ),
        (
            write_tiny_flux,
            {"text_encoder": {"hidden_size": 24}},
            "its text_encoder gives 24 numbers for each prompt, but its transformer takes 20; "
            "the two are of different models",
        ),
        (
            # FLUX.1 Fill is given the image around a hole.
            write_tiny_flux,
            {"transformer": {"in_channels": 384, "out_channels": 64}},
            "expected a network on the 16 channels of its vae at a square size, got 96 in, 16 out, "
            "size 64; use a text-to-image model, not an inpainting or depth model",
        ),
        (
            write_tiny_flux,
            {"transformer": {"in_channels": 62}},
            "expected a network on the 16 channels of its vae at a square size, got 62 / 4 in, "
            "62 / 4 out, size 64; use a text-to-image model, not an inpainting or depth model",
        ),
        (
            write_tiny_pixart,
            {"transformer": {"out_channels": 12}},
            "expected a network on the 4 channels of its vae at a square size, got 4 in, 12 out, "
            "size 8; use a text-to-image model, not an inpainting or depth model",
        ),
        (
            # The later stages are given the image to enlarge.
            write_tiny_if,
            {"unet": {"in_channels": 6}},
            "expected a model without a VAE to have 3 channels in, 3 out and a square size, got 6 "
            "in, 6 out, size 16; use another model",
        ),
        (
            write_tiny_if,
            {"unet": {"class_embed_type": "timestep"}},
            "its unet wants a class or an image beside the text, which a text-to-image prior is "
            "not given; use another model",
        ),
    ],
)
def test_parts_of_different_models(tmp_path, write, changes, expected):
    assert refusal(write(tmp_path / "model", **changes)) == expected


@pytest.mark.parametrize("name", ["sigma", "if"])
def test_a_scheduler_of_another_family(folder, name):
    scheduler = {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000}
    (folder / "scheduler/scheduler_config.json").write_text(json.dumps(scheduler))
    edit_config(
        folder / "model_index.json", scheduler=["diffusers", "FlowMatchEulerDiscreteScheduler"]
    )
    family = "PixArt-Σ" if name == "sigma" else "DeepFloyd IF"
    assert refusal(folder) == (
        "its scheduler says flow matching; expected epsilon with betas or v_prediction with betas "
        f"for {family}; the two are of different models"
    )


@pytest.mark.parametrize("name", ["alpha"])
def test_the_class_of_earlier_years(folder, folders, name):
    """As PixArt-α was published, with settings that the class of today does not have."""
    edit_config(folder / "model_index.json", transformer=["diffusers", "Transformer2DModel"])
    edit_config(
        folder / "transformer/config.json",
        _class_name="Transformer2DModel",
        double_self_attention=False,
        only_cross_attention=False,
        num_vector_embeds=None,
        use_linear_projection=False,
    )
    prior, other = load(folder, "cpu"), load(folders[name], "cpu")
    z, text = torch.randn(1, *prior.latent_shape), prior.embed(["a red car"])
    got, want = (p.denoise(z, torch.ones(1), text) for p in (prior, other))
    torch.testing.assert_close(got, want, rtol=0, atol=0)
    edit_config(folder / "model_index.json", _class_name="StableDiffusionPipeline")
    assert refusal(folder).startswith("its transformer is a Transformer2DModel; expected SD3Tra")


def test_a_network_without_learned_variance(tmp_path):
    folder = write_tiny_pixart(tmp_path / "model", transformer={"out_channels": 4})
    prior = load(folder, "cpu")
    z = torch.randn(1, *prior.latent_shape)
    assert prior.denoise(z, torch.ones(1), prior.embed(["red"])).shape == z.shape
