"""The lognormal tier against GLASS's solver and sampler, and what it does with bad spectra."""

import logging
import warnings
from types import SimpleNamespace

import glass
import numpy as np
import pytest

from mflens.errors import ConfigError
from mflens.simulate.lognormal.tier import Lognormal, gaussian
from mflens.simulate.randomness import BaseMeasure, InjectedHarmonics
from mflens.simulate.tiers import Draw
from mflens.theory.kernels import Shells

N_SHELLS, NSIDE, ELL_MAX = 5, 16, 32
SKY = SimpleNamespace(shells=Shells(N_SHELLS, 500.0), nside=NSIDE, ell_max=ELL_MAX)
Z = np.linspace(0.1, 1.5, N_SHELLS)


def matter(correlation=0.3, amplitude=1.0, number=0):
    """Return a cosmology with smooth spectra whose neighbouring shells are correlated."""
    ell = np.arange(ELL_MAX + 1.0)
    root = np.sqrt(amplitude * 2e-3 / (1 + ell[:, None] / 10) ** 1.2 / (1 + np.arange(N_SHELLS)))
    distance = np.abs(np.subtract.outer(np.arange(N_SHELLS), np.arange(N_SHELLS)))
    mixing = np.sign(correlation) ** distance * np.abs(correlation) ** distance
    spectra = root[:, :, None] * root[:, None, :] * mixing
    return SimpleNamespace(id=number, spectra=spectra, shell_growth=SimpleNamespace(z=Z))


def draw(seed):
    white = BaseMeasure(seed).harmonics("harmonics", N_SHELLS, ELL_MAX)
    return Draw(BaseMeasure(seed), lambda: None, lambda _: white)


def glass_spectra(fields, cosmology, n_correlated):
    pairs = []
    for i, j in glass.spectra_indices(N_SHELLS):
        near = abs(int(i) - int(j)) <= n_correlated
        pairs.append(cosmology.spectra[:, i, j].copy() if near else np.zeros(0))
        if near:
            pairs[-1][0] = 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return glass.solve_gaussian_spectra(fields, pairs)


@pytest.mark.parametrize("n_correlated", [0, 2, 4])
@pytest.mark.parametrize("shift, amplitude", [(1.0, 1.0), (0.6, 1.0), (1e-3, 1e-6)])
def test_fields_equal_those_of_glass_given_the_same_numbers(shift, amplitude, n_correlated):
    cosmology = matter(amplitude=amplitude)
    fields = [glass.grf.Lognormal(shift) for _ in range(N_SHELLS)]
    spectra = glass_spectra(fields, cosmology, n_correlated)
    tier = Lognormal(SKY, shift, n_correlated)
    ours = tier.gaussian_spectra(cosmology, np.full(N_SHELLS, shift), n_correlated)
    for one, other in zip(ours, spectra, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-15)
    rng = InjectedHarmonics(draw(3).harmonics, ELL_MAX)
    expected = list(glass.generate(fields, spectra, NSIDE, ncorr=n_correlated, rng=rng))
    found = list(tier.density_shells(cosmology, draw(3)))
    # ours are in single precision
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=5e-7 * shift)
    assert np.min(found) > -shift
    assert tier.n_regularised == 0


@pytest.mark.parametrize("n_ell", [ELL_MAX, ELL_MAX + 1])
@pytest.mark.parametrize("amplitude", [1.0, 300.0])
def test_solver_takes_the_steps_of_glass_even_where_it_does_not_converge(amplitude, n_ell):
    # strong fields need halved steps; a cross-spectrum that changes sign has no relative tolerance
    ell = np.arange(float(n_ell))
    auto = amplitude * 2e-3 / (1 + ell / 10) ** 1.2
    cross = 0.05 * auto * np.cos(ell / 3)
    target = np.stack([auto, cross])
    target[:, 0] = 0
    found, converged = gaussian.solve_spectra(target, np.ones(2))
    field = glass.grf.Lognormal(1.0)
    for one, wanted, done in zip(found, target, converged, strict=True):
        expected, _, info = glass.grf.solve(wanted, field, pad=2 * wanted.size, monopole=0.0)
        np.testing.assert_allclose(one, expected, rtol=1e-7, atol=1e-12 * amplitude)
        assert done == (info > 0)


def test_hilberts_shifts_are_those_of_glass_where_the_fields_are_weak_enough():
    tier = Lognormal(SKY, "hilbert2011", 1)
    shifts = [glass.lognormal_shift_hilbert2011(z) for z in Z]
    np.testing.assert_allclose(tier.shifts(Z), shifts)
    shells = list(tier.density_shells(matter(amplitude=1e-5), draw(0)))
    assert all(shell.min() > -shift for shell, shift in zip(shells, shifts, strict=True))


def test_a_shift_too_small_for_the_correlation_function_is_refused():
    with pytest.raises(ConfigError, match=r"shift: hilbert2011 is a shift of 0.0011 for shell 1"):
        Lognormal(SKY, "hilbert2011", 1).density_shells(matter(), draw(0))


def bad():
    """Return spectra that no fields can have: neighbours alternate too strongly."""
    cosmology = matter(number=4)
    root = np.sqrt(cosmology.spectra.diagonal(axis1=1, axis2=2))
    mixing = np.eye(N_SHELLS)
    for i in range(N_SHELLS - 1):
        mixing[i, i + 1] = mixing[i + 1, i] = 0.8
    spectra = root[:, :, None] * root[:, None, :] * mixing
    spectra[:10] = cosmology.spectra[:10]
    return SimpleNamespace(**(vars(cosmology) | {"spectra": spectra}))


def test_spectra_that_are_not_positive_definite_are_regularised_and_counted(caplog):
    tier = Lognormal(SKY, 1.0, 3)
    cosmology = bad()
    with caplog.at_level(logging.WARNING):
        shells = [list(tier.density_shells(cosmology, draw(seed))) for seed in range(2)]
    assert np.all(np.isfinite(shells))
    # once for the cosmology, not for each of its sims
    assert tier.n_regularised == 1
    assert "cosmology 4" in caplog.text
    assert f"changed {ELL_MAX + 1 - 10} of {ELL_MAX + 1} multipoles" in caplog.text


def test_regularisation_keeps_the_power_of_every_shell_and_good_multipoles():
    solved = Lognormal(SKY, 1.0, 4).gaussian_spectra(bad(), np.ones(N_SHELLS), 4)
    regular, n_ell = gaussian.regularise(solved)
    assert n_ell == ELL_MAX + 1 - 10
    before, after = glass.cov_from_spectra(solved), glass.cov_from_spectra(regular)
    assert np.linalg.eigvalsh(before)[10:].min() < -1e-6
    assert np.linalg.eigvalsh(after)[1:].min() > 0
    diagonal = np.arange(N_SHELLS)
    np.testing.assert_allclose(
        after[:, diagonal, diagonal], before[:, diagonal, diagonal], rtol=1e-4, atol=1e-15
    )
    np.testing.assert_allclose(after[:10], before[:10], rtol=1e-6, atol=1e-9)


def test_samples_have_the_wanted_covariance():
    mixing = np.tril(np.random.default_rng(0).uniform(0.2, 1, (3, 3)))
    covariance = mixing @ mixing.T
    spectra = [np.full(200, covariance[i, j]) for i, j in glass.spectra_indices(3)]
    white = BaseMeasure(1).harmonics("harmonics", 3, 199)
    alm = gaussian.sample(white, gaussian.sampling_factors(spectra, 2))
    weights = np.full(alm.shape[1], 2.0)
    weights[:200] = 1
    measured = np.einsum("im,jm,m->ij", alm, alm.conj(), weights).real / weights.sum()
    # 40 000 modes
    np.testing.assert_allclose(measured, covariance, rtol=0.03)
    with pytest.raises(ValueError, match="not positive definite"):
        gaussian.sampling_factors([np.ones(4), np.ones(4), 2 * np.ones(4)], 1)
