"""--start shap-e: a mesh that Shap-E makes from the prompt, as splats that the prior refines."""

import gc
import json
import sys
from collections.abc import Iterable
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from gs3d.core import rng
from gs3d.core.errors import UserError
from gs3d.core.runtime.interrupts import deferred
from gs3d.core.types import Mesh, Splats
from gs3d.distill.checkpoint import newest_checkpoint
from gs3d.distill.memory.shortage import is_memory, release
from gs3d.io import SPLATS, load_splats, save_splats
from gs3d.ops.place import framed
from gs3d.ops.srgb import to_srgb
from gs3d.priors.loading import cache, hub
from gs3d.priors.loading.components import Source
from gs3d.priors.loading.parts import load_network, load_part, quiet
from gs3d.priors.loading.weights import chosen_weights
from gs3d.priors.text.limits import shortened
from gs3d.representations.gaussians.existing import splats_of_mesh
from gs3d.representations.meshing.simplify import normals_of
from gs3d.runs.callbacks import Callbacks, Message
from gs3d.runs.planning.builtin import FOLDER
from gs3d.runs.request import Request

NAME = "shap-e"
"""Value of --start. A folder of this name needs its whole path."""
SUBJECT = f"--start {NAME}"
REPO, REVISION = "openai/shap-e", "d75bbddb28cf16472b026f4da0f2840f22fdcf0f"
"""Hub id, and the commit of its pull request 11. The main branch has the renderer only as a pickle,
which gs3d does not read; this commit has all parts as safetensors in float16, 1.3 GB."""
NETWORKS = ("prior", "text_encoder", "shap_e_renderer")
STEPS, GUIDANCE = 64, 15.0
"""Steps of Heun's method, and the guidance scale, of OpenAI's and diffusers' examples."""
GRID = 128
"""Points along each side of the grid of marching cubes."""
ADVICE = "leave --start out, or start from a file"
AGAIN = f"try another --seed or prompt, or {ADVICE}"
RECORD = "shap-e.json"
"""In the folder of the splats: what they were made from."""
TO_WORLD = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], np.float32)
"""Turns Shap-E's front to +X; up is +Z in both.

That up is +Z is certain: the cameras of its renderer stand above and have -Z downwards. That the
front is -Y is only usual. Blender imported the training data, which puts the front of a .glb or
.obj there, the renderer's first camera looks from there, and two other text-to-3D programs turn its
objects so. No rule made the authors of those files keep to it, and each object may differ."""


def is_shap_e(start: Path | None) -> bool:
    return start is not None and str(start) == NAME


def shap_e_source(
    request: Request, folder: Path, device: str, messages: list[Message]
) -> Source | None:
    """Local folder of Shap-E's weights, downloaded if necessary.

    None without --start shap-e, if the run in `folder` has a checkpoint to go on from, or if the
    splats are there. Raises `UserError` if there are no weights and they cannot be downloaded.
    """
    if not is_shap_e(request.start):
        return None
    if request.resume and newest_checkpoint(folder / "checkpoint") is not None:
        return None
    if saved_splats(request, folder) is not None:
        return None
    source = find()
    if device == "cpu":
        counts = "" if request.minutes is None else ", which count as minutes of the run"
        text = f"{SUBJECT}: takes 5 to 40 minutes on a CPU{counts}"
        messages.append(Message(text, is_warning=True))
    return source


def find() -> Source:
    """Local folder of the weights: a copy in the Hugging Face cache, or a download."""
    from huggingface_hub import constants

    copies = sorted(cache.snapshots(REPO), key=lambda folder: folder.name != REVISION)
    for folder in copies:
        if lacking_part(folder) is None:
            return Source(NAME, folder, REPO)
    if cache.is_offline(False):
        lacks = f"the copy in the cache lacks its {lacking_part(copies[0])}" if copies else ""
        raise UserError(
            f"{SUBJECT}: {lacks or 'not in the cache'} ({constants.HF_HUB_CACHE}), and "
            f"HF_HUB_OFFLINE is set; {ADVICE}"
        )
    advice = f"{ADVICE[0].upper()}{ADVICE[1:]}"
    return hub.download(SUBJECT, NAME, (REPO,), False, advice, _fetch)


def lacking_part(folder: Path) -> str | None:
    """The first part of Shap-E that `folder` does not have whole; None if it has all."""
    whole = {part: cache.is_complete_network(folder / part) for part in NETWORKS}
    whole["tokenizer"] = cache.is_complete_tokenizer(folder / "tokenizer")
    whole["scheduler"] = (folder / "scheduler" / "scheduler_config.json").is_file()
    return next((part for part, is_whole in whole.items() if not is_whole), None)


def _fetch(name: str, repo: str) -> Path | str:
    """Download `REVISION` of a repository; see `hub.fetch_model`."""
    import huggingface_hub

    sizes = hub.files_of(repo, REVISION)
    files = needed_files(sizes)
    if not all(any(f.startswith(f"{part}/") for f in files) for part in NETWORKS):
        return "contains no safetensors weights of Shap-E"
    folder = hub.card_folder(repo, sizes, REVISION)
    why = f"{SUBJECT}: the splats to start from are a mesh that Shap-E makes from the prompt"
    print(why, file=sys.stderr, flush=True)
    hub.announce(repo, folder, sum(sizes[f] or 0 for f in files))
    return Path(
        huggingface_hub.snapshot_download(
            repo, revision=REVISION, allow_patterns=files, etag_timeout=hub.CONNECT_S
        )
    )


def needed_files(files: Iterable[str]) -> list[str]:
    """The files of the repository that are read, with one safetensors copy of the weights."""
    files = list(files)
    chosen = [f for f in files if f in ("model_index.json", "README.md")]
    for part in ("tokenizer", "scheduler"):
        chosen += [f for f in files if f.startswith(f"{part}/") and f.endswith((".json", ".txt"))]
    for part in NETWORKS:
        inside = [f.removeprefix(f"{part}/") for f in files if f.startswith(f"{part}/")]
        if weights := chosen_weights(inside, half=True):
            chosen += [f"{part}/{name}" for name in ("config.json", *weights)]
    return sorted(chosen)


def shap_e_splats(
    source: Source, request: Request, folder: Path, device: str, callbacks: Callbacks
) -> Splats:
    """The splats to start from, made now and saved in the folder of the run.

    Raises `UserError` if a part is missing or damaged, memory runs out, or the mesh is empty.
    """
    callbacks.info(f"starting from {request.prompt!r} as Shap-E makes it")
    if words := _unread(source, request.prompt):
        callbacks.warn(f'{SUBJECT}: the prompt is too long for Shap-E; it does not read "{words}"')
    with _in_memory():
        mesh = shap_e_mesh(source, request, device)
    try:
        splats = cast(Splats, framed(splats_of_mesh(mesh)))
    except ValueError as error:
        raise UserError(f"{SUBJECT}: {error}; {AGAIN}") from None
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    save_splats(folder / FOLDER / SPLATS, splats)
    text = json.dumps(_record(request) | {"revision": source.folder.name}, ensure_ascii=False)
    (folder / FOLDER / RECORD).write_text(text + "\n", "utf-8")
    # Read again, so that a resumed run starts from the same numbers.
    return load_splats(folder / FOLDER / SPLATS, exact=True)


def _record(request: Request) -> dict[str, Any]:
    made = {"prompt": request.prompt, "seed": int(request.seed), "model": REPO}
    return made | {"steps": STEPS, "guidance": GUIDANCE}


def saved_splats(request: Request, folder: Path) -> Splats | None:
    """The splats in the folder of a run that were made for this prompt and seed; None if there are
    none."""
    try:
        record = json.loads((folder / FOLDER / RECORD).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    made, file = _record(request), folder / FOLDER / SPLATS
    same = isinstance(record, dict) and {key: record.get(key) for key in made} == made
    return load_splats(file, exact=True) if same and file.is_file() else None


def shap_e_mesh(source: Source, request: Request, device: str) -> Mesh:
    """The mesh that Shap-E makes from the prompt and the seed, in world directions.

    Heewoo Jun and Alex Nichol, arXiv 2305.02463: a transformer denoises the latents of an implicit
    function, whose signed distance becomes triangles by marching cubes. diffusers
    turns the colors of the function from sRGB to linear light; `Mesh` has sRGB, so they are turned
    back. Raises `UserError` as `shap_e_splats` does.
    """
    with quiet():
        pipe = _load(source, torch.device(device))
        made = pipe(
            request.prompt,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            generator=rng.generator(request.seed, NAME),
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


def _unread(source: Source, prompt: str) -> str:
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


def _load(source: Source, device: torch.device) -> Any:
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


@contextmanager
def _in_memory():
    """Turn a lack of memory into advice, and free all memory of the model afterwards."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not is_memory(error):
            raise
        raise UserError(f"{SUBJECT}: out of memory; use --device cpu, or {ADVICE}") from None
    finally:
        gc.collect()
        release()
