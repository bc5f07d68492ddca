"""Who is heard: only requests that the page itself, or a program with a token, can have made.

Loopback is not private. DNS rebinding, any web page that is open in the browser, and a reverse proxy reach it too. So
without a token only requests are answered that name a loopback host, come from no other origin, and went through no
proxy. With a token the host must be known as well: a name that is not configured could be anybody's.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import web

from adapters.web.probes import HEALTHZ, METRICS, READYZ
from bot.config import WebConfig
from bot.errors import StartError

PAGE_HEADER, PAGE = "X-Hearth", "page"
"""A page of another origin cannot send it without being asked for (CORS), and nobody answers that question."""
FILES = "/files"
"""The end of the path of what brings a file: never a form of another site, whose content types are others."""
SAFE = frozenset({"GET", "HEAD"})
LOGIN = "/login"
DOCUMENTS = frozenset({"/", LOGIN})
"""What a link of another site may lead to."""
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
HEALTH = frozenset({HEALTHZ, READYZ, METRICS})
"""What a supervisor asks by a name of its own network. They tell nothing about anybody, or want a token each time."""
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types hearth"
)
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not `no-referrer`: with that a browser sends `Origin: null` with the login form.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(self), payment=(), usb=()",
    "Server": "hearth",
}
"""Of every response."""
_OF_PROXIES = frozenset(
    {
        *("forwarded", "via", "cdn-loop", "x-real-ip", "x-client-ip", "x-cluster-client-ip", "true-client-ip"),
        *("fastly-client-ip", "fly-client-ip", "x-envoy-external-address"),
    }
)
_BEGIN_OF_PROXIES = ("x-forwarded-", "x-original-", "cf-")
PROXIED = "This came through a proxy. Behind one the page needs a token: set web.token."
OPEN_PROXIED = "This came through a proxy. Behind one the API needs a key: hearth keys create NAME makes one."
OPEN_NO_PROGRAM = (
    f"{OPEN_PROXIED} A program of this machine sends the header Connection: keep-alive, as HTTP libraries do."
)
NO_BROWSER = f"{PROXIED} A program of this machine sends the header Connection: keep-alive, as browsers do."
_EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - what these mean is shown, not bound
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?")
_HTTP_1_1 = (1, 1)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Host:
    """What a request calls this server."""

    name: str
    """In lower case, without the brackets of an IPv6 address."""
    port: int | None
    text: str
    """As a browser puts it into an origin."""


def open_to_all(config: WebConfig) -> bool:
    """Whether there is no token: then who reaches the page owns it."""
    return not (config.token or config.people)


def local_address(host: str, port: int) -> str:
    """Where people of this machine find what is listened on there."""
    name = "127.0.0.1" if host in _EVERYWHERE else host
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def check_bind(config: WebConfig) -> None:
    """Raises StartError where people of other machines would reach a page that asks for no token."""
    if open_to_all(config) and not _is_loopback(config.host):
        raise StartError(
            f"web.host is {config.host}, which others can reach, and there is no token. Set web.token "
            "(HEARTH_WEB__TOKEN or HEARTH_WEB__TOKEN_FILE), or leave web.host at 127.0.0.1."
        )


class Guard:
    """The rules of one configuration. `port` is the one that is listened on."""

    def __init__(self, config: WebConfig, port: int) -> None:
        self.open = open_to_all(config)
        self.port = port
        self._origins = {urlsplit(origin).netloc.lower(): origin.lower() for origin in config.public_origins}
        self._names = {config.host.lower(), *LOOPBACK_NAMES}
        self._proxies: list[Network] = [ipaddress.ip_network(proxy, strict=False) for proxy in config.trusted_proxies]

    def check(self, request: web.Request) -> None:
        """Raises HTTPBadRequest, HTTPForbidden or HTTPUnsupportedMediaType for what is not to be heard."""
        _check_form(request)
        host = self._host(request)
        if self.open:
            self._check_direct(request, PROXIED, NO_BROWSER)
        self._check_origin(request, host)
        if request.method not in SAFE:
            _check_unsafe(request)

    def check_program(self, request: web.Request, *, open_to_all: bool, origins: Collection[str]) -> None:
        """The same for the API: a program says no Origin, and one that shows a key may come by any name and way.

        `open_to_all`: no key is asked for. `origins`: other sites' that may ask. Raises HTTPBadRequest or HTTPForbidden.
        """
        _check_form(request)
        host = _parsed(request)
        if open_to_all:
            if host.name not in LOOPBACK_NAMES or (host.port or 80) != self.port:
                raise web.HTTPForbidden(text=f"Without a key the API is not served as {host.text}.")
            self._check_direct(request, OPEN_PROXIED, OPEN_NO_PROGRAM)
        origin = request.headers.get("Origin")
        if origin is not None and origin.lower() not in {*origins, self._own(host)}:
            raise web.HTTPForbidden(text="This request comes from another site (api.cors_origins has those that may).")
        site = request.headers.get("Sec-Fetch-Site", "none")
        if origin is None and site not in {"same-origin", "none"}:
            raise web.HTTPForbidden(text="This request comes from another site, and does not say from which (Origin).")

    def https(self, request: web.Request) -> bool:
        """Whether people reach the page by https at this name."""
        return self._origins.get(_parsed(request).text, "").startswith("https:")

    def client(self, request: web.Request) -> str:
        """The network that a request comes from: an IPv4 address, or the half of an IPv6 address that one has."""
        peer = _address(request.remote)
        for hop in reversed(_hops(request)):
            if peer is None or not any(peer in proxy for proxy in self._proxies):
                break
            peer = _address(hop) or peer
        if isinstance(peer, ipaddress.IPv6Address):
            return str(ipaddress.ip_network((peer, 64), strict=False))
        return str(peer)

    def _host(self, request: web.Request) -> Host:
        host = _parsed(request)
        if self.open:
            known = host.name in LOOPBACK_NAMES and (host.port or 80) == self.port
        elif request.path in HEALTH:
            known = True
        else:
            known = host.name in self._names or host.text in self._origins or _address(host.name) is not None
        if not known:
            hint = "" if self.open else " Its address belongs into web.public_origins."
            raise web.HTTPForbidden(text=f"This page is not served as {host.text}.{hint}")
        return host

    def _own(self, host: Host) -> str:
        """The origin of this server's own pages, as that host."""
        return self._origins.get(host.text, f"http://{host.text}")

    def _check_direct(self, request: web.Request, proxied: str, maybe: str) -> None:
        """Raises HTTPForbidden: a proxy brings other people's requests, and none of them has a token."""
        names = {name.lower() for name in request.headers}
        came_by = bool(names & _OF_PROXIES) or any(name.startswith(_BEGIN_OF_PROXIES) for name in names)
        if came_by or request.version < _HTTP_1_1:
            raise web.HTTPForbidden(text=proxied)
        # nginx by default adds no header that tells: up to 1.29.6 it speaks HTTP/1.0 to what is behind it, from then on
        # HTTP/1.1. But `Connection` is of one hop alone (RFC 9110, 7.6.1): what a browser sends in it goes no further.
        if request.path not in HEALTH and "keep-alive" not in _options(request):
            raise web.HTTPForbidden(text=maybe)

    def _check_origin(self, request: web.Request, host: Host) -> None:
        own = self._own(host)
        origin = request.headers.get("Origin")
        if origin is not None and origin.lower() != own:
            raise web.HTTPForbidden(text="This request comes from another site.")
        if request.method in SAFE and request.path in DOCUMENTS:
            return
        site = request.headers.get("Sec-Fetch-Site", "none")
        if site not in {"same-origin", "none"} or _referrer(request) not in {"", own}:
            raise web.HTTPForbidden(text="This request comes from another site.")
        if request.method not in SAFE and origin is None and "Authorization" not in request.headers:
            raise web.HTTPForbidden(text="This request does not say where it comes from (Origin).")


def _check_form(request: web.Request) -> None:
    """Raises HTTPBadRequest."""
    if request.headers.get("Upgrade", "").lower() == "websocket":
        raise web.HTTPBadRequest(text="There are no web sockets here.")
    if not request.raw_path.startswith("/"):
        raise web.HTTPBadRequest(text="This is no proxy.")  # an absolute address names a host of its own


def _check_unsafe(request: web.Request) -> None:
    if request.path == LOGIN:
        if request.content_type != "application/x-www-form-urlencoded":
            raise web.HTTPUnsupportedMediaType(text="The login is a form.")
        return
    wanted = "application/octet-stream" if request.path.endswith(FILES) else "application/json"
    if request.content_type != wanted:
        what = "a file" if request.path.endswith(FILES) else "JSON"
        raise web.HTTPUnsupportedMediaType(text=f"The body must be {what} (Content-Type: {wanted}).")
    if request.headers.get(PAGE_HEADER) != PAGE:
        raise web.HTTPForbidden(text=f"The header {PAGE_HEADER}: {PAGE} is missing.")


def _parsed(request: web.Request) -> Host:
    """The Host header. Raises HTTPBadRequest unless there is one, and it is one."""
    values: Iterable[str] = request.headers.getall("Host", [])
    match = _HOST.fullmatch(next(iter(values), ""))
    if match is None or len(list(values)) != 1:
        raise web.HTTPBadRequest(text="The Host header is not one host.")
    return Host(match[1].strip("[]").lower(), int(match[2]) if match[2] else None, match[0].lower())


def _referrer(request: web.Request) -> str:
    """The origin of the page that asks, as far as it says so; what is no address is nobody's own."""
    value = request.headers.get("Referer", "")
    try:
        parts = urlsplit(value)
    except ValueError:
        return value
    return f"{parts.scheme}://{parts.netloc}".lower() if parts.netloc else ""


def _options(request: web.Request) -> set[str]:
    """The Connection header's."""
    values = request.headers.getall("Connection", [])
    return {option.strip().lower() for value in values for option in value.split(",")}


def _hops(request: web.Request) -> list[str]:
    """What proxies say of the way, the nearest last."""
    values = request.headers.getall("X-Forwarded-For", [])
    return [hop.strip() for value in values for hop in value.split(",")]


def _address(text: str | None) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text or "")
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback
