"""Examples of what methods learned of single test sims, beside the exact answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from mflens.report.posteriors import make_chain
from mflens.report.style import PAGE, styled
from mflens.tasks.figures.methods import STYLES, in_order

EXACT = "exact"  # stands among the methods
AREA: dict[str, Any] = {"color": "0.82", "lw": 0, "zorder": 0}
TRUTH: dict[str, Any] = {"color": "0.45", "lw": 0.8, "ls": (0, (3, 2)), "zorder": 0.5}
HEADROOM = 1.5  # the frame ends at this multiple of the exact peak, or of the median peak


@dataclass(frozen=True)
class Panel:
    """One panel: densities of one quantity.

    Attributes
    ----------
    curves
        Method, or `EXACT`, to abscissa and density, both of shape (node,).
    truth
        The true value, or None.
    frame
        Ends of the abscissa.
    title, xlabel
        Texts.
    """

    curves: Mapping[str, tuple[np.ndarray, np.ndarray]]
    truth: float | None
    frame: tuple[float, float]
    title: str
    xlabel: str


@styled
def plot_task_densities(panels: Sequence[Sequence[Panel]], *, experiment: str) -> Figure:
    """Show densities by all methods.

    Parameters
    ----------
    panels
        Rows of panels.
    experiment
        Its name.

    Returns
    -------
    Figure
        Lines are methods, the grey area is the exact density, the dashed line the truth.
    """
    n_rows, n_columns = len(panels), len(panels[0])
    figure = Figure(figsize=(PAGE, 0.7 + 1.6 * n_rows), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False)
    for ax, panel in zip(axes.flat, [p for row in panels for p in row], strict=True):
        draw_panel(ax, panel)
    everything = [panel for row in panels for panel in row]
    truth = any(panel.truth is not None for panel in everything)
    add_legend(figure, [name for panel in everything for name in panel.curves], truth=truth)
    figure.supylabel(f"density ({experiment})", fontsize=9)
    return figure


def draw_panel(ax: Axes, panel: Panel) -> None:
    """Draw the densities of one quantity, the frame fitted to the exact one."""
    lines = {name: curve for name, curve in panel.curves.items() if name != EXACT}
    top = np.median([density.max() for _, density in lines.values()])
    if EXACT in panel.curves:
        ax.fill_between(*panel.curves[EXACT], **AREA)
        top = panel.curves[EXACT][1].max()
    for name in in_order(lines):
        style = STYLES[name]
        ax.plot(*lines[name], color=style.colour, ls=style.line, lw=1)
    if panel.truth is not None:
        ax.axvline(panel.truth, **TRUTH)
    ax.set(xlim=panel.frame, ylim=(0, HEADROOM * top), yticks=[])
    ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    ax.set_title(panel.title, fontsize=8)
    ax.set_xlabel(panel.xlabel)


def marginals(
    draws: Mapping[str, np.ndarray], names: Sequence[str], bounds: np.ndarray
) -> list[dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Return the marginal densities of samples, for every parameter by method.

    Parameters
    ----------
    draws
        Posterior samples by method, shape (sample, d) each.
    names
        Of the parameters.
    bounds
        Support of the prior, shape (d, 2), at which densities may end abruptly.
    """
    found: list[dict[str, tuple[np.ndarray, np.ndarray]]] = [{} for _ in names]
    for method, sample in draws.items():
        chain = make_chain(sample, names, bounds)
        for i, name in enumerate(names):
            density = chain.get1DDensityGridData(name)
            found[i][method] = (density.x, density.P / np.trapezoid(density.P, density.x))
    return found


def frames(
    curves: Sequence[Mapping[str, tuple[np.ndarray, np.ndarray]]], bounds: np.ndarray
) -> list[tuple[float, float]]:
    """Return the ends of every parameter's abscissa: the prior's, or those of all curves."""
    found = []
    for mine, (low, high) in zip(curves, bounds, strict=True):
        nodes = np.concatenate([nodes for nodes, _ in mine.values()])
        ends = (low, high) if np.isfinite([low, high]).all() else (nodes.min(), nodes.max())
        found.append((float(ends[0]), float(ends[1])))
    return found


def add_legend(figure: Figure, names: Sequence[str], *, truth: bool) -> None:
    """Name methods, the exact density and the truth above all panels."""
    styles = [STYLES[name] for name in in_order(names)]
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=style.colour, ls=style.line, lw=1) for style in styles
    ]
    labels = [style.label for style in styles]
    if EXACT in names:
        handles.append(Patch(**AREA))
        labels.append(EXACT)
    if truth:
        handles.append(Line2D([], [], **TRUTH))
        labels.append("truth")
    figure.legend(handles, labels, loc="outside upper center", ncols=5, handlelength=3)
