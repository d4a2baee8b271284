"""A tiny untrained Shap-E, saved by diffusers' own classes as a float16 copy, as the real one is.

Its signed distance is made by hand, so that what it makes is known: an octahedron with a rounded
surface. Latents change it a little, so that the prompt and the seed have an effect.
"""

from itertools import product
from pathlib import Path

import numpy as np
import torch

from tests.conftest import write_clip_tokenizer

CENTER, REACH = (0.0, -0.5, 0.2), 0.35
"""Of the octahedron, in Shap-E's coordinates: in front of the middle, and a little above it."""
COLOR = (0.9, 0.5, 0.1)
SIDES = 6
"""Hidden numbers of the network: distances in both directions of the three axes."""
SHARPNESS = 60.0


def marching_cubes() -> tuple[torch.Tensor, torch.Tensor]:
    """Tables `cases` [256, 5, 3] and `masks` [256, 5] of diffusers' mesh decoder.

    Bit x + 2y + 4z of a case says that this corner of the cube is inside. Each case is the fan of
    the edges that it cuts, in turn about the direction from the outside to the inside. That is
    right for the convex surface here.
    """
    corners = np.array([(n & 1, n >> 1 & 1, n >> 2 & 1) for n in range(8)])
    edges = []
    for axis in range(3):
        others = [a for a in range(3) if a != axis]
        for high, low in product((0, 1), repeat=2):
            ends = np.zeros((2, 3), int)
            ends[1, axis], ends[:, others[0]], ends[:, others[1]] = 1, low, high
            edges.append([int(end @ (1, 2, 4)) for end in ends])
    cases, masks = torch.zeros(256, 5, 3, dtype=torch.long), torch.zeros(256, 5, dtype=torch.bool)
    for case in range(1, 255):
        inside = np.array([case >> n & 1 for n in range(8)], bool)
        cut = [e for e, (a, b) in enumerate(edges) if inside[a] != inside[b]]
        if len(cut) > 7:
            continue
        points = np.array([corners[edges[e]].mean(0) for e in cut])
        up = corners[inside].mean(0) - corners[~inside].mean(0)
        up = up / (np.linalg.norm(up) or 1.0)
        right = np.cross(up, (0.3, 0.5, 0.8))
        around = points - points.mean(0)
        angles = np.arctan2(around @ np.cross(up, right), around @ right)
        turn = [cut[i] for i in np.argsort(angles)]
        for n in range(len(turn) - 2):
            cases[case, n] = torch.tensor([turn[0], turn[n + 1], turn[n + 2]])
            masks[case, n] = True
    return cases, masks


def write_tiny_shap_e(folder: Path, reach: float = REACH) -> Path:
    """Write the model; with a negative `reach` its mesh is empty."""
    from diffusers import HeunDiscreteScheduler, PriorTransformer, ShapEPipeline
    from diffusers.pipelines.shap_e import ShapERenderer
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

    size = write_clip_tokenizer(folder.with_name(f"{folder.name}_words"))
    text = {
        "vocab_size": size,
        "hidden_size": 16,
        "intermediate_size": 32,
        "projection_dim": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 16,
        "bos_token_id": size - 2,
        "eos_token_id": size - 1,
        "pad_token_id": 0,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        prior = PriorTransformer(
            num_attention_heads=2,
            attention_head_dim=8,
            num_layers=1,
            num_embeddings=SIDES,
            embedding_dim=8,
            embedding_proj_dim=16,
            time_embed_dim=32,
            clip_embed_dim=16,
            additional_embeddings=0,
            time_embed_act_fn="gelu",
            norm_in_type="layer",
            encoder_hid_proj_type=None,
            added_emb_type=None,
        )
        encoder = CLIPTextModelWithProjection(CLIPTextConfig(**text))
        renderer = ShapERenderer(
            param_names=("nerstf.mlp.0.weight",),
            param_shapes=((SIDES, 93),),
            d_latent=8,
            d_hidden=SIDES,
            n_hidden_layers=1,
            insert_direction_at=None,
        )
    with torch.no_grad():
        _octahedron(renderer, reach)
    scheduler = HeunDiscreteScheduler(
        beta_schedule="exp",
        num_train_timesteps=1024,
        prediction_type="sample",
        use_karras_sigmas=True,
        clip_sample=True,
        clip_sample_range=1.0,
    )
    tokenizer = CLIPTokenizer.from_pretrained(folder.with_name(f"{folder.name}_words"))
    for network in (prior, encoder, renderer):
        network.half()
    pipe = ShapEPipeline(prior, encoder, tokenizer, scheduler, renderer)
    pipe.save_pretrained(folder, variant="fp16")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    return folder


def _octahedron(renderer, reach: float) -> None:
    """Set the weights: distance reach − Σ|p − center|, and the color everywhere."""
    directions = torch.zeros(SIDES, 93)
    for axis, sign in product(range(3), (1, -1)):
        directions[2 * axis + (sign < 0), axis] = sign * SHARPNESS
    first, last = renderer.mlp.mlp
    projection = renderer.params_proj.projections["nerstf__mlp__0__weight"]
    projection.proj.bias.copy_(directions.flatten())
    projection.norm.weight.fill_(0.05)
    center = torch.tensor(CENTER)
    first.bias.copy_(-(directions[:, :3] @ center))
    last.weight.zero_()
    last.bias.zero_()
    last.weight[0] = -1 / SHARPNESS
    last.bias[0] = reach
    last.bias[3:6] = torch.tensor(COLOR).logit()
    cases, masks = marching_cubes()
    renderer.mesh_decoder.cases.copy_(cases)
    renderer.mesh_decoder.masks.copy_(masks)
