"""Maps whose label says the wrong order of pixels; healpy knows the right one."""

import h5py
import healpy
import numpy as np
import pytest
from astropy.io import fits

from mflens.errors import DataError
from mflens.files.suites.ordering import check_ordering, to_ring
from mflens.files.suites.plain import (
    read_fits_shear,
    read_fits_shells,
    read_hdf5_shear,
    read_hdf5_shells,
)
from shells import densities, write_hdf5_shells

NSIDES = [4, 8, 32, 128]


def sky(nside, slope=-1.0, seed=1):
    """Return a Gaussian map with C_l ~ l^slope, RING, mean 0 and scatter 1."""
    rng_state = np.random.get_state()  # noqa: NPY002 (healpy draws from the global one)
    np.random.seed(seed)  # noqa: NPY002
    cl = np.arange(2 * nside + 1, dtype=float)
    cl[1:] **= slope
    values = healpy.synfast(cl, nside, lmax=2 * nside)
    np.random.set_state(rng_state)  # noqa: NPY002
    return (values - values.mean()) / values.std()


def nested(ring):
    """Return a map in NESTED order."""
    return healpy.reorder(ring, r2n=True)


def octant(values, outside=0.0):
    theta, phi = healpy.pix2ang(healpy.npix2nside(values.size), np.arange(values.size))
    return np.where((theta < np.pi / 2) & (phi < np.pi / 2), values, outside)


def counts(values, mean, seed=2):
    density = np.exp(values)
    return np.random.default_rng(seed).poisson(mean * density / density.mean())


def shear(nside):
    """Return two bins of shear of a known convergence, shape (4, n_pix), by healpy."""
    alm = healpy.map2alm(sky(nside, -2.0), lmax=2 * nside)
    maps = healpy.alm2map_spin([alm, 0 * alm], nside, 2, 2 * nside)
    return np.array([*maps, *(0.5 * np.array(maps))])


SKIES = {
    "white spectrum": lambda n: sky(n, 0.0),
    "matter": lambda n: sky(n, -1.0),
    "convergence": lambda n: sky(n, -2.0),
    "single precision": lambda n: sky(n, -1.0).astype(np.float32),
    "lognormal": lambda n: np.exp(2 * sky(n)),
    "counts": lambda n: counts(sky(n), 10.0),
    "repeated pixels": lambda n: healpy.ud_grade(sky(n // 2, 0.0), n),
    "shear": shear,
}


@pytest.mark.parametrize("nside", NSIDES)
@pytest.mark.parametrize("name", SKIES)
def test_a_wrong_label_is_told(name, nside):
    ring = SKIES[name](nside)
    nest = np.array([nested(row) for row in np.atleast_2d(ring)]).reshape(ring.shape)
    for values, right, wrong in ((ring, "ring", "nested"), (nest, "nested", "ring")):
        check_ordering(values, right, "x.h5")
        if nside == 4 and name in ("white spectrum", "counts", "matter", "lognormal"):
            continue  # of 192 pixels that may show nothing
        with pytest.raises(DataError, match=rf"x\.h5 says .* {wrong.upper()}.* {right.upper()}"):
            check_ordering(values, wrong, "x.h5")


@pytest.mark.parametrize("make", [lambda v: octant(v), lambda v: octant(v, healpy.UNSEEN)])
def test_a_wrong_label_of_a_partial_sky(make):
    values = make(sky(64))
    check_ordering(values, "ring", "x.h5")
    with pytest.raises(DataError, match="RING"):
        check_ordering(values, "nested", "x.h5")
    with pytest.raises(DataError, match="NESTED"):
        check_ordering(nested(values), "ring", "x.h5")


def test_few_particles_with_structure():
    """One particle in two pixels: the shells next to an observer."""
    values = counts(sky(128), 0.5)
    check_ordering(values, "ring", "x.h5")
    with pytest.raises(DataError, match="RING"):
        check_ordering(values, "nested", "x.h5")


NOTHING = {
    "white noise": lambda rng, n: rng.standard_normal(n),
    "heavy tails": lambda rng, n: rng.standard_cauchy(n),
    "bright pixels": lambda rng, n: np.exp(3 * rng.standard_normal(n)),
    "shot noise": lambda rng, n: rng.poisson(0.1, n),
    "hardly a particle": lambda rng, n: rng.poisson(2.0 / n, n),
    "constant": lambda rng, n: np.full(n, 3.0),
    "two values": lambda rng, n: rng.integers(2, size=n),
    "blue": lambda rng, n: sky(round((n / 12) ** 0.5), 3.0, int(rng.integers(2**31))),
    "NaN": lambda rng, n: np.full(n, np.nan),
}


@pytest.mark.parametrize("nside", [1, 2, 4, 16, 64])
@pytest.mark.parametrize("name", NOTHING)
def test_no_false_alarm(name, nside):
    """In any of many draws: a large simulation suite has thousands of maps."""
    rng = np.random.default_rng(5)
    for _ in range(400 // nside**2 + 2):
        values = NOTHING[name](rng, 12 * nside**2)
        for ordering in ("ring", "nested") if name != "blue" else ("ring",):
            check_ordering(values, ordering, "x.h5")


def test_no_false_alarm_in_right_maps():
    for seed in range(50):
        values = counts(sky(8, -1.0, seed), 1.0, seed)
        check_ordering(values, "ring", "x.h5")
        check_ordering(nested(values), "nested", "x.h5")


def test_maps_that_have_no_nested_order():
    check_ordering(sky(8)[: 12 * 6**2], "ring", "x.h5")  # nside 6
    check_ordering(np.arange(100.0), "nested", "x.h5")


def test_to_ring_is_healpys():
    values = sky(16)
    np.testing.assert_array_equal(to_ring(nested(values), b"NESTED", "x.h5"), values)
    np.testing.assert_array_equal(to_ring(values, "Ring", "x.h5"), values)
    with pytest.raises(DataError, match=r"x\.h5 has the pixel ordering 'spiral'"):
        to_ring(values, "spiral", "x.h5")


class TestReaders:
    """All readers that believe a label."""

    def test_hdf5_shells(self, tmp_path):
        delta = densities(3, 16)
        path = tmp_path / "sim.h5"
        z = np.array([0.0, 0.3, 0.7, 1.2])
        write_hdf5_shells(path, delta, z)
        assert len(list(read_hdf5_shells(path).maps())) == 3
        with h5py.File(path, "r+") as file:
            file["density"].attrs["ordering"] = "nested"
        with pytest.raises(DataError, match=r"sim\.h5 says .* NESTED.* RING.*mend"):
            list(read_hdf5_shells(path).maps())

    def test_hdf5_shear(self, tmp_path):
        path = tmp_path / "sim.h5"
        with h5py.File(path, "w") as file:
            data = file.create_dataset("shear", data=0.01 * shear(32).reshape(2, 2, -1))
            data.attrs["polarisation"] = "COSMO"
            data.attrs["ordering"] = "ring"
        assert read_hdf5_shear(path).shape == (2, 2, 12 * 32**2)
        with h5py.File(path, "r+") as file:
            file["shear"].attrs["ordering"] = "nested"
        with pytest.raises(DataError, match=r"sim\.h5 says .* NESTED"):
            read_hdf5_shear(path)

    @pytest.mark.parametrize("label", ["RING", "NESTED"])
    @pytest.mark.parametrize("order", ["RING", "NESTED"])
    def test_fits(self, tmp_path, label, order):
        """Written by healpy, the label changed in the header."""
        maps = {"shells": densities(2, 32), "shear": 0.01 * shear(32)}
        more = {
            "shells": [("UNIT", "contrast"), ("EDGEUNIT", "redshift")]
            + [(f"EDGE{i}", z) for i, z in enumerate((0.0, 0.5, 1.0))],
            "shear": [("POLCCONV", "COSMO")],
        }
        readers = {"shells": lambda p: list(read_fits_shells(p).maps()), "shear": read_fits_shear}
        for kind, rows in maps.items():
            path = tmp_path / f"{kind}.fits"
            stored = [nested(row) for row in rows] if order == "NESTED" else list(rows)
            healpy.write_map(
                path, stored, nest=order == "NESTED", dtype=np.float64, extra_header=more[kind]
            )
            fits.setval(path, "ORDERING", value=label, ext=1)
            if label == order:
                found = np.reshape(readers[kind](path), rows.shape)
                # the convention of shear is another test's
                np.testing.assert_allclose(np.abs(found), np.abs(rows), atol=1e-6)
            else:
                with pytest.raises(DataError, match=rf"{kind}\.fits says .* {label}"):
                    readers[kind](path)
