"""Redshift distributions as surveys publish them, written by hand for the tests.

KiDS-1000 (arXiv:2007.15635): one text file a bin, lower edges of intervals of 0.05 from 0 to 6, the
density and its error. DES Y3 (arXiv:2012.08566): a two-point file with the extension `nz_source`,
300 intervals of 0.01. Euclid-like (arXiv:1910.09273): one table of points.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from astropy.io import fits

KIDS_MEANS = (0.257, 0.402, 0.563, 0.792, 0.984)
DES_MEANS = (0.336, 0.521, 0.741, 0.935)
EUCLID_EDGES = (0.0, 0.515, 0.713, 0.896, 1.102, 1.385, 2.5)


def bump(z: np.ndarray, mean: float, sd: float) -> np.ndarray:
    """Return a Gaussian density."""
    return np.exp(-0.5 * ((z - mean) / sd) ** 2) / (sd * np.sqrt(2 * np.pi))


def write_kids(folder: Path) -> list[str]:
    """Write five files; the last bin has noise at z = 3.6 that moves its mean by 0.013."""
    lower = np.round(np.arange(120) * 0.05, 2)
    paths = []
    for number, mean in enumerate(KIDS_MEANS, start=1):
        n = bump(lower + 0.025, mean, 0.07)
        if number == 5:
            n *= 1 - 0.005
            n[lower == 3.6] = 0.005 / 0.05
        path = folder / f"SOM_N_of_Z/K1000_NS_V1.0.0A_ugriZYJHKs_TOMO{number}_Nz.asc"
        path.parent.mkdir(exist_ok=True)
        rows = [f"{a:.2f} {b:.8e} {0.01 * b:.8e}" for a, b in zip(lower, n, strict=True)]
        path.write_text("\n".join(["# z n(z) err", *rows]) + "\n")
        paths.append(str(path))
    return paths


def write_two_point(
    path: Path,
    bins: Sequence[np.ndarray],
    z: np.ndarray,
    *,
    extension: str = "nz_source",
    without: Sequence[str] = (),
) -> str:
    """Write a two-point file with extensions of lenses and sources, z the middles of intervals."""
    half = (z[1] - z[0]) / 2
    columns = {"Z_LOW": z - half, "Z_MID": z, "Z_HIGH": z + half}
    columns |= {f"BIN{number}": n for number, n in enumerate(bins, start=1)}
    table = fits.BinTableHDU.from_columns(
        [fits.Column(n, "D", array=array) for n, array in columns.items() if n not in without]
    )
    table.header["NZDATA"], table.header["EXTNAME"] = True, extension
    lens = fits.BinTableHDU.from_columns([fits.Column(name="Z_MID", format="D", array=z)])
    lens.name = "nz_lens"
    fits.HDUList([fits.PrimaryHDU(), lens, table]).writeto(path)
    return str(path)


def write_des(folder: Path) -> str:
    """Write four bins; the first dips below zero in 12 of 300 rows, by 4e-4 of itself."""
    z = 0.005 + 0.01 * np.arange(300)
    bins = [bump(z, mean, 0.08) for mean in DES_MEANS]
    bins[0][100:112] = -4e-4 / 0.12
    return write_two_point(folder / "2pt_NG_final_2ptunblind_02_24_21_wnz_redmagic.fits", bins, z)


def write_euclid(folder: Path) -> str:
    """Write six bins cut sharply out of z^2 exp(-(z / 0.636)^1.5), points from 0.001 to 4."""
    z = np.linspace(0.001, 4.0, 1000)
    total = z**2 * np.exp(-((z / 0.636) ** 1.5))
    pairs = zip(EUCLID_EDGES[:-1], EUCLID_EDGES[1:], strict=True)
    bins = [np.where((z >= low) & (z < high), total, 0.0) for low, high in pairs]
    np.savetxt(folder / "nz_euclid.txt", np.column_stack([z, *bins]), header="z " + "n " * 6)
    return str(folder / "nz_euclid.txt")
