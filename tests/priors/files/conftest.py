"""A Hugging Face cache in which the configurations of the models are."""

import shutil

import pytest

from gs3d.priors.files.layouts import LAYOUTS
from tests.priors.cache import put_in_cache


@pytest.fixture
def converted(monkeypatch, tmp_path):
    """Folder of converted models, in an empty cache."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_ASSETS_CACHE", str(tmp_path / "assets"))
    return tmp_path / "assets" / "gs3d" / "models"


@pytest.fixture
def configurations(hub_cache, converted, tmp_path, tiny_sd_folder, tiny_xl_folder):
    """Put the configurations of the tiny models into the cache, in place of the real ones."""
    models = {"Stable Diffusion XL": tiny_xl_folder}
    for layout in LAYOUTS:
        model = tmp_path / "configurations" / layout.name
        shutil.copytree(models.get(layout.name, tiny_sd_folder), model)
        for weights in model.glob("*/*.safetensors"):
            weights.unlink()
        put_in_cache(hub_cache, layout.repos[0], model)
    return hub_cache
