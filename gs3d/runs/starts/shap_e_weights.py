"""Shap-E's weights: where they are, and their download."""

import sys
from collections.abc import Iterable
from pathlib import Path

from gs3d.core.errors import UserError
from gs3d.priors.loading import cache, hub
from gs3d.priors.loading.components import Source
from gs3d.priors.loading.weights import chosen_weights

NAME = "shap-e"
"""Value of --start. A folder of this name needs its whole path."""
SUBJECT = f"--start {NAME}"
REPO, REVISION = "openai/shap-e", "d75bbddb28cf16472b026f4da0f2840f22fdcf0f"
"""Hub id, and the commit of its pull request 11. The main branch has the renderer only as a pickle,
which gs3d does not read; this commit has all parts as safetensors in float16, 1.3 GB."""
NETWORKS = ("prior", "text_encoder", "shap_e_renderer")
ADVICE = "leave --start out, or start from a file"


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
