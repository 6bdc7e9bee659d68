from contextlib import asynccontextmanager

from partita.testing.channel_suite import ChannelSuite
from partita.wire import connect, listen


class TestMemory(ChannelSuite):
    """The in-process carrier keeps the contract."""

    @asynccontextmanager
    async def carrier(self, handler, settings):
        server = await listen("mem://suite", handler, settings=settings)
        try:
            yield lambda: connect(server.url, settings=settings)
        finally:
            await server.close()
