"""A folder of made-up power spectra in the form of the CAMELS ones."""

from pathlib import Path

import numpy as np

N_ROWS, N_K = 700, 12


def write_spectra(folder: Path) -> None:
    """Write spectra whose amplitude is sigma_8 and whose slope is Omega_m, feedback and noise."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    k = np.geomspace(0.4, 10, N_K)
    theta = rng.uniform([0.1, 0.6], [0.5, 1.0], (N_ROWS, 2))
    nbody = 30 * theta[:, 1:] ** 2 * k ** (-1.5 - theta[:, :1])
    hydro = nbody * (1 - 0.2 * rng.random((N_ROWS, 1)) * k / k.max())
    np.save(folder / "k.npy", k)
    for word, power in (("nbody", nbody), ("hydro", hydro)):
        np.save(folder / f"pk_{word}.npy", power)
        noise = 0.1 * (0.05 + power) * rng.uniform(-1, 1, power.shape)
        np.save(folder / f"x_{word}_noisy.npy", k * (power + noise))
    rows = [f"LH_{i} {a:.5f} {b:.5f} 1 1 1 1 {i}\n" for i, (a, b) in enumerate(theta)]
    (folder / "parameters.txt").write_text("#Name Omega_m sigma_8 ...\n" + "".join(rows))
