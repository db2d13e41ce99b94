"""A cosmology of the tests: true geometry, power by formula, shells without neighbours."""

import numpy as np

from mflens.theory.cosmology import Cosmology, make_geometry


def power_at(k, growth):
    """Return a matter power in (Mpc/h)^3 with the slopes of a real one."""
    return 4e4 * growth**2 * (k / 0.02) / (1 + (k / 0.02) ** 1.2) ** 2


def simple_cosmology(parameters, shells, ell_max):
    """Return a cosmology whose shells have Limber's spectra of `power_at`, by direct summation."""
    geometry = make_geometry(parameters, shells)
    k = np.geomspace(1e-4, 20.0, 600)
    growth = geometry.growth.at("first", 1 / (1 + geometry.shell_growth.z))
    ell = np.arange(ell_max + 1)[:, None]
    spectra = np.zeros((ell_max + 1, shells.n_shells, shells.n_shells))
    for i, (low, high) in enumerate(zip(shells.edges[:-1], shells.edges[1:], strict=True)):
        chi = np.linspace(low, high, 402)[1:-1]
        weight = 3 * chi**2 / (high**3 - low**3)
        z = geometry.distances.redshift(chi)
        inside = geometry.growth.at("first", 1 / (1 + z))
        integrand = (weight / chi) ** 2 * power_at((ell + 0.5) / chi, inside)
        spectra[:, i, i] = integrand.sum(axis=1) * (high - low) / 400
    return Cosmology(
        **vars(geometry), id=0, k=k, linear=power_at(k, 1.0),
        nonlinear=power_at(k, growth[:, None]), spectra=spectra,
    )  # fmt: skip
