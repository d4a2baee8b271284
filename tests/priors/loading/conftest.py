"""A fake hub, and a tiny replacement autoencoder."""

from types import SimpleNamespace

import huggingface_hub
import pytest

from tests.priors.cache import put_in_cache
from tests.priors.loading.helpers import not_found, write_tiny_autoencoder


@pytest.fixture
def hub(monkeypatch, hub_cache, tiny_sd_folder):
    """A fake hub with the repositories `online`, which records requested repositories and files."""
    state = SimpleNamespace(online={}, requested=[], patterns=None, index_folder=tiny_sd_folder)

    def model_info(repo, timeout, files_metadata):
        state.requested.append(repo)
        files = state.online.get(repo)
        if files is None:
            raise not_found(repo)
        return SimpleNamespace(
            siblings=[SimpleNamespace(rfilename=f, size=400_000_000) for f in files]
        )

    def snapshot_download(repo, allow_patterns, etag_timeout):
        state.patterns = allow_patterns
        return str(put_in_cache(hub_cache, repo, tiny_sd_folder))

    def hf_hub_download(repo, file, etag_timeout):
        return str(state.index_folder / file)

    monkeypatch.setattr(huggingface_hub, "model_info", model_info)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hf_hub_download)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return state


@pytest.fixture
def tiny_autoencoder(tmp_path):
    """Folder of an AutoencoderTiny with the latent channels of `tiny_sd`."""
    return write_tiny_autoencoder(tmp_path / "small")
