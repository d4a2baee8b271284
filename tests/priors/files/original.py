"""Tiny diffusers models written as single files in the original layout, as checkpoints are."""

import re
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
VAE = [
    (r"down_blocks\.(\d+)\.resnets\.", r"down.\1.block."),
    (r"down_blocks\.(\d+)\.downsamplers\.0\.", r"down.\1.downsample."),
    (r"up_blocks\.(\d+)\.resnets\.", r"up.\1.block."),
    (r"up_blocks\.(\d+)\.upsamplers\.0\.", r"up.\1.upsample."),
    (r"mid_block\.resnets\.0\.", "mid.block_1."),
    (r"mid_block\.resnets\.1\.", "mid.block_2."),
    (r"mid_block\.attentions\.0\.", "mid.attn_1."),
    (r"to_out\.0\.", "proj_out."),
    (r"group_norm\.", "norm."),
    (r"to_([qkv])\.", r"\1."),
    ("conv_norm_out", "norm_out"),
    ("conv_shortcut", "nin_shortcut"),
]
OPEN_CLIP = [
    (r"^embeddings\.token_embedding\.", "token_embedding."),
    (r"^embeddings\.position_embedding\.weight", "positional_embedding"),
    (r"^final_layer_norm\.", "ln_final."),
    (r"^encoder\.layers\.", "transformer.resblocks."),
    (r"layer_norm([12])\.", r"ln_\1."),
    (r"fc1\.", "c_fc."),
    (r"fc2\.", "c_proj."),
    (r"self_attn\.", "attn."),
    (r"^text_projection\.weight", "text_projection"),
]


def original_unet(weights: dict, layers: int) -> dict:
    """`weights` of a U-Net with `layers` residual blocks a level, with the names of the first
    code."""
    with_attention = {
        int(name.split(".")[1]) for name in weights if re.match(r"up_blocks\.\d+\.attentions", name)
    }

    def renamed(name: str) -> str:
        end, suffix = name.rsplit(".", 1)
        if end in ENDS:
            return f"{ENDS[end]}.{suffix}"
        side, *rest = name.split(".")
        if side == "mid_block":
            kind, index, *inner = rest
            block = f"middle_block.{1 if kind == 'attentions' else 2 * int(index)}"
        else:
            level, kind, index, *inner = rest
            level, index = int(level), int(index)
            if kind == "downsamplers":
                return f"input_blocks.{(level + 1) * (layers + 1)}.0.op.{inner[-1]}"
            if kind == "upsamplers":
                place = 2 if level in with_attention else 1
                return f"output_blocks.{level * (layers + 1) + layers}.{place}.conv.{inner[-1]}"
            number = level * (layers + 1) + index + (side == "down_blocks")
            side = "input_blocks" if side == "down_blocks" else "output_blocks"
            block = f"{side}.{number}.{int(kind == 'attentions')}"
        if kind == "resnets":
            inner[0] = RESNET[inner[0]]
        return ".".join([block, *inner])

    return {f"model.diffusion_model.{renamed(name)}": w for name, w in weights.items()}


def original_vae(weights: dict) -> dict:
    levels = 1 + max(int(m[1]) for n in weights if (m := re.search(r"up_blocks\.(\d+)", n)))
    found = {}
    for name, weight in weights.items():
        if "attentions" in name and name.endswith("weight") and weight.ndim == 2:
            weight = weight[:, :, None, None]
        for pattern, new in VAE:
            name = re.sub(pattern, new, name)
        name = re.sub(r"\bup\.(\d+)", lambda m: f"up.{levels - 1 - int(m[1])}", name)
        found[f"first_stage_model.{name}"] = weight.contiguous()
    return found


def original_clip(weights: dict, prefix: str) -> dict:
    return {f"{prefix}text_model.{n.removeprefix('text_model.')}": w for n, w in weights.items()}


def original_open_clip(weights: dict, prefix: str) -> dict:
    weights = {n.removeprefix("text_model."): w for n, w in weights.items()}
    found = {}
    for name, weight in weights.items():
        if match := re.search(r"self_attn\.([qkv])_proj\.(weight|bias)", name):
            if match[1] == "q":
                three = [weights[name.replace("q_proj", f"{c}_proj")] for c in "qkv"]
                new = name.replace(match[0], f"self_attn.in_proj_{match[2]}")
                found[new] = torch.cat(three)
        else:
            found[name] = weight.T.contiguous() if "text_projection" in name else weight
    renamed = {}
    for name, weight in found.items():
        for pattern, new in OPEN_CLIP:
            name = re.sub(pattern, new, name)
        renamed[prefix + name] = weight
    return renamed


def original_weights(model: Path, kind: str) -> dict:
    """All weights of a model folder with one residual block a level, in the layout "1", "2" or
    "xl"."""
    part = {p.name: _weights(p) for p in model.iterdir() if any(p.glob("*.safetensors"))}
    found = original_unet(part["unet"], 1) | original_vae(part["vae"])
    if kind == "1":
        return found | original_clip(part["text_encoder"], "cond_stage_model.transformer.")
    if kind == "2":
        return found | original_open_clip(part["text_encoder"], "cond_stage_model.model.")
    one, two = "conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."
    return (
        found
        | original_clip(part["text_encoder"], one)
        | original_open_clip(part["text_encoder_2"], two)
    )


def write_original(model: Path, file: Path, kind: str = "1", **metadata: str) -> Path:
    """Write a model folder as one file in the original layout."""
    save_file(original_weights(model, kind), file, {"format": "pt"} | metadata)
    return file


def _weights(folder: Path) -> dict:
    (file,) = folder.glob("*.safetensors")
    return load_file(file)
