"""Writes what was measured: results.json, results.md, the charts, and the table inside docs/performance.md."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

from . import report
from .workloads import WORKLOADS

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
CHARTS = ROOT / "docs" / "charts"
DOCUMENT = ROOT / "docs" / "performance.md"
MARKED = re.compile(r"(<!-- results -->\n).*?(<!-- end of results -->)", re.DOTALL)


def earlier(machine: dict[str, object]) -> dict[str, Any]:
    """Returns the workloads of the last run, as far as it was on the same machine with the same versions."""
    file = RESULTS / "results.json"
    if not file.exists():
        return {}
    results = json.loads(file.read_text())
    return dict(results["workloads"]) if results["machine"] == machine else {}


def publish(machine: dict[str, object], workloads: dict[str, Any]) -> str:
    """Writes everything. Returns the table of targets."""
    workloads = {name: workloads[name] for name in WORKLOADS if name in workloads}
    results = {"machine": machine, "workloads": workloads}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    page = report.page(results)
    (RESULTS / "results.md").write_text(f"# Results\n\n{page}")
    DOCUMENT.write_text(fill_in(DOCUMENT.read_text(), page))
    _draw(results)
    return report.targets_table(results)


def fill_in(document: str, page: str) -> str:
    """Returns a document with the results between its markers."""
    return MARKED.sub(lambda match: f"{match[1]}\n{page}\n{match[2]}", document)


def _draw(results: dict[str, Any]) -> None:
    try:
        from . import charts
    except ImportError as error:
        print(f"No charts: {error.name} is not installed.")
        return
    CHARTS.mkdir(parents=True, exist_ok=True)
    for name in charts.draw(results, RESULTS):
        shutil.copyfile(RESULTS / name, CHARTS / name)
