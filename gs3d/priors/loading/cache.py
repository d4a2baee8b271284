# pyright: reportUnknownMemberType=false
# huggingface_hub has no complete types.
"""The Hugging Face cache: which models are there, and whether they are whole."""

from collections.abc import Callable, Iterable
from pathlib import Path

from gs3d.core.errors import UserError
from gs3d.priors.loading import components, weights
from gs3d.priors.loading.components import Source
from gs3d.priors.text.several import tokenizer_of


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
    index = set(index)
    networks = [part for part in components.NETWORKS if part in index]
    found = (part for part in networks if not is_complete_network(folder / part))
    if (part := next(found, None)) is not None:
        return part
    if not (folder / "scheduler" / "scheduler_config.json").exists():
        return "scheduler"
    # A tokenizer can be there without its encoder. It is not read then.
    tokenizers = [tokenizer_of(part) for part in components.TEXT_ENCODERS if part in index]
    found = (part for part in tokenizers if not is_complete_tokenizer(folder / part))
    return next(found, None)


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
