"""A pair on the sky."""

from collections.abc import Sequence
from typing import Any

import healpy
import healpy.projector
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

from mflens.report.style import PAGE, styled, tier_styles

N_SKY = 1000  # image pixels across a full-sky map
N_ZOOM = 400
ZOOM_DEG = 30.0
CLIPPED = 99.5  # per cent of pixels inside the colour scale
UNIT = 1e3  # convergence is drawn in units of 10^-3
COLOURS = "RdBu_r"
OUTLINE = {"colors": "black", "linewidths": 0.7}


@styled
def plot_sky(
    low: np.ndarray,
    high: np.ndarray,
    pixel: np.ndarray,
    *,
    tiers: Sequence[str],
    sim: int,
    parameters: str,
) -> Figure:
    """Show the convergence of both members of a pair, and their difference.

    Parameters
    ----------
    low, high
        Noiseless full-sky convergence of the two members, RING order, shape (n_bins, n_pix).
    pixel
        Footprint, NESTED pixel numbers.
    tiers
        Names of the two tiers, cheap one first.
    sim
        Number of the sim.
    parameters
        Its parameters in LaTeX, for the title.

    Returns
    -------
    Figure
        One row per bin, the whole sky, and one more with a part of the footprint in the highest
        bin; columns are the two tiers and high minus low, on one colour scale per bin.
    """
    nside = healpy.npix2nside(low.shape[-1])
    inside = np.zeros(low.shape[-1])
    inside[healpy.nest2ring(nside, pixel)] = 1
    labels = [tier_styles(tiers)[tier].label for tier in tiers]
    n_bins = len(low)
    figure = Figure(figsize=(PAGE, 0.5 + 1.0 * n_bins + 1.9), layout="constrained")
    axes = figure.subplots(n_bins + 1, 3, squeeze=False, height_ratios=[1.0] * n_bins + [1.85])
    centre = zoom_centre(inside, nside)
    for row in range(n_bins + 1):
        b = min(row, n_bins - 1)
        scale = UNIT * float(np.percentile(np.abs([low[b], high[b]]), CLIPPED))
        norm = {"cmap": COLOURS, "vmin": -scale, "vmax": scale}
        for ax, values in zip(axes[row], (low[b], high[b], high[b] - low[b]), strict=True):
            if row < n_bins:
                image = draw_whole_sky(ax, UNIT * values, inside, nside, norm)
            else:
                image = draw_zoom(ax, UNIT * values, inside, nside, centre, norm)
        axes[row, 0].set_ylabel(f"source bin {b + 1}" + (", zoom" if row == n_bins else ""))
        bar = figure.colorbar(image, ax=axes[row], aspect=18, pad=0.01, extend="both")
        bar.set_label(r"$10^3\,\kappa$ (dimensionless)", fontsize=8)
    for ax, label in zip(axes[0], [*labels, f"{labels[1]} $-$ {labels[0]}"], strict=True):
        ax.set_title(label)
    figure.suptitle(f"noiseless convergence of sim {sim}: {parameters}", fontsize=9)
    return figure


def draw_whole_sky(
    ax: Axes, values: np.ndarray, inside: np.ndarray, nside: int, norm: dict[str, Any]
) -> Any:
    """Draw a map in Mollweide's projection, equatorial plane level, with the footprint's edge."""
    projector = healpy.projector.MollweideProj(xsize=N_SKY)
    extent = (-2, 2, -1, 1)
    image = draw_projected(ax, projector, values, inside, nside, extent, norm)
    ax.add_patch(Ellipse((0, 0), 4, 2, fill=False, lw=0.6, ec="0.4"))
    ax.set(xlim=(-2.02, 2.02), ylim=(-1.02, 1.02), aspect="equal")
    ax.spines[:].set_visible(False)
    return image


def draw_zoom(
    ax: Axes,
    values: np.ndarray,
    inside: np.ndarray,
    nside: int,
    centre: tuple[float, float],
    norm: dict[str, Any],
) -> Any:
    """Draw a square of the sky around a longitude and latitude in degrees."""
    projector = healpy.projector.GnomonicProj(
        rot=[*centre, 0], xsize=N_ZOOM, reso=60 * ZOOM_DEG / N_ZOOM
    )
    half = ZOOM_DEG / 2
    image = draw_projected(ax, projector, values, inside, nside, (-half, half, -half, half), norm)
    ax.set_xlabel(f"{ZOOM_DEG:.0f}$^\\circ$ across")
    return image


def draw_projected(
    ax: Axes,
    projector: Any,
    values: np.ndarray,
    inside: np.ndarray,
    nside: int,
    extent: tuple[float, float, float, float],
    norm: dict[str, Any],
) -> Any:
    """Draw a RING map through one of healpy's projectors, and the edge of the footprint."""

    def vec2pix(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        return healpy.vec2pix(nside, x, y, z)

    picture = np.ma.masked_invalid(projector.projmap(values, vec2pix))
    footprint = np.ma.masked_invalid(projector.projmap(inside, vec2pix))
    image = ax.imshow(picture, origin="lower", extent=extent, interpolation="nearest", **norm)
    if 0 < footprint.mean() < 1:
        ax.contour(footprint, [0.5], origin="lower", extent=extent, **OUTLINE)
    ax.set(xticks=[], yticks=[])
    return image


def zoom_centre(inside: np.ndarray, nside: int) -> tuple[float, float]:
    """Return longitude and latitude in degrees of the footprint's middle.

    The middle is the footprint pixel nearest to the mean direction, so it lies inside also where
    the footprint is a ring or the whole sky.
    """
    pixels = np.flatnonzero(inside)
    vectors = np.stack(healpy.pix2vec(nside, pixels))
    nearest = pixels[np.argmax(vectors.mean(1) @ vectors)]
    lon, lat = healpy.pix2ang(nside, nearest, lonlat=True)
    return float(lon), float(lat)
