"""Training and validation curves."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mflens.report.style import BEHIND_TEXT, METHOD_STYLES, PAGE, Style, styled

PRETRAINING = Style("pretraining", METHOD_STYLES["low_only"].colour, "v", "-")
NOTE: dict[str, Any] = {"fontsize": 8, "va": "top", "ha": "right", "bbox": BEHIND_TEXT}
HEADROOM = 1.0  # nats above the prior that a frame shows; diverging curves leave it


@styled
def plot_training(
    pretraining: pd.DataFrame,
    finetuning: Sequence[tuple[str, int, pd.DataFrame]],
    *,
    n_parameters: int,
) -> Figure:
    """Show the losses of pretraining and of every method that trains a network.

    Parameters
    ----------
    pretraining
        Columns `epoch, train, validation`: losses in nats, -log q of the normalised parameters.
    finetuning
        Method, n_high and history with the further column `member`; empty histories (methods
        that train nothing) are left out.
    n_parameters
        Number of free parameters; fixes the loss of the prior.

    Returns
    -------
    Figure
        Pretraining and one column per method, one row per n_high.
    """
    runs = {(m, n): frame for m, n, frame in finetuning if len(frame)}
    methods = list(dict.fromkeys(method for method, _ in runs))
    sizes = sorted({n for _, n in runs}) or [0]
    prior = 0.5 * n_parameters * (1 + np.log(2 * np.pi))
    figure = Figure(figsize=(PAGE, 0.75 + 1.5 * len(sizes)), layout="constrained")
    axes = figure.subplots(len(sizes), 1 + len(methods), sharey=True, squeeze=False, sharex="col")
    draw_curves(axes[0, 0], pretraining.assign(member=0), PRETRAINING)
    axes[0, 0].set_title("pretraining")
    for ax in axes[1:, 0]:
        ax.set_visible(False)
    axes[0, 0].tick_params(labelbottom=True)
    for column, method in enumerate(methods, start=1):
        for row, n_high in enumerate(sizes):
            ax = axes[row, column]
            if (method, n_high) in runs:
                draw_curves(ax, runs[method, n_high], METHOD_STYLES[method])
            size = f"$n_{{\\rm high}} = {n_high}$"
            ax.text(0.95, 0.94, size, transform=ax.transAxes, **NOTE)
        axes[0, column].set_title(METHOD_STYLES[method].label)
    axes[0, 0].set_ylim(*loss_range([pretraining, *runs.values()], prior))
    for ax in axes.flat:
        ax.axhline(prior, color=METHOD_STYLES["prior"].colour, linestyle=":", zorder=0)
    for ax in [axes[0, 0], *axes[1:, 1:2].flat]:
        ax.set_ylabel("loss (nats)")
        ax.tick_params(labelleft=True)
    figure.supxlabel("epoch", fontsize=9)
    add_legend(figure)
    return figure


def draw_curves(ax: Axes, history: pd.DataFrame, style: Style) -> None:
    """Draw both losses of every member of an ensemble and mark the epoch that it keeps."""
    for _, member in history.groupby("member"):
        ax.plot(member["epoch"], member["train"], color=style.colour, lw=0.7, ls=(0, (3, 1.5)))
        ax.plot(member["epoch"], member["validation"], color=style.colour, lw=1.1)
        best = member.loc[member["validation"].idxmin()]
        ax.plot(best["epoch"], best["validation"], "o", ms=4, mfc="white", mec=style.colour)


def loss_range(histories: Sequence[pd.DataFrame], prior: float) -> tuple[float, float]:
    """Return limits that hold all kept epochs, the start of training and the prior's loss."""
    kept = [frame["validation"].min() for frame in histories]
    typical = [frame["train"].quantile(0.1) for frame in histories]
    low = min([*kept, prior - 0.5])
    # a loss without lower bound must not squeeze the others into a line
    low = max(min([low, *typical]), low - 0.5)
    return low - 0.2, prior + HEADROOM


def add_legend(figure: Figure) -> None:
    """Explain line styles, which are the same in every panel."""
    handles = [
        Line2D([], [], color="black", lw=0.7, ls=(0, (3, 1.5))),
        Line2D([], [], color="black", lw=1.1),
        Line2D([], [], color="black", marker="o", mfc="white", ms=4, lw=0),
        Line2D([], [], color=METHOD_STYLES["prior"].colour, ls=":"),
    ]
    names = ["training", "validation (one line a member)", "kept", "loss of the prior"]
    figure.legend(handles, names, loc="outside upper center", ncols=4)
