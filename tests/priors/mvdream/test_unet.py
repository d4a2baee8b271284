"""MVDream's network against diffusers' own U-Net, and the dependence of the views on each other."""

import pytest
import torch

from gs3d.core import rng
from tests.priors.mvdream.tiny import PUBLISHED, SIZES, new_network


@pytest.fixture(scope="module")
def network():
    return new_network()


@pytest.fixture
def inputs():
    """Arguments of a call with two groups of four views: x, time, text, cameras."""
    return (
        rng.normal((8, 4, 8, 8), 0, "x"),
        torch.linspace(20, 900, 8),
        rng.normal((8, 5, 16), 0, "text"),
        rng.normal((8, 16), 0, "cameras"),
    )


def difference(a, b):
    """Largest difference of each view."""
    return (a - b).abs().amax(dim=(1, 2, 3))


@torch.no_grad()
def test_single_views_without_camera_are_stable_diffusion(network, inputs):
    """Without what MVDream adds, its network is that of Stable Diffusion 2.1."""
    from diffusers import UNet2DConditionModel
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    config = {
        "sample_size": 8,
        "block_out_channels": (32, 64),
        "layers_per_block": 1,
        "down_block_types": ("CrossAttnDownBlock2D",) * 2,
        "up_block_types": ("CrossAttnUpBlock2D",) * 2,
        "cross_attention_dim": 16,
        "attention_head_dim": (2, 4),  # diffusers' name for the number of heads
        "use_linear_projection": True,
    }
    theirs = UNet2DConditionModel(**config).eval()
    state = {k: v.clone() for k, v in network.state_dict().items() if "camera" not in k}
    prefixed = {f"model.diffusion_model.{k}": v for k, v in state.items()}
    theirs.load_state_dict(convert_ldm_unet_checkpoint(prefixed, theirs.config), strict=True)

    blind = new_network()
    blind.load_state_dict(network.state_dict())
    for parameter in blind.camera_embed.parameters():
        parameter.zero_()
    x, time, text, cameras = inputs
    expected = theirs(x, time, text).sample
    torch.testing.assert_close(blind(x, time, text, cameras, 1), expected, rtol=1e-5, atol=1e-5)
    assert difference(network(x, time, text, cameras, 1), expected).min() > 1e-3


@torch.no_grad()
def test_equal_views_are_denoised_as_one(network, inputs):
    """Attention over four times the same is attention over it once."""
    alone = [a[:1] for a in inputs]
    together = [a[:1].repeat(4, *[1] * (a.ndim - 1)) for a in inputs]
    expected = network(*alone, 1).expand(4, -1, -1, -1)
    torch.testing.assert_close(network(*together, 4), expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_order_in_a_group_does_not_count(network, inputs):
    order = torch.tensor([2, 0, 3, 1, 7, 6, 5, 4])
    before = network(*inputs, 4)
    after = network(*(a[order] for a in inputs), 4)
    torch.testing.assert_close(after, before[order], rtol=1e-5, atol=1e-5)
    assert difference(after, before).min() > 1e-3


@torch.no_grad()
def test_view_depends_on_own_group_only(network, inputs):
    before = network(*inputs, 4)
    for changed, steps in enumerate((1.0, 300.0, 1.0, 1.0)):
        arguments = [a.clone() for a in inputs]
        arguments[changed][1] += steps
        found = difference(network(*arguments, 4), before) > 1e-6
        assert found.tolist() == [True] * 4 + [False] * 4


@torch.no_grad()
def test_half_precision_is_near(network, inputs):
    x, time, text, cameras = inputs
    expected = network(*inputs, 4)
    half = new_network().to(torch.bfloat16)
    found = half(x.bfloat16(), time, text.bfloat16(), cameras.bfloat16(), 4)
    assert found.dtype == torch.bfloat16
    assert float((found.float() - expected).norm() / expected.norm()) < 0.03


def test_weights_of_the_published_size():
    with torch.device("meta"):
        state = new_network(**PUBLISHED).state_dict()
    assert len(state) == 690 and sum(w.numel() for w in state.values()) == 867_572_164
    shapes = {
        "camera_embed.0.weight": (1280, 16),
        "camera_embed.2.bias": (1280,),
        "time_embed.0.weight": (1280, 320),
        "input_blocks.0.0.weight": (320, 4, 3, 3),
        "input_blocks.3.0.op.weight": (320, 320, 3, 3),
        "input_blocks.4.0.skip_connection.weight": (640, 320, 1, 1),
        "input_blocks.1.1.transformer_blocks.0.attn1.to_out.0.weight": (320, 320),
        "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, 1024),
        "middle_block.1.transformer_blocks.0.ff.net.0.proj.weight": (10240, 1280),
        "middle_block.2.out_layers.3.bias": (1280,),
        "output_blocks.2.1.conv.weight": (1280, 1280, 3, 3),
        "output_blocks.5.2.conv.weight": (1280, 1280, 3, 3),
        "output_blocks.11.1.proj_out.weight": (320, 320),
        "out.2.weight": (4, 320, 3, 3),
    }
    assert {k: tuple(state[k].shape) for k in shapes} == shapes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_channels": 40}, r"channels that 32 divides, got 40 and \[40, 80\]"),
        ({"num_head_channels": 24}, r"num_head_channels that divides \[32, 64, 64\], got 24"),
        ({"num_head_channels": 0}, "num_head_channels that divides"),
        ({"camera_dim": 12}, "expected camera_dim 16, got 12"),
        ({"ip_dim": 16}, "ip_dim 16: this is ImageDream, which wants an image"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        new_network(**changes)


def test_saved_settings_are_those_that_were_given(tmp_path, network):
    network.save_pretrained(tmp_path)
    config = type(network).load_config(tmp_path)
    assert {key: config[key] for key in SIZES} == SIZES
