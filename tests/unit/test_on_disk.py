"""Readers of published simulations: units, order of pixels and shells, broken files, lensing."""

from pathlib import Path

import h5py
import healpy
import numpy as np
import pytest
from astropy.cosmology import FlatLambdaCDM

from mflens.errors import ConfigError, DataError
from mflens.files.suites.cosmogrid import read_cosmogrid
from mflens.files.suites.coverage import empty_part
from mflens.files.suites.flamingo import read_flamingo
from mflens.files.suites.gower_street import read_gower_street
from mflens.files.suites.plain import (
    read_fits_shear,
    read_fits_shells,
    read_hdf5_shear,
    read_hdf5_shells,
)
from mflens.run.plan import DISK_CLASSES, DISK_TIERS, NEED_PAIRS
from mflens.simulate import harmonics
from mflens.simulate.chunk import Sim, lens, make_draw, simulate_chunk, source_planes
from mflens.simulate.mesh.lightcone import Mesh
from mflens.simulate.on_disk import ShearOnDisk, ShellsOnDisk, regrade
from mflens.simulate.survey import lensing
from mflens.simulate.survey.survey import Survey
from mflens.simulate.tiers import BUILT_IN, Draw, Sky
from mflens.theory.cosmology import make_geometry
from mflens.theory.kernels import Shells
from shells import (
    counts_of,
    densities,
    write_cosmogrid,
    write_fits_shells,
    write_flamingo,
    write_gower_street,
    write_hdf5_shells,
)

NSIDE = 8
Z = np.array([0.0, 0.3, 0.7, 1.2])
RADII = np.array([0.0, 900.0, 1700.0, 2800.0])
DELTA = densities(3, NSIDE)
NEST = healpy.nest2ring(NSIDE, np.arange(DELTA.shape[1]))  # RING pixel of every NESTED one
PARAMETERS = {
    "Omega_m": 0.3, "sigma_8": 0.8, "h": 0.7, "n_s": 0.96, "Omega_b": 0.046, "m_nu": 0.0,
}  # fmt: skip


def assert_shells(file, edges, unit, tolerance):
    """Check edges and that maps are the density contrasts, nearest first."""
    np.testing.assert_allclose(file.edges, edges, rtol=1e-6)
    assert file.unit == unit
    maps = list(file.maps())
    assert len(maps) == len(DELTA)
    for found, expected in zip(maps, DELTA, strict=True):
        np.testing.assert_allclose(found, expected, atol=tolerance)


# whole numbers of about 1000 particles say a density to half a particle
ROUNDING = 6e-4


class TestGowerStreet:
    def test_counts_become_density_nearest_shell_first(self, tmp_path):
        write_gower_street(tmp_path / "sim00001", DELTA, Z)
        assert_shells(read_gower_street(tmp_path / "sim00001"), Z, "redshift", ROUNDING)

    def test_shell_missing_in_the_middle(self, tmp_path):
        write_gower_street(tmp_path / "sim", DELTA, Z)
        (tmp_path / "sim/run.00003.lightcone.npy").unlink()
        with pytest.raises(DataError, match="ends at 0.3 .* starts at 0.7"):
            read_gower_street(tmp_path / "sim")

    def test_no_shells(self, tmp_path):
        write_gower_street(tmp_path / "sim", DELTA, Z)
        for file in (tmp_path / "sim").glob("*.lightcone.npy"):
            file.unlink()
        with pytest.raises(DataError, match="unpack"):
            read_gower_street(tmp_path / "sim")

    def test_truncated(self, tmp_path):
        write_gower_street(tmp_path / "sim", DELTA, Z)
        path = tmp_path / "sim/run.00004.lightcone.npy"
        path.write_bytes(path.read_bytes()[:1000])
        with pytest.raises(DataError, match=r"run\.00004\.lightcone\.npy is truncated"):
            list(read_gower_street(tmp_path / "sim").maps())

    def test_not_healpix(self, tmp_path):
        write_gower_street(tmp_path / "sim", DELTA, Z)
        np.save(tmp_path / "sim/run.00002.lightcone.npy", np.ones(700))
        with pytest.raises(DataError, match=r"run\.00002.*\(700,\)"):
            list(read_gower_street(tmp_path / "sim").maps())


class TestCosmoGrid:
    @pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0]], ids=["near first", "far first"])
    def test_counts_become_density_nearest_shell_first(self, tmp_path, order):
        path = tmp_path / "compressed_shells.npz"
        write_cosmogrid(path, DELTA, Z, order)
        assert_shells(read_cosmogrid(path), Z.astype(np.float32), "redshift", ROUNDING)

    def test_truncated(self, tmp_path):
        path = tmp_path / "compressed_shells.npz"
        write_cosmogrid(path, DELTA, Z, [0, 1, 2])
        path.write_bytes(path.read_bytes()[:-900])
        with pytest.raises(DataError, match=r"compressed_shells\.npz is truncated"):
            read_cosmogrid(path)

    def test_damaged_pixels(self, tmp_path):
        path = tmp_path / "compressed_shells.npz"
        write_cosmogrid(path, DELTA, Z, [0, 1, 2])
        content = bytearray(path.read_bytes())
        content[400:500] = bytes(100)
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"compressed_shells\.npz"):
            list(read_cosmogrid(path).maps())

    def test_other_archive(self, tmp_path):
        np.savez(tmp_path / "other.npz", kappa=np.zeros(12))
        with pytest.raises(DataError, match=r"other\.npz .*shell_info"):
            read_cosmogrid(tmp_path / "other.npz")


class TestFlamingo:
    @pytest.mark.parametrize("unit_mpc", [1.0, 1e-3], ids=["Mpc", "kpc"])
    def test_mass_becomes_density_and_radii_mpc(self, tmp_path, unit_mpc):
        write_flamingo(tmp_path / "lightcone0_shells", DELTA, RADII, unit_mpc)
        assert_shells(read_flamingo(tmp_path / "lightcone0_shells"), RADII, "Mpc", 1e-6)

    def test_files_in_one_folder_and_nested_pixels(self, tmp_path):
        folder = tmp_path / "lightcone0_shells"
        write_flamingo(folder, DELTA[:, NEST], RADII, n_parts=1)
        for file in folder.glob("shell_*/*.hdf5"):
            with h5py.File(file, "a") as opened:
                opened["TotalMass"].attrs["pixel_ordering_scheme"] = np.bytes_("nested")
            file.rename(folder / file.name)
        assert_shells(read_flamingo(folder), RADII, "Mpc", 1e-6)

    def test_missing_part(self, tmp_path):
        folder = tmp_path / "lightcone0_shells"
        write_flamingo(folder, DELTA, RADII)
        (folder / "shell_1/lightcone0.shell_1.1.hdf5").unlink()
        with pytest.raises(DataError, match=r"lightcone0\.shell_1\.1\.hdf5 does not exist"):
            list(read_flamingo(folder).maps())

    def test_pixels_missing_in_a_part(self, tmp_path):
        folder = tmp_path / "lightcone0_shells"
        write_flamingo(folder, DELTA, RADII)
        with h5py.File(folder / "shell_2/lightcone0.shell_2.0.hdf5", "a") as file:
            attributes = dict(file["TotalMass"].attrs)
            del file["TotalMass"]
            file.create_dataset("TotalMass", data=np.ones(3)).attrs.update(attributes)
        with pytest.raises(DataError, match="387 of 768 pixels"):
            list(read_flamingo(folder).maps())

    def test_other_folder(self, tmp_path):
        with pytest.raises(DataError, match="lightcone>_shells"):
            read_flamingo(tmp_path)


class TestPlainHdf5:
    @pytest.mark.parametrize("unit", ["contrast", "counts"])
    @pytest.mark.parametrize("ordering", ["ring", "nested"])
    def test_units_and_ordering(self, tmp_path, unit, ordering):
        values = DELTA if unit == "contrast" else (1 + DELTA) * 30
        values = values if ordering == "ring" else values[:, NEST]
        write_hdf5_shells(tmp_path / "a.h5", values, Z, unit=unit, ordering=ordering)
        assert_shells(read_hdf5_shells(tmp_path / "a.h5"), Z, "redshift", 1e-6)

    @pytest.mark.parametrize(
        ("said", "word"),
        [
            ({"unit": "mass"}, "'mass'"),
            ({"ordering": "spiral"}, "'spiral'"),
            ({"edge_unit": "kpc"}, "'kpc'"),
            ({"unit": "counts"}, "minimum -"),
        ],
    )
    def test_wrong_attributes(self, tmp_path, said, word):
        write_hdf5_shells(tmp_path / "a.h5", DELTA, Z, **said)
        with pytest.raises(DataError, match=word) as caught:
            list(read_hdf5_shells(tmp_path / "a.h5").maps())
        assert "a.h5" in str(caught.value)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("edges", "word"),
        [(Z[:-1], "give 4"), (Z[::-1], "increase"), ([0, 0.3, 0.3, 1], "increase")],
    )
    def test_wrong_edges(self, tmp_path, edges, word):
        write_hdf5_shells(tmp_path / "a.h5", DELTA, np.array(edges))
        with pytest.raises(DataError, match=word):
            read_hdf5_shells(tmp_path / "a.h5")

    def test_counts_said_to_be_contrast(self, tmp_path):
        write_hdf5_shells(tmp_path / "a.h5", counts_of(DELTA), Z)
        with pytest.raises(DataError, match="unit `counts`"):
            list(read_hdf5_shells(tmp_path / "a.h5").maps())

    def test_pixels_without_value(self, tmp_path):
        holes = DELTA.copy()
        holes[1, 5] = healpy.UNSEEN
        write_hdf5_shells(tmp_path / "a.h5", holes, Z)
        with pytest.raises(DataError, match="full sky"):
            list(read_hdf5_shells(tmp_path / "a.h5").maps())

    def test_missing_truncated_and_other_files(self, tmp_path):
        path = tmp_path / "a.h5"
        with pytest.raises(DataError, match=r"a\.h5 does not exist"):
            read_hdf5_shells(path)
        write_hdf5_shells(path, DELTA, Z)
        path.write_bytes(path.read_bytes()[:3000])
        with pytest.raises(DataError, match=r"a\.h5 is truncated"):
            list(read_hdf5_shells(path).maps())
        with h5py.File(tmp_path / "b.h5", "w") as file:
            file["kappa"] = np.zeros(12)
        with pytest.raises(DataError, match=r"b\.h5 .*not of this format.*edges"):
            read_hdf5_shells(tmp_path / "b.h5")


class TestPlainFits:
    @pytest.mark.parametrize("nest", [False, True])
    @pytest.mark.parametrize("unit", ["contrast", "counts"])
    def test_units_and_ordering(self, tmp_path, nest, unit):
        values = DELTA if unit == "contrast" else (1 + DELTA) * 30
        values = values[:, NEST] if nest else values
        write_fits_shells(tmp_path / "a.fits", values, Z, nest=nest, unit=unit)
        assert_shells(read_fits_shells(tmp_path / "a.fits"), Z, "redshift", 1e-5)

    def test_map_without_edges(self, tmp_path):
        healpy.write_map(tmp_path / "a.fits", DELTA[0], dtype=np.float32)
        with pytest.raises(DataError, match=r"a\.fits .*EDGEUNIT"):
            read_fits_shells(tmp_path / "a.fits")

    def test_truncated(self, tmp_path):
        path = tmp_path / "a.fits"
        write_fits_shells(path, DELTA, Z, nest=False, unit="contrast")
        path.write_bytes(path.read_bytes()[:9000])
        with pytest.raises(DataError, match=r"a\.fits"):
            list(read_fits_shells(path).maps())


SHEAR = 0.05 * np.random.default_rng(3).uniform(-1, 1, (2, 2, 12 * NSIDE**2))


class TestShear:
    def write_hdf5(self, path: Path, shear: np.ndarray, ordering: str, convention: str) -> None:
        with h5py.File(path, "w") as file:
            file.create_dataset("shear", data=shear)
            file["shear"].attrs.update({"ordering": ordering, "polarisation": convention})

    @pytest.mark.parametrize("convention", ["COSMO", "IAU"])
    def test_hdf5(self, tmp_path, convention):
        said = SHEAR * np.array([1, 1 if convention == "COSMO" else -1])[:, None]
        self.write_hdf5(tmp_path / "a.h5", said[..., NEST], "nested", convention)
        np.testing.assert_allclose(read_hdf5_shear(tmp_path / "a.h5"), SHEAR)

    def test_fits(self, tmp_path):
        names = ["GAMMA1_1", "GAMMA2_1", "GAMMA1_2", "GAMMA2_2"]
        healpy.write_map(
            tmp_path / "a.fits", list(SHEAR.reshape(4, -1)), nest=False, column_names=names,
            extra_header=[("POLCCONV", "COSMO")], dtype=np.float64,
        )  # fmt: skip
        np.testing.assert_allclose(read_fits_shear(tmp_path / "a.fits"), SHEAR)

    def test_wrong_shape_and_values(self, tmp_path):
        self.write_hdf5(tmp_path / "a.h5", SHEAR[:, 0], "ring", "COSMO")
        with pytest.raises(DataError, match="bin, component, pixel"):
            read_hdf5_shear(tmp_path / "a.h5")
        self.write_hdf5(tmp_path / "a.h5", 100 * SHEAR, "ring", "COSMO")
        with pytest.raises(DataError, match="beyond 1"):
            read_hdf5_shear(tmp_path / "a.h5")
        self.write_hdf5(tmp_path / "a.h5", SHEAR, "ring", "HEALPix")
        with pytest.raises(DataError, match="COSMO or IAU"):
            read_hdf5_shear(tmp_path / "a.h5")


def test_regrading_keeps_the_band_and_adds_no_window():
    """A plain average over pixels loses 6 % at l = 1.5 nside; both see the same large scales."""
    ell_max = 16
    size = healpy.Alm.getsize(ell_max)
    rng = np.random.default_rng(1)
    alm = rng.standard_normal(size) + 1j * rng.standard_normal(size)
    alm[: ell_max + 1] = alm[: ell_max + 1].real
    fine = healpy.alm2map(alm, 64, lmax=ell_max)
    made = harmonics.analyse(regrade(fine, 8, ell_max), ell_max)
    ratio = np.sqrt(harmonics.cross_spectrum(made, made, ell_max)[1:])
    ratio /= np.sqrt(harmonics.cross_spectrum(alm, alm, ell_max)[1:])
    np.testing.assert_allclose(ratio, 1, atol=0.02)
    averaged = harmonics.analyse(healpy.ud_grade(fine, 8), ell_max)
    loss = harmonics.cross_spectrum(averaged, alm, ell_max) / harmonics.cross_spectrum(
        alm, alm, ell_max
    )
    assert loss[12] < 0.95


def test_regrading_leaves_equal_resolution_and_repeats_coarser_maps():
    np.testing.assert_array_equal(regrade(DELTA[0], NSIDE, 16), DELTA[0])
    finer = regrade(DELTA[0], 2 * NSIDE, 32)
    np.testing.assert_allclose(healpy.ud_grade(finer, NSIDE), DELTA[0])


@pytest.fixture(scope="module")
def cosmology():
    return make_geometry(PARAMETERS, SKY.shells)


SKY = Sky(Shells(7, 400.0), NSIDE, 16, Mesh(32, 1000.0, 32))


def on_disk(path: Path, tier: type = ShellsOnDisk, format: str = "hdf5"):
    return tier(SKY, format=format, path=str(path), table="sims.csv", paired=False)


def draw_of(file: str) -> Draw:
    return make_draw(Sim(0, 1, lambda: None, None, file=file), None, SKY, None)


def lensed(tier, cosmology, file: str, survey: Survey) -> list[np.ndarray]:
    draw = draw_of(file)
    planes = source_planes(tier, cosmology, draw, survey, SKY, PARAMETERS)
    return lens(tier, cosmology, draw, survey, SKY, planes)[:2]


def survey_of(z: np.ndarray, n_of_z: np.ndarray) -> Survey:
    n_of_z = n_of_z / np.trapezoid(n_of_z, z, axis=1)[:, None]
    return Survey(z, n_of_z, np.full(len(n_of_z), 5.0), 0.0, np.arange(12 * NSIDE**2), NSIDE)


def test_edges_in_redshift_and_distance_agree(tmp_path, cosmology):
    """Against astropy's distances; the config's CAMB has radiation too, 0.05 % at z = 1."""
    mpc = FlatLambdaCDM(H0=70, Om0=0.3).comoving_distance(Z).value
    for name, edges, unit in (("z", Z, "redshift"), ("c", mpc, "Mpc"), ("h", mpc * 0.7, "Mpc/h")):
        write_hdf5_shells(tmp_path / name, DELTA, edges, edge_unit=unit)
        found = on_disk(tmp_path).own_shells(cosmology, draw_of(name)).edges
        np.testing.assert_allclose(found, mpc * 0.7, rtol=2e-3)


def test_shells_behind_the_sky_are_not_read(tmp_path, cosmology):
    edges = np.array([0.0, 1500.0, 2900.0, 4000.0])
    write_hdf5_shells(tmp_path / "a", DELTA, edges, edge_unit="Mpc/h")
    tier, draw = on_disk(tmp_path), draw_of("a")
    assert list(tier.own_shells(cosmology, draw).edges) == [0, 1500, 2900]
    assert len(list(tier.density_shells(cosmology, draw))) == 2


def test_missing_near_shells_are_refused(tmp_path, cosmology):
    write_hdf5_shells(tmp_path / "a", DELTA, Z + 0.1)
    with pytest.raises(DataError, match="nearest shell at"):
        on_disk(tmp_path).own_shells(cosmology, draw_of("a"))


def test_lensing_uses_the_edges_of_the_file(tmp_path, cosmology):
    """Against the Born integral of one pattern whose amplitude changes with distance."""
    edges = np.concatenate([[0.0], np.cumsum(np.resize([60.0, 90.0, 140.0], 30))])
    pattern = DELTA[0] / 10
    middle = (edges[1:] + edges[:-1]) / 2
    amplitude = 1 + middle / 1000
    write_hdf5_shells(tmp_path / "a", amplitude[:, None] * pattern, edges, edge_unit="Mpc/h")
    z = np.linspace(0.0, 1.2, 241)
    survey = survey_of(z, np.exp(-0.5 * ((z - 0.9) / 0.08) ** 2)[None] * (z < 1.15))
    kappa, shear = lensed(on_disk(tmp_path), cosmology, "a", survey)

    astropy = FlatLambdaCDM(H0=70, Om0=0.3)
    fine = np.linspace(1e-4, 1.2, 2400)
    chi = astropy.comoving_distance(fine).value * 0.7
    source = np.interp(fine, z, survey.n_of_z[0])
    source /= np.trapezoid(source, fine)
    efficiency = np.array([np.trapezoid(source * np.clip(1 - x / chi, 0, None), fine) for x in chi])
    kernel = 1.5 * 0.3 / 2997.92458**2 * chi * (1 + fine) * efficiency
    steps = amplitude[np.clip(np.searchsorted(edges, chi) - 1, 0, 29)]
    expected = np.trapezoid(kernel * steps, chi)
    slope = (kappa[0] @ pattern) / (pattern @ pattern)
    assert slope == pytest.approx(expected, rel=0.02)
    assert shear.shape == (1, 2, 12 * NSIDE**2)


def test_shells_before_the_sources_are_refused(tmp_path, cosmology):
    write_hdf5_shells(tmp_path / "a", DELTA, np.array([0.0, 0.2, 0.4, 0.6]))
    z = np.linspace(0, 1.2, 121)
    survey = survey_of(z, np.ones((1, 121)))
    with pytest.raises(DataError, match=r"a has shells to z = 0\.60 .* sources at 1\.20"):
        lensed(on_disk(tmp_path), cosmology, "a", survey)


def shear_of(kappa: np.ndarray, nside: int, ell_max: int) -> np.ndarray:
    """Return shear, shape (2, n_pix), COSMO, of healpy's coefficients of the convergence."""
    ell = np.arange(ell_max + 1.0)
    factor = np.zeros(ell_max + 1)
    factor[2:] = np.sqrt((ell[2:] + 2) * (ell[2:] - 1) / (ell[2:] * (ell[2:] + 1)))
    alm = healpy.almxfl(kappa, factor)
    return np.array(healpy.alm2map_spin([alm, 0 * alm], nside, 2, ell_max))


@pytest.mark.parametrize("nside", [NSIDE, 4 * NSIDE])
def test_shear_maps_replace_lensing(tmp_path, cosmology, nside):
    """Finer shear is regraded in harmonic space; the convergence comes back from its E modes."""
    ell_max = SKY.ell_max
    alms = [healpy.map2alm(delta / 20, lmax=ell_max, iter=10) for delta in DELTA[:2]]
    for alm in alms:
        alm[[0, 1, ell_max + 1]] = 0  # shear has no l below 2
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["shear"] = np.stack([shear_of(alm, nside, ell_max) for alm in alms])
        file["shear"].attrs.update({"ordering": "ring", "polarisation": "COSMO"})
    z = np.linspace(0, 1, 11)
    survey = survey_of(z, np.ones((2, 11)))
    sims = [Sim(4, 9, lambda: cosmology, None, file="a.h5")]
    made = simulate_chunk(sims, on_disk(tmp_path, ShearOnDisk), survey, SKY, 1)
    expected = np.stack([shear_of(alm, NSIDE, ell_max) for alm in alms])
    np.testing.assert_allclose(made["maps"][0], expected[:, :, survey.pixel_ring], atol=1e-5)
    kappa = np.stack([healpy.alm2map(alm, NSIDE, lmax=ell_max) for alm in alms])
    np.testing.assert_allclose(made["convergence"][0], kappa, atol=1e-4)


def test_shear_of_other_bins_or_too_coarse_is_refused(tmp_path, cosmology):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["shear"] = SHEAR
        file["shear"].attrs.update({"ordering": "ring", "polarisation": "COSMO"})
    survey = survey_of(np.linspace(0, 1, 11), np.ones((3, 11)))
    tier = on_disk(tmp_path, ShearOnDisk)
    with pytest.raises(DataError, match=r"a\.h5 has shear of 2 bins .* has 3"):
        lensed(tier, cosmology, "a.h5", survey)
    finer = Sky(SKY.shells, 16, 32, SKY.mesh)
    tier = ShearOnDisk(finer, "hdf5", str(tmp_path), "", False)
    with pytest.raises(DataError, match="nside 8"):
        tier.shear_maps(cosmology, draw_of("a.h5"))


def test_convergence_of_shear_is_the_inverse():
    alm = healpy.map2alm(DELTA[0], lmax=16, iter=10)
    alm[[0, 1, 17]] = 0
    found = lensing.convergence_of(shear_of(alm, NSIDE, 16)[None], NSIDE, 16)
    np.testing.assert_allclose(found[0], healpy.alm2map(alm, NSIDE, lmax=16), atol=1e-3)


def test_unknown_format():
    with pytest.raises(ConfigError, match="'uchuu'"):
        on_disk(Path(), format="uchuu")


def test_names_of_tiers_on_disk_agree():
    assert tuple(BUILT_IN[tier] for tier in DISK_TIERS) == DISK_CLASSES


def test_methods_that_need_pairs_agree():
    from mflens.infer.methods import METHODS

    assert {name for name, m in METHODS.items() if "pairs" in m.learns_from} == set(NEED_PAIRS)


class TestCoverage:
    """Light cones of a part of the sky are refused, thinly sampled full skies are not."""

    FINER = 32
    LON, LAT = healpy.pix2ang(FINER, np.arange(12 * FINER**2), lonlat=True)
    PARTS = {
        "octant": (LON < 90) & (LAT > 0),
        "half sky": LON < 180,
        "5000 deg2": LAT > 49.2,
        "no galactic plane": np.abs(LAT) > 15,
    }

    def counts(self, mean: float, n_shells: int = 2) -> np.ndarray:
        delta = densities(n_shells, self.FINER)
        return np.random.default_rng(1).poisson(mean * (1 + delta)).astype(np.uint16)

    def write(self, folder: Path, name: str, values: np.ndarray):
        """Write counts as a suite does and return what reads them."""
        delta, path = values / 1000.0 - 1, folder / name
        z, radii = Z[: len(values) + 1], RADII[: len(values) + 1]
        if name == "gower_street":
            write_gower_street(path, delta, z)
            return read_gower_street(path)
        if name == "cosmogrid.npz":
            write_cosmogrid(path, delta, z, [*range(len(values))])
            return read_cosmogrid(path)
        if name == "lightcone0_shells":
            write_flamingo(path, delta, radii)
            return read_flamingo(path)
        if name.endswith(".h5"):
            write_hdf5_shells(path, values, z, unit="counts")
            return read_hdf5_shells(path)
        write_fits_shells(path, values, z, nest=False, unit="counts")
        return read_fits_shells(path)

    NAMES = ("gower_street", "cosmogrid.npz", "lightcone0_shells", "plain.h5", "plain.fits")

    @pytest.mark.parametrize("part", PARTS)
    @pytest.mark.parametrize("name", NAMES)
    def test_part_of_the_sky(self, tmp_path, name, part):
        file = self.write(tmp_path, name, self.counts(200) * self.PARTS[part])
        with pytest.raises(DataError, match="covers part of the sky only") as caught:
            list(file.maps())
        assert "\n" not in str(caught.value)
        assert name.partition(".")[0] in str(caught.value)

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("mean", [0.003, 0.3, 3.0])
    def test_thin_samples_of_the_full_sky(self, tmp_path, name, mean):
        """Up to 99.7 per cent of the pixels are empty."""
        counts = self.counts(mean)
        assert (counts == 0).any()
        for found, expected in zip(self.write(tmp_path, name, counts).maps(), counts, strict=True):
            np.testing.assert_allclose(found, expected / expected.mean() - 1, rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize("outside", [-1.0, 0.0])
    @pytest.mark.parametrize("part", PARTS)
    def test_contrasts(self, tmp_path, part, outside):
        delta = np.where(self.PARTS[part], densities(2, self.FINER), outside)
        write_hdf5_shells(tmp_path / "a.h5", delta, Z[:3])
        with pytest.raises(DataError, match=r"a\.h5 covers part of the sky only"):
            list(read_hdf5_shells(tmp_path / "a.h5").maps())

    def test_thin_contrasts_of_the_full_sky(self, tmp_path):
        counts = self.counts(0.5)
        delta = counts / counts.mean(axis=1, keepdims=True) - 1
        write_hdf5_shells(tmp_path / "a.h5", delta, Z[:3])
        np.testing.assert_allclose(list(read_hdf5_shells(tmp_path / "a.h5").maps()), delta, 1e-5)

    @pytest.mark.parametrize("sigma", [0.5, 1.5, 2.5])
    @pytest.mark.parametrize("mean", [0.01, 0.3, 10.0])
    def test_strongly_clustered_full_sky(self, sigma, mean):
        """Lognormal densities of such a width in the logarithm, with power on all scales."""
        rng, ell_max = np.random.default_rng(3), 2 * self.FINER
        ell = healpy.Alm.getlm(ell_max)[0]
        alm = rng.standard_normal((2, ell.size)).T.copy().view(complex)[:, 0] / np.maximum(ell, 1)
        gaussian = healpy.alm2map(np.where(ell > 1, alm, 0), self.FINER, lmax=ell_max)
        density = np.exp(sigma * gaussian / gaussian.std())
        counts = np.random.default_rng(4).poisson(mean * density / density.mean())
        assert empty_part(counts) == 0
        assert empty_part(counts * 0.37) == 0

    def test_shear(self, tmp_path):
        shear = 0.05 * np.random.default_rng(3).uniform(-1, 1, (2, 2, 12 * self.FINER**2))
        sky = Sky(Shells(2, 500.0), 16, 32, Mesh(32, 1000.0, 32))
        for name, part in {"full": 1, **self.PARTS}.items():
            TestShear().write_hdf5(tmp_path / f"{name}.h5", shear * part, "ring", "COSMO")
            tier = ShearOnDisk(sky, "hdf5", str(tmp_path), "", False)
            draw = Draw(None, None, None, f"{name}.h5")
            if name == "full":
                assert tier.shear_maps(None, draw).shape == (2, 2, 12 * 16**2)
                continue
            with pytest.raises(DataError, match=f"{name}.h5 covers part of the sky only"):
                tier.shear_maps(None, draw)
