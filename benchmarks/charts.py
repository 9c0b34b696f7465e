"""Draws the charts of docs/performance.md from results. Needs matplotlib; the same results give the same files."""

from pathlib import Path
from typing import Any

import matplotlib as mpl

from .report import Results, figures
from .targets import FIGURES

mpl.use("svg")
mpl.rcParams.update({"svg.hashsalt": "quasiqueue", "svg.fonttype": "none", "font.size": 9})

from matplotlib import pyplot  # noqa: E402  # after the choice of what draws

OURS, PEER = "#2f6fb0", "#b8b8b8"
GROWTH = {
    "workers": ("workers", False),
    "items": ("items", True),
    "bytes per item": ("bytes per item", True),
    "window in seconds": ("window in seconds (0: none)", False),
}


def draw(results: Results, folder: Path) -> list[str]:
    """Draws what there are figures for. Returns the names of the files."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, make in (("noop", noop), ("latency", latency), ("growth", growth)):
        if name in results["workloads"]:
            figure = make(results)
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None, "Creator": None}, bbox_inches="tight")
            pyplot.close(figure)
            drawn.append(f"{name}.svg")
    return drawn


def _medians(results: Results, workload: str, figure: str) -> dict[str, float]:
    better = FIGURES[workload][1]
    found = {
        system: figures(results, workload, system, figure, better)
        for system in results["workloads"][workload]["systems"]
    }
    return {system: summary.median for system, summary in found.items() if summary is not None}


def noop(results: Results) -> Any:
    """Throughput, one bar per system, the fastest on top."""
    medians = sorted(_medians(results, "noop", "items_per_second").items(), key=lambda pair: pair[1])
    names, values = zip(*medians, strict=True)
    figure, axes = pyplot.subplots(figsize=(8, 0.3 * len(names) + 1))
    bars = axes.barh(names, values, color=[OURS if name.startswith("quasiqueue") else PEER for name in names])
    axes.bar_label(bars, [f"{value:,.0f}" for value in values], padding=3)
    axes.set_xscale("log")
    axes.set_xlim(right=max(values) * 6)
    axes.set_xlabel("no-op items per second, median (logarithmic)")
    return figure


def latency(results: Results) -> Any:
    """Median and 99th percentile, one pair of bars per system."""
    medians = _medians(results, "latency", "median_ms")
    tails = _medians(results, "latency", "p99_ms")
    names = list(medians)[::-1]
    places = range(len(names))
    figure, axes = pyplot.subplots(figsize=(8, 0.55 * len(names) + 1))
    for values, shift, label, colour in ((tails, -0.2, "99th percentile", PEER), (medians, 0.2, "median", OURS)):
        lengths = [values[name] for name in names]
        bars = axes.barh([place + shift for place in places], lengths, height=0.38, label=label, color=colour)
        axes.bar_label(bars, [f"{length:.3g}" for length in lengths], padding=3)
    axes.set_yticks(list(places), names)
    axes.set_xlabel("milliseconds from giving an item to an idle queue until its reader starts")
    axes.legend(loc="lower right")
    return figure


def growth(results: Results) -> Any:
    """Four small lines: what happens to throughput as one thing grows."""
    medians = _medians(results, "growth", "items_per_second")
    figure, panels = pyplot.subplots(1, len(GROWTH), figsize=(11, 2.6), layout="constrained")
    for axes, (kind, (label, is_log)) in zip(panels, GROWTH.items(), strict=True):
        points = [(name.rpartition(": ")[2], rate) for name, rate in medians.items() if name.startswith(f"{kind}: ")]
        values, rates = [float(value) for value, _ in points], [rate for _, rate in points]
        if is_log:
            axes.plot(values, rates, marker="o", color=OURS)
            axes.set_xscale("log")
        else:
            axes.plot([value for value, _ in points], rates, marker="o", color=OURS)
        axes.set_xlabel(label)
        axes.set_ylim(bottom=0)
        axes.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    panels[0].set_ylabel("no-op items per second")
    return figure
