"""--start shap-e: a mesh that Shap-E makes from the prompt, as splats that the prior refines."""

import gc
import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch

from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.distill.checkpoint import newest_checkpoint
from gs3d.distill.memory.shortage import is_memory, release
from gs3d.io import SPLATS, load_splats, save_splats
from gs3d.ops.place import framed
from gs3d.priors.loading.components import Source
from gs3d.representations.gaussians.existing import splats_of_mesh
from gs3d.runs.callbacks import Callbacks, Message
from gs3d.runs.request import Request
from gs3d.runs.starts.builtin import FOLDER
from gs3d.runs.starts.shap_e_model import AGAIN, GUIDANCE, STEPS, mesh_of, unread
from gs3d.runs.starts.shap_e_weights import ADVICE, NAME, REPO, SUBJECT, find

RECORD = "shap-e.json"
"""In the folder of the splats: what they were made from."""


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


def shap_e_splats(
    source: Source, request: Request, folder: Path, device: str, callbacks: Callbacks
) -> Splats:
    """The splats to start from, made now and saved in the folder of the run.

    Raises `UserError` if a part is missing or damaged, memory runs out, or the mesh is empty.
    """
    callbacks.info(f"starting from {request.prompt!r} as Shap-E makes it")
    if words := unread(source, request.prompt):
        callbacks.warn(f'{SUBJECT}: the prompt is too long for Shap-E; it does not read "{words}"')
    with _in_memory():
        mesh = mesh_of(source, request.prompt, request.seed, device)
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
    except (OSError, ValueError, RecursionError):
        return None
    made, file = _record(request), folder / FOLDER / SPLATS
    same = isinstance(record, dict) and {key: record.get(key) for key in made} == made
    return load_splats(file, exact=True) if same and file.is_file() else None


@contextmanager
def _in_memory() -> Generator[None, None, None]:
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
