"""The benchmarks measure what they say: our own workloads in miniature, and the report on made-up figures."""

import json
import math
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.publish import fill_in
from benchmarks.report import Summary
from benchmarks.runner import add, order
from benchmarks.targets import FIGURES, SHOWN_PEERS, TARGETS, Goal, Target
from benchmarks.workloads import WORKLOADS
from benchmarks.workloads.mixed import Ran, longest_idle_wait
from benchmarks.workloads.rooms import RUN

ROOT = Path(__file__).parent.parent
MAY_SHRINK = {"growth_mib", "beyond_mib"}  # memory may also become less, or not grow at all
COUNTS = {"processes_replaced"}  # none, in a run this short

# One of each kind; the other systems run the same code with other settings.
OURS = [
    ("noop", "quasiqueue"),
    ("noop", "quasiqueue, writer is a function"),
    ("defaults", "quasiqueue"),
    ("defaults", "quasiqueue, writer is a function"),
    ("busy", "quasiqueue"),
    ("mixed", "quasiqueue"),
    ("latency", "quasiqueue"),
    ("latency", "quasiqueue, put()"),
    ("startup", "quasiqueue"),
    ("recycling", "quasiqueue"),
    ("keys", "quasiqueue"),
    ("idle", "quasiqueue, queue full"),
    ("large", "quasiqueue"),
    ("async", "quasiqueue"),
    ("soak", "quasiqueue"),
    ("soak", "quasiqueue, bursts at full speed"),
    ("memory", "quasiqueue"),
    ("rows", "quasiqueue"),
    ("rooms", RUN),
    ("growth", "bytes per item: 1000"),
]


@pytest.mark.parametrize(("workload", "system"), OURS)
def test_workload_gives_plausible_figures(workload: str, system: str) -> None:
    """Every measurement is a process of its own that prints one line of JSON with finite figures."""
    command = [sys.executable, "-m", "benchmarks.measure", workload, system, "tiny"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    figures: dict[str, float] = json.loads(done.stdout)["figures"]
    assert FIGURES[workload][0] in figures
    for name, value in figures.items():
        assert math.isfinite(value), name
        assert value > 0 or name in MAY_SHRINK | COUNTS, name


def test_peer_that_cannot_be_imported_says_so() -> None:
    """A missing peer costs its own column, not the run."""
    program = "import sys; sys.modules['loky'] = None; from benchmarks.measure import main; main(*sys.argv[1:])"
    command = [sys.executable, "-c", program, "noop", "loky, chunks of 1000", "tiny"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert json.loads(done.stdout) == {"missing": "not installed (loky)"}


def results(**systems: Mapping[str, object]) -> dict[str, object]:
    """Results with one workload, `noop`, that was run twice."""
    run = {"about": "no-op", "scale": "full", "rounds": 2, "load": 0.5, "systems": systems}
    machine = {
        "cpu": "CPU",
        "cores": 2,
        "memory_gib": 8,
        "kernel": "Linux 6",
        "python": "CPython 3",
        "peers": {"a": "1"},
    }
    return {"machine": machine, "workloads": {"noop": run}}


def rates(*values: float) -> dict[str, object]:
    """The figures of one system."""
    return {"figures": {"items_per_second": list(values)}}


def test_summary_holds_best_and_median() -> None:
    """Best is the highest where more is better, and the lowest where less is."""
    assert report.summarise([3.0, 1.0, 2.0], "more") == Summary(best=3.0, median=2.0)
    assert report.summarise([3.0, 1.0, 2.0], "less") == Summary(best=1.0, median=2.0)
    assert report.summarise([], "more") is None


def test_ratio_is_between_medians() -> None:
    """A missing or empty figure has no ratio."""
    assert report.ratio(Summary(9.0, 3.0), Summary(1.0, 2.0)) == 1.5
    assert report.ratio(Summary(9.0, 3.0), None) is None
    assert report.ratio(Summary(9.0, 3.0), Summary(0.0, 0.0)) is None


@pytest.mark.parametrize(
    ("goal", "better", "ours", "theirs", "expected"),
    [
        (Goal(0.97), "more", 0.97, None, True),
        (Goal(0.97), "more", 0.96, None, False),
        (Goal(60.0), "less", 60.0, None, True),
        (Goal(60.0), "less", 60.1, None, False),
        (Goal(0.0), "less", 0.0, None, True),
        (Goal(1.3, "peer"), "more", 13.0, 10.0, True),
        (Goal(1.3, "peer"), "more", 12.9, 10.0, False),
        (Goal(1.3, "peer"), "more", 13.0, None, None),
        (Goal(0.97), "more", None, None, None),
    ],
)
def test_verdict(goal: Goal, better: str, ours: float | None, theirs: float | None, expected: bool | None) -> None:
    """The bound itself counts as reached; without the figures there is no verdict."""
    mine, other = (None if value is None else Summary(value, value) for value in (ours, theirs))
    assert report.reached(goal, better, mine, other) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "-"),
        (0.0, "0"),
        (0.01234, "0.0123"),
        (1.5, "1.5"),
        (99.96, "100"),
        (1234.0, "1,230"),
        (6543210, "6,540,000"),
    ],
)
def test_numbers_have_three_digits(value: float | None, expected: str) -> None:
    """Further digits would be noise."""
    assert report.number(value) == expected


TARGET = Target(1, "no-op", "noop", "items_per_second", "items/s", "more", Goal(1.3, "a"), Goal(1.0, "b"))


def test_row_names_figures_ratio_and_verdicts() -> None:
    """One line holds all that a verdict rests on."""
    measured = results(quasiqueue=rates(200.0, 100.0), a=rates(100.0, 100.0), b=rates(300.0, 300.0))
    assert report.row(TARGET, measured) == [
        "1",
        "no-op",
        "150 items/s",
        "200",
        "a: 100 (best 100)",
        "1.5",
        "≥ 1.3 x",
        "yes",
        "≥ 1 x b (is 0.5 x 300): **no**",
    ]


def test_row_without_the_peer_has_no_verdict() -> None:
    """Neither yes nor no stands where there is nothing to compare with."""
    cells = report.row(TARGET, results(quasiqueue=rates(200.0), a={"missing": "not installed (a)"}))
    assert cells[4:8] == ["a: - (best -)", "-", "≥ 1.3 x", "-"]


def test_page_shows_every_system_and_what_is_missing() -> None:
    """The table of all systems says why a figure is not there."""
    page = report.page(results(quasiqueue=rates(200.0), a=rates(100.0), b={"missing": "not installed (b)"}))
    assert "| a | 100 | 100 | 2 |" in page
    assert "| b | not installed (b) | - | - |" in page


def test_filling_in_replaces_what_stood_between_the_markers() -> None:
    """Text around the markers stays; a second filling leaves only the second."""
    text = "before\n<!-- results -->\nold\n<!-- end of results -->\nafter\n"
    once = fill_in(text, r"new \1")
    assert once == "before\n<!-- results -->\n\nnew \\1\n<!-- end of results -->\nafter\n"
    assert fill_in(once, r"new \1") == once


def test_targets_name_workloads_and_systems_that_exist() -> None:
    """A row that names a system wrongly would stay empty for ever."""
    for target in TARGETS:
        systems = WORKLOADS[target.workload].systems
        named = {target.system, target.goal.against, target.far and target.far.against} - {None}
        assert named <= set(systems), target.what
    assert all(peer in WORKLOADS[workload].systems for workload, peer in SHOWN_PEERS.items())
    assert {target.number for target in TARGETS} == {None, *range(1, 13)}
    assert FIGURES.keys() == WORKLOADS.keys()


def test_rounds_go_there_and_back() -> None:
    """Nobody is always first."""
    assert order(["a", "b", "c"], 0) == ["a", "b", "c"]
    assert order(["a", "b", "c"], 1) == ["c", "b", "a"]


def test_measurements_are_collected_by_figure() -> None:
    """One value per round; a failure stands beside them."""
    system: dict[str, object] = {}
    for answer in ({"figures": {"x": 1.0}}, {"failed": "why"}, {"figures": {"x": 2.0}}):
        add(system, answer)
    assert system == {"figures": {"x": [1.0, 2.0]}, "failed": "why"}


LONG = Ran(given=0, start=100, end=1000, pid=1)


def test_waiting_counts_only_while_the_other_worker_has_a_gap() -> None:
    """Given at 100, run at 500, the other worker busy from 100 to 300: 200 were in vain."""
    runs = [LONG, Ran(100, 100, 300, 2), Ran(100, 500, 510, 2)]
    assert longest_idle_wait(runs, LONG) == 200


def test_item_left_behind_the_long_one_waits_until_its_end() -> None:
    """Nobody took it back, and the other worker did nothing after 300."""
    runs = [LONG, Ran(100, 100, 300, 2), Ran(100, 1001, 1002, 1)]
    assert longest_idle_wait(runs, LONG) == 700


def test_idle_worker_without_waiting_items_costs_nothing() -> None:
    """The second item was given at the moment that it started."""
    runs = [LONG, Ran(100, 100, 300, 2), Ran(800, 800, 810, 2)]
    assert longest_idle_wait(runs, LONG) == 0


def test_page_in_the_documentation_is_the_one_of_the_results() -> None:
    """docs/performance.md shows benchmarks/results/results.md, which is made from results.json."""
    folder = ROOT / "benchmarks" / "results"
    page = report.page(json.loads((folder / "results.json").read_text()))
    assert (folder / "results.md").read_text() == f"# Results\n\n{page}"
    document = (ROOT / "docs" / "performance.md").read_text()
    assert fill_in(document, page) == document
    assert re.search(r"\| noop|\*\*noop\*\*", document)
