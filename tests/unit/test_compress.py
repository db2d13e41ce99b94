"""The compressor: geometry, masks, scalers, statistics."""

import healpy as hp
import numpy as np
import pytest
import torch

from mflens.compress.network import (
    HealpixCompressor,
    even_modes,
    initial_mixing,
    local_modes,
    pad_blocks,
    pixel_frame,
)
from mflens.errors import ConfigError, DataError
from mflens.seeding import new_generator, seeded


def make_compressor(pixel, nside=8, n_bins=2, **changes):
    arguments = {
        **{"channels": 3, "n_summaries": 2, "hidden_features": 8, "non_gaussian": True},
        **changes,
    }
    with seeded(1):
        return HealpixCompressor(torch.as_tensor(pixel), nside=nside, n_bins=n_bins, **arguments)


def make_maps(n, n_pix, n_bins=2, seed=0):
    return torch.randn(n, n_bins, 2, n_pix, generator=new_generator(seed))


def octant(nside):
    vectors = np.array(hp.pix2vec(nside, np.arange(12 * nside**2), nest=True))
    return np.flatnonzero((vectors > 0).all(0))


def test_blocks_are_completed_once():
    position, weight = pad_blocks(np.array([3, 17, 18, 200]), 16)
    np.testing.assert_array_equal(position, [3, 17, 18, 40])
    assert weight.shape == (48,) and weight.sum() == 4
    assert weight[position].all()


@pytest.mark.parametrize("nside", [4, 8, 16])
def test_any_footprint_works(nside):
    rng = np.random.default_rng(1)
    irregular = np.sort(rng.choice(12 * nside**2, 37, replace=False))
    for pixel in (irregular, octant(nside), np.arange(12 * nside**2)):
        x = make_maps(2, len(pixel))
        summaries = make_compressor(pixel, nside)(x)
        assert summaries.shape == (2, 2)
        assert torch.isfinite(summaries).all()


def test_padding_does_not_matter():
    pixel = octant(8)
    x = make_maps(3, len(pixel))
    net = make_compressor(pixel)
    expected = net.statistics(x)
    # the same pixels within a larger footprint whose other pixels have no weight
    everything = make_compressor(np.arange(768))
    everything.weight.zero_()
    everything.weight[pixel] = 1
    full = torch.zeros(3, 2, 2, 768)
    full[..., pixel] = x
    torch.testing.assert_close(everything.statistics(full), expected, rtol=1e-4, atol=1e-4)


def test_order_of_pixels_does_not_matter():
    pixel = octant(8)
    order = np.random.default_rng(2).permutation(len(pixel))
    x = make_maps(2, len(pixel))
    shuffled = make_compressor(pixel[order])(x[..., order])
    torch.testing.assert_close(shuffled, make_compressor(pixel)(x), rtol=1e-4, atol=1e-5)


def test_local_modes_are_orthonormal_and_have_known_parity():
    modes = local_modes()
    assert modes.shape == (15, 2, 16)
    flat = modes.reshape(15, -1)
    np.testing.assert_allclose(flat @ flat.T, np.eye(15), atol=1e-12)
    # no mode sees a constant shear
    np.testing.assert_allclose(modes.sum(-1), 0, atol=1e-12)
    for i in range(15):
        sign = 1 if i in even_modes() else -1
        np.testing.assert_allclose(modes[i][:, ::-1], sign * modes[i], atol=1e-12)


def test_pixel_frame_is_at_45_degrees_on_the_equator():
    nside = 16
    pixel = hp.ang2pix(nside, np.pi / 2, np.array([0.3, 1.1, 4.0]), nest=True)
    cosine, _ = pixel_frame(nside, pixel)
    np.testing.assert_allclose(cosine, 0, atol=0.05)


def test_e_channels_see_more_of_a_lensing_map_than_b_channels():
    nside = 32
    ell = np.arange(49)
    cl = np.where(ell > 1, 1 / (ell + 10.0) ** 2, 0)
    np.random.seed(3)  # noqa: NPY002  healpy draws from numpy's global stream
    alm = hp.synalm(cl, lmax=48)
    shear = np.array(hp.alm2map_spin([alm, 0 * alm], nside, 2, 48))
    pixel = octant(nside)
    x = torch.as_tensor(shear[:, hp.nest2ring(nside, pixel)][None, None], dtype=torch.float32)
    net = make_compressor(pixel, nside, n_bins=1, channels=2)
    log_power = net.statistics(x)[0, :-2].reshape(net.n_levels, 14)[:, :6].detach()
    assert (log_power[:, :3] - log_power[:, 3:]).mean() > 0.3


def test_power_statistic_follows_the_amplitude():
    pixel = octant(8)
    net = make_compressor(pixel)
    x = make_maps(2, len(pixel))
    change = (net.statistics(2 * x) - net.statistics(x)).detach()
    per_level = change[:, : net.n_levels * 21].reshape(2, net.n_levels, 21)
    torch.testing.assert_close(
        per_level[..., :9], torch.full((2, net.n_levels, 9), np.log(4)), atol=1e-3, rtol=0
    )
    # sparsity and skewness do not depend on the amplitude
    assert per_level[..., 9:].abs().max() < 1e-3


def test_power_alone():
    pixel = octant(8)
    x = make_maps(2, len(pixel))
    alone = make_compressor(pixel, non_gaussian=False).statistics(x)
    both = make_compressor(pixel).statistics(x)
    assert alone.shape == (2, 9 + 4)
    torch.testing.assert_close(alone[:, :9], both[:, :9])


def test_calibration_fits_scalers_once_and_starts_linear():
    pixel = octant(8)
    y = torch.randn(200, 2, generator=new_generator(4))
    x = 0.003 * make_maps(200, len(pixel)) * torch.exp(0.3 * y)[:, :, None, None]
    net = make_compressor(pixel)
    net.calibrate(x, y)
    torch.testing.assert_close(net.scale, x.square().mean((0, 3)).sqrt())
    features = (net.statistics(x) - net.centre) / net.spread
    torch.testing.assert_close(features.mean(0), torch.zeros_like(net.centre), atol=1e-3, rtol=0)
    correlation = np.corrcoef(net(x).detach()[:, 0], y[:, 0])[0, 1]
    assert correlation > 0.95
    scale = net.scale.clone()
    net.train()(10 * x)
    assert torch.equal(net.scale, scale)


def test_mixing_starts_with_the_bins():
    mixing = initial_mixing(3, 7)
    torch.testing.assert_close(mixing[:3, :, 0], torch.eye(3))
    assert not mixing[:5, :, 1].any()


def test_wrong_maps_are_named():
    net = make_compressor(octant(8))
    with pytest.raises(DataError, match=r"\(2, 2, 5\) do not fit"):
        net(torch.zeros(1, 2, 2, 5))


@pytest.mark.parametrize("nside", [2, 12])
def test_wrong_nside(nside):
    with pytest.raises(ConfigError, match=f"nside is {nside}"):
        make_compressor(np.arange(8), nside)
