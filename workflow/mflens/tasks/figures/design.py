"""Ablations of the published tasks."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from mflens.report.style import PAGE, styled
from mflens.tasks.design import expand_study
from mflens.tasks.figures.methods import STYLES, in_order
from mflens.tasks.metrics import METRICS

# colour, marker and line of every choice of Algorithm 1, by rescale and project
ADJUSTMENTS: dict[tuple[bool, bool], tuple[str, dict[str, Any]]] = {
    (True, True): ("both", {"color": "#D55E00", "marker": "X", "ls": "-"}),
    (True, False): ("rescaling", {"color": "#0072B2", "marker": "s", "ls": "--"}),
    (False, True): ("projection", {"color": "#009E73", "marker": "^", "ls": "-."}),
    (False, False): ("neither", {"color": "#7F7F7F", "marker": "o", "ls": ":"}),
}
ADJUSTED = [label for label, _ in ADJUSTMENTS.values()]
EPSILON_STYLE = {"color": "#CC79A7", "marker": "D", "ls": (0, (4, 1, 1, 1))}
PANELS = {
    "seed_matching": ("seed_matching",),
    "gradient_adjustment": ("gradient_adjustment", "rescaling_epsilon"),
    "fidelity_gap": ("fidelity_gap",),
}

Frames = Sequence[Axes]  # that a study is drawn in, from the top


@styled
def plot_task_ablations(ablations: pd.DataFrame, studies: Mapping[str, Any], metric: str) -> Figure:
    """Show a metric against what is taken away.

    Parameters
    ----------
    ablations
        Columns of `tasks.ablations.ABLATION_COLUMNS`.
    studies
        Their `methods` and `vary`, by name, as in the config.
    metric
        Name of the metric.

    Returns
    -------
    Figure
        A panel for seed matching, gradient adjustment and fidelity gap, those that there are.
    """
    panels = [name for name, members in PANELS.items() if set(members) & set(studies)]
    figure = Figure(figsize=(PAGE * max(len(panels), 1.5) / 3, 3.2), layout="constrained")
    grid = figure.add_gridspec(3, len(panels))
    for column, name in enumerate(panels):
        both = name == "gradient_adjustment"
        ax = figure.add_subplot(grid[:2, column] if both else grid[:, column])
        below = [figure.add_subplot(grid[2, column], sharex=ax)] if both else []
        for study in PANELS[name]:
            if study in studies:
                rows = ablations[ablations["ablation"] == study]
                DRAWN[study]([ax, *below], rows, expand_study(studies[study]["vary"]), metric)
        ax.margins(y=0.35)
        corner = "lower right" if both else "best"
        ax.legend(fontsize=7, handlelength=2.5, labelspacing=0.2, loc=corner)
        ax.set_title(name.replace("_", " "), fontsize=9)
    return figure


def draw_seed_matching(
    axes: Frames, rows: pd.DataFrame, settings: Mapping[str, Mapping[str, Any]], metric: str
) -> None:
    """Draw a metric of every method against the share of equal random numbers."""
    for method in in_order(rows["method"]):
        mine = rows[(rows["method"] == method) & (rows["metric"] == metric)].set_index("setting")
        points = [(v["shared"], mine.loc[text]) for text, v in settings.items()]
        draw_points(axes[0], points, STYLES[method].label, STYLES[method].plot)
    axes[0].set(xlabel="share of equal random numbers", ylabel=METRICS[metric].label)


def draw_adjustment(
    axes: Frames, rows: pd.DataFrame, settings: Mapping[str, Mapping[str, Any]], metric: str
) -> None:
    """Draw a metric, and how often it went wrong, against the learning rate.

    One line for every choice of the gradient adjustment.
    """
    lines: dict[str, tuple[dict[str, Any], list[str]]] = {}
    for text, values in settings.items():
        label, style = ADJUSTMENTS[values.get("rescale", True), values.get("project", True)]
        if "epsilon" in values:
            label, style = rf"both, $\epsilon$ = {values['epsilon']:g}", EPSILON_STYLE
        lines.setdefault(label, (style, []))[1].append(text)
    names = (metric, "worse_than_prior")
    labels = (METRICS[metric].label, "worse than prior")
    for ax, name, title in zip(axes, names, labels, strict=True):
        found = rows[rows["metric"] == name].set_index("setting")
        for label, (style, texts) in lines.items():
            # side by side, as some lie on each other
            move = 1.08 ** (ADJUSTED.index(label) - 2 if label in ADJUSTED else 2)
            points = [(settings[text]["learning_rate"] * move, found.loc[text]) for text in texts]
            draw_points(ax, points, label, style)
        ax.set(xscale="log", ylabel=title)
    axes[0].tick_params(labelbottom=False)
    axes[0].set_yscale("log")
    axes[0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes[0].yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes[0].yaxis.set_minor_locator(NullLocator())
    axes[1].set(xlabel="learning rate", ylim=(-0.15, 1.15), yticks=[0, 0.5, 1])


def draw_gap(
    axes: Frames, rows: pd.DataFrame, settings: Mapping[str, Mapping[str, Any]], metric: str
) -> None:
    """Draw differences of `paired` and other methods against the distance of the fidelities."""
    distance = rows[rows["metric"] == "pair_distance"].set_index("setting")["mean"]
    for other in in_order(rows["method"]):
        found = rows[rows["metric"] == f"{metric}_minus_{other}"].set_index("setting")
        points = sorted(((distance[text], found.loc[text]) for text in found.index), key=_first)
        if points:
            draw_points(axes[0], points, f"paired $-$ {STYLES[other].label}", STYLES[other].plot)
    axes[0].axhline(0, color="0.4", lw=0.6, zorder=0)
    axes[0].set(xlabel="distance of the fidelities (sd)", ylabel=f"gain, {METRICS[metric].label}")


def _first(point: tuple[float, pd.Series]) -> float:
    return point[0]


def draw_points(
    ax: Axes, points: Sequence[tuple[float, pd.Series]], label: str, style: Any
) -> None:
    """Draw means with standard errors; what diverged stands as a mark at the upper edge."""
    x = np.array([place for place, _ in points])
    mean = np.array([row["mean"] for _, row in points], dtype=float)
    error = np.array([row["error"] for _, row in points], dtype=float)
    lost = ~np.isfinite(mean)
    ax.errorbar(
        x, np.where(lost, np.nan, mean), yerr=error, label=label, capsize=1.5, elinewidth=0.8,
        **style,
    )  # fmt: skip
    if not lost.any():
        return
    across = ax.get_xaxis_transform()
    ax.plot(
        x[lost], np.full(lost.sum(), 0.97), transform=across, color=style["color"],
        marker=style["marker"], ls="none", mfc="none", clip_on=False,
    )  # fmt: skip


DRAWN = {
    "seed_matching": draw_seed_matching,
    "gradient_adjustment": draw_adjustment,
    "rescaling_epsilon": draw_adjustment,
    "fidelity_gap": draw_gap,
}
