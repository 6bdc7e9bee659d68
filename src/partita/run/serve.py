"""A place on the network: each visitor gets a `Place` of its own, and its work runs in one thread in order."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import final

from ..wire import Connection, Listener, Tls, listen, read_token
from .place import Offer, Place


@final
class PlaceServer:
    """Serves the models on offer at a URL. Use it as `async with`; `url` tells the port that was taken."""

    def __init__(
        self,
        url: str,
        offers: Mapping[str, Offer],
        *,
        token: str | None = None,
        tls: Tls | None = None,
        slow: float = 1.0,
    ) -> None:
        self._url, self._offers, self._token, self._tls, self._slow = url, offers, token, tls, slow
        self._listener: Listener | None = None
        # One thread for all visitors: a place has one processor to give, and timings stay honest.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="partita-place")

    async def __aenter__(self) -> PlaceServer:
        self._listener = await listen(self._url, self._visit, token=self._token, tls=self._tls)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._listener is not None:
            await self._listener.close()
        self._thread.shutdown(wait=True, cancel_futures=True)

    @property
    def url(self) -> str:
        """Where visitors connect to."""
        return self._listener.url if self._listener is not None else self._url

    async def _visit(self, connection: Connection) -> None:
        place = Place(self._offers, slow=self._slow)
        loop = asyncio.get_running_loop()
        async for message, tensors in connection:
            answer, values = await loop.run_in_executor(self._thread, place.answer, message, tensors)
            await connection.send(answer, values)


def token_from(path: Path | None) -> str | None:
    """The token in a file, if there is one."""
    return read_token(path) if path is not None else None
