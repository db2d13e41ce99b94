"""CAMELS matter power spectra: hydrodynamical runs and N-body runs of the same initial conditions.

Nothing is simulated here: a folder holds the spectra, row i of every file being simulation i.

References
----------
arXiv:2506.06087, section 5.4; arXiv:2010.00619
"""

from collections.abc import Mapping, Sequence
from os.path import isdir
from pathlib import Path
from typing import Any

import numpy as np

from mflens.errors import ConfigError
from mflens.problems import line
from mflens.tasks.simulators.splits import check_splits, ladder_splits, split_streams

PARAMETERS = {
    "Omega_m": {"prior": "uniform", "min": 0.1, "max": 0.5},
    "sigma_8": {"prior": "uniform", "min": 0.6, "max": 1.0},
}
COLUMNS = {"Omega_m": 1, "sigma_8": 2}  # of parameters.txt
FILES = {"n_body": "nbody", "hydro": "hydro"}  # tier to the word in its file names
# ASSUME the paper's "more than 100 times" is 100
COSTS = {"n_body": 1.0, "hydro": 100.0}
NOISES = ("published", "matched")
NOISE_LEVEL, NOISE_OFFSET = 0.2, 0.05  # the noise of P has sd 0.2 (0.05 + P), (Mpc/h)^3
LEAST_POWER = 0.05  # (Mpc/h)^3: noise that makes P negative, at 4 sigma, is cut off here
KEY = "tasks.camels.options"


class Spectra:
    """Noisy spectra log(k (P + noise)) of both tiers, parameters that are not inferred varying.

    Parameters
    ----------
    path
        Folder with k.npy, pk_<tier>.npy, x_<tier>_noisy.npy (tier: hydro, nbody), parameters.txt.
    parameters
        Which of Omega_m and sigma_8 to infer; all others are nuisance.
    noise
        `published`: as in the files, independent in the two tiers. `matched`: drawn, with the same
        normal numbers for both members of a pair.

    Raises
    ------
    ConfigError
        If an option or the folder is not as it should be.
    """

    def __init__(self, *, path: str, parameters: Sequence[str], noise: str) -> None:
        self.ladder = list(FILES)
        self.costs = [COSTS[tier] for tier in self.ladder]
        self.parameters: dict[str, Any] = _priors(parameters)
        if noise not in NOISES:
            raise ConfigError(f"{KEY}.noise: '{noise}' is unknown; name {' or '.join(NOISES)}.")
        self.noise, self.posterior = noise, None
        folder = Path(path)
        if not isdir(folder):
            raise ConfigError(
                f"{KEY}.path: there is no folder '{path}'; give the one that holds the CAMELS "
                "power spectra (k.npy, pk_hydro.npy, parameters.txt and others)."
            )
        self.theta = _read_parameters(folder, list(self.parameters))
        self.k = _read_array(folder, "k.npy", None)
        shape = (len(self.theta), len(self.k))
        self.power, self.noisy = (
            {t: _read_array(folder, form.format(word), shape) for t, word in FILES.items()}
            for form in ("pk_{}.npy", "x_{}_noisy.npy")
        )

    def draw(
        self, sizes: Mapping[str, int], rng: np.random.Generator, shared: float
    ) -> dict[str, dict[str, np.ndarray]]:
        """Draw splits whose rows are disjoint; see `Toy.draw`.

        Rows are finite, so that here a split does depend on the sizes of those before it in
        `ladder_splits`, the bulk apart. Only the numbers of matched noise can be shared or not:
        the initial conditions are the files'.

        Raises
        ------
        ConfigError
            If there are too few rows, or published noise should be shared in part.
        """
        check_splits(sizes, self.ladder)
        if self.noise == "published" and shared != 1:
            raise ConfigError(
                f"tasks.camels.shared: {shared} of the random numbers cannot be shared with "
                f"{KEY}.noise 'published', which the files fix; set it to 1, or noise to matched."
            )
        # first of all, as drawing rows must not depend on which splits are wanted
        draw_rows, draw_noise = rng.spawn(2)
        rows = self._assign_rows(sizes, draw_rows)
        streams = split_streams(self.ladder, draw_noise)
        return {
            split: {"theta": self.theta[rows[split]]}
            | self._observe_split(split, rows[split], streams[split], shared)
            for split in sizes
        }

    def simulate(self, tier: str, theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Refuse: files hold no simulations at other parameters than their own."""
        raise ConfigError(
            "tasks.camels: nothing can be simulated at given parameters; leave out metrics that "
            "compare with fresh simulations."
        )

    def _assign_rows(
        self, sizes: Mapping[str, int], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Cut a permutation of the rows: test and others from its front, bulk from its end."""
        total, n_rows = sum(sizes.values()), len(self.theta)
        if total > n_rows:
            wanted = ", ".join(f"{split} {n}" for split, n in sizes.items())
            raise ConfigError(
                f"tasks.camels: {total} sims are wanted ({wanted}), but {KEY}.path holds "
                f"{n_rows}, and no two splits may share one; lower levels or test."
            )
        order = rng.permutation(n_rows)
        rows, start = {}, 0
        for split in ladder_splits(self.ladder):
            n = sizes.get(split, 0)
            if split == "bulk":
                rows[split] = order[::-1][:n]
            else:
                rows[split], start = order[start : start + n], start + n
        return rows

    def _observe_split(
        self, split: str, rows: np.ndarray, rng: np.random.Generator, shared: float
    ) -> dict[str, np.ndarray]:
        *cheaper, top = ladder_splits(self.ladder)[split]
        draw_noise, draw_shared, draw_fresh = rng.spawn(3)
        shape = (len(rows), len(self.k))
        xi = draw_noise.standard_normal(shape)
        observed = {top: self._observe(top, rows, xi)}
        for tier in cheaper:
            keep = draw_shared.random(shape) < shared
            xi_tier = np.where(keep, xi, draw_fresh.standard_normal(shape))
            observed[tier] = self._observe(tier, rows, xi_tier)
        return observed

    def _observe(self, tier: str, rows: np.ndarray, xi: np.ndarray) -> np.ndarray:
        if self.noise == "published":
            return np.log(self.noisy[tier][rows])
        power = self.power[tier][rows]
        noisy = power + NOISE_LEVEL * (NOISE_OFFSET + power) * xi
        return np.log(self.k * np.maximum(noisy, LEAST_POWER))


def _priors(parameters: Sequence[str]) -> dict[str, Any]:
    unknown = [name for name in parameters if name not in PARAMETERS]
    if unknown or not parameters or len(set(parameters)) < len(parameters):
        raise ConfigError(
            f"{KEY}.parameters: {list(parameters)} is not possible; name one or both of "
            f"{', '.join(PARAMETERS)}, each once."
        )
    return {name: PARAMETERS[name] for name in parameters}


def _read_parameters(folder: Path, names: Sequence[str]) -> np.ndarray:
    """Return parameters of all rows, shape (n, d)."""
    path = folder / "parameters.txt"
    try:
        theta = np.loadtxt(path, usecols=[COLUMNS[name] for name in names], ndmin=2)
    except (OSError, ValueError, IndexError) as error:
        raise ConfigError(
            f"{KEY}.path: '{path}' cannot be read ({line(error)}); it needs a row for each "
            "simulation: name, Omega_m, sigma_8 and others."
        ) from error
    for name, column in zip(names, theta.T, strict=True):
        low, high = PARAMETERS[name]["min"], PARAMETERS[name]["max"]
        if not ((column >= low) & (column <= high)).all():
            raise ConfigError(
                f"{KEY}.path: '{path}' has values of {name} outside {low} to {high}; its columns "
                "must be name, Omega_m, sigma_8 and others."
            )
    return theta


def _read_array(folder: Path, name: str, shape: tuple[int, ...] | None) -> np.ndarray:
    """Return an array of positive numbers; a shape of None stands for any vector."""
    path = folder / name
    try:
        array = np.asarray(np.load(path, allow_pickle=False))
        if array.dtype.kind not in "iuf":
            raise ValueError(f"it holds {array.dtype}, not real numbers")
    except Exception as error:  # of damaged files numpy raises many kinds
        raise ConfigError(
            f"{KEY}.path: '{path}' cannot be read ({line(error)}); give a folder that holds "
            "all of the CAMELS power spectra."
        ) from error
    fits = array.ndim == 1 if shape is None else array.shape == shape
    if not fits:
        raise ConfigError(
            f"{KEY}.path: '{path}' has the shape {array.shape} instead of {shape or '(n_k,)'}; "
            "all files of the folder must have the same simulations and wavenumbers."
        )
    if not (np.isfinite(array) & (array > 0)).all():
        raise ConfigError(
            f"{KEY}.path: '{path}' holds values that are not positive and finite; restore the file."
        )
    return array.astype(float)
