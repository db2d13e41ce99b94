"""Sims on disk for the tests, written as the suites publish them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import healpy
import numpy as np

MPC_IN_CM = 3.08567758e24


def densities(n_shells: int, nside: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    """Return density contrasts above -1, shape (n_shells, n_pix), RING, smooth at l of nside."""
    rng = np.random.default_rng(seed)
    ell_max = nside
    maps = []
    for _ in range(n_shells):
        size = healpy.Alm.getsize(ell_max)
        alm = rng.standard_normal(size) + 1j * rng.standard_normal(size)
        alm[: ell_max + 1] = alm[: ell_max + 1].real
        alm[0] = 0
        delta = healpy.alm2map(alm, nside, lmax=ell_max)
        delta = np.exp(0.4 * scale * delta / delta.std())
        maps.append(delta / delta.mean() - 1)
    return np.array(maps)


def counts_of(delta: np.ndarray, mean: float = 1000.0) -> np.ndarray:
    """Return whole numbers of particles."""
    return np.rint((1 + delta) * mean)


def write_gower_street(folder: Path, delta: np.ndarray, z: np.ndarray) -> None:
    """Write an unpacked archive; time steps run from early to late times."""
    folder.mkdir(parents=True)
    n = len(delta)
    header = (
        "# Step,z_far,z_near,delta_z,cmd_far(Mpc/h),cmd_near(Mpc/h),delta_cmd(Mpc/h),"
        "cmd/box_far,cmd/box_near,delta_cmd/box"
    )
    # the first step ends where the light cone does not lie inside the volume yet
    steps = [(1, z[-1] + 1, z[-1])] + [(i + 2, z[n - i], z[n - i - 1]) for i in range(n)]
    rows = [[step, far, near, far - near, 0, 0, 0, 0, 0, 0] for step, far, near in steps]
    text = "\n".join(",".join(f"{value:g}" for value in row) for row in rows)
    (folder / "z_values.txt").write_text(f"{header}\n{text}\n")
    np.save(folder / "run.00001.incomplete.npy", np.zeros(delta.shape[1], dtype=np.uint32))
    for i in range(n):
        counts = counts_of(delta[n - 1 - i]).astype(np.uint32)
        np.save(folder / f"run.{i + 2:05d}.lightcone.npy", counts)


def write_cosmogrid(path: Path, delta: np.ndarray, z: np.ndarray, order: Sequence[int]) -> None:
    """Write `compressed_shells.npz` with its rows in this order."""
    fields = [("shell_id", "i4")]
    fields += [(name, "f4") for name in ("lower_z", "upper_z", "lower_com", "upper_com")]
    info = np.zeros(len(delta), dtype=[("shell_name", "U30"), *fields, ("shell_com", "f4")])
    info["lower_z"], info["upper_z"] = z[:-1], z[1:]
    shells = counts_of(delta).astype(np.uint16)
    np.savez_compressed(path, shells=shells[list(order)], shell_info=info[list(order)])


def write_flamingo(
    folder: Path, delta: np.ndarray, radii: np.ndarray, unit_mpc: float = 1.0, n_parts: int = 2
) -> None:
    """Write a folder `lightcone0_shells`; radii in Mpc, stored in units of `unit_mpc`."""
    for i, row in enumerate(delta):
        (folder / f"shell_{i}").mkdir(parents=True)
        for number, pixels in enumerate(np.split((1 + row) * 7.5, n_parts)):
            name = folder / f"shell_{i}/lightcone0.shell_{i}.{number}.hdf5"
            with h5py.File(name, "w") as file:
                units = file.create_group("Units").attrs
                units["Unit length in cgs (U_L)"] = np.array([MPC_IN_CM * unit_mpc])
                shell = file.create_group("Shell").attrs
                shell["comoving_inner_radius"] = np.array([radii[i] / unit_mpc])
                shell["comoving_outer_radius"] = np.array([radii[i + 1] / unit_mpc])
                shell["nr_files_per_shell"] = np.array([n_parts])
                data = file.create_dataset("TotalMass", data=pixels)
                data.attrs["nside"] = np.array([healpy.npix2nside(row.size)])
                data.attrs["number_of_pixels"] = np.array([row.size])
                data.attrs["pixel_ordering_scheme"] = np.bytes_("ring")


def write_hdf5_shells(
    path: Path, density: np.ndarray, edges: np.ndarray, **attributes: Any
) -> None:
    """Write the plain layout; attributes `unit`, `ordering` and `edge_unit`."""
    said = {"unit": "contrast", "ordering": "ring", "edge_unit": "redshift"} | attributes
    with h5py.File(path, "w") as file:
        data = file.create_dataset("density", data=density)
        data.attrs["unit"], data.attrs["ordering"] = said["unit"], said["ordering"]
        file.create_dataset("edges", data=edges).attrs["unit"] = said["edge_unit"]


def write_fits_shells(
    path: Path, density: np.ndarray, edges: np.ndarray, *, nest: bool, unit: str
) -> None:
    """Write the plain layout from maps in the ordering that is said; edges are redshifts."""
    header = [("UNIT", unit), ("EDGEUNIT", "redshift")]
    header += [(f"EDGE{i}", float(edge)) for i, edge in enumerate(edges)]
    names = [f"SHELL{i}" for i in range(len(density))]
    healpy.write_map(
        path, list(density), nest=nest, column_names=names, extra_header=header, dtype=np.float32
    )
