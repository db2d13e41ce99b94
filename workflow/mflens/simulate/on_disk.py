"""Tiers `shells_on_disk` and `shear_on_disk`: simulations that the user has."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import healpy
import numpy as np

from mflens.errors import ConfigError, DataError
from mflens.files.suites.cosmogrid import read_cosmogrid
from mflens.files.suites.files import ShellFile, check_coverage
from mflens.files.suites.flamingo import read_flamingo
from mflens.files.suites.gower_street import read_gower_street
from mflens.files.suites.plain import (
    read_fits_shear,
    read_fits_shells,
    read_hdf5_shear,
    read_hdf5_shells,
)
from mflens.simulate import harmonics
from mflens.theory.cosmology import Cosmology

if TYPE_CHECKING:
    from mflens.simulate.tiers import Draw, Sky

logger = logging.getLogger(__name__)

SHELL_READERS: dict[str, Callable[[Path], ShellFile]] = {
    "gower_street": read_gower_street,
    "cosmogrid": read_cosmogrid,
    "flamingo": read_flamingo,
    "hdf5": read_hdf5_shells,
    "fits": read_fits_shells,
}
SHEAR_READERS: dict[str, Callable[[Path], np.ndarray]] = {
    "hdf5": read_hdf5_shear,
    "fits": read_fits_shear,
}
OVERSAMPLING = 4  # resolution, over that of the maps, to which finer files are averaged first
LARGEST_HOLE_MPC_H = 100.0  # ASSUME nothing is missed so near the observer, where shells may lack


@dataclass(frozen=True)
class OwnShells:
    """Shells that are not those of the sky.

    Attributes
    ----------
    edges
        Comoving distances of the edges in Mpc/h, nearest first, shape (n_shells + 1,).
    """

    edges: np.ndarray


class ShellsOnDisk:
    """Density shells read from files, each sim with the edges that its file says.

    Shells beyond the last one of the sky, which the config takes to lie behind all sources, are
    not read.

    Parameters
    ----------
    sky
        The discretisation.
    format
        Name of the reader.
    path
        Folder of the sims.
    table, paired
        For the design; see `simulate.sim_table`.
    """

    def __init__(self, sky: "Sky", format: str, path: str, table: str, paired: bool) -> None:
        self.sky, self.folder = sky, Path(path)
        self.read = _reader(SHELL_READERS, format)

    def own_shells(self, cosmology: Cosmology, draw: "Draw") -> OwnShells:
        """Return the shells of a sim, in the distances of its cosmology.

        Raises
        ------
        DataError
            If they start too far from the observer.
        """
        file = self.read(self.folder / draw.file)
        h = cosmology.parameters["h"]
        if file.unit == "redshift":
            edges = np.asarray(cosmology.background.comoving_distance(file.edges), dtype=float) * h
        else:
            edges = file.edges * (h if file.unit == "Mpc" else 1.0)
        if edges[0] > LARGEST_HOLE_MPC_H:
            raise DataError(
                f"{file.path} has its nearest shell at {edges[0]:.0f} Mpc/h; add those before it."
            )
        behind = int(np.searchsorted(edges, self.sky.shells.edges[-1]))
        return OwnShells(edges[: behind + 1])

    def density_shells(self, cosmology: Cosmology, draw: "Draw") -> Iterator[np.ndarray]:
        """Yield the shells; see `Tier`."""
        # HDF5 can crash on a damaged file: then the log has named it
        logger.info("reading %s", self.folder / draw.file)
        n_shells = self.own_shells(cosmology, draw).edges.size - 1
        for delta in islice(self.read(self.folder / draw.file).maps(), n_shells):
            yield regrade(delta, self.sky.nside, self.sky.ell_max)


class ShearOnDisk:
    """Shear maps read from files, noiseless and of the survey's tomographic bins.

    Parameters
    ----------
    sky, format, path, table, paired
        As for `ShellsOnDisk`.
    """

    def __init__(self, sky: "Sky", format: str, path: str, table: str, paired: bool) -> None:
        self.sky, self.folder = sky, Path(path)
        self.read = _reader(SHEAR_READERS, format)

    def shear_maps(self, cosmology: Cosmology, draw: "Draw") -> np.ndarray:
        """Return the shear of all bins, shape (n_bins, 2, n_pix), RING, band-limited.

        Raises
        ------
        DataError
            If the file's resolution is too low, or it leaves a part of the sky empty.
        """
        path = self.folder / draw.file
        logger.info("reading %s", path)
        shear = self.read(path)
        check_coverage(np.any(shear != 0, axis=(0, 1)), path)
        found = healpy.npix2nside(shear.shape[-1])
        if found < self.sky.nside:
            raise DataError(
                f"{path} has nside {found}, below simulate.nside = {self.sky.nside}; lower that."
            )
        if found == self.sky.nside:
            return shear
        # components refer to the pixels' own directions, so averaging pixels would mix them
        ell_max = self.sky.ell_max
        coefficients = (harmonics.analyse(pair, ell_max, spin=2) for pair in shear)
        return np.stack(
            [harmonics.synthesise(alm, self.sky.nside, ell_max, spin=2) for alm in coefficients]
        )


def _reader(readers: dict[str, Callable], name: str) -> Callable:
    if name not in readers:
        raise ConfigError(f"simulate.tiers: format '{name}' is unknown; name {', '.join(readers)}.")
    return readers[name]


def regrade(delta: np.ndarray, nside: int, ell_max: int) -> np.ndarray:
    """Return a density contrast at another resolution, RING.

    A finer map is averaged (`healpy.ud_grade`) to 4 nside and then band-limited, so that it is not
    smoothed by the wanted pixels, as the maps of no other tier are. A coarser map is repeated.

    Parameters
    ----------
    delta
        Shape (n_pix of the file,), RING.
    nside, ell_max
        Wanted resolution and band limit.
    """
    found = healpy.npix2nside(delta.size)
    if found < nside:
        logger.warning(
            "shells of nside %d are too coarse for nside %d: power is lost", found, nside
        )
        return healpy.ud_grade(delta, nside)
    if found == nside:
        # ASSUME the window of the file's own pixels is small; it is if the file is finer
        return delta
    averaged = healpy.ud_grade(delta, min(found, OVERSAMPLING * nside))
    return harmonics.synthesise(harmonics.analyse(averaged, ell_max), nside, ell_max)
