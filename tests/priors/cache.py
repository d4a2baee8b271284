"""A Hugging Face cache in the layout that downloads create."""

import shutil
from pathlib import Path

SHA = "0123456789abcdef0123456789abcdef01234567"


def put_in_cache(cache: Path, repo: str, model: Path) -> Path:
    """Copy `model` into the cache as a download of `repo`; returns its snapshot folder."""
    root = cache / f"models--{repo.replace('/', '--')}"
    shutil.copytree(model, root / "snapshots" / SHA)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(SHA)
    return root / "snapshots" / SHA
