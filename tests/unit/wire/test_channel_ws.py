from contextlib import asynccontextmanager

import pytest

from partita.testing.channel_suite import ChannelSuite
from partita.wire import connect, listen


class TestPlain(ChannelSuite):
    """The WebSocket carrier keeps the contract."""

    @asynccontextmanager
    async def carrier(self, handler, settings):
        server = await listen("ws://127.0.0.1:0", handler, token="a token of some length", settings=settings)
        try:
            yield lambda: connect(server.url, token="a token of some length", settings=settings)
        finally:
            await server.close()


class TestTls(ChannelSuite):
    """The contract holds over TLS."""

    @pytest.fixture(autouse=True)
    def _certificates(self, tls):
        self.server_tls, self.client_tls = tls("server", ca=None), tls()

    @asynccontextmanager
    async def carrier(self, handler, settings):
        server = await listen("wss://127.0.0.1:0", handler, tls=self.server_tls, settings=settings)
        try:
            yield lambda: connect(server.url, tls=self.client_tls, settings=settings)
        finally:
            await server.close()


class TestMutualTls(TestTls):
    """The contract holds with certificates on both sides."""

    @pytest.fixture(autouse=True)
    def _certificates(self, tls):
        self.server_tls, self.client_tls = tls("server"), tls("client")
