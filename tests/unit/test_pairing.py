import numpy as np
import pytest

from mflens.errors import DataError
from mflens.evaluate.pairing import (
    compare_pairs,
    convergence_harmonics,
    correlate_partly,
    octave_edges,
    pairing_edges,
    summarise_pairing,
    summarise_replication,
    summarise_whitening,
)
from mflens.simulate import harmonics
from mflens.simulate.mesh.lightcone import repeated_share
from mflens.theory.kernels import Shells

ELL_MAX = 32
EDGES = [2, 8, 16, 32]
N_ALM = (ELL_MAX + 1) * (ELL_MAX + 2) // 2


def white(rng, *shape):
    alm = (
        rng.standard_normal((*shape, N_ALM)) + 1j * rng.standard_normal((*shape, N_ALM))
    ) / 2**0.5
    alm[..., : ELL_MAX + 1] = rng.standard_normal((*shape, ELL_MAX + 1))
    return alm


@pytest.fixture
def alm():
    return white(np.random.default_rng(1), 5, 2)


def test_identical_members_correlate_fully(alm):
    found = compare_pairs(alm, alm, ELL_MAX, EDGES)
    assert found["r_matched"].shape == (5, 2, 3)
    np.testing.assert_allclose(found["r_matched"], 1)
    np.testing.assert_allclose(found["power_ratio"], 1)


def test_scale_enters_the_power_ratio_alone(alm):
    found = compare_pairs(alm, -1.5 * alm, ELL_MAX, EDGES)
    np.testing.assert_allclose(found["r_matched"], -1)
    np.testing.assert_allclose(found["power_ratio"], 1.5**2)


def test_independent_members_do_not_correlate(alm):
    found = compare_pairs(alm, white(np.random.default_rng(2), 5, 2), ELL_MAX, EDGES)
    # 5 sims of 2 l + 1 modes in each band
    modes = np.array([60, 192, 768])
    for name in ("r_matched", "r_unmatched"):
        assert np.all(np.abs(found[name].mean(0)) < 4 / np.sqrt(5 * modes))


def test_known_correlation(alm):
    noise = white(np.random.default_rng(3), 5, 2)
    found = compare_pairs(alm, 0.8 * alm + 0.6 * noise, ELL_MAX, EDGES)
    np.testing.assert_allclose(found["r_matched"].mean((0, 1))[1:], 0.8, atol=0.04)
    np.testing.assert_allclose(found["power_ratio"].mean((0, 1))[1:], 1, atol=0.1)


def test_unmatched_is_the_mean_over_all_other_sims(alm):
    high = white(np.random.default_rng(4), 5, 2)
    found = compare_pairs(alm, high, ELL_MAX, EDGES)["r_unmatched"][0]
    by_hand = [
        compare_pairs(np.stack([alm[j], alm[0]]), high[:2], ELL_MAX, EDGES)["r_matched"][0]
        for j in range(1, 5)
    ]
    np.testing.assert_allclose(found, np.mean(by_hand, axis=0))


def test_one_pair_has_nothing_unmatched(alm):
    with pytest.raises(DataError, match="n_convergence"):
        compare_pairs(alm[:1], alm[:1], ELL_MAX, EDGES)


def test_harmonics_of_maps_come_back(alm):
    alm = alm[:2]
    maps = np.array([[harmonics.synthesise(a, 16, ELL_MAX) for a in sim] for sim in alm])
    found = convergence_harmonics(maps.astype(np.float32), ELL_MAX)
    np.testing.assert_allclose(found, alm, atol=1e-4)


def test_edges():
    assert pairing_edges([8, 16]) == [2, 8, 16]
    assert pairing_edges([2, 16]) == [2, 16]
    assert octave_edges(128) == [2, 8, 16, 32, 64, 129]
    assert octave_edges(100) == [2, 8, 16, 32, 64, 101]
    assert octave_edges(12) == [2, 8, 13]
    assert octave_edges(6) == [2, 7]


def test_table_of_pairing(alm):
    levels = [compare_pairs(alm, factor * alm, ELL_MAX, EDGES) for factor in (2, 3)]
    table = summarise_pairing(levels, ["lognormal", "lpt", "particle_mesh"], EDGES)
    columns = ["low", "high", "bin", "ell_min", "ell_max"]
    assert list(table.columns) == [*columns, "r_matched", "r_unmatched", "power_ratio"]
    assert table[columns].values.tolist() == [
        [*tiers, b, low, high]
        for tiers in (["lognormal", "lpt"], ["lpt", "particle_mesh"])
        for b in (1, 2)
        for low, high in [(2, 8), (8, 16), (16, 32)]
    ]
    np.testing.assert_allclose(table["power_ratio"], np.repeat([4, 9], 6))


def test_correlation_falls_with_the_share_of_modes(alm):
    found = correlate_partly(alm, 2 * alm, ELL_MAX, EDGES, [1.0, 0.5, 0.0])
    np.testing.assert_allclose(found[0], 1)
    # 5 sims and 2 bins of 768 modes, in the last band
    np.testing.assert_allclose(found[1:, ..., -1].mean((1, 2)), [0.5, 0.0], atol=0.05)


def test_replication_counts_boxes_and_periods():
    table = summarise_replication(Shells(5, 100.0), 250.0).set_index("shell")
    # the light cone up to 500 Mpc/h against a box of 250 Mpc/h
    assert table.loc[5, "boxes"] == pytest.approx(4 * np.pi / 3 * 8)
    assert table.loc[5, "repeats"] == 2
    # the first shell fits into the cube around the observer, beyond its corner nothing is new
    assert table.loc[1, "repeated"] == pytest.approx(0, abs=2e-3)
    assert table.loc[4, "repeated"] == 1


def test_repeated_share_is_what_lies_outside_the_cube_around_the_observer():
    # six caps of a ball of 170 Mpc/h stand out of a cube of 250 Mpc/h and do not meet yet
    caps = 6 * np.pi * 45**2 / 3 * (3 * 170 - 45)
    shell = 4 * np.pi / 3 * (170**3 - 85**3)
    found = repeated_share(Shells(2, 85.0), 250.0)
    np.testing.assert_allclose(found, [0, caps / shell], atol=5e-3)


def test_table_of_whitening():
    alm = white(np.random.default_rng(5), 20, 3)
    table = summarise_whitening(harmonics.cross_spectrum(alm, alm, ELL_MAX), [2, 8, 33])
    assert list(table.columns) == ["shell", "ell_min", "ell_max", "variance", "error"]
    assert table["shell"].tolist() == [1, 1, 2, 2, 3, 3]
    # variance of a band's mean over 20 sims of n modes: 2 / (20 n)
    np.testing.assert_allclose(
        table["error"], np.tile((2 / 20 / np.array([60, 1025])) ** 0.5, 3), rtol=0.5
    )
    assert np.all(np.abs(table["variance"] - 1) < 4 * table["error"])


def test_table_of_whitening_without_matching():
    table = summarise_whitening(np.zeros((0, 3, ELL_MAX + 1)), EDGES)
    assert len(table) == 0
    assert list(table.columns) == ["shell", "ell_min", "ell_max", "variance", "error"]
