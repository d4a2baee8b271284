"""The hash encoding against a scalar implementation of the paper and finite differences.

Also the numba kernel against PyTorch.
"""

import itertools

import pytest
import torch

from gs3d.representations.nerf.hashgrid import HashGridConfig, encode, encode_torch, new_table

SMALL = HashGridConfig(levels=4, log2_size=9, coarsest=4, finest=40)


def table_of(config: HashGridConfig, seed: int = 0) -> torch.Tensor:
    return 1e4 * new_table(config, torch.Generator().manual_seed(seed))


def points_of(count: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(seed))


def scalar_encode(point: list[float], table: torch.Tensor, config: HashGridConfig) -> list[float]:
    """Encode one point with Python scalars (Müller et al. 2022, Sec. 3 and Eq. 4)."""
    out, first = [], 0
    for level in range(config.levels):
        growth = (config.finest / config.coarsest) ** (1 / (config.levels - 1))
        n = int(config.coarsest * growth**level + 1e-6)
        size = min((n + 1) ** 3, 2**config.log2_size)
        scaled = [c * n for c in point]
        low = [min(int(s), n - 1) for s in scaled]
        total = [0.0, 0.0]
        for corner in itertools.product((0, 1), repeat=3):
            where = [a + b for a, b in zip(low, corner, strict=True)]
            if size == (n + 1) ** 3:
                index = where[0] + (n + 1) * where[1] + (n + 1) ** 2 * where[2]
            else:
                index = (
                    ((where[0] * 1) ^ (where[1] * 2654435761) ^ (where[2] * 805459861))
                    % 2**32
                    % size
                )
            weight = 1.0
            for s, a, b in zip(scaled, low, corner, strict=True):
                weight *= (s - a) if b else 1 - (s - a)
            total = [
                t + weight * float(v) for t, v in zip(total, table[first + index], strict=True)
            ]
        out += total
        first += size
    return out


def test_resolutions_grow_by_a_constant_factor_and_sizes_are_limited():
    sizes = SMALL.firsts[1:] - SMALL.firsts[:-1]
    assert SMALL.resolution.tolist() == [4, 8, 18, 40]
    assert sizes.tolist() == [125, 512, 512, 512]


@pytest.mark.parametrize("levels", [1, 2])
def test_configs_with_one_and_two_levels(levels):
    config = HashGridConfig(levels=levels, log2_size=9, coarsest=4, finest=40)
    assert config.resolution.tolist() == [4, 40][:levels]


def test_features_equal_the_scalar_implementation():
    points, table = points_of(20), table_of(SMALL)
    features, _ = encode(points, table, SMALL, with_derivatives=False)
    expected = torch.tensor([scalar_encode(p, table, SMALL) for p in points.tolist()])
    assert torch.allclose(features, expected, atol=1e-5)


def test_features_at_grid_vertices_are_table_entries():
    config = HashGridConfig(levels=1, log2_size=9, coarsest=4, finest=4)
    table = table_of(config)
    vertices = torch.cartesian_prod(*[torch.arange(5) / 4] * 3)
    features, _ = encode(vertices, table, config, with_derivatives=False)
    x, y, z = (vertices * 4).round().long().T
    assert torch.allclose(features, table[x + 5 * y + 25 * z], atol=1e-6)


def test_derivatives_equal_finite_differences():
    points, table = points_of(50).double(), table_of(SMALL).double()
    _, derivatives = encode_torch(points, table, SMALL, True, SMALL.levels)
    h = 1e-7  # so small that points rarely move to another voxel
    for axis in range(3):
        step = torch.zeros(3, dtype=torch.float64)
        step[axis] = h
        ahead, behind = (
            encode_torch(points + s, table, SMALL, False, SMALL.levels)[0] for s in (step, -step)
        )
        difference = (ahead - behind) / (2 * h)
        assert torch.allclose(derivatives[:, axis], difference, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("levels", [None, 3, 1])
@pytest.mark.parametrize("with_derivatives", [False, True])
def test_kernel_equals_pytorch_with_gradients(levels, with_derivatives):
    points = torch.cat(
        [
            points_of(1500),
            torch.tensor([[0.0, 0, 0], [1, 1, 1], [0.25, 0.5, 0.75], [-0.1, 1.2, 0.5]]),
        ]
    )
    results = []
    for function in (encode, encode_torch):
        table = table_of(SMALL).requires_grad_()
        active = SMALL.levels if levels is None else levels
        features, derivatives = function(
            points, table, SMALL, with_derivatives, levels if function is encode else active
        )
        features = features[:, : 2 * active]
        # Weights that differ from element to element reveal transposed outputs.
        loss = (features * torch.linspace(-1, 1, features.numel()).view_as(features)).sum()
        if with_derivatives:
            derivatives = derivatives[..., : 2 * active]
            weights = torch.linspace(1, -1, derivatives.numel()).view_as(derivatives)
            loss = loss + 0.03 * (derivatives * weights).sum()
        loss.backward()
        derivatives = derivatives.detach() if with_derivatives else torch.zeros(1)
        results.append((features.detach(), derivatives, table.grad))
    for kernel, plain in zip(*results, strict=True):
        assert (kernel - plain).norm() <= 1e-5 * plain.norm()


def test_loss_on_derivatives_alone_has_a_gradient():
    table = table_of(SMALL).requires_grad_()
    _, derivatives = encode(points_of(30), table, SMALL, with_derivatives=True)
    derivatives.square().sum().backward()
    assert table.grad.norm() > 0


def test_closed_levels_are_zero_and_get_no_gradient():
    table = table_of(SMALL).requires_grad_()
    features, derivatives = encode(points_of(30), table, SMALL, with_derivatives=True, levels=2)
    assert features.shape == (30, 8) and derivatives.shape == (30, 3, 8)
    assert not features[:, 4:].any() and not derivatives[..., 4:].any() and features[:, :4].any()
    (features.sum() + derivatives.sum()).backward()
    assert not table.grad[int(SMALL.firsts[2]) :].any() and table.grad[: int(SMALL.firsts[2])].any()


def test_results_are_bit_identical_for_any_number_of_threads():
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            table = table_of(SMALL).requires_grad_()
            features, derivatives = encode(points_of(5000), table, SMALL, with_derivatives=True)
            (features.square().sum() + derivatives.square().sum()).backward()
            results.append((features.detach(), derivatives.detach(), table.grad))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize(
    "wrong", [{"levels": 0}, {"log2_size": 40}, {"coarsest": 0}, {"coarsest": 64, "finest": 32}]
)
def test_invalid_sizes_raise_value_error_with_their_name(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        HashGridConfig(**wrong)
