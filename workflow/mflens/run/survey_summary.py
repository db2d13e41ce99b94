"""What the rules say of a survey before any job starts: what was read and what the shells hold."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mflens.files.redshift_files import Sources
from mflens.simulate.survey.depth import Corner, corners, redshift_at, shifted
from mflens.simulate.survey.redshifts import cumulative, read_sources

DEG2_OF_SKY = 4 * np.pi * (180 / np.pi) ** 2
STEPS = 32  # in which a shell is cut, as for lensing (`line_of_sight`, too heavy to import here)
NSIDE_OF_LOOK = 256  # caps are areas: a coarse look will do, a fine one takes long
DIGITS = 9  # of a share: sums are right to a few more
HEADER = ("bin", "mean z: read", "in shells", "lost", "per arcmin2", "sigma_e")


def summarise_survey(config: Mapping[str, Any]) -> str:
    """Return a short table of the sources, the footprint and the shells.

    Parameters
    ----------
    config
        The whole config, checked and resolved.
    """
    theory, survey = config["theory"], config["simulate"]["survey"]
    sources = read_sources(survey["redshifts"])
    centre = corners(theory["parameters"]).centre
    held, missed = in_shells(sources, theory["shells"], centre)
    lost = np.abs(sources.lost + (1 - sources.lost) * missed)
    n_bins = len(sources.n)
    columns = [
        range(1, n_bins + 1),
        [f"{z:.4f}" for z in sources.mean],
        [f"{z:.4f}" for z in held],
        [f"{100 * share:.2g} %" for share in np.round(lost, DIGITS)],
        [f"{n:g}" for n in survey["n_gal_arcmin2"]],
        [f"{e:g}" for e in np.broadcast_to(survey["sigma_e"], n_bins)],
    ]
    rows = [HEADER, *zip(*columns, strict=True)]
    wide = [max(len(str(row[i])) for row in rows) for i in range(len(HEADER))]
    table = ["  ".join(str(v).rjust(w) for v, w in zip(row, wide, strict=True)) for row in rows]
    title = f"The survey as it was read; shells are those at {centre}:"
    notes = [*sources.notes, *_footprint(config), *_reach(config, sources)]
    return "\n".join([title, *table, *notes])


def in_shells(
    sources: Sources, shells: Mapping[str, Any], corner: Corner
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean redshift of what the shells hold of each bin, and the share beyond them.

    Parameters
    ----------
    sources
        Their distributions, normalised.
    shells
        The config's `theory.shells`, resolved.
    corner
        The cosmology.

    Returns
    -------
    mean, missed
        Shapes (n_bins,).
    """
    n_steps = shells["n_shells"] * STEPS
    edges = redshift_at(shells["thickness_mpc_h"] / STEPS * np.arange(n_steps + 1.0), corner)
    held = np.diff(cumulative(sources.z, sources.n, edges), axis=1)
    total = held.sum(axis=1)
    return held @ (edges[1:] + edges[:-1]) / 2 / total, 1 - total


def observed_area(survey: Mapping[str, Any], nside: int) -> tuple[float, int]:
    """Return the observed area of the footprint in square degrees and its number of pixels.

    Of caps at a high resolution both are right to a pixel of `NSIDE_OF_LOOK`.
    """
    mask, n_sky = survey["mask"], 12 * nside**2
    if mask in ("octant", "full"):
        # pixels with centres at lon < 90 deg and lat > 0: those on the equator do not count
        n_pixels = n_sky if mask == "full" else nside * (3 * nside - 1) // 2
        return DEG2_OF_SKY * n_pixels / n_sky, n_pixels
    from mflens.simulate.survey.footprint import mask_file, observed_fraction

    look = nside if mask_file(mask) else min(nside, NSIDE_OF_LOOK)
    fraction = observed_fraction(mask, look)
    kept = fraction[fraction >= survey["min_coverage"]]
    area = DEG2_OF_SKY * float(kept.sum()) / fraction.size
    return area, kept.size * (nside // look) ** 2


def _footprint(config: Mapping[str, Any]) -> Iterator[str]:
    survey, nside = config["simulate"]["survey"], config["simulate"]["nside"]
    area, n_pixels = observed_area(survey, nside)
    yield f"footprint: {area:.0f} deg2 in {n_pixels} pixels of nside {nside}"
    if survey["mask"] not in ("octant", "full"):
        from mflens.simulate.survey.footprint import mask_notes

        yield from mask_notes(survey["mask"], nside)


def _reach(config: Mapping[str, Any], sources: Sources) -> Iterator[str]:
    theory, nuisances = config["theory"], config["simulate"]["survey"]["nuisances"]
    n, thickness = theory["shells"]["n_shells"], theory["shells"]["thickness_mpc_h"]
    ends = {str(c): redshift_at(n * thickness, c) for c in corners(theory["parameters"])}
    reach = ", ".join(f"{z:.2f} at {name}" for name, z in ends.items())
    deepest = shifted(sources.deepest, sources.mean, nuisances)
    yield f"shells: {n} of {thickness:g} Mpc/h, to z = {reach}; sources to z = {deepest:.2f}"
