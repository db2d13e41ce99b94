"""Posteriors of several test sims, method by method."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from mflens.report.style import METHOD_STYLES, PAGE, Style, styled

LEVELS = (0.68, 0.95)
# GetDist's smoothing is told the prior's edges, so that posteriors do not leak over them
QUIET = {"ignore_rows": 0, "smooth_scale_1D": -1, "smooth_scale_2D": -1}
TRUTH: dict[str, Any] = {"color": "0.5", "lw": 0.7, "zorder": 1}
STAR: dict[str, Any] = {"marker": "*", "ms": 8, "mfc": "#F0E442", "mec": "black", "mew": 0.6}
INFINITE_PRIOR_SIGMAS = 3.0


@styled
def plot_posteriors(
    samples: Mapping[str, np.ndarray],
    theta: np.ndarray,
    *,
    sims: Sequence[int],
    names: Sequence[str],
    latex: Sequence[str],
    bounds: np.ndarray,
    n_high: int,
) -> Figure:
    """Show one triangle for every test sim, with the contours of all methods.

    Parameters
    ----------
    samples
        Posterior samples by method, shape (n_sims, n_samples, d) each.
    theta
        True parameters, shape (n_sims, d).
    sims
        Numbers of the sims.
    names, latex
        Names and LaTeX symbols of the parameters.
    bounds
        Support of the prior, shape (d, 2); infinite for normal priors.
    n_high
        High-fidelity sims that the methods learned from.

    Returns
    -------
    Figure
        Triangles of 68 % contours (and filled 95 % regions of the last method) with truths.
    """
    d = theta.shape[1]
    columns = min(len(sims), 3 if d <= 2 else 2 if d <= 4 else 1)
    rows = -(-len(sims) // columns)
    width = PAGE / columns
    figure = Figure(figsize=(PAGE, 0.45 + rows * (0.97 * width + 0.1)), layout="constrained")
    parts = np.array(figure.subfigures(rows, columns, squeeze=False)).ravel()
    limits = axis_limits(samples, theta, bounds)
    for i, (part, sim) in enumerate(zip(parts, sims, strict=False)):
        draws = {method: all_draws[i] for method, all_draws in samples.items()}
        draw_triangle(part, draws, theta[i], names, latex, bounds, limits)
        part.suptitle(f"test sim {sim}", fontsize=9)
    add_legend(figure, list(samples), n_high)
    return figure


def draw_triangle(
    part: SubFigure,
    draws: Mapping[str, np.ndarray],
    truth: np.ndarray,
    names: Sequence[str],
    latex: Sequence[str],
    bounds: np.ndarray,
    limits: np.ndarray,
) -> None:
    """Draw the triangle of one sim."""
    d = len(truth)
    axes = part.subplots(d, d, squeeze=False, gridspec_kw={"hspace": 0.02, "wspace": 0.02})
    chains = {method: make_chain(draw, names, bounds) for method, draw in draws.items()}
    for row in range(d):
        for column in range(d):
            ax = axes[row, column]
            if column > row:
                ax.set_visible(False)
                continue
            for method, chain in chains.items():
                style = METHOD_STYLES[method]
                if row == column:
                    draw_marginal(ax, chain, names[row], style)
                else:
                    last = method == list(chains)[-1]
                    draw_contours(ax, chain, names[column], names[row], style, filled=last)
            ax.axvline(truth[column], **TRUTH)
            ax.set_xlim(limits[column])
            if row != column:
                ax.axhline(truth[row], **TRUTH)
                ax.plot(truth[column], truth[row], **STAR, zorder=5)
                ax.set_ylim(limits[row])
            label_panel(ax, row, column, d, latex)


def make_chain(draws: np.ndarray, names: Sequence[str], bounds: np.ndarray) -> Any:
    """Return samples of one posterior, shape (n_samples, d), as GetDist's MCSamples."""
    from getdist import MCSamples, chains

    chains.print_load_details = False  # a line for every chain would bury the log
    ranges = {
        name: [edge if np.isfinite(edge) else None for edge in pair]
        for name, pair in zip(names, bounds.tolist(), strict=True)
    }
    return MCSamples(samples=draws, names=list(names), ranges=ranges, settings=QUIET)


def draw_marginal(ax: Axes, chain: Any, name: str, style: Style) -> None:
    """Draw the density of one parameter, its peak at 1."""
    density = chain.get1DDensityGridData(name)
    ax.plot(density.x, density.P / density.P.max(), color=style.colour, ls=style.line, lw=1)
    ax.set_ylim(0, 1.1)


def draw_contours(ax: Axes, chain: Any, x: str, y: str, style: Style, *, filled: bool) -> None:
    """Draw the 68 % contour of two parameters; the 95 % region too where `filled`."""
    density = chain.get2DDensityGridData(x, y, num_plot_contours=0)
    inner, outer = density.getContourLevels(LEVELS)
    grid = (density.x, density.y, density.P)
    if filled:
        ax.contourf(*grid, [outer, density.P.max() * 1.01], colors=[style.colour], alpha=0.15)
    ax.contour(*grid, [inner], colors=[style.colour], linestyles=[style.line], linewidths=1.0)


def label_panel(ax: Axes, row: int, column: int, d: int, latex: Sequence[str]) -> None:
    """Label the outer panels of a triangle only."""
    ticks: dict[str, Any] = {"nbins": 4 if d <= 2 else 3, "steps": [1, 2, 5, 10], "prune": "both"}
    ax.xaxis.set_major_locator(MaxNLocator(**ticks))
    ax.tick_params(labelbottom=row == d - 1, labelleft=row != column and column == 0)
    if row == d - 1:
        ax.set_xlabel(f"${latex[column]}$")
    if row == column:
        ax.set_yticks([])
    else:
        ax.yaxis.set_major_locator(MaxNLocator(**ticks))
        if column == 0:
            ax.set_ylabel(f"${latex[row]}$")


def axis_limits(
    samples: Mapping[str, np.ndarray], theta: np.ndarray, bounds: np.ndarray
) -> np.ndarray:
    """Return the range of every axis: the prior's support, or what holds nearly all samples."""
    pooled = np.concatenate([draws.reshape(-1, theta.shape[1]) for draws in samples.values()])
    spread = INFINITE_PRIOR_SIGMAS * np.stack([-pooled.std(0), pooled.std(0)], axis=1)
    held = np.median(pooled, axis=0)[:, None] + spread
    held[:, 0] = np.minimum(held[:, 0], theta.min(0))
    held[:, 1] = np.maximum(held[:, 1], theta.max(0))
    return np.where(np.isfinite(bounds), bounds, held)


def add_legend(figure: Figure, methods: Sequence[str], n_high: int) -> None:
    """Name the methods and the truth."""
    styles = [METHOD_STYLES[method] for method in methods]
    handles = [Line2D([], [], color=style.colour, ls=style.line) for style in styles]
    handles.append(Line2D([], [], **STAR, **TRUTH))
    names = [style.label for style in styles] + ["truth"]
    figure.legend(
        handles, names, loc="outside upper center", ncols=len(names),
        title=f"68 % contours at $n_{{\\rm high}} = {n_high}$ (filled: 95 % of {names[-2]})",
        title_fontsize=8, handlelength=2.4, columnspacing=1.2,
    )  # fmt: skip
