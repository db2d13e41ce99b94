"""Random numbers, transforms, projection and survey."""

import healpy
import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from scipy.stats import kstest

from mflens.compress.bandpowers import average_bands, measure_band_powers
from mflens.errors import ConfigError
from mflens.simulate import harmonics
from mflens.simulate.mesh.lightcone import (
    LightCone,
    Mesh,
    Observer,
    assignment_window,
    place_observer,
)
from mflens.simulate.mesh.matching import combine_variance, fundamental_mask, image_power, whiten
from mflens.simulate.mesh.mesh_fourier import to_field, to_modes
from mflens.simulate.mesh.transport import advance, transport
from mflens.simulate.randomness import BaseMeasure
from mflens.simulate.tiers import make_tier, tier_class
from mflens.theory.kernels import Shells
from mflens.theory.spectra import lattice_measure, mesh_wavenumbers


def test_harmonics_are_a_prefix_of_those_with_higher_ell_max():
    low, high = (BaseMeasure(5).harmonics("harmonics", 2, ell_max) for ell_max in (8, 16))
    for m in range(9):
        a = m * (17 - m) // 2 + np.arange(m, 9)
        b = m * (33 - m) // 2 + np.arange(m, 9)
        np.testing.assert_array_equal(low[:, a], high[:, b])


def test_complex_normals_are_normal_and_their_parts_independent():
    drawn = BaseMeasure(2).complex_normals(200_000, "noise", 1, 3)
    np.testing.assert_array_equal(drawn[:1000], BaseMeasure(2).complex_normals(1000, "noise", 1, 3))
    parts = np.stack([drawn.real, drawn.imag]) * np.sqrt(2)
    for one in parts:
        assert kstest(one, "norm").pvalue > 1e-3
    # in any direction, and the powers of both, as normal numbers that know nothing of each other
    assert kstest(parts.sum(axis=0) / np.sqrt(2), "norm").pvalue > 1e-3
    assert abs(np.corrcoef(parts**2)[0, 1]) < 0.01
    assert np.abs(drawn).max() > 3.2


def test_harmonics_have_unit_variance_and_purposes_are_independent():
    a = BaseMeasure(1).harmonics("harmonics", 4, 64)
    b = BaseMeasure(1).harmonics("fill", 4, 64)
    assert harmonics.cross_spectrum(a, a, 64)[:, 10:].mean() == pytest.approx(1, abs=0.03)
    assert abs(harmonics.cross_spectrum(a, b, 64)[:, 10:].mean()) < 0.03
    assert np.all(a[:, :65].imag == 0)


@pytest.mark.parametrize("spin", [0, 2])
def test_transforms_invert_each_other_and_agree_with_healpy(monkeypatch, spin):
    nside, ell_max = 16, 32
    rng = np.random.default_rng(0)
    alm = rng.standard_normal((2 if spin else 1, 561)) + 1j * rng.standard_normal((1, 561))
    alm[:, : ell_max + 1] = alm[:, : ell_max + 1].real
    alm[:, harmonics.degrees(ell_max) < spin] = 0
    alm = alm if spin else alm[0]
    maps = harmonics.synthesise(alm, nside, ell_max, spin=spin)
    reference = (
        healpy.alm2map_spin(list(alm), nside, 2, ell_max)
        if spin
        else healpy.alm2map(alm, nside, lmax=ell_max)
    )
    np.testing.assert_allclose(maps, reference, atol=1e-10)
    analysed = harmonics.analyse(maps, ell_max, spin=spin)
    assert np.linalg.norm(analysed - alm) < 2e-5 * np.linalg.norm(alm)
    ringed = healpy.nest2ring(nside, np.arange(700, 1800))
    if spin:
        shear = harmonics.synthesise_shear(alm[0], nside, ell_max, ringed)
        no_b = harmonics.synthesise(np.stack([alm[0], 0 * alm[0]]), nside, ell_max, spin=2)
        np.testing.assert_allclose(shear, no_b[:, ringed], atol=1e-10)
        monkeypatch.setattr(harmonics, "NSIDE_WITH_B", nside)
        shear = harmonics.synthesise_shear(alm[0], nside, ell_max, ringed)
        np.testing.assert_allclose(shear, no_b[:, ringed], atol=1e-10)
    else:
        many = harmonics.synthesise_many(np.stack([alm, 2 * alm]), nside, ell_max)
        np.testing.assert_allclose(many, [maps, 2 * maps], atol=1e-10)


@pytest.mark.parametrize("spin", [0, 2])
def test_single_precision_stays_single_and_agrees_with_double(spin):
    nside, ell_max = 32, 64
    alm = BaseMeasure(8).harmonics("harmonics", 2 if spin else 1, ell_max)
    alm[:, harmonics.degrees(ell_max) < spin] = 0
    alm = alm if spin else alm[0]
    found, exact = (
        harmonics.synthesise(one, nside, ell_max, spin) for one in (alm, alm.astype(complex))
    )
    assert found.dtype == np.float32 and exact.dtype == np.float64
    np.testing.assert_allclose(found, exact, rtol=0, atol=3e-6 * exact.std())
    back = harmonics.analyse(found, ell_max, spin)
    assert back.dtype == np.complex64
    np.testing.assert_allclose(back, harmonics.analyse(exact, ell_max, spin), rtol=0, atol=3e-6)


def test_the_number_of_threads_changes_no_bit_of_a_transform(monkeypatch):
    found = []
    for threads in ("1", "2", "7"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        alm = BaseMeasure(8).harmonics("harmonics", 3, 64)
        maps = harmonics.synthesise_many(alm, 32, 64, lambda i, one: np.multiply(one, i, out=one))
        np.testing.assert_array_equal(
            maps, np.arange(3)[:, None] * harmonics.synthesise_many(alm, 32, 64)
        )
        shear = harmonics.synthesise_shear(alm[0], 32, 64, np.arange(5000))
        found.append([alm, maps, shear, harmonics.analyse(maps[0], 64)])
    for one, *others in zip(*found, strict=True):
        for other in others:
            np.testing.assert_array_equal(one, other)


def test_analysis_comes_close_to_least_squares_on_a_map_that_is_not_band_limited():
    import ducc0

    nside, ell_max = 32, 64
    alm = BaseMeasure(8).harmonics("harmonics", 1, ell_max)[0] * 0.05
    maps = np.expm1(harmonics.synthesise(alm, nside, ell_max))
    geometry = ducc0.healpix.Healpix_Base(nside, "RING").sht_info()
    exact = ducc0.sht.pseudo_analysis(
        map=maps[None], lmax=ell_max, spin=0, maxiter=50, epsilon=1e-12, **geometry
    )[0][0]
    assert np.linalg.norm(harmonics.analyse(maps, ell_max) - exact) < 2e-5 * np.linalg.norm(exact)


def test_cross_spectrum_agrees_with_healpy():
    alm = BaseMeasure(3).harmonics("harmonics", 2, 20).astype(complex)
    expected = healpy.alm2cl(alm[0], alm[1])
    np.testing.assert_allclose(harmonics.cross_spectrum(alm[0], alm[1], 20), expected)


def test_whitening_undoes_a_known_covariance():
    ell_max, n = 24, 3
    mix = np.tril(np.random.default_rng(1).uniform(0.3, 1, (n, n)))
    white = BaseMeasure(4).harmonics("harmonics", n, ell_max)
    covariance = np.broadcast_to(mix @ mix.T, (ell_max + 1, n, n))
    np.testing.assert_allclose(whiten(mix @ white, covariance), white, atol=1e-10)


def test_projection_of_a_constant_slope_and_of_a_plane_wave():
    shells, mesh = Shells(2, 100.0), Mesh(32, 400.0, 32)
    lightcone = LightCone(shells, mesh, 16)
    x = np.arange(32) / 32
    wave = np.cos(2 * np.pi * x)[None, None, :] * np.ones((32, 32, 1))
    alm = lightcone.project(np.fft.rfftn(wave), np.zeros(2), assignment=0)
    # plane-wave expansion: cos(k z) = sum_l (2l+1) i^l j_l(k r) P_l, even l only, m = 0
    from mflens.theory.kernels import compute_kernels

    kernel = compute_kernels(shells, np.array([2 * np.pi / 400]), 16)[:, :, 0, 0]
    for ell in (2, 4):
        expected = (-1) ** (ell // 2) * np.sqrt(4 * np.pi * (2 * ell + 1)) * kernel[ell]
        np.testing.assert_allclose(alm[:, ell].real, expected, rtol=0.02, atol=2e-4)
    assert np.abs(alm[:, 1]).max() < 1e-3


def test_projection_agrees_with_a_finer_mesh_on_healpix_rings():
    """The same field on a mesh four times finer, summed over pixels of a finer map."""
    shells, n, ell_max = Shells(3, 200.0), 16, 16
    mesh = Mesh(n, 250.0, 32)
    density = np.fft.rfftn(np.random.default_rng(0).standard_normal((n,) * 3))
    wavenumber = mesh_wavenumbers(n, 250.0)
    density[wavenumber == 0] = 0
    # modes well below Nyquist, where interpolation is good and zero padding is exact
    density[wavenumber > 0.5 * np.pi * n / 250.0] = 0
    alm = LightCone(shells, mesh, ell_max).project(density, np.zeros(3), assignment=0)
    fine = np.zeros((4 * n, 4 * n, 2 * n + 1), dtype=complex)
    row = np.fft.fftfreq(n, 1 / n).astype(int)
    fine[np.ix_(row, row, np.arange(n // 2 + 1))] = 64 * density
    field = np.fft.irfftn(fine)
    xyz = np.stack(healpy.pix2vec(64, np.arange(12 * 64**2)))
    for i in range(3):
        chi, weight = shells.quadrature(i, 40)
        sky = sum(
            w * map_coordinates(field, x * xyz * 4 * n / 250.0, order=3, mode="grid-wrap")
            for x, w in zip(chi, weight, strict=True)
        )
        expected = harmonics.project(sky, ell_max)
        kept = wavenumber <= mesh.cuts(shells)[i]
        assert kept[density != 0].all()
        error = harmonics.cross_spectrum(alm[i] - expected, alm[i] - expected, ell_max)
        power = harmonics.cross_spectrum(expected, expected, ell_max)
        assert np.sqrt(error[2:].sum() / power[2:].sum()) < 0.03


def test_linear_interpolation_adds_the_power_of_its_images():
    """The variance between the points of a mesh is that of its modes and of their images."""
    n, box, rng = 16, 200.0, np.random.default_rng(0)
    mesh, k = Mesh(n, box, 16), np.linspace(1e-3, 2.5, 5000)
    cuts = np.array([0.2, np.pi * n / box])
    images = image_power(k, 5.0 / k, mesh, cuts)
    wavenumber = mesh_wavenumbers(n, box)
    wavenumber[0, 0, 0] = np.inf
    axis = assignment_window(n, 2)
    window = axis[:, None, None] * axis[:, None] * axis[: n // 2 + 1]
    points = n * rng.random((3, 4000))
    for cut, found in zip(cuts, images, strict=True):
        modes = (lattice_measure(k, n, box) * 5.0 / k * (k <= cut)).sum()
        colour = np.where(wavenumber <= cut, 5.0 / wavenumber, 0) * (n / box) ** 3
        variance = []
        for _ in range(300):
            field = np.fft.irfftn(
                np.fft.rfftn(rng.standard_normal((n, n, n))) * np.sqrt(colour) / window
            )
            variance.append(map_coordinates(field, points, order=1, mode="grid-wrap").var())
        total, error = 4 * np.pi * np.array([np.mean(variance), np.std(variance) / 300**0.5])
        assert total - modes == pytest.approx(found.sum(), abs=3 * error)
        assert found.sum() > 5 * error


def test_calibration_does_not_mix_in_multipoles_that_the_box_lacks():
    shells, mesh, ell = Shells(5, 400.0), Mesh(16, 400.0, 32), np.arange(33)
    held = ~fundamental_mask(shells, mesh, 32)
    assert not held[-1, :8].any() and held[-1, -8:].all()
    noise = np.broadcast_to(np.where(held, 0.05, 0.0), (3, *held.shape))
    spectra = np.broadcast_to(np.where(held, 1.2, 1.0), (6, *held.shape))
    found = combine_variance(spectra, noise, shells, mesh)
    beyond = (ell + 0.5) / shells.edges[1:, None] > 0.5 * np.pi * 16 / 400
    assert beyond.any()
    np.testing.assert_allclose(found[held & beyond], 1.2)
    np.testing.assert_allclose(found[held & ~beyond], 1.05)


@pytest.mark.parametrize("shape", [(8, 8, 8), (3, 8, 8, 8)])
def test_mesh_transforms_are_those_of_numpy(shape):
    field = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    modes = to_modes(field)
    assert modes.dtype == np.complex64
    np.testing.assert_allclose(modes, np.fft.rfftn(field, axes=(-3, -2, -1)), atol=2e-5)
    np.testing.assert_allclose(to_field(modes), field, atol=1e-6)
    # wherever the memory lies, and from double precision
    elsewhere = np.empty(field.size + 1, dtype=np.float32)[1:].reshape(shape)
    elsewhere[:] = field
    modes = to_modes(field)
    np.testing.assert_array_equal(to_modes(elsewhere), modes)
    np.testing.assert_array_equal(to_field(modes.astype(complex)), to_field(modes))


def test_band_powers_see_e_and_b():
    nside, ell_max = 16, 24
    alm = BaseMeasure(6).harmonics("harmonics", 2, ell_max)
    alm[:, harmonics.degrees(ell_max) < 2] = 0
    maps = harmonics.synthesise(np.stack([alm[0], 0 * alm[0]]), nside, ell_max, spin=2)
    pixel = np.arange(12 * nside**2)
    nested = maps[:, healpy.nest2ring(nside, pixel)]
    values, labels = measure_band_powers(nested[None, None], pixel, nside, [4, 12, 24])
    expected = average_bands(harmonics.cross_spectrum(alm[0], alm[0], ell_max), [4, 12, 24])
    assert labels == ["E1E1_4_12", "E1E1_12_24", "B1B1_4_12", "B1B1_12_24"]
    np.testing.assert_allclose(values[0, :2], expected, rtol=0.02)
    assert np.abs(values[0, 2:]).max() < 0.02 * expected.min()


def test_an_observer_elsewhere_sees_the_field_shifted_and_turned():
    shells, mesh, n = Shells(2, 150.0), Mesh(16, 300.0, 16), 16
    rng = np.random.default_rng(5)
    field = rng.standard_normal((n, n, n))
    lightcone = LightCone(shells, mesh, 12)
    # x -> (y, z, x) and a shift by whole cells: what he sees at x is at his position + R x
    turn, cells = np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]]), np.array([3, 0, 5])
    seen = np.roll(field, -cells, axis=(0, 1, 2)).transpose(2, 0, 1)
    found, expected = (
        lightcone.project(np.fft.rfftn(f), np.full(2, 0.1), assignment=0, observer=observer)
        for f, observer in [(field, Observer(cells / n, turn)), (seen, Observer())]
    )
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_turning_an_observer_keeps_the_spectrum():
    lightcone = LightCone(Shells(2, 150.0), Mesh(16, 300.0, 16), 12)
    field = np.fft.rfftn(np.random.default_rng(6).standard_normal((16, 16, 16)))
    # well below Nyquist, where linear interpolation knows no direction
    field[mesh_wavenumbers(16, 300.0) > 0.5 * np.pi * 16 / 300] = 0
    seen = place_observer(np.random.default_rng(7))
    one, two = (
        lightcone.project(field, np.zeros(2), assignment=0, observer=Observer(seen.position, turn))
        for turn in (np.eye(3), seen.rotation)
    )
    spectra = [harmonics.cross_spectrum(alm, alm, 12) for alm in (one, two)]
    np.testing.assert_allclose(*spectra, rtol=1e-2)
    assert np.abs(one - two).max() > 0.1 * np.abs(one).max()


def test_transport_keeps_the_sum_of_squares_and_moves_with_the_flow():
    mesh, n = Mesh(32, 500.0, 32), 32
    density = np.fft.rfftn(BaseMeasure(2).white_noise(n))
    density[0, 0, 0] = 0
    faint = np.full(density.shape, 1e-6)
    still = list(transport(faint * density, faint, np.array([0.3, 1.0]), mesh))
    assert [shells.tolist() for shells, _ in still] == [[0], [1]]
    np.testing.assert_allclose(1e6 * still[1][1], density, atol=1e-3 * density.std())
    k = mesh_wavenumbers(n, 500.0)
    colour = np.where(k > 0, 0.4 / np.maximum(k, 1e-3) ** 0.5, 0).astype(np.float32)
    ((_, moved),) = transport(density * colour, colour, np.array([1.0]), mesh)
    white = np.fft.irfftn(np.divide(moved, colour, out=np.zeros_like(moved), where=colour > 0))
    # 32768 - 1 modes of unit variance, of which none leaves the mesh
    assert white.var() == pytest.approx(np.fft.irfftn(density).var(), rel=2e-3)
    assert np.abs(moved - density * colour).max() > 0.1 * np.abs(moved).max()


def test_a_uniform_flow_shifts_the_field():
    n = 32
    x = 2 * np.pi * 3 * np.arange(n) / n
    field = np.broadcast_to(np.sin(x)[:, None, None], (n, n, n)).astype(np.float32)
    flow = np.zeros((3, n, n, n), dtype=np.float32)
    flow[0] = 0.4
    shifted = np.broadcast_to(np.sin(x - 2 * np.pi * 3 * 0.4 / n)[:, None, None], (n, n, n))
    np.testing.assert_allclose(advance(field, flow), shifted, atol=1e-4)


def test_unknown_tiers_and_options_are_refused():
    with pytest.raises(ConfigError, match="unknown tier 'nbody'"):
        tier_class("nbody", {})
    with pytest.raises(ConfigError, match="cannot be imported"):
        tier_class("nbody", {"class": "nowhere.Nothing"})
    with pytest.raises(ConfigError, match="no method density_shells"):
        tier_class("nbody", {"class": "mflens.prior.Prior"})
    with pytest.raises(ConfigError, match="does not take these options"):
        make_tier("lognormal", {"shfit": 1.0}, None)
