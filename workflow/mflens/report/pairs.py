"""Correlation and power ratio of pairs."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator, ScalarFormatter

from mflens.report.style import COLUMN, PAGE, styled, tier_styles

BIN_MARKERS = "osD^vP"
JITTER = 0.012  # bins stand side by side, in units of ln(l)


@styled
def plot_pairing(
    r_matched: np.ndarray,
    r_unmatched: np.ndarray,
    power_ratio: np.ndarray,
    *,
    r_partly: np.ndarray,
    fractions: np.ndarray,
    edges: np.ndarray,
    ladder: Sequence[str],
) -> Figure:
    """Show r(l) and the power ratio of matched and unmatched sims.

    Parameters
    ----------
    r_matched, r_unmatched, power_ratio
        What `pairing.compare_pairs` returns for every two neighbours of the ladder, shape
        (n_tiers - 1, n, n_bins, n_bands).
    r_partly, fractions
        What `pairing.correlate_partly` returns, shape (n_tiers - 1, n_fractions, n, n_bins,
        n_bands), and the shares of the modes, shape (n_fractions,).
    edges
        Band edges in l.
    ladder
        Names of the tiers, cheapest first.

    Returns
    -------
    Figure
        One column per neighbouring tiers; lines are means over sims, bands their standard
        deviation, grey lines means over sims and bins.
    """
    n_levels, n, n_bins, _ = r_matched.shape
    labels = [style.label for style in tier_styles(ladder).values()]
    width = COLUMN if n_levels == 1 else PAGE
    figure = Figure(figsize=(width, 5.0), layout="constrained")
    axes = figure.subplots(
        2, n_levels, sharex=True, sharey="row", squeeze=False, height_ratios=[1.5, 1]
    )
    colours = mpl.colormaps["viridis"](np.linspace(0, 0.85, n_bins))[::-1]
    for level in range(n_levels):
        top, bottom = axes[:, level]
        for b in range(n_bins):
            look = {"color": colours[b], "marker": BIN_MARKERS[b % len(BIN_MARKERS)]}
            ell = np.sqrt(edges[:-1] * edges[1:]) * np.exp(JITTER * (b - (n_bins - 1) / 2))
            draw_mean(top, ell, r_matched[level, :, b], **look, linestyle="-")
            draw_mean(top, ell, r_unmatched[level, :, b], **look, linestyle=":", hollow=True)
            draw_mean(bottom, ell, power_ratio[level, :, b], **look, linestyle="-")
        draw_loss(top, np.sqrt(edges[:-1] * edges[1:]), r_partly[level], fractions)
        top.axhline(0, color="0.6", lw=0.6, zorder=0)
        bottom.axhline(1, color="0.6", lw=0.6, zorder=0)
        low, high = labels[level : level + 2]
        top.set_title(f"{low} and {high}, {n} pairs")
        bottom.set_xlabel(r"multipole $\ell$")
    top.set_ylim(min(-0.15, float(r_unmatched.mean(1).min()) - 0.1), 1.05)
    set_ell_axis(bottom, edges)
    axes[0, 0].set_ylabel(r"correlation $r(\ell)$ of convergence")
    axes[1, 0].set_ylabel(r"$C_\ell^{\rm high}\,/\,C_\ell^{\rm low}$, matched")
    add_legend(figure, colours, n_bins)
    return figure


def draw_mean(
    ax: Axes, ell: np.ndarray, values: np.ndarray, *, hollow: bool = False, **look: object
) -> None:
    """Draw the mean over sims of values, shape (n, n_bands), and a band of their scatter."""
    mean, scatter = values.mean(0), values.std(0, ddof=1)
    colour = look["color"]
    ax.fill_between(ell, mean - scatter, mean + scatter, color=colour, alpha=0.18, lw=0)
    face = "white" if hollow else colour
    ax.plot(ell, mean, markerfacecolor=face, **look)  # type: ignore[arg-type]


def draw_loss(ax: Axes, ell: np.ndarray, r_partly: np.ndarray, fractions: np.ndarray) -> None:
    """Draw the correlation that shares of the modes leave, shape (n_fractions, n, n_bins, ...)."""
    for fraction, values in zip(fractions, r_partly.mean(axis=(1, 2)), strict=True):
        ax.plot(ell, values, color="0.55", lw=0.9, linestyle=(0, (4, 2)), zorder=1)
        ax.annotate(
            f"{100 * fraction:.0f} %", (ell[-1], values[-1]), (0, -3), color="0.4",
            textcoords="offset points", ha="right", va="top", fontsize=7,
        )  # fmt: skip


def set_ell_axis(ax: Axes, edges: np.ndarray) -> None:
    """Make the axis logarithmic in l and tick it at powers of two inside the bands."""
    ax.set_xscale("log")
    ax.set_xlim(edges[0], edges[-1])
    powers = 2 ** np.arange(1, 20)
    ax.set_xticks(powers[(powers >= edges[0]) & (powers <= edges[-1])])
    ax.xaxis.set_major_formatter(ScalarFormatter())
    ax.xaxis.set_minor_locator(NullLocator())


def add_legend(figure: Figure, colours: np.ndarray, n_bins: int) -> None:
    """Explain bins by colour and marker, what is shared by line."""
    handles = [
        Line2D([], [], color=colours[b], marker=BIN_MARKERS[b % len(BIN_MARKERS)], lw=0)
        for b in range(n_bins)
    ]
    handles += [
        Line2D([], [], color="black", linestyle="-", marker="o"),
        Line2D([], [], color="black", linestyle=":", marker="o", markerfacecolor="white"),
        Line2D([], [], color="0.55", linestyle=(0, (4, 2))),
    ]
    names = [f"source bin {b + 1}" for b in range(n_bins)]
    names += ["matched", "unmatched", "share of modes"]
    figure.legend(handles, names, loc="outside lower center", ncols=3)
