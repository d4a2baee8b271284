"""Networks compiled by torch."""

import shutil

import pytest
import torch

from gs3d.core import rng
from gs3d.priors import load
from tests.priors.loading.helpers import gradient, images


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles for the CPU with g++")
def test_compiled_networks_give_equal_results(tiny_sd_folder, tiny_autoencoder, tmp_path):
    from diffusers import UNet2DConditionModel
    from torch._dynamo.utils import counters

    # The compiler takes a second for each kernel, so these networks have few layers.
    shutil.copytree(tiny_sd_folder, folder := tmp_path / "model")
    UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16,),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",),
        mid_block_type=None,
        up_block_types=("UpBlock2D",),
        cross_attention_dim=16,
        attention_head_dim=2,
        norm_num_groups=8,
    ).save_pretrained(folder / "unet")
    prior, compiled = (
        load(folder, "cpu", vae=str(tiny_autoencoder), compiled=compiled)
        for compiled in (False, True)
    )
    z, text = rng.normal((2, 4, 8, 8), 0, "z"), prior.embed(["a car", "a dog"])
    sigma = torch.tensor([0.5, 3.0])
    counters.clear()
    torch.testing.assert_close(
        compiled.denoise(z, sigma, text), prior.denoise(z, sigma, text), rtol=1e-3, atol=1e-4
    )
    torch.testing.assert_close(gradient(compiled), gradient(prior), rtol=1e-3, atol=1e-4)
    graphs = counters["stats"]["unique_graphs"]
    # Smaller images have another memory layout, which must not compile the encoder again.
    compiled.encode(images(8))
    assert counters["stats"]["unique_graphs"] == graphs > 0
