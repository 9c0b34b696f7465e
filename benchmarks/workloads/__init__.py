"""The workloads, by name, in the order of the targets that they serve."""

from ..support import Workload
from . import (
    async_tasks,
    busy,
    defaults,
    growth,
    idle,
    keys,
    large,
    latency,
    memory,
    mixed,
    noop,
    recycling,
    rooms,
    rows,
    soak,
    startup,
)

WORKLOADS: dict[str, Workload] = {
    "noop": noop.WORKLOAD,
    "defaults": defaults.WORKLOAD,
    "busy": busy.WORKLOAD,
    "mixed": mixed.WORKLOAD,
    "latency": latency.WORKLOAD,
    "startup": startup.WORKLOAD,
    "recycling": recycling.WORKLOAD,
    "keys": keys.WORKLOAD,
    "idle": idle.WORKLOAD,
    "large": large.WORKLOAD,
    "async": async_tasks.WORKLOAD,
    "soak": soak.WORKLOAD,
    "memory": memory.WORKLOAD,
    "rows": rows.WORKLOAD,
    "rooms": rooms.WORKLOAD,
    "growth": growth.WORKLOAD,
}
