"""Calibration of posteriors: HPD coverage, TARP and simulation-based calibration."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mflens.evaluate.posterior import coverage, coverage_band
from mflens.report.style import BEHIND_TEXT, METHOD_STYLES, PAGE, Style, styled

ROW = 0.98  # inches
BAND: dict[str, Any] = {"color": "0.85", "lw": 0, "zorder": 0}
NOTE: dict[str, Any] = {"fontsize": 7, "va": "bottom", "ha": "left", "bbox": BEHIND_TEXT}
PARAMETER_LINES = ("-", (0, (4, 1.5)), (0, (1, 1)), "-.")
SMALLEST_RANGE, LARGEST_RANGE = 0.2, 0.4  # beyond it curves leave the frame


@styled
def plot_calibration(scores: Sequence[Mapping[str, Any]], *, latex: Mapping[str, str]) -> Figure:
    """Show how far coverage deviates from what exact posteriors have.

    Parameters
    ----------
    scores
        What `score_posterior` returned for every method, with `method` and `n_high`.
    latex
        LaTeX symbols by name of parameter.

    Returns
    -------
    Figure
        One row per method; columns are HPD coverage, TARP and SBC ranks. Grey bands hold 95 % of
        exact posteriors, level by level, at the same number of tests.
    """
    figure = Figure(figsize=(PAGE, 0.75 + ROW * len(scores)), layout="constrained")
    axes = figure.subplots(len(scores), 3, sharex=True, sharey=True, squeeze=False)
    largest = SMALLEST_RANGE / 1.1
    for row, score in zip(axes, scores, strict=True):
        style = METHOD_STYLES[score["method"]]
        drawn = [
            draw_coverage(row[0], score, style),
            draw_tarp(row[1], score, style),
            draw_ranks(row[2], score, style, latex),
        ]
        largest = max(largest, *drawn)
        size = f", $n_{{\\rm high}} = {score['n_high']}$" if score["n_high"] else ""
        row[0].set_title(f"{style.label}{size}", loc="left", color=style.colour, fontweight="bold")
        row[2].set_title(sharpness(score), loc="right", fontsize=8)
    limit = min(LARGEST_RANGE, 1.1 * largest)
    for ax in axes.flat:
        ax.set(xlim=(0, 1), ylim=(-limit, limit), xticks=[0, 0.25, 0.5, 0.75, 1])
        ax.set_xticklabels(["0", "0.25", "0.5", "0.75", "1"])
        ax.axhline(0, color="0.4", lw=0.6, zorder=0.5)
    for ax, name in zip(
        axes[-1],
        ["HPD credibility", "TARP credibility", "SBC rank / number of samples"],
        strict=True,
    ):
        ax.set_xlabel(name)
    figure.supylabel("share of test sims at or below, minus the expected share", fontsize=9)
    return figure


def sharpness(score: Mapping[str, Any]) -> str:
    """Say how many tests a row holds and how sharp its posteriors are."""
    gain = score["nlpd_minus_prior"]
    return f"{score['n_test']} tests, NLPD $-$ prior = ${gain:+.2f}$ nats"


def draw_coverage(ax: Axes, score: Mapping[str, Any], style: Style) -> float:
    """Draw HPD coverage minus credibility; return the largest value drawn."""
    levels = np.array(score["coverage_level"])
    low, high = coverage_band(score["n_test"], levels)
    ax.fill_between(levels, low - levels, high - levels, **BAND)
    deviation = np.array(score["coverage"]) - levels
    ax.plot(levels, deviation, color=style.colour)
    text = ", ".join(f"{level} %: {100 * score[f'coverage_{level}']:.0f} %" for level in (68, 95))
    ax.text(0.03, 0.03, text, transform=ax.transAxes, **NOTE)
    return float(np.abs(deviation).max())


def draw_tarp(ax: Axes, score: Mapping[str, Any], style: Style) -> float:
    """Draw TARP's expected coverage minus credibility; return the largest value drawn."""
    alpha = np.array(score["tarp_alpha"])
    low, high = np.array(score["tarp_null_low"]), np.array(score["tarp_null_high"])
    ax.fill_between(alpha, low - alpha, high - alpha, **BAND)
    deviation = np.array(score["tarp_ecp"]) - alpha
    ax.plot(alpha, deviation, color=style.colour)
    text = f"error {score['tarp_error']:.3f} (95 % of exact: < {score['tarp_null_95']:.3f})"
    ax.text(0.03, 0.03, text, transform=ax.transAxes, **NOTE)
    return float(np.abs(deviation).max())


def draw_ranks(ax: Axes, score: Mapping[str, Any], style: Style, latex: Mapping[str, str]) -> float:
    """Draw the distribution of every parameter's ranks; return the largest deviation drawn."""
    levels = np.array(score["coverage_level"])
    low, high = coverage_band(score["n_test"], levels)
    ax.fill_between(levels, low - levels, high - levels, **BAND)
    ranks = np.array(score["sbc_ranks"]) / score["n_samples"]
    largest = 0.0
    names = score["parameters"]
    for i, name in enumerate(names):
        deviation = coverage(ranks[:, i], levels) - levels
        line = PARAMETER_LINES[i % len(PARAMETER_LINES)]
        ax.plot(levels, deviation, color=style.colour, ls=line, label=f"${latex[name]}$")
        largest = max(largest, float(np.abs(deviation).max()))
    p_values = [score["sbc_ks_p"][name] for name in names]
    values = ", ".join(f"{p:.2g}" if p >= 0.001 else "< 0.001" for p in p_values)
    ax.text(0.03, 0.03, f"KS $p$: {values}", transform=ax.transAxes, **NOTE)
    ax.legend(
        loc="upper right", ncols=len(names), fontsize=7, borderaxespad=0.2, handlelength=1.8,
        borderpad=0.1, frameon=True, framealpha=0.75, edgecolor="none",
    )  # fmt: skip
    return largest
