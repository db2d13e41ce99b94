"""Ablations of the published tasks."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mflens.report.style import PAGE, styled
from mflens.report.tasks import STYLES, bend_axis, in_order
from mflens.tasks.design import expand_study
from mflens.tasks.metrics import METRICS

# colour, marker and line of every choice of Algorithm 1, by rescale and project
ADJUSTMENTS: dict[tuple[bool, bool], tuple[str, dict[str, Any]]] = {
    (True, True): ("both", {"color": "#D55E00", "marker": "X", "ls": "-"}),
    (True, False): ("rescaling", {"color": "#0072B2", "marker": "s", "ls": "--"}),
    (False, True): ("projection", {"color": "#009E73", "marker": "^", "ls": "-."}),
    (False, False): ("neither", {"color": "#7F7F7F", "marker": "o", "ls": ":"}),
}
EPSILON_STYLE = {"color": "#CC79A7", "marker": "D", "ls": (0, (4, 1, 1, 1))}
PANELS = {
    "seed_matching": ("seed_matching",),
    "gradient_adjustment": ("gradient_adjustment", "rescaling_epsilon"),
    "fidelity_gap": ("fidelity_gap",),
}

Points = list[tuple[float, pd.Series]]


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
    figure = Figure(figsize=(PAGE * max(len(panels), 1.5) / 3, 2.9), layout="constrained")
    for ax, name in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for study in PANELS[name]:
            if study in studies:
                rows = ablations[ablations["ablation"] == study]
                DRAWN[study](ax, rows, expand_study(studies[study]["vary"]), metric)
        ax.legend(fontsize=7, handlelength=2.5)
        ax.set_title(name.replace("_", " "), fontsize=9)
    return figure


def draw_seed_matching(
    ax: Axes, rows: pd.DataFrame, settings: Mapping[str, Mapping[str, Any]], metric: str
) -> None:
    """Draw a metric of every method against the share of equal random numbers."""
    for method in in_order(rows["method"]):
        mine = rows[(rows["method"] == method) & (rows["metric"] == metric)].set_index("setting")
        points = [(v["shared"], mine.loc[text]) for text, v in settings.items()]
        draw_points(ax, points, STYLES[method].label, STYLES[method].plot)
    ax.set(xlabel="share of equal random numbers", ylabel=METRICS[metric].label)


def draw_adjustment(
    ax: Axes, rows: pd.DataFrame, settings: Mapping[str, Mapping[str, Any]], metric: str
) -> None:
    """Draw a metric against the learning rate for every choice of the gradient adjustment."""
    mine = rows[rows["metric"] == metric].set_index("setting")
    worse = rows[rows["metric"] == "worse_than_prior"].set_index("setting")["mean"]
    lines: dict[str, tuple[dict[str, Any], Points]] = {}
    for text, values in settings.items():
        label, style = ADJUSTMENTS[values.get("rescale", True), values.get("project", True)]
        if "epsilon" in values:
            label, style = rf"both, $\epsilon$ = {values['epsilon']:g}", EPSILON_STYLE
        points = lines.setdefault(label, (style, []))[1]
        points.append((values["learning_rate"], mine.loc[text]))
        share, mean = worse.loc[text], mine.loc[text, "mean"]
        if share > 0 and np.isfinite(mean):
            ax.annotate(
                f"{share:.0%}", (values["learning_rate"], mean), xytext=(3, 3), fontsize=7,
                textcoords="offset points", color=style["color"],
            )  # fmt: skip
    for i, (label, (style, points)) in enumerate(lines.items()):
        # side by side, as some lie on each other
        moved = [(rate * 1.08 ** (i - len(lines) / 2), row) for rate, row in points]
        draw_points(ax, moved, label, style)
    ax.set_xscale("log")
    ax.set(xlabel="learning rate", ylabel=METRICS[metric].label)
    bend_axis(ax, METRICS[metric].linear_to)


def draw_gap(
    ax: Axes, rows: pd.DataFrame, settings: Mapping[str, Mapping[str, Any]], metric: str
) -> None:
    """Draw differences of `paired` and other methods against the distance of the fidelities."""
    distance = rows[rows["metric"] == "pair_distance"].set_index("setting")["mean"]
    for other in in_order(rows["method"]):
        found = rows[rows["metric"] == f"{metric}_minus_{other}"].set_index("setting")
        points = sorted(((distance[text], found.loc[text]) for text in found.index), key=_first)
        if points:
            draw_points(ax, points, f"paired $-$ {STYLES[other].label}", STYLES[other].plot)
    ax.axhline(0, color="0.4", lw=0.6, zorder=0)
    ax.set(xlabel="distance of the fidelities (sd)", ylabel=f"gain, {METRICS[metric].label}")


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
