"""Shap-E (Heewoo Jun and Alex Nichol 2023, arXiv 2305.02463): from a prompt to a mesh."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from gs3d.core import rng
from gs3d.core.errors import UserError
from gs3d.core.runtime.interrupts import deferred
from gs3d.core.types import Mesh
from gs3d.ops.srgb import to_srgb
from gs3d.priors.loading.components import Source
from gs3d.priors.loading.parts import load_network, load_part, quiet
from gs3d.priors.text.limits import shortened
from gs3d.representations.meshing.simplify import normals_of
from gs3d.runs.starts.shap_e_weights import ADVICE, NAME, SUBJECT

STEPS, GUIDANCE = 64, 15.0
"""Steps of Heun's method, and the guidance scale, of OpenAI's and diffusers' examples."""
GRID = 128
"""Points along each side of the grid of marching cubes."""
AGAIN = f"try another --seed or prompt, or {ADVICE}"
TO_WORLD = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], np.float32)
"""Turns Shap-E's front to +X; up is +Z in both.

That up is +Z is certain: the cameras of its renderer stand above and have -Z downwards. That the
front is -Y is only usual. Blender imported the training data, which puts the front of a .glb or
.obj there, the renderer's first camera looks from there, and two other text-to-3D programs turn its
objects so. No rule made the authors of those files keep to it, and each object may differ."""


def mesh_of(source: Source, prompt: str, seed: int, device: str) -> Mesh:
    """The mesh that Shap-E makes from the prompt and the seed, in world directions.

    Heewoo Jun and Alex Nichol, arXiv 2305.02463: a transformer denoises the latents of an implicit
    function, whose signed distance becomes triangles by marching cubes. diffusers
    turns the colors of the function from sRGB to linear light; `Mesh` has sRGB, so they are turned
    back. Raises `UserError` as `shap_e_splats` does.
    """
    with quiet():
        pipe = load_pipeline(source, torch.device(device))
        made = pipe(
            prompt,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            generator=rng.generator(seed, NAME),
            output_type="latent",
        )
        latents = cast(torch.Tensor, made.images).float()
        if not latents.isfinite().all():
            raise UserError(f"{SUBJECT}: Shap-E made numbers that are not finite; {AGAIN}")
        renderer = pipe.shap_e_renderer
        renderer.mesh_decoder.register_forward_hook(_not_empty)
        made = renderer.decode_to_mesh(latents, torch.device(device), grid_size=GRID)
    vertices, faces = made.verts.float().cpu().numpy(), made.faces.cpu().numpy().astype(np.int32)
    linear = torch.stack([made.vertex_channels[name] for name in "RGB"], dim=1).cpu().numpy()
    if not (np.isfinite(vertices).all() and np.isfinite(linear).all()):
        raise UserError(f"{SUBJECT}: the mesh of Shap-E has numbers that are not finite; {AGAIN}")
    vertices = vertices @ TO_WORLD.T
    colors = to_srgb(np.clip(linear, 0, 1)).astype(np.float32)
    mesh = Mesh(vertices, faces, normals_of(vertices, faces), colors)
    return _outward(mesh)


def unread(source: Source, prompt: str) -> str:
    """Words at the end of a prompt that diffusers would cut off without a word."""
    with quiet():
        tokenizer = _tokenizer(source)

    def length(text: str) -> int:
        return len(tokenizer(text, verbose=False).input_ids)

    return shortened(length, prompt, "", tokenizer.model_max_length)[1]


def _place(source: Source, part: str) -> tuple[str, Path]:
    """Beginning of messages about a part, and its folder."""
    return f"{SUBJECT}: its {part}", source.folder / part


def _tokenizer(source: Source) -> Any:
    with deferred():
        import transformers

    cls = cast(Any, transformers).CLIPTokenizer
    return load_part(*_place(source, "tokenizer"), cls)


def _not_empty(module: torch.nn.Module, inputs: Any, mesh: Any) -> None:
    """Stop before diffusers asks for the colors of no vertices, which fails."""
    if not len(mesh.faces):
        raise UserError(f"{SUBJECT}: Shap-E made an empty mesh of this prompt; {AGAIN}")


def _outward(mesh: Mesh) -> Mesh:
    """A closed mesh with its faces and normals outwards: the volume that they enclose is positive
    then."""
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    volume = np.einsum("ni,ni->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2]))
    if volume >= 0:
        return mesh
    return replace(mesh, faces=np.ascontiguousarray(mesh.faces[:, ::-1]), normals=-mesh.normals)


def load_pipeline(source: Source, device: torch.device) -> Any:
    """diffusers' pipeline, frozen, on `device`.

    The denoiser computes in float16 on a GPU. The renderer always computes in float32, as OpenAI's
    does: it takes the sine of positions times 2¹⁴, of which float16 keeps nothing.
    """
    with deferred():
        import diffusers as diffusers_package
        import transformers as transformers_package
        from diffusers.pipelines.shap_e.renderer import ShapERenderer

    # Their types lack most of their classes.
    diffusers: Any = diffusers_package
    transformers: Any = transformers_package

    half = torch.float32 if device.type == "cpu" else torch.float16
    parts: dict[str, Any] = {
        "tokenizer": _tokenizer(source),
        "scheduler": load_part(*_place(source, "scheduler"), diffusers.HeunDiscreteScheduler),
    }
    for part, cls, dtype in (
        ("text_encoder", transformers.CLIPTextModelWithProjection, half),
        ("prior", diffusers.PriorTransformer, half),
        ("shap_e_renderer", ShapERenderer, torch.float32),
    ):
        parts[part] = load_network(*_place(source, part), cls, device, dtype, text=True)
    pipe = diffusers.ShapEPipeline(**parts)
    pipe.set_progress_bar_config(desc="Shap-E", leave=False, disable=not sys.stderr.isatty())
    return pipe
