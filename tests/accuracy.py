"""Shell spectra by two other routes: CAMB's source windows, and direct integration with scipy.

`python tests/accuracy.py` prints the table of workflow/report/accuracy.md.
"""

from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise

import camb
import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from numpy.polynomial.legendre import leggauss
from scipy.interpolate import CubicSpline
from scipy.special import spherical_jn

from mflens.theory.cosmology import make_cosmology
from mflens.theory.kernels import Shells, compute_kernels, node_wavenumbers, wavenumbers
from mflens.theory.power import Power, camb_parameters, set_amplitude
from mflens.theory.spectra import compress_kernels

N_INSIDE = 5  # distances in a shell at which the direct integration takes the power
BOX, ELL_MAX = 1000.0, 128
SAMPLE = (2, 5, 10, 30, 60, 128)  # all are nodes of CAMB's interpolation
RAMP = 20.0  # Mpc/h
FARTHEST, STEP = 3701.0, 100.0  # Mpc/h: of the table of the power
K_CUT_MPC = 40.0  # 1/Mpc: HMCode integrates the variance over all scales

# what converges is in workflow/report/accuracy.md; for sources the first only adds multipoles
RAISED = {"AccurateReionization": False, "lAccuracyBoost": 2.0}

CORNERS = [
    {"Omega_m": m, "sigma_8": s, "h": 0.7, "n_s": 0.96, "Omega_b": 0.046, "m_nu": 0.0}
    for m, s in ((0.3, 0.8), (0.15, 0.6), (0.15, 1.0), (0.45, 0.6), (0.45, 1.0))
]


@dataclass(frozen=True)
class LightCone:
    """Shells of one thickness, the k_max (h/Mpc) that they need, and groups of neighbours.

    GLASS correlates a shell with the three before it: all pairs of four neighbours.
    """

    thickness: float
    n_shells: int
    k_max: float
    groups: tuple[tuple[int, ...], ...]

    @property
    def sharp(self):
        return Shells(self.n_shells, self.thickness)

    @property
    def smooth(self):
        return SmoothShells(self.n_shells, self.thickness)


LIGHT_CONES = (
    LightCone(200.0, 18, 5.0, ((0, 1, 2, 3), (6, 7, 8, 9), (14, 15, 16, 17))),
    LightCone(100.0, 24, 10.0, ((0, 1, 2, 3), (9, 10, 11, 12), (20, 21, 22, 23))),
)


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
        chi, weight = [], []
        for low, high in pairwise(self.corners(i)):
            x, w = leggauss(10 + int(n * (high - low) / self.thickness_mpc_h))
            chi.append(low + (high - low) * (0.5 + 0.5 * x))
            weight.append((high - low) * w * self.window(i, chi[-1]))
        weight = np.concatenate(weight)
        return np.concatenate(chi), weight / weight.sum()


class Universe:
    """Matter of one cosmology by CAMB at raised accuracy, up to FARTHEST."""

    def __init__(self, parameters):
        self.parameters, self.h = parameters, parameters["h"]
        self.params = camb_parameters(parameters)
        background = camb.get_background(self.params)
        z = np.concatenate([np.linspace(0, 0.1, 400)[:-1], np.geomspace(0.1, 9, 3000)])
        chi = background.comoving_radial_distance(z) * self.h
        self.z, self.distance = CubicSpline(chi, z), CubicSpline(z, chi)
        self.hubble = CubicSpline(z, background.h_of_z(z) / self.h)  # h/Mpc, c = 1
        self._tabulate(np.arange(0.0, FARTHEST, STEP))

    def _tabulate(self, chi):
        """Tabulate power and bias.

        CAMB's number counts are CDM's in Newtonian gauge, b delta_c - 3 aH sigma / k; with this
        bias they are those of all matter in the gauge of simulations, with HMCode's power.
        """
        z = np.maximum(self.z(chi), 0.0)
        results = self._transfers(z)
        self.params.InitPower.As = results.Params.InitPower.As

        def power(a, b):
            return results.get_linear_matter_power_spectrum(a, b)[2]

        self.k, _, cold = results.get_linear_matter_power_spectrum("delta_cdm", "delta_cdm")
        total, velocity = power("delta_tot", "delta_cdm"), power("v_newtonian_cdm", "delta_cdm")
        horizon = (self.hubble(z) / (1 + z))[:, None] / self.k
        linear = total**2 / cold
        self.linear = linear[0]
        self.growth = CubicSpline(chi, np.sqrt((linear / linear[0])[:, self.k > 0.01].mean(axis=1)))
        results.Params.NonLinear = camb.model.NonLinear_both
        results.calc_power_spectra()
        evolved = results.get_nonlinear_matter_power_spectrum()[2]
        self._log_root = CubicSpline(chi, 0.5 * np.log(evolved))
        newtonian = (total - 3 * horizon**2 * velocity) / cold
        self.bias = CubicSpline(chi, newtonian * np.sqrt(evolved / linear))

    def _transfers(self, z):
        params = self.params.copy()
        params.NonLinear = camb.model.NonLinear_none
        params.NonLinearModel.set_params("mead2020")
        params.set_accuracy(AccuracyBoost=1.5)
        params.WantCls = False
        params.Transfer.high_precision = True
        params.set_matter_power(redshifts=z[::-1], kmax=K_CUT_MPC, k_per_logint=60)
        results = camb.get_results(params)
        set_amplitude(results, self.parameters)
        return results

    @cached_property
    def displacement(self):
        """Displacement of matter along an axis today by linear theory, rms in Mpc/h."""
        return np.sqrt(np.trapezoid(self.linear, self.k) / (6 * np.pi**2))

    def root(self, chi, k):
        """Return the root of the non-linear power, shape of chi + (n_k,)."""
        table = np.exp(self._log_root(chi))
        return CubicSpline(np.log(self.k), table, axis=-1)(np.log(k))

    def power(self, parameters, z, k_max, growth):
        """Stand in for the run's own CAMB (`emulate` of `make_cosmology`)."""
        return Power(self.k, self.linear, np.exp(2 * self._log_root(self.distance(z))))


def knots(shells, i):
    """Return Chebyshev points in shell i."""
    x = np.cos(np.pi * (np.arange(N_INSIDE)[::-1] + 0.5) / N_INSIDE)
    return shells.thickness_mpc_h * (i + 0.5 + 0.5 * x)


def cardinal(at, x):
    """Return Lagrange's polynomials through `at`, shape (n_at, n_x)."""
    return np.stack([np.prod([(x - b) / (a - b) for b in at if b != a], axis=0) for a in at])


@cache
def projections(shells, chosen, degree, k_max):
    """Return k and int dchi W(chi) j_l(k chi) L_n(chi), shape (n_chosen, N_INSIDE, n_k)."""
    near, far = (shells.edges[chosen[n] + 1] for n in (0, -1))
    fine, last = (min(max(a, b * degree / near), k_max) for a, b in ((0.5, 4), (1.0, 20)))
    k = np.concatenate([np.arange(0.3 / far, fine, 0.3 / far), np.arange(fine, last, 1 / far)])
    result = np.zeros((len(chosen), N_INSIDE, k.size))
    for a, i in enumerate(chosen):
        reach = k <= max(1.0, 20 * degree / shells.edges[i + 1])
        for part in np.array_split(np.flatnonzero(reach), 40):
            n = 20 + int(0.4 * k[part[-1]] * shells.thickness_mpc_h)
            chi, weight = shells.quadrature(i, n)
            bessel = spherical_jn(degree, k[part] * chi[:, None])
            result[a][:, part] = (weight * cardinal(knots(shells, i), chi)) @ bessel
    return k, result


def direct_spectra(universe, shells, chosen, k_max, ell=SAMPLE, displacement=0.0):
    """Integrate over distances and wavenumbers with scipy's Bessel functions, shape (n_ell, n, n).

    The power is sqrt(P(k, z) P(k, z')) between all distances. With an rms displacement today s
    (Mpc/h), it falls by exp(-k^2 s^2 (D - D')^2 / 2) at unequal times, Zel'dovich's suppression
    (arXiv:1905.02078): a mean over normal displacements, which Hermite's nodes take.
    """
    at = np.stack([knots(shells, i) for i in chosen])
    growth = universe.growth(at) - universe.growth(at).mean()
    nodes, weights = hermegauss(8 if displacement else 1)
    result = []
    for degree in ell:
        k, moments = projections(shells, tuple(chosen), degree, k_max)
        moments = moments * universe.root(at, k)
        measure = 2 / np.pi * k**2 * np.gradient(k)
        spectra = 0.0
        for x, weight in zip(nodes, weights / weights.sum(), strict=True):
            phase = np.exp(1j * x * displacement * growth[..., None] * k)
            delta = (moments * phase).sum(axis=1)
            spectra = spectra + weight * ((measure * delta) @ delta.conj().T).real
        result.append(spectra)
    return np.array(result)


def camb_spectra(universe, shells, chosen, ell=SAMPLE, **accuracy):
    """Return C_l of CAMB's source windows, shape (n_ell, n, n): density alone, no Limber."""
    params = universe.params.copy()
    for name, value in (RAISED | accuracy).items():
        setattr(params.Accuracy, name, value)
    params.WantTransfer, params.Want_CMB, params.Want_CMB_lensing = False, False, False
    params.DoLensing, params.Transfer.high_precision = False, True
    # CAMB's default for CMB lensing is HMCode and k to 5/Mpc, undersampled in time here
    params.set_for_lmax(ell[-1], lens_potential_accuracy=0)
    for name in ("redshift", "velocity", "timedelay", "ISW", "potential"):
        setattr(params.SourceTerms, f"counts_{name}", False)
    params.SourceTerms.limber_windows = False
    params.SourceWindows = [_source_window(universe, shells, i) for i in chosen]
    spectra = camb.get_results(params).get_source_cls_dict(lmax=ell[-1], raw_cl=True)
    names = [f"W{n + 1}" for n in range(len(chosen))]
    pairs = np.array([[spectra[f"{a}x{b}"] for b in names] for a in names])
    return np.moveaxis(pairs, -1, 0)[list(ell)]


def _source_window(universe, shells, i):
    corners = shells.corners(i)
    chi = np.concatenate([np.linspace(a, b, 80)[:-1] for a, b in pairwise(corners)])
    chi = np.append(chi, corners[-1])
    z = np.maximum(universe.z(chi), 0.0)
    counts = shells.window(i, chi) / universe.hubble(z)
    return camb.sources.SplinedSourceWindow(
        z=z,
        W=counts,
        k_bias=universe.k * universe.h,
        bias_kz=np.ascontiguousarray(universe.bias(chi).T),
    )


@cache
def compressed(shells, k_max, ell=SAMPLE):
    k = wavenumbers(shells, k_max, BOX)
    nodes = node_wavenumbers(k)
    kernels = compute_kernels(shells, k, ELL_MAX)[list(ell)]
    return nodes, compress_kernels(kernels, k, nodes)


def workflow_spectra(shells, k_max, parameters, emulate=None, ell=SAMPLE):
    """Return C_l of all shells as a run makes them, with its own power or another."""
    nodes, weights = compressed(shells, k_max, ell)
    return make_cosmology(0, parameters, shells, weights, nodes, "mead2020", emulate).spectra


def difference(spectra, reference):
    """Return the difference relative to sqrt(C_ii C_jj), shape (n_ell, n, n)."""
    root = np.sqrt(np.einsum("lii->li", reference))
    return (spectra - reference) / (root[:, :, None] * root[:, None])


def largest(spectra, reference, ell=SAMPLE):
    """Return the largest difference in per cent at l below 10 and from there on, shape (2,)."""
    error, low = 100 * np.abs(difference(spectra, reference)), np.array(ell) < 10
    return np.array([error[low].max(), error[~low].max()])


def measure_direct(universe, cone, ell=SAMPLE):
    """Compare with direct integration, shape (3, n_groups, 2).

    First the run's projection of the same power, then its own power too, then what Zel'dovich's
    suppression of the power at unequal times changes.
    """
    shells = cone.sharp
    same = workflow_spectra(shells, cone.k_max, universe.parameters, universe.power, ell)
    own = workflow_spectra(shells, cone.k_max, universe.parameters, ell=ell)
    errors = []
    for chosen in cone.groups:
        direct, late = (
            direct_spectra(universe, shells, chosen, 2 * cone.k_max, ell, displacement)
            for displacement in (0.0, universe.displacement)
        )
        pairs = np.ix_(range(len(ell)), chosen, chosen)
        errors.append([largest(x, direct, ell) for x in (same[pairs], own[pairs], late)])
    return np.moveaxis(errors, 0, 1)


def measure_camb(universe, cone, ell=SAMPLE, **accuracy):
    """Compare a run's spectra with CAMB's source windows, shape (n_groups - 1, 2).

    The nearest group stays with the direct integration: CAMB would need k to 6/Mpc.
    """
    shells = cone.smooth
    own = workflow_spectra(shells, cone.k_max, universe.parameters, ell=ell)
    errors = []
    for chosen in cone.groups[1:]:
        other = camb_spectra(universe, shells, chosen, ell, **accuracy)
        errors.append(largest(own[np.ix_(range(len(ell)), chosen, chosen)], other, ell))
    return np.array(errors)


def main():
    """Print a table of the largest errors, at l of 2 to 9 / 10 to 128, by group of shells."""
    for parameters in CORNERS:
        universe = Universe(parameters)
        for cone in LIGHT_CONES:
            errors = [*measure_direct(universe, cone), measure_camb(universe, cone)]
            cells = [f"{low:.3f} / {high:.3f}" for low, high in np.concatenate(errors)]
            name = f"{cone.thickness:.0f} | {parameters['Omega_m']} | {parameters['sigma_8']}"
            print("|", name, "|", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
