"""Who is heard on the page's port, over real sockets: names, origins, proxies, and requests of other pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bot.config import WebConfig
from bot.errors import ConfigError, HearthError, StartError
from tests.web import OWNER_TOKEN, TOKENS, Site, config, shielded, site, status

JSON = "Content-Type: application/json"
PAGE = "X-Hearth: page"


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Site]:
    """A page without a token."""
    async with site(tmp_path) as made:
        yield made


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Site]:
    """A page with tokens, behind a proxy that is known."""
    web = TOKENS | {"public_origins": ["https://chat.example.org"]}
    async with site(tmp_path, web) as made:
        yield made


async def test_the_page_is_served_to_this_machine(home: Site) -> None:
    for host in (f"127.0.0.1:{home.port}", f"localhost:{home.port}", f"LOCALHOST:{home.port}", f"[::1]:{home.port}"):
        response = await home.raw(home.request(host=host))
        assert status(response) == 200
        assert shielded(response)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1.evil.example:{port}",
        "127.0.0.1:1",
        "127.0.0.1",
        "10.0.0.1:{port}",
    ],
)
async def test_a_name_that_was_rebound_to_loopback_is_refused(home: Site, host: str) -> None:
    response = await home.raw(home.request(host=host.format(port=home.port)))
    assert status(response) == 403
    assert shielded(response)


@pytest.mark.parametrize(
    "host", ["", " ", "a b", "127.0.0.1:{port}, evil.example", "evil.example/127.0.0.1", "@", "[::1"]
)
async def test_a_host_that_is_none_is_refused(home: Site, host: str) -> None:
    name = host.format(port=home.port)
    head = f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"
    assert status(await home.raw(head.encode())) in {400, 403}


async def test_no_host_and_two_hosts_are_refused(home: Site) -> None:
    own = f"Host: 127.0.0.1:{home.port}\r\n"
    assert status(await home.raw(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")) == 400
    two = f"GET / HTTP/1.1\r\n{own}Host: evil.example\r\nConnection: close\r\n\r\n"
    assert status(await home.raw(two.encode())) == 400
    absolute = f"GET http://evil.example/ HTTP/1.1\r\n{own}Connection: close\r\n\r\n"
    assert status(await home.raw(absolute.encode())) in {400, 403}


@pytest.mark.parametrize(
    "header",
    [
        "X-Forwarded-For: 127.0.0.1",
        "x-forwarded-host: 127.0.0.1",
        "X-Forwarded-Proto: http",
        "X-FORWARDED-ANYTHING: ",
        "Forwarded: for=127.0.0.1",
        "Via: 1.1 proxy",
        "X-Real-IP: 127.0.0.1",
        "CF-Connecting-IP: 127.0.0.1",
        "True-Client-IP: 127.0.0.1",
        "CDN-Loop: cloudflare",
        "CF-Anything: ",
        "X-Original-URL: /api/me",
        "X-Original-Anything: ",
    ],
)
async def test_what_came_through_a_proxy_is_refused_without_a_token(home: Site, header: str) -> None:
    response = await home.raw(home.request("GET /api/me HTTP/1.1", header))
    assert status(response) == 403
    assert b"behind one" in response.lower()


async def test_what_a_plain_nginx_passes_on_is_refused_without_a_token(home: Site) -> None:
    """proxy_pass without any further line: the upstream's own address as Host, no header that tells.

    Up to 1.29.6 that is HTTP/1.0; since then HTTP/1.1, without a Connection header or with an empty one.
    """
    host = f"Host: 127.0.0.1:{home.port}\r\n"
    for path in ("/", "/api/me", "/api/conversations", "/static/main.js"):
        response = await home.raw(f"GET {path} HTTP/1.0\r\n{host}Connection: close\r\n\r\n".encode())
        assert status(response) == 403
        for passed_on in ("", "Connection: \r\n", "Connection: close\r\n", "Connection: upgrade\r\n"):
            # Another one ends the connection.
            another = "" if "close" in passed_on else f"GET /healthz HTTP/1.1\r\n{host}Connection: close\r\n\r\n"
            response = await home.raw(f"GET {path} HTTP/1.1\r\n{host}{passed_on}\r\n{another}".encode())
            assert status(response) == 403, passed_on
            assert b"set web.token" in response


async def test_supervisors_of_this_machine_need_no_header_of_a_browser(home: Site) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        asked = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{home.port}\r\nConnection: close\r\n\r\n"
        assert status(await home.raw(asked.encode())) == 200


async def test_with_a_token_programs_need_no_header_of_a_browser(guarded: Site) -> None:
    asked = (
        f"GET /api/me HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {OWNER_TOKEN}\r\nConnection: close\r\n\r\n"
    )
    assert status(await guarded.raw(asked.encode())) == 200


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://127.0.0.1:1",
        "http://localhost:{port}",  # its own, by another name: a browser would not send it for this host
        "https://127.0.0.1:{port}",
        "null",
        "http://127.0.0.1:{port}.evil.example",
        "file://",
        "",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_another_origin_is_refused(home: Site, origin: str, method: str) -> None:
    line = f"{method} /api/conversations HTTP/1.1"
    said = f"Origin: {origin.format(port=home.port)}"
    response = await home.raw(home.request(line, said, JSON, PAGE, "Content-Length: 2", body=b"{}"))
    assert status(response) == 403
    assert b"Access-Control" not in response


@pytest.mark.parametrize("site_", ["cross-site", "same-site"])
async def test_what_another_site_s_page_asks_for_is_refused(home: Site, site_: str) -> None:
    for path in ("/api/conversations", "/static/main.js", "/api/events", "/healthz"):
        assert status(await home.raw(home.request(f"GET {path} HTTP/1.1", f"Sec-Fetch-Site: {site_}"))) == 403
    assert status(await home.raw(home.request("GET / HTTP/1.1", f"Sec-Fetch-Site: {site_}"))) == 200
    referrer = "Referer: https://evil.example/page"
    assert status(await home.raw(home.request("GET /api/conversations HTTP/1.1", referrer))) == 403


async def test_a_simple_request_of_another_page_does_nothing(home: Site) -> None:
    """What a form or a script may send without being asked for: no JSON, no header of its own."""
    origin = f"Origin: http://127.0.0.1:{home.port}"
    plain = "Content-Type: text/plain"
    form = "Content-Type: application/x-www-form-urlencoded"
    line = "POST /api/conversations HTTP/1.1"
    length = "Content-Length: 2"
    for headers, expected in (
        ([origin, plain, PAGE, length], 415),
        ([origin, form, PAGE, length], 415),
        ([origin, PAGE, length], 415),
        ([origin, JSON, length], 403),
        ([origin, JSON, "X-Hearth: other", length], 403),
        ([JSON, PAGE, length], 403),
    ):
        assert status(await home.raw(home.request(line, *headers, body=b"{}"))) == expected
    for method in ("DELETE", "PATCH", "PUT"):
        line = f"{method} /api/conversations/one HTTP/1.1"
        assert status(await home.raw(home.request(line, origin))) == 415
    assert await home.app.store.threads("web", "local", "owner") == []


@pytest.mark.parametrize("host", ["evil.example", "chat.example.org.evil.example", "localhost.evil.example"])
async def test_with_a_token_a_name_that_is_not_configured_is_refused_too(guarded: Site, host: str) -> None:
    response = await guarded.raw(guarded.request("GET /login HTTP/1.1", host=host))
    assert status(response) == 403
    assert b"public_origins" in response


@pytest.mark.parametrize("host", ["chat.example.org", "192.168.1.7:8080", "[fd00::7]:8080", "localhost:9000"])
async def test_with_a_token_known_names_and_addresses_are_served(guarded: Site, host: str) -> None:
    assert status(await guarded.raw(guarded.request("GET /login HTTP/1.1", host=host))) == 200


async def test_behind_a_proxy_the_public_origin_is_the_only_own_one(guarded: Site) -> None:
    line = "POST /api/conversations HTTP/1.1"
    bearer = f"Authorization: Bearer {OWNER_TOKEN}"
    for origin, expected in (
        ("https://chat.example.org", 201),
        ("http://chat.example.org", 403),
        ("https://evil.example", 403),
        (f"http://127.0.0.1:{guarded.port}", 403),
    ):
        headers = [bearer, f"Origin: {origin}", JSON, PAGE, "X-Forwarded-For: 203.0.113.9", "Content-Length: 2"]
        response = await guarded.raw(guarded.request(line, *headers, host="chat.example.org", body=b"{}"))
        assert status(response) == expected


async def test_supervisors_may_use_a_name_of_their_own_network(guarded: Site) -> None:
    assert status(await guarded.raw(guarded.request("GET /readyz HTTP/1.1", host="hearth:8080"))) == 200
    assert status(await guarded.raw(guarded.request("GET /metrics HTTP/1.1", host="hearth:8080"))) == 401


async def refusal(folder: Path, web: dict[str, Any]) -> str:
    with pytest.raises((BaseExceptionGroup, HearthError)) as caught:
        async with site(folder, web):
            pytest.fail("it started")
    error: BaseException = caught.value
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    assert isinstance(error, StartError | ConfigError)
    return str(error)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.org"])
async def test_without_a_token_nobody_else_s_machine_is_served(tmp_path: Path, host: str) -> None:
    words = await refusal(tmp_path, {"host": host})
    assert words.startswith(f"web.host is {host}, which others can reach, and there is no token. Set web.token")


async def test_a_port_that_is_in_use_is_told_in_one_line(tmp_path: Path, home: Site) -> None:
    words = await refusal(tmp_path / "other", {"port": home.port})
    assert words == (
        f"Port {home.port} is in use, so the web page cannot be served. HEARTH_WEB__PORT chooses another, "
        "HEARTH_WEB__ENABLED=false does without the page."
    )


async def test_an_address_that_is_none_is_told_in_one_line(tmp_path: Path) -> None:
    web = {"host": "name.invalid", "token": OWNER_TOKEN}
    words = await refusal(tmp_path, web)
    assert words.startswith("The web page cannot be served on name.invalid, port 0 (")


async def test_the_page_can_be_left_out(tmp_path: Path) -> None:
    assert config(tmp_path, {"enabled": False}).web == WebConfig(enabled=False, port=0)
    async with site(tmp_path, {"enabled": False}) as home:
        assert home.app.page is None
