"""Fixtures of the unit tests."""

import asyncio
import inspect
import os

import pytest
from hypothesis import HealthCheck, settings

# A machine that is busy with something else must not fail a test.
settings.register_profile("unit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unit")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine function."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    wanted = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    asyncio.run(pyfuncitem.obj(**wanted))
    return True


@pytest.fixture(autouse=True)
def _no_descriptor_left() -> object:
    """Fail a test that leaves a descriptor open."""
    before = set(os.listdir("/dev/fd"))
    yield
    left = {name for name in set(os.listdir("/dev/fd")) - before if os.path.exists(f"/dev/fd/{name}")}
    assert left == set()
