"""Shared fixtures: tiny untrained models in the layouts of real ones, and a fake CUDA device.

The model folders are written once for each test session.
"""

import json
import os
from pathlib import Path

import pytest
import torch

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

SD_BETAS = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "num_train_timesteps": 1000,
}


def write_clip_tokenizer(folder: Path, max_length: int = 16) -> int:
    """Write the files of a CLIP tokenizer of single letters and a few merges.

    Returns the size of its vocabulary.
    """
    letters = "!abcdefghijklmnopqrstuvwxyz0123456789,.'-"
    merges = ["r e", "re d</w>", "v i", "vi e", "vie w</w>", "c a"]
    tokens = [
        *letters,
        *(c + "</w>" for c in letters),
        *(m.replace(" ", "") for m in merges),
        "<|startoftext|>",
        "<|endoftext|>",
    ]
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    special = {
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": "!",
    }
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    config = {
        **special,
        "model_max_length": max_length,
        "do_lower_case": True,
        "tokenizer_class": "CLIPTokenizer",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return len(tokens)


def write_tiny_sd(
    folder: Path,
    prediction_type: str = "epsilon",
    variant: str | None = None,
    **changes: dict,
) -> Path:
    """Write a Stable Diffusion model of a few thousand weights: 16² pixels, 8² latents.

    `changes` holds other settings of its parts: unet, vae, text_encoder, scheduler.
    """
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = {
            "sample_size": 8,
            "block_out_channels": (16, 32),
            "layers_per_block": 1,
            "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
            "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
            "cross_attention_dim": 16,
            "attention_head_dim": 2,
            "norm_num_groups": 8,
        }
        unet = UNet2DConditionModel(**unet | changes.get("unet", {}))
        vae = {
            "block_out_channels": (8, 16),
            "down_block_types": ("DownEncoderBlock2D",) * 2,
            "up_block_types": ("UpDecoderBlock2D",) * 2,
            "latent_channels": 4,
            "norm_num_groups": 4,
            "sample_size": 16,
        }
        vae = AutoencoderKL(**vae | changes.get("vae", {}))
        size = write_clip_tokenizer(folder / "tokenizer")
        text = {
            "vocab_size": size,
            "hidden_size": 16,
            "intermediate_size": 32,
            "projection_dim": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "max_position_embeddings": 16,
            "bos_token_id": size - 2,
            "eos_token_id": size - 1,
            "pad_token_id": 0,
        }
        text_encoder = CLIPTextModel(CLIPTextConfig(**text | changes.get("text_encoder", {})))
    for part, model in (("unet", unet), ("vae", vae), ("text_encoder", text_encoder)):
        model.save_pretrained(folder / part, variant=variant)
    betas = SD_BETAS | changes.get("scheduler", {})
    DDIMScheduler(**betas, prediction_type=prediction_type, clip_sample=False).save_pretrained(
        folder / "scheduler"
    )
    index = {
        "_class_name": "StableDiffusionPipeline",
        "feature_extractor": [None, None],
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    (folder / "README.md").write_text(
        "---\nlicense: openrail++\ntags:\n- tiny\n---\n# A tiny model\n"
    )
    return folder


@pytest.fixture(scope="session")
def make_tiny_sd():
    """The function `write_tiny_sd`, for tests that need a variant of the model."""
    return write_tiny_sd


@pytest.fixture(scope="session")
def tiny_sd_folder(tmp_path_factory) -> Path:
    """Stable Diffusion model folder with ε-prediction."""
    return write_tiny_sd(tmp_path_factory.mktemp("tiny_sd") / "model")


@pytest.fixture(scope="session")
def tiny_sd(tiny_sd_folder):
    """`LatentPrior` of `tiny_sd_folder` on the CPU. Shared: do not free its text encoder."""
    from gs3d.priors import load

    return load(tiny_sd_folder, "cpu")


@pytest.fixture(scope="session")
def tiny_clip_folder(tmp_path_factory) -> Path:
    """CLIP model folder with random weights: images of 32² pixels, texts of 16 tokens."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    folder = tmp_path_factory.mktemp("tiny_clip") / "model"
    size = write_clip_tokenizer(folder)
    small = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    text = {
        **small,
        "vocab_size": size,
        "max_position_embeddings": 16,
        "bos_token_id": size - 2,
        "eos_token_id": size - 1,
        "pad_token_id": 0,
    }
    config = CLIPConfig(
        text_config=text,
        vision_config={**small, "image_size": 32, "patch_size": 8},
        projection_dim=12,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        CLIPModel(config).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32).save_pretrained(folder)
    return folder


def write_tiny_prior(folder: Path, views: int) -> Path:
    """Write an untrained prior in the built-in layout: 32² pixels in patches of 8².

    `views` 1 is a single-image prior, 4 a multi-view prior with a 2×2 grid of views of 16².
    """
    from gs3d.priors import builtin
    from gs3d.world.captions import vocabulary_texts

    tokenizer = builtin.new_tokenizer(vocabulary_texts())
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = builtin.new_backbone(image_size=32, layers=2, heads=2, head_width=16)
        # The initial value is zero, and a constant output would make tests pass trivially.
        torch.nn.init.normal_(backbone.proj_out.weight, std=0.1)
        builtin.save(folder, backbone, builtin.new_text_encoder(tokenizer), tokenizer, views)
    return folder


@pytest.fixture(scope="session")
def tiny_multiview_folder(tmp_path_factory) -> Path:
    """Model folder of a multi-view prior."""
    return write_tiny_prior(tmp_path_factory.mktemp("tiny_multiview") / "model", views=4)


@pytest.fixture(scope="session")
def tiny_builtin_folder(tmp_path_factory) -> Path:
    """Model folder of a single-image pixel prior."""
    return write_tiny_prior(tmp_path_factory.mktemp("tiny_builtin") / "model", views=1)


@pytest.fixture(scope="session")
def tiny_builtin(tiny_builtin_folder):
    """`PixelPrior` of `tiny_builtin_folder` on the CPU. Shared: do not free its text encoder."""
    from gs3d.priors import load

    return load(tiny_builtin_folder, "cpu")


@pytest.fixture(scope="session", autouse=True)
def small_files():
    """Runs write images and textures of a few pixels, meshes of a few triangles, and a blank
    log.png: these take longer than a run of a few steps. Tests of `runs.outputs` have real ones."""
    from gs3d.runs.outputs import files, plot
    from tests.small import SMALL, blank_figure

    with pytest.MonkeyPatch.context() as patch:
        for name, value in SMALL.items():
            patch.setattr(files, name, value)
        patch.setattr(plot, "draw_figure", blank_figure)
        yield


@pytest.fixture
def card(monkeypatch):
    """Fake CUDA device for one test; the value counts the operations on it (tests/fake_cuda.py)."""
    from tests import fake_cuda

    with fake_cuda.install(monkeypatch) as monitor:
        yield monitor


SLOW = (
    "priors/loading/test_compile.py",
    "viewers",
    "chaos",
    "cli",
    "examples",
    "test_scripts.py",
    "runs",
    "pretraining",
    "evaluation",
    "experiments",
    "viewer",
    "test_docs_commands.py",
    "compose/test_generated.py",
    "batch/test_ray.py",
    "batch/test_faults.py",
    "batch/test_s3.py",
    "priors/loading/test_run_options.py",
    "representations/meshing/test_fusion.py",
    "io/test_damaged.py",
    "world/test_workers.py",
)
"""Folders and files of slow tests: whole runs, trainings, processes. `make test-fast` skips them.

The slowest come first. Otherwise one worker could start them last, while the others are idle. The
very first needs no kernel of the rasterizer, so that one worker compiles these for both.
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def rank(item: pytest.Item) -> int:
        path = item.path.relative_to(Path(__file__).parent)
        places = [path.as_posix(), path.parts[0]]
        return next((SLOW.index(place) for place in places if place in SLOW), len(SLOW))

    items.sort(key=rank)
    for item in items:
        if rank(item) < len(SLOW):
            item.add_marker(pytest.mark.slow)
