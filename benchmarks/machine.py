"""What figures depend on: the machine and the versions, without anything that names the machine or its owner."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

PEERS = ("quasiqueue", "loky", "billiard", "joblib", "mpire", "pebble", "faster-fifo")


def facts() -> dict[str, object]:
    """Returns the facts of this machine."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "kernel": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "peers": {name: _version(name) for name in PEERS},
    }


def load() -> float:
    """Returns how many processes wanted a core, on average over the last minute."""
    return round(os.getloadavg()[0], 2)


def _cpu() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
