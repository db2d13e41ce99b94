"""Shear of the maps that the workflow writes against CCL and CAMB's source windows.

`python tests/lensing_accuracy.py FOLDER` prints the table of workflow/report/accuracy.md.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import camb
import h5py
import healpy
import numpy as np
import pyccl
from scipy import stats

from configs import merge, read_config
from mflens.simulate.survey.redshifts import source_distributions
from mflens.theory.power import camb_parameters, compute_transfer, set_amplitude
from runs import Runner

N_SIMS, CHUNK = 512, 64
NSIDE, ELL_MAX = 64, 128
BANDS = [20, 32, 48, 64, 96, 129]
CENTRE = {
    "Omega_m": 0.3, "sigma_8": 0.8, "h": 0.7, "n_s": 0.96, "Omega_b": 0.046, "m_nu": 0.0
}  # fmt: skip


@dataclass(frozen=True)
class Sources:
    """A survey: the overlay it stands in, or redshifts of its own; and what is asked of it."""

    overlay: tuple[str, ...] = ()
    redshifts: dict[str, Any] = field(default_factory=dict)
    limit: float = 0.02


def outliers(folder: Path) -> dict[str, Any]:
    """Write narrow bins, each with a clump of outliers far away, and return how they are read."""
    z = np.arange(0.0, 1.6, 0.004)
    clumps = [(0.2, 1.3), (0.6, 0.15), (1.2, 0.2)]
    bins = [
        0.9 * stats.norm.pdf(z, bulk, 0.04) + 0.1 * stats.norm.pdf(z, far, 0.05)
        for bulk, far in clumps
    ]
    folder.mkdir(parents=True, exist_ok=True)
    np.savetxt(folder / "nz.txt", np.column_stack([z, *bins]))
    return {"kind": "file", "path": str(folder / "nz.txt"), "z_column": "middle", "z_max": 1.6}


def surveys(folder: Path) -> dict[str, Sources]:
    """Return the surveys of the table by name."""
    two = {"kind": "gaussian", "mean": [0.25, 0.95], "sd": [0.08, 0.15], "z_max": 1.5}
    return {
        "default": Sources(limit=0.01),
        "KiDS-1000": Sources(("kids1000",)),
        "DES Y3": Sources(("desy3",)),
        "Euclid DR1": Sources(("euclid_dr1",)),
        "near and far": Sources(redshifts=two),
        "outliers": Sources(redshifts=outliers(folder)),
    }


def config_of(sources: Sources) -> dict[str, Any]:
    """Return an overlay of the defaults: many lognormal sims of one cosmology without noise."""
    survey = merge(read_config(*sources.overlay), {})["simulate"]["survey"]
    redshifts = sources.redshifts or survey["redshifts"]
    n_bins = len(source_distributions(survey["redshifts"] | redshifts)[1])
    # a free parameter there must be: it hardly moves
    free = {"prior": "uniform", "min": 0.2999, "max": 0.3001}
    return {
        "theory": {"parameters": CENTRE | {"Omega_m": free}, "power": "camb"},
        "simulate": {
            "sims": {"bulk": N_SIMS},
            "realisations_per_cosmology": CHUNK,
            "chunk_size": {"bulk": CHUNK},
            "nside": NSIDE,
            "ell_max": ELL_MAX,
            "survey": {
                "redshifts": redshifts,
                "mask": "full",
                "sigma_e": 1e-9,
                "n_gal_arcmin2": [1.0] * n_bins,
                "nuisances": dict.fromkeys(survey["nuisances"], 0.0),
            },
        },
    }


def measure_maps(paths: list[Path]) -> np.ndarray:
    """Return the E-mode spectra of all sims in map files, (n_sims, n_ell, n_bins, n_bins).

    healpy's transform of gamma_1, gamma_2 as Q, U; nothing of mflens reads or transforms.
    """
    spectra = []
    for path in paths:
        with h5py.File(path) as file:
            assert file.attrs["ordering"] == "nested" and file.attrs["polarisation"] == "COSMO"
            order = np.argsort(file["pixel"][()])
            maps = file["maps"][()][..., order][..., healpy.ring2nest(NSIDE, np.arange(order.size))]
        for sim in maps.astype(float):
            alm = [
                healpy.map2alm([np.zeros_like(q), q, u], lmax=ELL_MAX, iter=1)[1] for q, u in sim
            ]
            spectra.append([[healpy.alm2cl(a, b) for b in alm] for a in alm])
    return np.moveaxis(np.array(spectra), -1, 1)


def ccl_spectra(z: np.ndarray, n_of_z: np.ndarray, ell: np.ndarray) -> np.ndarray:
    """Return CCL's cosmic shear with HMCode-2020 by CAMB, Limber, (n_ell, n_bins, n_bins)."""
    cosmology = pyccl.Cosmology(
        Omega_c=CENTRE["Omega_m"] - CENTRE["Omega_b"], Omega_b=CENTRE["Omega_b"], h=CENTRE["h"],
        sigma8=CENTRE["sigma_8"], n_s=CENTRE["n_s"], T_CMB=2.7255,
        transfer_function="boltzmann_camb", matter_power_spectrum="camb",
        extra_parameters={"camb": {"halofit_version": "mead2020", "kmax": 30.0}},
    )  # fmt: skip
    tracers = [pyccl.WeakLensingTracer(cosmology, dndz=(z, n)) for n in n_of_z]
    rows = [[pyccl.angular_cl(cosmology, a, b, ell) for b in tracers] for a in tracers]
    return np.moveaxis(np.array(rows), -1, 0)


def camb_spectra(z: np.ndarray, n_of_z: np.ndarray, ell: np.ndarray) -> np.ndarray:
    """Return the shear of CAMB's source windows without Limber, (n_ell, n_bins, n_bins)."""
    results = compute_transfer(CENTRE, np.zeros(1), 5.0)
    set_amplitude(results, CENTRE)
    params = camb_parameters(CENTRE)
    params.InitPower.As = results.Params.InitPower.As
    params.set_for_lmax(ell[-1] + 50, lens_potential_accuracy=0)
    # DoLensing stays on: CAMB 2.0 crashes without it
    params.Want_CMB, params.Want_CMB_lensing = False, False
    params.NonLinear = camb.model.NonLinear_both
    params.NonLinearModel.set_params("mead2020")
    params.SourceTerms.limber_windows = False
    real = z > 0
    params.SourceWindows = [
        camb.sources.SplinedSourceWindow(source_type="lensing", z=z[real], W=n[real])
        for n in n_of_z
    ]
    found = camb.get_results(params).get_source_cls_dict(lmax=ell[-1], raw_cl=True)
    names = [f"W{b + 1}" for b in range(len(n_of_z))]
    kappa = np.array([[found[f"{a}x{b}"] for b in names] for a in names])
    shear_over_kappa = (ell + 2) * (ell - 1) / (ell * (ell + 1))
    return np.moveaxis(kappa, -1, 0)[ell] * shear_over_kappa[:, None, None]


def in_bands(spectra: np.ndarray, ell: np.ndarray) -> np.ndarray:
    """Average over the modes of each band along the axis of l, the third from the right."""
    parts = [(ell >= low) & (ell < high) for low, high in zip(BANDS, BANDS[1:], strict=False)]
    weight = (2 * ell + 1)[:, None, None]
    means = [(weight * spectra)[..., part, :, :].sum(-3) / weight[part].sum() for part in parts]
    return np.stack(means, axis=-3)


def run_maps(name: str, sources: Sources, folder: Path) -> list[Path]:
    """Let the workflow write the maps of a survey and return their files."""
    runner = Runner(folder, name.replace(" ", "_"))
    parts = [f"results/simulate_maps/lognormal/bulk/{i}.h5" for i in range(N_SIMS // CHUNK)]
    overlays = [f"{runner.repository}/config/{one}.yaml" for one in sources.overlay]
    runner(*parts, configs=[*overlays, runner.overlay(config_of(sources))])
    return [runner.folder / part for part in parts]


def compare(name: str, sources: Sources, folder: Path) -> tuple[np.ndarray, ...]:
    """Return mean spectra of the maps over CCL's, over CAMB's, and the standard error of both.

    Each of shape (n_bands, n_bins, n_bins).
    """
    paths = run_maps(name, sources, folder)
    survey = read_config(*sources.overlay)["simulate"]["survey"]
    z, n_of_z = source_distributions(survey["redshifts"] | sources.redshifts)
    ell = np.arange(BANDS[0], BANDS[-1])
    measured = in_bands(measure_maps(paths)[:, ell], ell)
    ccl, windows = (in_bands(f(z, n_of_z, ell), ell) for f in (ccl_spectra, camb_spectra))
    error = measured.std(axis=0) / np.sqrt(len(measured)) / ccl
    return measured.mean(axis=0) / ccl, measured.mean(axis=0) / windows, error


def main(folder: Path) -> None:
    """Print the table by survey, pair of bins and band."""
    for name, sources in surveys(folder / "redshifts").items():
        over_ccl, over_camb, error = compare(name, sources, folder)
        both = np.stack([over_ccl, over_camb])
        for a, b in zip(*np.triu_indices(over_ccl.shape[1]), strict=True):
            cells = [f"{one:.3f} / {other:.3f}" for one, other in both[:, :, a, b].T]
            largest = f"{error[:, a, b].max():.3f}"
            print("|", " | ".join([name, f"({a + 1}, {b + 1})", *cells, largest]), "|", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
