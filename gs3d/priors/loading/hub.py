# pyright: reportUnknownMemberType=false
# huggingface_hub has no complete types.
"""Models of the Hugging Face hub: download from mirrors, one-line errors."""

import errno
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

from gs3d.core.errors import UserError, shown
from gs3d.priors.about.license import license_line, license_of
from gs3d.priors.about.names import ID_PATTERN as ID_PATTERN
from gs3d.priors.loading import cache, components, weights
from gs3d.priors.loading.components import Source
from gs3d.priors.loading.headers import read_object

AUTOENCODERS = components.AUTOENCODERS
"""Autoencoder classes, which a repository may hold without the rest of a model."""
PARTS = (*components.NETWORKS, *components.TOKENIZERS, "scheduler")
"""Names of all parts of which gs3d reads files."""
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


def needed_files(files: Iterable[str], parts: Collection[str] = PARTS) -> list[str]:
    """The files of a repository that `components.read` opens, for a model with these `parts`.

    These are the configurations and one safetensors copy of each part's weights. The float16 copy
    is preferred on a CPU too: it is half the download, and its rounding is far below anything
    visible in a render.
    """
    files = set(files)
    needed = {f for f in ("model_index.json", "README.md") if f in files}
    for part in (part for part in PARTS if part in parts):
        inside = [f for f in files if f.startswith(f"{part}/")]
        needed |= {
            f for f in inside if f.endswith((".json", ".txt", ".model")) and ".index." not in f
        }
        needed |= {
            f"{part}/{n}"
            for n in weights.chosen_weights((f.removeprefix(f"{part}/") for f in inside), half=True)
        }
    return sorted(needed)


def fetch_model(name: str, repo: str) -> Path | str:
    """Download the model in `repo` and return its folder, or why the repository has no model.

    Raises `UserError` for a model of another kind, and any error of the hub's client.
    """
    import huggingface_hub

    sizes = files_of(repo)
    parts = {f.split("/")[0] for f in needed_files(sizes) if f.endswith(".safetensors")}
    if "model_index.json" not in sizes or components.backbone_part(parts) is None:
        alone = f", only {' and '.join(sorted(parts))}" if parts else ""
        return f"contains no diffusers model with safetensors weights{alone}"
    index = small_file(repo, "model_index.json")
    # Refuses a model of another kind before its gigabytes are downloaded.
    files = needed_files(sizes, components.read_index(Path(index).parent, name))
    if "README.md" in files:
        small_file(repo, "README.md")
    announce(repo, Path(index).parent, sum(sizes[f] or 0 for f in files))
    return Path(
        huggingface_hub.snapshot_download(repo, allow_patterns=files, etag_timeout=CONNECT_S)
    )


def fetch_network(name: str, repo: str) -> Path | str:
    """Download a repository with a single autoencoder; see `fetch_model`."""
    import huggingface_hub

    files = files_of(repo)
    chosen = weights.chosen_weights(files, half=True)
    if "model_index.json" in files:
        return "contains a complete model; pass a folder with a copy of its vae/"
    if "config.json" not in files or not chosen:
        return "contains no diffusers network with safetensors weights"
    config = small_file(repo, "config.json")
    # Refuses another network before its gigabytes are downloaded.
    if (cls := class_in(Path(config))) not in AUTOENCODERS:
        return f"contains {cls or 'an unknown class'}, not {' or '.join(AUTOENCODERS)}"
    announce(repo, card_folder(repo, files), sum(files[f] or 0 for f in chosen))
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


def small_file(repo: str, file: str, revision: str | None = None) -> str:
    """Download one small file of a repository, and return its path."""
    import huggingface_hub

    client: Any = huggingface_hub
    options = {} if revision is None else {"revision": revision}
    return _with_time_limit(
        2 * CONNECT_S,
        lambda: client.hf_hub_download(repo, file, etag_timeout=CONNECT_S, **options),
    )


def files_of(repo: str, revision: str | None = None) -> dict[str, int | None]:
    """Name -> bytes of all files of a repository; None where the server does not say."""
    import huggingface_hub

    options: dict[str, Any] = {} if revision is None else {"revision": revision}
    info: huggingface_hub.ModelInfo = _with_time_limit(
        CONNECT_S + 1,
        lambda: huggingface_hub.model_info(repo, timeout=CONNECT_S, files_metadata=True, **options),
    )
    return {s.rfilename: s.size for s in info.siblings or []}


def card_folder(repo: str, files: Collection[str], revision: str | None = None) -> Path:
    """Folder with the README.md of a repository with these `files`; one that is not there if it has
    none."""
    if "README.md" not in files:
        return Path(repo)
    return Path(small_file(repo, "README.md", revision)).parent


def announce(repo: str, folder: Path, size: int) -> None:
    """Say on stderr that `size` bytes of a model are downloaded, and its license.

    The progress bars of huggingface_hub follow. `folder` is that of the files of `repo` that are
    there already, such as its README.md.
    """
    from huggingface_hub import constants

    amount = f"{size / 1e9:.1f} GB, " if size >= 1e8 else f"{size / 1e6:.0f} MB, "
    text = (
        f"downloading {repo}, {amount if size else ''}once, to "
        f"{constants.HF_HUB_CACHE}; Ctrl-C stops it, and the same command continues"
    )
    license = license_of(folder, repo)
    lines = [text, *([] if license is None else [license_line(license, repo)])]
    print(*lines, sep="\n", file=sys.stderr, flush=True)


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
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError

    if cache.is_offline(offline):
        why = "downloads are turned off" if offline else "HF_HUB_OFFLINE is set"
        state = cache.in_cache(name, repos)
        raise UserError(f"{subject}: {state} ({constants.HF_HUB_CACHE}), and {why}. {advice}")
    failures: list[str] = []
    began = time.monotonic()
    for repo in repos:
        try:
            result = fetch(name, repo)
            if isinstance(result, Path):
                return Source(name, result, repo, time.monotonic() - began)
            failures.append(f"{repo} ({result})")
        except UserError:
            raise
        except GatedRepoError:
            raise UserError(
                f"{subject}: its license must be accepted first, at https://huggingface.co/{repo}; "
                "then run `hf auth login` here, and again"
            ) from None
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
