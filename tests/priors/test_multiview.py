"""A prior of four views: how they become one picture and come back, and that each sees the others."""

import json
import shutil

import pytest
import torch

from gs3d.core.errors import UserError
from gs3d.priors import Condition, builtin, guided, load
from gs3d.priors.multiview import MultiViewPrior, from_grid, to_grid
from gs3d.world.captions import vocabulary_texts


@pytest.fixture(scope="module")
def four(tiny_multiview_folder):
    return load(tiny_multiview_folder, "cpu")


def test_quarters_are_the_views_in_order_and_come_back():
    views = torch.arange(8.0)[:, None, None, None].expand(8, 3, 2, 2)
    grids = to_grid(views)
    assert grids.shape == (2, 3, 4, 4)
    assert grids[1, 0].tolist() == [[4, 4, 5, 5], [4, 4, 5, 5], [6, 6, 7, 7], [6, 6, 7, 7]]
    torch.testing.assert_close(from_grid(grids), views)
    noise = torch.randn(8, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(from_grid(to_grid(noise)), noise)
    with pytest.raises(ValueError, match="whole groups of 4 views, got 6"):
        to_grid(views[:6])


def test_it_is_loaded_by_what_its_index_says(four, tiny_builtin):
    assert isinstance(four, MultiViewPrior) and four.views == 4 and tiny_builtin.views == 1
    assert (four.image_size, four.latent_shape) == (16, (3, 16, 16))


def test_a_view_depends_on_the_others_of_its_group_alone(four):
    gen = torch.Generator().manual_seed(0)
    z, sigma, text = (
        torch.randn(8, 3, 16, 16, generator=gen),
        torch.ones(8),
        four.embed(["a red car"]).expand(8, -1, -1),
    )
    before = four.denoise(z, sigma, text)
    assert before.shape == z.shape
    z[1] += 1
    moved = (four.denoise(z, sigma, text) - before).abs().amax(dim=(1, 2, 3)) > 1e-5
    assert moved.tolist() == [True] * 4 + [False] * 4


def test_the_words_are_those_of_the_first_view(four):
    gen = torch.Generator().manual_seed(1)
    z, sigma = torch.randn(4, 3, 16, 16, generator=gen), torch.full((4,), 2.0)
    car, tree = four.embed(["a red car", "a green tree"])
    by_first = four.denoise(z, sigma, torch.stack([car, tree, tree, tree]))
    torch.testing.assert_close(by_first, four.denoise(z, sigma, car.expand(4, -1, -1)))
    assert (by_first - four.denoise(z, sigma, tree.expand(4, -1, -1))).abs().max() > 1e-4


def test_guidance_keeps_groups_together(four):
    gen = torch.Generator().manual_seed(2)
    z = torch.randn(8, 3, 16, 16, generator=gen)
    text, negative = (four.embed([t]).expand(8, -1, -1) for t in ("a red car", ""))
    both = guided(four, z, 1.0, Condition(text, negative), 3.0)
    for group in (slice(0, 4), slice(4, 8)):
        alone = guided(four, z[group], 1.0, Condition(text[group], negative[group]), 3.0)
        torch.testing.assert_close(both[group], alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("model", "views", "expected"),
    [
        ("tiny_sd_folder", 4, "4 views and an autoencoder"),
        ("tiny_multiview_folder", 6, "speaks of 6 views; expected 1 or 4"),
        ("tiny_multiview_folder", True, "speaks of True views; expected 1 or 4"),
    ],
)
def test_an_index_with_views_that_cannot_be_is_refused(tmp_path, request, model, views, expected):
    folder = shutil.copytree(request.getfixturevalue(model), tmp_path / "model")
    index = folder / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"views": views}))
    with pytest.raises(UserError, match=expected):
        load(folder, "cpu")


def test_an_odd_picture_has_no_quarters(tmp_path):
    tokenizer = builtin.new_tokenizer(vocabulary_texts())
    backbone = builtin.new_backbone(image_size=24, layers=1, heads=1, head_width=16)
    backbone.register_to_config(sample_size=25)
    builtin.save(tmp_path, backbone, builtin.new_text_encoder(tokenizer), tokenizer, views=4)
    with pytest.raises(UserError, match="four views make a picture of an even size, got 25"):
        load(tmp_path, "cpu")


def test_the_one_that_ships_is_small_and_takes_four_views_together():
    prior = load("builtin-mv", "cpu")
    assert isinstance(prior, MultiViewPrior) and prior.views == 4 and prior.image_size == 64
    assert sum(f.stat().st_size for f in builtin.MV_FOLDER.rglob("*.safetensors")) <= 16e6
    text = prior.embed(["a red duck, front 15 up view"] * 4)
    z, sigma = torch.zeros(4, 3, 64, 64), torch.full((4,), 20.0)
    # At this noise all that there is to say is what the caption says, and a duck is not the same from all sides.
    seen = prior.decode(
        prior.denoise(
            z + 20 * torch.randn(z.shape, generator=torch.Generator().manual_seed(0)), sigma, text
        )
    )
    assert (seen[0] - seen[1]).abs().mean() > 0.01 and 0.01 < seen.std() < 0.5
