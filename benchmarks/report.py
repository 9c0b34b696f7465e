"""From figures to tables and verdicts. Pure: takes what `runner.py` has measured, gives Markdown to `publish.py`.

Ratios are taken between medians of one run; the best of all rounds is shown beside them. Invariant: a figure that is
missing leads to a line that says so, never to a verdict.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .targets import FIGURES, SHOWN_PEERS, TARGETS, Goal, Target

Results = Mapping[str, Any]
"""As in results.json: `machine`, and `workloads` -> name -> `systems` -> name -> `figures` -> name -> one per round."""


@dataclass(frozen=True, slots=True)
class Summary:
    """One figure of one system over all rounds."""

    best: float
    median: float


def summarise(values: Sequence[float], better: str) -> Summary | None:
    """Returns best and median; None without values."""
    if not values:
        return None
    return Summary(max(values) if better == "more" else min(values), statistics.median(values))


def ratio(ours: Summary | None, theirs: Summary | None) -> float | None:
    """Returns our median / theirs; None if there is no such number."""
    if ours is None or theirs is None or theirs.median == 0:
        return None
    return ours.median / theirs.median


def reached(goal: Goal, better: str, ours: Summary | None, theirs: Summary | None) -> bool | None:
    """Tells whether a goal is reached; None if that cannot be said."""
    value = ratio(ours, theirs) if goal.against else ours and ours.median
    if value is None:
        return None
    return value >= goal.bound if better == "more" else value <= goal.bound


def number(value: float | None) -> str:
    """Returns a figure with three significant digits, thousands set apart."""
    if value is None:
        return "-"
    if abs(value) >= 100:
        digits = len(str(int(abs(value)))) - 3
        return f"{round(value, -digits):,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.0005 else "0"


def figures(results: Results, workload: str, system: str | None, figure: str, better: str) -> Summary | None:
    """Looks up and summarises one figure; None if it was not measured."""
    systems = results["workloads"].get(workload, {}).get("systems", {})
    return summarise(systems.get(system, {}).get("figures", {}).get(figure, []), better)


def word(verdict: bool | None) -> str:
    """Returns a verdict for the table."""
    return "-" if verdict is None else "yes" if verdict else "**no**"


def wanted(goal: Goal | None, better: str, unit: str) -> str:
    """Returns a goal for the table."""
    if goal is None:
        return "-"
    sign = "≥" if better == "more" else "≤"
    return f"{sign} {goal.bound:g} x" if goal.against else f"{sign} {goal.bound:g} {unit}".rstrip()


def _far(target: Target, results: Results, ours: Summary | None) -> str:
    far = target.far
    text = wanted(far, target.better, target.unit)
    if far is None:
        return text
    theirs = figures(results, target.workload, far.against, target.figure, target.better)
    if far.against and far.against != target.goal.against:
        text += f" {far.against} (is {number(ratio(ours, theirs))} x {number(theirs and theirs.median)})"
    return f"{text}: {word(reached(far, target.better, ours, theirs))}"


def row(target: Target, results: Results) -> list[str]:
    """Returns the cells of one target."""
    peer = target.goal.against or SHOWN_PEERS.get(target.workload)
    ours = figures(results, target.workload, target.system, target.figure, target.better)
    theirs = figures(results, target.workload, peer, target.figure, target.better)
    return [
        "-" if target.number is None else str(target.number),
        target.what,
        f"{number(ours and ours.median)} {target.unit}".rstrip(),
        number(ours and ours.best),
        "-" if peer is None else f"{peer}: {number(theirs and theirs.median)} (best {number(theirs and theirs.best)})",
        number(ratio(ours, theirs)),
        wanted(target.goal, target.better, target.unit),
        word(reached(target.goal, target.better, ours, theirs)),
        _far(target, results, ours),
    ]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def targets_table(results: Results) -> str:
    """Returns the table of all targets whose workload was run."""
    head = ["#", "what", "median", "best", "peer: median", "ratio", "target", "reached", "far goal: reached"]
    return table(head, [row(target, results) for target in TARGETS if target.workload in results["workloads"]])


def systems_table(results: Results, workload: str) -> str:
    """Returns the table of all systems of one workload."""
    figure, better = FIGURES[workload]
    systems = results["workloads"][workload]["systems"]
    own = figures(results, workload, "quasiqueue", figure, better)
    rows = []
    for system, measured in systems.items():
        found = figures(results, workload, system, figure, better)
        if found is None:
            rows.append([system, measured.get("missing", "not measured"), "-", "-"])
        else:
            rows.append([system, number(found.median), number(found.best), number(ratio(own, found))])
    return table(["system", "median", "best", "QuasiQueue / it"], rows)


def machine_line(machine: Mapping[str, Any]) -> str:
    """Returns the facts of the machine in one paragraph."""
    peers = ", ".join(f"{name} {version}" for name, version in machine["peers"].items())
    return (
        f"Measured on {machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB of memory, "
        f"{machine['kernel']}, {machine['python']}; {peers}."
    )


def method_line(results: Results) -> str:
    """Returns how much was measured, and how busy the machine was with other things."""
    runs = [f"{name} ({run['rounds']} x {run['scale']})" for name, run in results["workloads"].items()]
    loads = [run["load"] for run in results["workloads"].values()]
    return f"Rounds and size: {', '.join(runs)}. Load of the machine before a workload: up to {max(loads):.1f}."


def page(results: Results) -> str:
    """Returns the whole of results.md."""
    parts = [machine_line(results["machine"]), method_line(results), targets_table(results)]
    for workload, run in results["workloads"].items():
        if workload in FIGURES:
            parts += [f"**{workload}**: {run['about']}", systems_table(results, workload)]
    return "\n\n".join(parts) + "\n"
