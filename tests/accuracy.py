"""Shell spectra by two other routes: CAMB's source windows, and direct integration with scipy.

`python tests/accuracy.py` prints the tables of workflow/report/accuracy.md.
"""

import sys
from functools import cache
from itertools import pairwise, product

import camb
import numpy as np
from numpy.polynomial.legendre import leggauss
from scipy.interpolate import CubicSpline
from scipy.special import spherical_jn

from mflens.theory.cosmology import make_geometry
from mflens.theory.kernels import Shells, compute_kernels, node_wavenumbers, wavenumbers
from mflens.theory.power import camb_parameters
from mflens.theory.spectra import compress_kernels, interpolate_log, shell_spectra

N_INSIDE = 5  # distances in a shell at which CAMB gives the power
K_MAX_FAST, K_MAX = 5.0, 10.0  # h/Mpc: of the default config, and of the direct integration
BOX, ELL_MAX = 1000.0, 128
RAMP = 20.0  # Mpc/h

CORNERS = [
    {"Omega_m": m, "sigma_8": s, "h": 0.7, "n_s": 0.96, "Omega_b": 0.046, "m_nu": 0.0}
    for m, s in ((0.3, 0.8), (0.15, 0.6), (0.15, 1.0), (0.45, 0.6), (0.45, 1.0))
]
# raised where it moves the result; see workflow/report/accuracy.md
RAISED = {"boost": 1.0, "KmaxBoost": 2.0, "lSampleBoost": 4.0}
# width in Mpc/h: groups of neighbouring shells
GROUPS = {200.0: ([0, 1], [6, 7, 8]), 100.0: ([0, 1], [8, 9, 10])}
SAMPLE = [2, 5, 9, 10, 20, 50, 128]


class SmoothShells(Shells):
    """Shells whose edges fall off linearly over RAMP: CAMB's splines cannot hold a sharp edge."""

    def corners(self, i):
        low, high = self.edges[i : i + 2]
        rise = [low - RAMP / 2, low + RAMP / 2] if i else [low]
        return np.array([*rise, high - RAMP / 2, high + RAMP / 2])

    def window(self, i, chi):
        low, high = self.edges[i : i + 2]
        rise = np.clip((chi - low) / RAMP + 0.5, 0, 1) if i else 1.0
        return chi**2 * rise * np.clip((high - chi) / RAMP + 0.5, 0, 1)

    def quadrature(self, i, n):
        x, w = leggauss(n)
        steps = np.diff(self.corners(i))[:, None]
        chi = (self.corners(i)[:-1, None] + steps * (0.5 + 0.5 * x)).ravel()
        weight = (steps * w).ravel() * self.window(i, chi)
        return chi, weight / weight.sum()


class Universe:
    """Matter of one cosmology by CAMB, at raised accuracy."""

    def __init__(self, parameters, nonlinear=False):
        self.parameters, self.h, self.nonlinear = parameters, parameters["h"], nonlinear
        self.params = camb_parameters(parameters)
        self.params.NonLinear = camb.model.NonLinear_none
        self.params.NonLinearModel.set_params("mead2020")
        sigma_8 = self.transfer(np.array([0.0]), K_MAX).get_sigma8_0()
        self.params.InitPower.As *= (parameters["sigma_8"] / sigma_8) ** 2
        background = camb.get_background(self.params)
        z = np.concatenate([np.linspace(0, 0.1, 400)[:-1], np.geomspace(0.1, 9, 3000)])
        chi = background.comoving_radial_distance(z) * self.h
        self.z, self.distance = CubicSpline(chi, z), CubicSpline(z, chi)
        self.hubble = CubicSpline(z, background.h_of_z(z) / self.h)  # h/Mpc, c = 1

    def transfer(self, z, k_max):
        params = self.params.copy()
        params.set_accuracy(AccuracyBoost=1.5)
        params.WantCls = False
        params.Transfer.high_precision = True
        params.set_matter_power(redshifts=np.sort(z)[::-1], kmax=k_max * self.h, k_per_logint=60)
        return camb.get_results(params)

    def matter(self, chi, k_max):
        """Return k in h/Mpc and, at distances in Mpc/h, the power of matter and its bias.

        CAMB's number counts are CDM's in Newtonian gauge, b delta_c - 3 aH sigma / k; with this
        bias they are those of all matter in the gauge of simulations.
        """
        z = self.z(chi)
        results = self.transfer(z, k_max)

        def power(a, b):
            k, at, values = results.get_linear_matter_power_spectrum(a, b)
            return k, values[np.searchsorted(at, z - 1e-9)]

        k, cold = power("delta_cdm", "delta_cdm")
        _, total = power("delta_tot", "delta_cdm")
        _, velocity = power("v_newtonian_cdm", "delta_cdm")
        horizon = (self.hubble(z) / (1 + z))[:, None] / k
        bias = (total - 3 * horizon**2 * velocity) / cold
        if self.nonlinear:
            results.Params.NonLinear = camb.model.NonLinear_both
            results.calc_power_spectra()
            _, at, values = results.get_nonlinear_matter_power_spectrum()
            return k, values[np.searchsorted(at, z - 1e-9)], bias
        return k, total**2 / cold, bias


def knots(shells, i):
    """Return Chebyshev points in shell i."""
    chi, _ = shells.quadrature(i, 40)
    x = np.cos(np.pi * (np.arange(N_INSIDE)[::-1] + 0.5) / N_INSIDE)
    return 0.5 * (chi[-1] + chi[0]) + 0.5 * (chi[-1] - chi[0]) * x


def cardinal(at, x):
    """Return Lagrange's polynomials through `at`, shape (n_at, n_x)."""
    return np.stack([np.prod([(x - b) / (a - b) for b in at if b != a], axis=0) for a in at])


def direct_spectra(universe, shells, chosen, ell):
    """Integrate over distances and wavenumbers with scipy's Bessel functions, shape (n_ell, n, n).

    The power is taken at every distance, sqrt(P(k, z) P(k, z')) between all of them.
    """
    at = [knots(shells, i) for i in chosen]
    k, power, _ = universe.matter(np.concatenate(at), K_MAX)
    root = CubicSpline(np.log(k), np.sqrt(power).reshape(len(chosen), N_INSIDE, -1), axis=-1)
    near, far = (shells.edges[chosen[n] + 1] for n in (0, -1))
    result = []
    for degree in ell:
        fine, last = (min(max(a, b * degree / near), K_MAX) for a, b in ((0.5, 4), (1.0, 20)))
        k = np.concatenate([np.arange(0.3 / far, fine, 0.3 / far), np.arange(fine, last, 1 / far)])
        delta = np.zeros((len(chosen), k.size))
        for part in np.array_split(np.arange(k.size), 40):
            for a, i in enumerate(chosen):
                n = 20 + int(0.4 * k[part[-1]] * shells.thickness_mpc_h)
                chi, weight = shells.quadrature(i, n)
                moments = (
                    spherical_jn(degree, k[part, None] * chi) @ (weight * cardinal(at[a], chi)).T
                )
                delta[a, part] = (moments * root(np.log(k[part]))[a].T).sum(axis=1)
        result.append(2 / np.pi * np.einsum("ik,jk,k->ij", delta, delta, k**2 * np.gradient(k)))
    return np.array(result)


def camb_spectra(universe, shells, chosen, ell_max, boost, biased=True, **accuracy):
    """Return C_l of CAMB's source windows, shape (ell_max + 1, n, n): density alone, no Limber."""
    params = universe.params.copy()
    params.set_accuracy(AccuracyBoost=boost)
    for name, value in accuracy.items():
        setattr(params.Accuracy, name, value)
    params.WantTransfer, params.Want_CMB, params.Want_CMB_lensing = False, False, False
    params.set_for_lmax(ell_max + 40)
    for name in ("redshift", "velocity", "timedelay", "ISW", "potential"):
        setattr(params.SourceTerms, f"counts_{name}", False)
    params.SourceTerms.limber_windows = False
    if universe.nonlinear:
        params.NonLinear = camb.model.NonLinear_both
    params.SourceWindows = [_source_window(universe, shells, i, biased) for i in chosen]
    spectra = camb.get_results(params).get_source_cls_dict(lmax=ell_max, raw_cl=True)
    pairs = [
        [spectra[f"W{a + 1}xW{b + 1}"] for b in range(len(chosen))] for a in range(len(chosen))
    ]
    return np.moveaxis(np.array(pairs), -1, 0)


def _source_window(universe, shells, i, biased):
    corners = shells.corners(i)
    chi = np.concatenate([np.linspace(a, b, 80)[:-1] for a, b in pairwise(corners)])
    chi = np.append(chi, corners[-1])
    z = np.maximum(universe.z(chi), 0.0)
    counts = shells.window(i, chi) / universe.hubble(z)
    if not biased:
        return camb.sources.SplinedSourceWindow(z=z, W=counts)
    at = knots(shells, i)
    k, _, bias = universe.matter(at, 2 * K_MAX)
    low = np.geomspace(1e-6, k[0], 60)[:-1]
    # the gauge term goes as 1/k^2 there
    bias = np.hstack([1 + (bias[:, :1] - 1) * (k[0] / low) ** 2, bias])
    k = np.concatenate([low, k]) * universe.h
    return camb.sources.SplinedSourceWindow(
        z=z, W=counts, k_bias=k, bias_kz=np.ascontiguousarray(bias.T @ cardinal(at, chi))
    )


@cache
def compressed(shells):
    k = wavenumbers(shells, K_MAX_FAST, BOX)
    nodes = node_wavenumbers(k)
    return nodes, compress_kernels(compute_kernels(shells, k, ELL_MAX), k, nodes)


def fast_spectra(universe, shells):
    """Return C_l of all shells by mflens, with CAMB's power at the shells' redshifts."""
    nodes, weights = compressed(shells)
    growth = make_geometry(universe.parameters, shells).shell_growth
    table, power, _ = universe.matter(universe.distance(growth.z), K_MAX)
    return shell_spectra(weights, growth, interpolate_log(table, power, nodes))


def difference(spectra, reference):
    """Return the difference relative to sqrt(C_ii C_jj), shape (n_ell, n, n)."""
    root = np.sqrt(np.einsum("lii->li", reference))
    return (spectra - reference) / (root[:, :, None] * root[:, None])


def main():
    """Print the largest errors by cosmology, width and range of l: `direct` or `camb`."""
    camb_wanted = sys.argv[1:] == ["camb"]
    for (thickness, groups), parameters in product(GROUPS.items(), CORNERS):
        universe = Universe(parameters, nonlinear=True)
        shells = (SmoothShells if camb_wanted else Shells)(groups[-1][-1] + 2, thickness)
        fast = fast_spectra(universe, shells)
        for chosen in groups:
            if camb_wanted:
                ell = list(range(2, ELL_MAX + 1))
                other = camb_spectra(universe, shells, chosen, ELL_MAX, **RAISED)[ell]
            else:
                ell = SAMPLE
                other = direct_spectra(universe, shells, chosen, ell)
            name = f"{parameters['Omega_m']} {parameters['sigma_8']} {thickness} {chosen}"
            report(name, ell, difference(fast[np.ix_(ell, chosen, chosen)], other))


def report(name, ell, error):
    """Print the largest errors of auto- and cross-spectra in per cent, at low and at high l."""
    error, high, auto = 100 * np.abs(error), np.array(ell) >= 10, np.eye(error.shape[1], dtype=bool)
    figures = [
        f"{error[rows][:, part].max():.3f}" for rows in (~high, high) for part in (auto, ~auto)
    ]
    print(name, *figures, flush=True)


if __name__ == "__main__":
    main()
