"""Simulate the sims of one chunk: theory and random numbers in, noisy shear maps out."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby
from typing import Any

import numpy as np

from mflens.errors import DataError
from mflens.simulate import harmonics
from mflens.simulate.mesh.lightcone import FIRST_OBSERVER, LightCone, place_observer
from mflens.simulate.mesh.matching import linear_colour, linear_density, matched_harmonics
from mflens.simulate.randomness import BaseMeasure
from mflens.simulate.survey import lensing
from mflens.simulate.survey.line_of_sight import line_of_sight
from mflens.simulate.survey.response import matter_along
from mflens.simulate.survey.survey import Survey
from mflens.simulate.tiers import Draw, Sky, Tier
from mflens.theory.cosmology import Cosmology

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_REPORTS = 10.0


@dataclass(frozen=True)
class Matching:
    """What the seed matching of one cosmology needs (`matching.linear_covariance`).

    Attributes
    ----------
    covariance, fill
        Covariance of the projected linear mesh and the fill, per l.
    variance
        Calibration of the whitened variance, shape (n_shells, n_ell).
    """

    covariance: np.ndarray
    fill: np.ndarray
    variance: np.ndarray


@dataclass(frozen=True)
class Sim:
    """One sim of a chunk.

    Attributes
    ----------
    sim, seed
        Its number and the seed of its random numbers.
    cosmology
        Makes or returns its cosmology.
    matching
        Phases from the mesh; None to draw them afresh.
    nuisances
        Nuisance parameters by name, the same on all tiers.
    file
        Where it lies below the folder of a tier that reads, else empty.
    run
        Seeds of all sims that observe the same N-body run, of which the first one made its initial
        conditions; empty for a run of its own.
    """

    sim: int
    seed: int
    cosmology: Callable[[], Cosmology]
    matching: Matching | None
    nuisances: Mapping[str, float] = field(default_factory=dict)
    file: str = ""
    run: Sequence[int] = ()


def make_draws(
    sims: Sequence[Sim], sky: Sky, lightcone: LightCone | None
) -> Iterator[tuple[Sim, Cosmology, Draw]]:
    """Yield every sim with its cosmology and draw; those of one run share what it costs."""
    for _, mocks in groupby(sims, key=lambda sim: tuple(sim.run) or sim.sim):
        density: Callable[[], np.ndarray] | None = None
        shared: dict[Any, Any] = {}
        for sim in mocks:
            cosmology = sim.cosmology()
            density = density or cache(initial_conditions(sim, cosmology, sky))
            yield sim, cosmology, make_draw(sim, cosmology, sky, lightcone, density, shared)


def initial_conditions(sim: Sim, cosmology: Cosmology, sky: Sky) -> Callable[[], np.ndarray]:
    """Return what makes the linear density of a sim's N-body run."""
    base = BaseMeasure(sim.run[0] if sim.run else sim.seed)

    def density() -> np.ndarray:
        return linear_density(base, sky.mesh, cosmology.k, cosmology.linear)

    return density


def make_draw(
    sim: Sim,
    cosmology: Cosmology,
    sky: Sky,
    lightcone: LightCone | None,
    density: Callable[[], np.ndarray] | None = None,
    shared: dict[Any, Any] | None = None,
) -> Draw:
    """Return the draw of a sim: phases matched to the mesh, or fresh ones.

    `density` makes, and `shared` keeps, what the sims of one run have in common.
    """
    base = BaseMeasure(sim.seed)
    density = density or initial_conditions(sim, cosmology, sky)
    others = [place_observer(BaseMeasure(seed).rng("observer")) for seed in sim.run[1:]]
    number = list(sim.run).index(sim.seed) if sim.run else 0

    def phases(draw: Draw) -> np.ndarray:
        if sim.matching is None or lightcone is None:
            return base.harmonics("harmonics", sky.shells.n_shells, sky.ell_max)
        return matched_harmonics(
            base,
            lightcone,
            draw.linear_density,
            linear_colour(sky.mesh, cosmology.k, cosmology.linear),
            cosmology.shell_growth,
            sim.matching.covariance,
            sim.matching.fill,
            sim.matching.variance,
            draw.observers[draw.number],
        )

    observers = (FIRST_OBSERVER, *others)
    return Draw(base, density, phases, sim.file, observers, number, shared)


def source_planes(
    tier: Any, cosmology: Cosmology, draw: Draw, survey: Survey, sky: Sky, known: dict[str, float]
) -> lensing.SourcePlanes | None:
    """Return `Survey.source_planes` of a tier's shells; None if its maps are lensed already.

    `known` holds all parameters by name. The response is fitted to the spectra of the sky's shells;
    those of shells that a tier has of its own are not known.

    Raises
    ------
    DataError
        If the shells of a file end before the sources.
    """
    if hasattr(tier, "shear_maps"):
        return None
    if not hasattr(tier, "own_shells"):
        sight = line_of_sight(sky.shells, cosmology)
        matter = matter_along(sight, cosmology)
        return survey.source_planes(sight, cosmology.background, known, matter)
    sight = line_of_sight(tier.own_shells(cosmology, draw), cosmology)
    deepest, end = survey.z[survey.n_of_z.any(axis=0)].max(), sight.z_edges[-1, -1]
    if deepest > end:
        raise DataError(
            f"{draw.file} has shells to z = {end:.2f} but there are sources at {deepest:.2f}; add "
            "shells or lower the redshifts of simulate.survey."
        )
    return survey.source_planes(sight, cosmology.background, known)


def lens(
    tier: Any,
    cosmology: Cosmology,
    draw: Draw,
    survey: Survey,
    sky: Sky,
    planes: lensing.SourcePlanes | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return convergence, shear in the footprint and, if sources cluster, their relative density.

    Without noise; shapes (n_bins, 12 nside^2), RING, (n_bins, 2, n_pix) and (n_bins, n_pix).

    Raises
    ------
    DataError
        If a file's shear has other bins than the survey.
    """
    if planes is None:
        full = tier.shear_maps(cosmology, draw)
        if len(full) != survey.n_bins:
            raise DataError(
                f"{draw.file} has shear of {len(full)} bins but the survey has {survey.n_bins}; "
                "give simulate.survey the bins and n(z) of these maps."
            )
        kappa = lensing.convergence_of(full, sky.nside, sky.ell_max)
        return kappa, full[:, :, survey.pixel_ring], None
    delta = tier.density_shells(cosmology, draw)
    # one array of all shells stays one, which is lensed without a copy
    delta = delta if isinstance(delta, np.ndarray) else list(delta)
    kappa, pixel = lensing.convergence(delta, planes.response), survey.pixel_ring
    if survey.source_bias == 0:
        return kappa, lensing.shear(kappa, sky.ell_max, pixel), None
    clustered = lensing.clustered_shear(delta, planes, survey.source_bias, sky.ell_max, pixel)
    return kappa, *clustered


def simulate_chunk(
    sims: Sequence[Sim], tier: Tier, survey: Survey, sky: Sky, n_convergence: int
) -> dict[str, np.ndarray]:
    """Simulate all sims of a chunk.

    Parameters
    ----------
    sims
        The sims.
    tier
        The simulator.
    survey
        Sources, noise and footprint.
    sky
        The discretisation.
    n_convergence
        Keep the noiseless full-sky convergence of this many sims.

    Returns
    -------
    dict
        `maps` (sim, bin, component, pixel), float32, noisy shear; `convergence` (sim, bin, pixel
        of the sky in RING order), float32; `white_spectra` (sim, shell, l), the spectra of the
        white coefficients where the tier used matched ones.
    """
    matched = any(sim.matching is not None for sim in sims)
    lightcone = LightCone(sky.shells, sky.mesh, sky.ell_max) if matched else None
    maps = np.empty((len(sims), survey.n_bins, 2, survey.pixel.size), dtype=np.float32)
    kept, white = [], []
    parameters: dict[str, float] = {}
    start = reported = time.monotonic()
    for number, (sim, cosmology, draw) in enumerate(make_draws(sims, sky, lightcone)):
        if hasattr(tier, "own_shells") or {**cosmology.parameters, **sim.nuisances} != parameters:
            parameters = {**cosmology.parameters, **sim.nuisances}
            planes = source_planes(tier, cosmology, draw, survey, sky, parameters)
        kappa, shear, density = lens(tier, cosmology, draw, survey, sky, planes)
        maps[number] = survey.observe(shear, draw.base, parameters, density)
        if number < n_convergence:
            kept.append(kappa.astype(np.float32))
        if sim.matching is not None and draw.used_harmonics:
            white.append(harmonics.cross_spectrum(draw.harmonics, draw.harmonics, sky.ell_max))
        now = time.monotonic()
        if now - reported > SECONDS_BETWEEN_REPORTS:
            reported = now
            left = (now - start) / (number + 1) * (len(sims) - number - 1)
            logger.info("%d of %d sims, %.0f s left", number + 1, len(sims), left)
    shape = (0, survey.n_bins, 12 * survey.nside**2)
    empty = np.zeros((0, sky.shells.n_shells, sky.ell_max + 1))
    return {
        "maps": maps,
        "convergence": np.stack(kept) if kept else np.zeros(shape, dtype=np.float32),
        "white_spectra": np.stack(white) if white else empty,
    }
