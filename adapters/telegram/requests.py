"""The library's requests, over aiohttp.

The library's own client takes more CPU for a call, and more with each open connection, which it looks at on every call: with
twenty chats at once a message took 23 ms of CPU, and 14 so. Errors are the library's, and hold no URL, for the token is in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from telegram.error import NetworkError, TimedOut
from telegram.request import BaseRequest, RequestData

_JSON = "application/json"
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_Seconds = Any
"""Seconds, None for no end, or the library's mark for its default."""


class Parameters:
    """Parameters that are JSON-ready, in place of a RequestData: they go as one object, without a look at each of them."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.contains_files = False
        self.body = _ENCODER.encode(values).encode("utf-8", "replace")


class Requests(BaseRequest):
    """Belongs to one event loop. Connects at the first call."""

    def __init__(self, *, connections: int, connect: float, call: float, upload: float) -> None:
        """`connect`, `call`, `upload`: seconds to reach the server, for a call (and between two parts of a download), to write a file."""
        self._connections = connections
        self._connect = connect
        self._call = call
        self._upload = upload
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    @property
    def read_timeout(self) -> float | None:
        """Seconds."""
        return self._call

    async def initialize(self) -> None:
        """Take calls again after a shutdown."""
        self._closed = False

    async def shutdown(self) -> None:
        """Close the connections; calls are refused from now on."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def do_request(  # noqa: PLR0917 - the library's signature
        self,
        url: str,
        method: str,
        request_data: RequestData | Parameters | None = None,
        read_timeout: _Seconds = BaseRequest.DEFAULT_NONE,
        write_timeout: _Seconds = BaseRequest.DEFAULT_NONE,
        connect_timeout: _Seconds = BaseRequest.DEFAULT_NONE,
        pool_timeout: _Seconds = BaseRequest.DEFAULT_NONE,
    ) -> tuple[int, bytes]:
        """Status and body. Raises TimedOut and NetworkError."""
        read = self._call if read_timeout is BaseRequest.DEFAULT_NONE else read_timeout
        files = request_data is not None and request_data.contains_files
        # The client has no time-out for writing: a call as a whole has one, but a download may take long, so its parts have.
        # One of the two each time: a timer for every part of an answer is much of what a small answer costs.
        whole = None if read is None or method == "GET" else read + (self._upload if files else 0)
        between = read if whole is None else None
        timeout = _timeout(whole, between, self._call, self._connect)
        data = None if request_data is None else _form(request_data)
        session = self._open(url)
        try:
            response = await session.request(method, url, data=data, timeout=timeout, allow_redirects=False)
            return response.status, await response.read()  # which gives the connection back, or closes it
        except TimeoutError:
            raise TimedOut from None
        except (aiohttp.ClientError, OSError) as error:  # whose words may hold the URL
            raise NetworkError(type(error).__name__) from None

    def _open(self, url: str) -> aiohttp.ClientSession:
        if self._closed:
            raise NetworkError("closed")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": self.USER_AGENT},
                proxy=_proxy(url),
            )
        return self._session


@lru_cache(maxsize=16)
def _timeout(whole: float | None, between: float | None, connect: float, socket: float) -> aiohttp.ClientTimeout:
    """Seconds for a call, between two parts of its answer, for a connection, and for that to be made."""
    return aiohttp.ClientTimeout(total=whole, connect=connect, sock_connect=socket, sock_read=between)


def _proxy(url: str) -> str | None:
    """What the environment says of the way to this host."""
    where, proxies = urlsplit(url), getproxies()
    return None if proxy_bypass(where.netloc) else proxies.get(where.scheme) or proxies.get("all")


def _form(data: RequestData | Parameters) -> aiohttp.FormData | aiohttp.BytesPayload | None:
    """Without files it is encoded here: the client would first make a multipart form, with a random boundary."""
    if isinstance(data, Parameters):
        return aiohttp.BytesPayload(data.body, content_type=_JSON)
    if not data.contains_files:
        encoded = data.url_encoded_parameters().encode()
        return aiohttp.BytesPayload(encoded, content_type="application/x-www-form-urlencoded") if encoded else None
    form = aiohttp.FormData()
    for name, value in data.json_parameters.items():
        form.add_field(name, value)
    for name, (filename, content, media_type) in data.multipart_data.items():
        form.add_field(name, content, filename=filename, content_type=media_type)
    return form
