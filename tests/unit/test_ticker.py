"""The one timer: what is due sooner moves it forward."""

import asyncio
import math
import time

from quasiqueue._main.ticker import Ticker


async def test_the_soonest_time_wins() -> None:
    """Wound for later and then for now, it ticks once; the later time is for the tick to wind again."""
    ticks: asyncio.Queue[float] = asyncio.Queue()
    ticker = Ticker(lambda: ticks.put_nowait(time.monotonic()))
    wanted = time.monotonic() + 0.01
    ticker.wind(wanted + 1000)
    ticker.wind(wanted)
    ticker.wind(wanted + 2000)
    async with asyncio.timeout(20):
        assert await ticks.get() >= wanted - 0.001  # the loop's clock may be that coarse


async def test_time_that_has_passed_is_now() -> None:
    """What was due long ago comes with the loop's next round, and it can be wound again from its own tick."""
    left = [time.monotonic() - 5, 0.0]
    ended = asyncio.Event()

    def tick() -> None:
        if left:
            ticker.wind(left.pop())
        else:
            ended.set()

    ticker = Ticker(tick)
    ticker.wind(0.0)
    async with asyncio.timeout(20):
        await ended.wait()
    assert not left


async def test_stopped_ticker_does_not_tick() -> None:
    """What was wound is taken back; stopping again does nothing; it can be wound again."""
    ticks: asyncio.Queue[str] = asyncio.Queue()
    ticker = Ticker(lambda: ticks.put_nowait("tick"))
    ticker.wind(0.0)
    ticker.stop()
    ticker.stop()
    later = Ticker(lambda: ticks.put_nowait("later"))
    later.wind(time.monotonic() + 0.02)
    async with asyncio.timeout(20):
        assert await ticks.get() == "later"
        ticker.wind(0.0)
        assert await ticks.get() == "tick"


async def test_watch_is_put_off_each_time_it_is_told() -> None:
    """Only the last time counts, also if it is later; infinity takes it back; a tick ends it as it ends the timer."""
    ticks: asyncio.Queue[float] = asyncio.Queue()
    ticker = Ticker(lambda: ticks.put_nowait(time.monotonic()))
    began = time.monotonic()
    ticker.watch(began)
    ticker.watch(began + 0.05)
    async with asyncio.timeout(20):
        assert await ticks.get() >= began + 0.049  # the loop's clock may be that coarse
        ticker.watch(began)
        ticker.watch(math.inf)
        ticker.watch(began + 1000)
        ticker.wind(began + 0.1)
        assert await ticks.get() >= began + 0.099
        assert ticks.empty()
