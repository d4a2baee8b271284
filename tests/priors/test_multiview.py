"""Multi-view prior: tiling of four views into one image, and dependence between the views."""

import json
import shutil

import pytest
import torch

from gs3d.core.errors import UserError
from gs3d.priors import Condition, builtin, guided, load
from gs3d.priors.multiview import MultiViewPrior, from_grid, to_grid
from gs3d.world.captions import vocabulary_texts


@pytest.fixture(scope="module")
def prior(tiny_multiview_folder):
    return load(tiny_multiview_folder, "cpu")


def test_grid_order_and_inverse():
    views = torch.arange(8.0)[:, None, None, None].expand(8, 3, 2, 2)
    grids = to_grid(views)
    assert grids.shape == (2, 3, 4, 4)
    assert grids[1, 0].tolist() == [[4, 4, 5, 5], [4, 4, 5, 5], [6, 6, 7, 7], [6, 6, 7, 7]]
    torch.testing.assert_close(from_grid(grids), views)
    noise = torch.randn(8, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(from_grid(to_grid(noise)), noise)
    with pytest.raises(ValueError, match="expected a multiple of 4 views, got 6"):
        to_grid(views[:6])


def test_views_are_read_from_index(prior, tiny_builtin):
    assert isinstance(prior, MultiViewPrior) and prior.views == 4 and tiny_builtin.views == 1
    assert (prior.image_size, prior.latent_shape) == (16, (3, 16, 16))


def test_views_depend_on_own_group_only(prior):
    gen = torch.Generator().manual_seed(0)
    z, sigma = torch.randn(8, 3, 16, 16, generator=gen), torch.ones(8)
    text = prior.embed(["a red car"]).expand(8, -1, -1)
    before = prior.denoise(z, sigma, text)
    assert before.shape == z.shape
    z[1] += 1
    changed = (prior.denoise(z, sigma, text) - before).abs().amax(dim=(1, 2, 3)) > 1e-5
    assert changed.tolist() == [True] * 4 + [False] * 4


def test_text_of_first_view_counts(prior):
    gen = torch.Generator().manual_seed(1)
    z, sigma = torch.randn(4, 3, 16, 16, generator=gen), torch.full((4,), 2.0)
    car, tree = prior.embed(["a red car", "a green tree"])
    by_first = prior.denoise(z, sigma, torch.stack([car, tree, tree, tree]))
    torch.testing.assert_close(by_first, prior.denoise(z, sigma, car.expand(4, -1, -1)))
    assert (by_first - prior.denoise(z, sigma, tree.expand(4, -1, -1))).abs().max() > 1e-4


def test_guidance_keeps_groups(prior):
    gen = torch.Generator().manual_seed(2)
    z = torch.randn(8, 3, 16, 16, generator=gen)
    text, negative = (prior.embed([t]).expand(8, -1, -1) for t in ("a red car", ""))
    both = guided(prior, z, 1.0, Condition(text, negative), 3.0)
    for group in (slice(0, 4), slice(4, 8)):
        alone = guided(prior, z[group], 1.0, Condition(text[group], negative[group]), 3.0)
        torch.testing.assert_close(both[group], alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("model", "views", "expected"),
    [
        ("tiny_sd_folder", 4, "4 views and an autoencoder"),
        ("tiny_multiview_folder", 6, 'has "views": 6; expected 1 or 4'),
        ("tiny_multiview_folder", True, 'has "views": True; expected 1 or 4'),
    ],
)
def test_invalid_number_of_views_is_refused(tmp_path, request, model, views, expected):
    folder = shutil.copytree(request.getfixturevalue(model), tmp_path / "model")
    index = folder / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"views": views}))
    with pytest.raises(UserError, match=expected):
        load(folder, "cpu")


def test_odd_image_size_is_refused(tmp_path):
    tokenizer = builtin.new_tokenizer(vocabulary_texts())
    backbone = builtin.new_backbone(image_size=24, layers=1, heads=1, head_width=16)
    backbone.register_to_config(sample_size=25)
    builtin.save(tmp_path, backbone, builtin.new_text_encoder(tokenizer), tokenizer, views=4)
    with pytest.raises(
        UserError, match="expected an even image size for a grid of four views, got 25"
    ):
        load(tmp_path, "cpu")
