# pyright: reportUnknownMemberType=false
# huggingface_hub has no complete types.
"""Models of the Hugging Face hub: lookup in the cache, download from mirrors, one-line errors."""

import errno
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from gs3d.core.errors import UserError, shown
from gs3d.priors.loading import components, weights
from gs3d.priors.loading.components import Source
from gs3d.priors.loading.headers import read_object

ID_PATTERN = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"
"""Regular expression for the full id owner/name."""
AUTOENCODERS = components.CLASSES["vae"]
"""Autoencoder classes, which a repository may hold without the rest of a model."""
DISK_ERRORS = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.EIO,
    errno.EFBIG,
)
CONNECT_S = 5.0
"""Time limit in seconds for the answer of a server, name lookup included."""


def needed_files(files: Iterable[str]) -> list[str]:
    """The files of a repository that `components.read` opens.

    These are the configurations and one safetensors copy of each part's weights. The float16 copy
    is preferred on a CPU too: it is half the download, and its rounding is far below anything
    visible in a render.
    """
    files = set(files)
    needed = {f for f in ("model_index.json", "README.md") if f in files}
    for part in (*components.CLASSES, "tokenizer", "scheduler"):
        inside = [f for f in files if f.startswith(f"{part}/")]
        needed |= {
            f for f in inside if f.endswith((".json", ".txt", ".model")) and ".index." not in f
        }
        needed |= {
            f"{part}/{n}"
            for n in weights.chosen_weights((f.removeprefix(f"{part}/") for f in inside), half=True)
        }
    return sorted(needed)


def is_complete_model(folder: Path) -> bool:
    """Whether `folder` has the configuration and weights of every part that its index names.

    An interrupted download does not.
    """
    try:
        index = components.read_index(folder)
    except UserError:
        # A damaged index counts as missing, so that another mirror is tried.
        return False
    return incomplete_part(folder, index) is None


def incomplete_part(folder: Path, index: Iterable[str]) -> str | None:
    """The first part of those in `index` that `folder` does not have whole; None if it has all."""
    networks = [part for part in components.CLASSES if part in set(index)]
    found = (part for part in networks if not is_complete_network(folder / part))
    if (part := next(found, None)) is not None:
        return part
    if not (folder / "scheduler" / "scheduler_config.json").exists():
        return "scheduler"
    return None if is_complete_tokenizer(folder / "tokenizer") else "tokenizer"


def is_complete_network(folder: Path) -> bool:
    """Whether `folder` has the configuration and weights of a single network."""
    return (folder / "config.json").is_file() and weights.is_whole(folder, half=True)


def is_complete_tokenizer(folder: Path) -> bool:
    """Whether `folder` has the words of a tokenizer, and no link to a file that is gone."""
    files = list(folder.glob("*"))
    names = {f.name for f in files}
    pairs = {"vocab.json", "merges.txt"} <= names
    single = names & {"tokenizer.json", "vocab.txt"} or any(n.endswith(".model") for n in names)
    return all(f.exists() for f in files) and bool(pairs or single)


def cached(
    subject: str,
    name: str,
    repos: Iterable[str],
    file: str = "model_index.json",
    is_complete: Callable[[Path], bool] = is_complete_model,
    offline: bool = False,
) -> Source | None:
    """The first of `repos` with a complete copy in the Hugging Face cache; None if there is none.

    `is_complete` checks the folder of `file`. `subject` begins the message of the `UserError` for
    an invalid id, such as "prior sd15". With `offline` an older copy serves, if the newest is not
    complete.
    """
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError

    for repo in repos:
        try:
            path = huggingface_hub.try_to_load_from_cache(repo, file)
        except HFValidationError as error:
            reason = " ".join(str(error).split())[:160]
            raise UserError(
                f"{subject}: not a valid hub id ({reason}); expected owner/name"
            ) from None
        folders = [Path(path).parent] if isinstance(path, str) else []
        for folder in folders + (snapshots(repo) if is_offline(offline) else []):
            if is_complete(folder):
                return Source(name, folder, repo)
    return None


def is_offline(offline: bool) -> bool:
    from huggingface_hub import constants

    return offline or bool(constants.HF_HUB_OFFLINE)


def snapshots(repo: str) -> list[Path]:
    """Folders of all copies of a repository in the cache, the newest first."""
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}" / "snapshots"
    found = [p for p in folder.glob("*") if p.is_dir()]
    return sorted(found, key=lambda p: p.stat().st_mtime, reverse=True)


def in_cache(name: str, repos: Iterable[str]) -> str:
    """What the cache has of a model that is not complete there, for a message.

    Raises `UserError` for a model of another kind.
    """
    for repo in repos:
        for folder in snapshots(repo):
            if (folder / "model_index.json").exists():
                index = components.read_index(folder, name)
                return f"the copy in the cache lacks its {incomplete_part(folder, index)}"
    return "not in the cache"


def fetch_model(name: str, repo: str) -> Path | str:
    """Download the model in `repo` and return its folder, or why the repository has no model.

    Raises `UserError` for a model of another kind, and any error of the hub's client.
    """
    import huggingface_hub

    files = needed_files(_files(repo))
    parts = {f.split("/")[0] for f in files if f.endswith(".safetensors")}
    if "model_index.json" not in files or components.backbone_part(parts) is None:
        return "contains no diffusers model with safetensors weights"
    index = _small_file(repo, "model_index.json")
    # Refuses a model of another kind before its gigabytes are downloaded.
    components.read_index(Path(index).parent, name)
    return Path(
        huggingface_hub.snapshot_download(repo, allow_patterns=files, etag_timeout=CONNECT_S)
    )


def fetch_network(name: str, repo: str) -> Path | str:
    """Download a repository with a single autoencoder; see `fetch_model`."""
    import huggingface_hub

    files = _files(repo)
    chosen = weights.chosen_weights(files, half=True)
    if "model_index.json" in files:
        return "contains a complete model; pass a folder with a copy of its vae/"
    if "config.json" not in files or not chosen:
        return "contains no diffusers network with safetensors weights"
    config = _small_file(repo, "config.json")
    # Refuses another network before its gigabytes are downloaded.
    if (cls := class_in(Path(config))) not in AUTOENCODERS:
        return f"contains {cls or 'an unknown class'}, not {' or '.join(AUTOENCODERS)}"
    return Path(
        huggingface_hub.snapshot_download(
            repo, allow_patterns=["config.json", *chosen], etag_timeout=CONNECT_S
        )
    )


def class_in(config: Path) -> str | None:
    """diffusers class named in a network's config.json; None if unnamed or unreadable."""
    try:
        return shown(read_object(config, str(config.parent))["_class_name"], 60)
    except (UserError, KeyError):
        return None


def _small_file(repo: str, file: str) -> str:
    import huggingface_hub

    return _with_time_limit(
        2 * CONNECT_S,
        lambda: huggingface_hub.hf_hub_download(repo, file, etag_timeout=CONNECT_S),
    )


def _files(repo: str) -> list[str]:
    """Names of all files of a repository."""
    import huggingface_hub

    info: huggingface_hub.ModelInfo = _with_time_limit(
        CONNECT_S + 1, lambda: huggingface_hub.model_info(repo, timeout=CONNECT_S)
    )
    return [s.rfilename for s in info.siblings or []]


def download(
    subject: str,
    name: str,
    repos: Iterable[str],
    offline: bool,
    advice: str,
    fetch: Callable[[str, str], Path | str] = fetch_model,
) -> Source:
    """Download the first of `repos` that `fetch` succeeds for.

    Raises `UserError` if none does. Its message begins with `subject`, such as "prior sd15", lists
    why each repository failed, and ends with `advice`.
    """
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError

    if is_offline(offline):
        why = "downloads are turned off" if offline else "HF_HUB_OFFLINE is set"
        state = in_cache(name, repos)
        raise UserError(f"{subject}: {state} ({constants.HF_HUB_CACHE}), and {why}. {advice}")
    failures: list[str] = []
    for repo in repos:
        try:
            result = fetch(name, repo)
            if isinstance(result, Path):
                return Source(name, result, repo)
            failures.append(f"{repo} ({result})")
        except UserError:
            raise
        except HfHubHTTPError as error:
            status = getattr(error.response, "status_code", None)
            missing = status in (401, 403, 404)
            failures.append(
                f"{repo} ({'not found or private' if missing else f'server error {status}'})"
            )
        # The exception classes of the HTTP client differ between versions of huggingface_hub.
        except Exception as error:
            reason = " ".join(str(error).split())[:160]
            if isinstance(error, OSError) and error.errno in DISK_ERRORS:
                raise UserError(
                    f"{subject}: cannot write the download of {repo} ({reason}); "
                    "free some space or set HF_HOME"
                ) from None
            failures.append(f"{repo} ({type(error).__name__}: {reason})")
            # The connection failed, and all mirrors are on the same host.
            break
    raise UserError(
        f"{subject}: not in the cache ({constants.HF_HUB_CACHE}) and not downloaded; "
        f"tried {', '.join(failures)}. "
        f"Check the network and run again (an interrupted download resumes). {advice}"
    )


def _with_time_limit(seconds: float, call: Callable[[], Any]) -> Any:
    """`call()`; raises TimeoutError after `seconds`.

    A name lookup has no time limit of its own and can hang for a minute without a network.
    """
    result: dict[str, Any] = {}

    def work() -> None:
        try:
            result["value"] = call()
        except BaseException as error:  # raised again below, in the caller's thread
            result["error"] = error

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if "error" in result:
        raise result["error"]
    if "value" not in result:
        raise TimeoutError(f"no answer within {seconds:g} s")
    return result["value"]
