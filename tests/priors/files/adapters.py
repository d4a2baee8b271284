"""Random LoRAs for tiny models, in the layouts of diffusers and of kohya."""

from pathlib import Path

import torch
from safetensors.torch import save_file

RANK = 2
UNET = (
    "down_blocks.{}.attentions.0.transformer_blocks.0.attn2.to_k",
    "mid_block.attentions.0.transformer_blocks.0.ff.net.2",
    "mid_block.attentions.0.proj_in",
)
"""Layers of a U-Net, the first in the level that has attention."""
TEXT = ("encoder.layers.0.self_attn.q_proj", "encoder.layers.1.mlp.fc1")


def layer_of(network, name: str):
    """A layer by its name, with or without the prefix that transformers 4 has."""
    inner = getattr(network, "text_model", None)
    return network.get_submodule(name) if inner is None else inner.get_submodule(name)


def layers_of(prior, unet: tuple[str, ...] = UNET, text: tuple[str, ...] = TEXT) -> dict:
    """(part, name) → layer, for some layers of all networks of a loaded prior."""
    backbone = prior.network.backbone
    level = backbone.config.down_block_types.index("CrossAttnDownBlock2D")
    found = {("unet", n.format(level)): backbone.get_submodule(n.format(level)) for n in unet}
    for encoder in prior.text.encoders:
        found |= {(encoder.part, name): layer_of(encoder.model, name) for name in text}
    return found


def random_pairs(layers: dict, rank: int = RANK, size: float = 0.3) -> dict:
    """(part, name) → (down, up) for layers, as trained: shapes of linear layers or convolutions."""
    generator = torch.Generator().manual_seed(3)
    pairs = {}
    for key, layer in layers.items():
        weight = layer.weight
        down = size * torch.randn(rank, *weight.shape[1:], generator=generator)
        ones = [1] * (weight.ndim - 2)
        pairs[key] = down, size * torch.randn(weight.shape[0], rank, *ones, generator=generator)
    return pairs


def change(pair) -> torch.Tensor:
    """up·down, in the shape of the layer's weight."""
    down, up = pair
    return (up.flatten(1) @ down.flatten(1)).reshape(up.shape[0], *down.shape[1:])


def write_diffusers(file: Path, pairs: dict) -> Path:
    """Write the file that diffusers writes."""
    tensors = {}
    for (part, name), (down, up) in pairs.items():
        name = name if part == "unet" else f"text_model.{name}"
        tensors[f"{part}.{name}.lora_A.weight"] = down.contiguous()
        tensors[f"{part}.{name}.lora_B.weight"] = up.contiguous()
    return save(file, tensors)


def write_kohya(file: Path, pairs: dict, alpha: float) -> Path:
    """Write the file of kohya's scripts, by the names that diffusers has for a U-Net's layers."""
    prefixes = {"unet": "lora_unet_", "text_encoder": "lora_te_text_model_"}
    if any(part == "text_encoder_2" for part, _ in pairs):
        prefixes |= {
            "text_encoder": "lora_te1_text_model_",
            "text_encoder_2": "lora_te2_text_model_",
        }
    tensors = {}
    for (part, name), (down, up) in pairs.items():
        layer = prefixes[part] + name.replace(".", "_")
        tensors[f"{layer}.lora_down.weight"] = down.contiguous()
        tensors[f"{layer}.lora_up.weight"] = up.contiguous()
        tensors[f"{layer}.alpha"] = torch.tensor(alpha)
    return save(file, tensors)


def save(file: Path, tensors: dict, **metadata: str) -> Path:
    save_file(tensors, file, {"format": "pt"} | metadata)
    return file
