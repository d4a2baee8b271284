"""A tiny untrained MVDream, in a folder like that of its community port to diffusers."""

import json
from pathlib import Path

import torch

from tests.conftest import write_tiny_sd

SIZES = {
    "image_size": 8,
    "in_channels": 4,
    "model_channels": 32,
    "out_channels": 4,
    "num_res_blocks": 1,
    "attention_resolutions": [2, 1],
    "channel_mult": [1, 2],
    "num_head_channels": 16,
    "context_dim": 16,
    "camera_dim": 16,
    "transformer_depth": 1,
}
"""Settings of the network: latents of 8², texts of 16 numbers a token."""
PUBLISHED = SIZES | {
    "image_size": 32,
    "model_channels": 320,
    "num_res_blocks": 2,
    "attention_resolutions": [4, 2, 1],
    "channel_mult": [1, 2, 4, 4],
    "num_head_channels": 64,
    "context_dim": 1024,
}
"""The same of the published model."""


def new_network(**changes):
    """The network with random weights that are the same at every call."""
    from gs3d.priors.mvdream.unet import MultiViewUNetModel

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MultiViewUNetModel(**SIZES | changes).eval()


def write_tiny_mvdream(folder: Path, variant: str | None = None, **changes: dict) -> Path:
    """Write a model of images of 16²; `changes` holds other settings of its parts."""
    write_tiny_sd(
        folder, variant=variant, **{part: c for part, c in changes.items() if part != "unet"}
    )
    for file in (folder / "unet").iterdir():
        file.unlink()
    sizes = SIZES | changes.get("unet", {})
    network = new_network(**{k: v for k, v in sizes.items() if k != "ip_dim"})
    network.save_pretrained(folder / "unet", variant=variant)
    # The port's file has the settings of the original configuration and no others.
    config = {"_class_name": "MultiViewUNetModel", "_diffusers_version": "0.25.0"}
    (folder / "unet" / "config.json").write_text(
        json.dumps(config | sizes | {"use_checkpoint": False})
    )
    index = json.loads((folder / "model_index.json").read_text())
    del index["safety_checker"]
    index |= {
        "_class_name": ["pipeline_mvdream", "MVDreamPipeline"],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "unet": ["mv_unet", "MultiViewUNetModel"],
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder
