"""Items of 1 ms of CPU: what it costs to replace every worker after 200 of them."""

from functools import partial

from quasiqueue import QuasiQueue, Settings

from ..support import Figures, Scale, Stopwatch, Workload, all_done, one_millisecond


def quasiqueue(scale: Scale, *, max_jobs: int | None) -> Figures:
    """Throughput of the whole run."""
    count = scale.pick(12_000, 2000, 50)
    queue = QuasiQueue("recycling", one_millisecond, range(count), settings=Settings(max_jobs_per_process=max_jobs))
    with Stopwatch() as watch:
        summary = queue.run()
    all_done(summary, count)
    return {"items_per_second": count / watch.seconds, "processes_replaced": summary.recycled}


WORKLOAD = Workload(
    "items of 1 ms of CPU, workers replaced or not; items per second",
    {
        "quasiqueue": partial(quasiqueue, max_jobs=200),
        "quasiqueue, never recycled": partial(quasiqueue, max_jobs=None),
    },
)
