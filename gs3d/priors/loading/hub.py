"""Models of the hub: what the cache holds, what a server gives, mirrors in order, and one clear line when none of them has it."""

import errno
import json
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from gs3d.core.errors import UserError
from gs3d.priors.loading import components
from gs3d.priors.loading.components import Source

ID = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"
"""owner/name, to be matched as a whole."""
PARTS = components.CLASSES["vae"]
"""Classes that a repository may hold by itself."""
DISK_FAULTS = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.EIO,
    errno.EFBIG,
)
CONNECT_S = 5.0
"""How long a server may take to answer; a name lookup that hangs is left behind after the same time."""


def needed_files(files: Iterable[str]) -> list[str]:
    """Of a repository's files, those that `components.read` opens: configurations, and one safetensors copy of each part's weights.

    The half-precision copy where there is one, on a CPU too: half the download, and its rounding is far below what a render could show.
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
            for n in components.chosen_weights(
                (f.removeprefix(f"{part}/") for f in inside), half=True
            )
        }
    return sorted(needed)


def is_whole(folder: Path) -> bool:
    """Whether an earlier download of a model ended: every part that the index names has its configuration and its weights."""
    try:
        index = components.read_index(folder)
    except UserError:
        return False  # its index is damaged: as good as not there, and another mirror may be whole
    parts = [part for part in components.CLASSES if part in index]
    weights = all(
        (folder / part / "config.json").is_file()
        and components.weight_files(folder / part, half=True)
        for part in parts
    )
    return weights and all(
        any((folder / part).glob("*.json")) for part in ("tokenizer", "scheduler")
    )


def is_whole_part(folder: Path) -> bool:
    """The same of a repository that holds one network by itself."""
    return (folder / "config.json").is_file() and bool(components.weight_files(folder, half=True))


def cached(
    what: str,
    name: str,
    repos: Iterable[str],
    file: str = "model_index.json",
    whole: Callable[[Path], bool] = is_whole,
) -> Source | None:
    """The first of `repos` that the Hugging Face cache holds, `whole` as it says of the folder that `file` is in. `what` as `download`
    takes it; `UserError` for what can be no id."""
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError

    for repo in repos:
        try:
            path = huggingface_hub.try_to_load_from_cache(repo, file)
        except HFValidationError as error:
            raise UserError(
                f"{what}: can be no id of the hub ({' '.join(str(error).split())[:160]})"
            ) from None
        if isinstance(path, str) and whole(Path(path).parent):
            return Source(name, Path(path).parent, repo)
    return None


def fetch_model(name: str, repo: str) -> Path | str:
    """The folder that a whole model of `repo` was downloaded to, or why it is none. Raises whatever the hub's client raises."""
    import huggingface_hub

    wanted = needed_files(_files(repo))
    weights = {f.split("/")[0] for f in wanted if f.endswith(".safetensors")}
    if "model_index.json" not in wanted or components.backbone_part(weights) is None:
        return "holds no diffusers model with its network as safetensors"
    index = huggingface_hub.hf_hub_download(repo, "model_index.json", etag_timeout=CONNECT_S)
    components.read_index(
        Path(index).parent, name
    )  # refuses a model of another kind before its gigabytes are fetched
    return Path(
        huggingface_hub.snapshot_download(repo, allow_patterns=wanted, etag_timeout=CONNECT_S)
    )


def fetch_part(name: str, repo: str) -> Path | str:
    """As `fetch_model`, of a repository that holds one of PARTS by itself."""
    import huggingface_hub

    files = _files(repo)
    weights = components.chosen_weights(files, half=True)
    if "model_index.json" in files:
        return "holds a whole model; give a folder with a copy of its vae/"
    if "config.json" not in files or not weights:
        return "holds no network of diffusers as safetensors"
    config = huggingface_hub.hf_hub_download(repo, "config.json", etag_timeout=CONNECT_S)
    if (kind := class_in(Path(config))) not in PARTS:  # before gigabytes are fetched
        return f"holds {kind or 'something else'}, not {' or '.join(PARTS)}"
    return Path(
        huggingface_hub.snapshot_download(
            repo, allow_patterns=["config.json", *weights], etag_timeout=CONNECT_S
        )
    )


def class_in(config: Path) -> str | None:
    """The class of diffusers that a network's config.json names; None where it names none, or cannot be read."""
    try:
        return str(json.loads(config.read_text(encoding="utf-8"))["_class_name"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _files(repo: str) -> list[str]:
    import huggingface_hub

    info = _within(CONNECT_S + 1, lambda: huggingface_hub.model_info(repo, timeout=CONNECT_S))
    return [s.rfilename for s in info.siblings or []]


def download(
    what: str,
    name: str,
    repos: Iterable[str],
    offline: bool,
    else_do: str,
    fetch: Callable[[str, str], Path | str] = fetch_model,
) -> Source:
    """The first of `repos` that a server gives; a UserError that says what became of each. `what` is "prior sd15" or the like."""
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError

    if offline or constants.HF_HUB_OFFLINE:
        why = "offline was asked for" if offline else "HF_HUB_OFFLINE is set"
        raise UserError(
            f"{what}: not in the cache ({constants.HF_HUB_CACHE}), and {why}. {else_do}"
        )
    tried = []
    for repo in repos:
        try:
            found = fetch(name, repo)
            if isinstance(found, Path):
                return Source(name, found, repo)
            tried.append(f"{repo} ({found})")
        except UserError:
            raise
        except HfHubHTTPError as error:
            status = getattr(error.response, "status_code", None)
            tried.append(
                f"{repo} ({'gone or private' if status in (401, 403, 404) else f'server error {status}'})"
            )
        except (
            Exception
        ) as error:  # the HTTP client's own classes differ between versions of huggingface_hub
            reason = " ".join(str(error).split())[:160]
            if isinstance(error, OSError) and error.errno in DISK_FAULTS:
                raise UserError(
                    f"{what}: cannot write the download of {repo} ({reason}); free some space or set HF_HOME"
                ) from None
            tried.append(f"{repo} ({type(error).__name__}: {reason})")
            break  # a dead connection: every mirror is on the same host
    raise UserError(
        f"{what}: not in the cache ({constants.HF_HUB_CACHE}) and not downloaded; tried {', '.join(tried)}. "
        f"Check the network and run again (a broken download goes on where it stopped). {else_do}"
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
