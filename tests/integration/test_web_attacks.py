"""Attacks on the page's port, over real sockets: paths, bodies, headers and methods; refused, or harmless."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.web import Site, body, shielded, site, status

JSON = "Content-Type: application/json"
PAGE = "X-Hearth: page"


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Site]:
    """A page without a token."""
    async with site(tmp_path) as made:
        yield made


@pytest.mark.parametrize(
    "path",
    [
        "/static/../server.py",
        "/static/..%2fserver.py",
        "/static/%2e%2e/server.py",
        "/static/%2e%2e%2fserver.py",
        "/static/..%252fserver.py",
        "/static/....//server.py",
        "/static/..\\server.py",
        "/static/..%5cserver.py",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static/C:%5cwindows%5cwin.ini",
        "/static/main.js%00.png",
        "/static/main.js%00",
        "/static/main.js/",
        "/static/main.js/../main.js",
        "/static/./main.js",
        "/static/",
        "/static",
        "/static/index.html",
        "/static/%c0%ae%c0%ae/server.py",
        "/static/\udcff\udcfe",
        "//static/main.js",
        "/../adapters/web/server.py",
        "/etc/passwd",
        "/static/main.js;.png",
    ],
)
async def test_no_path_leads_out_of_the_table(home: Site, path: str) -> None:
    response = await home.raw(home.request(f"GET {path} HTTP/1.1"))
    assert status(response) in {400, 403, 404}
    assert b"root:" not in response
    assert b"import" not in response
    assert shielded(response)


async def test_a_file_of_the_page_is_served_and_then_only_compared(home: Site) -> None:
    async with home.browser() as browser:
        first = await browser.get("/static/main.js")
        assert (first.status, first.headers["Content-Type"]) == (200, "text/javascript; charset=utf-8")
        assert first.headers["Cache-Control"] == "no-cache"
        again = await browser.get("/static/main.js", headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status, again.body) == (304, b"")
        plain = await browser.get("/static/main.js", headers={"Accept-Encoding": "identity"})
        assert plain.body == first.body
    zipped = await home.raw(home.request("GET /static/main.js HTTP/1.1", "Accept-Encoding: gzip"))
    assert len(zipped) < len(plain.body)


async def test_a_body_of_100_mb_is_refused_before_it_has_come(home: Site) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", home.port)
    origin = f"Origin: http://127.0.0.1:{home.port}"
    line = "POST /api/conversations HTTP/1.1"
    writer.write(home.request(line, origin, JSON, PAGE, "Content-Length: 104857600"))
    answer = asyncio.ensure_future(reader.read(4096))
    sent = 0
    while not answer.done() and sent < 100 * 2**20:
        writer.write(b"x" * 65536)
        sent += 65536
        await asyncio.sleep(0)
    response = await answer
    assert status(response) == 413
    assert b"This is too large: at most 1 MiB." in response
    assert sent < 20 * 2**20
    writer.close()


async def test_a_body_of_unknown_length_is_read_to_the_limit_only(home: Site) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", home.port)
    origin = f"Origin: http://127.0.0.1:{home.port}"
    line = "POST /api/privacy HTTP/1.1"
    writer.write(home.request(line, origin, JSON, PAGE, "Transfer-Encoding: chunked"))
    answer = asyncio.ensure_future(reader.read(4096))
    sent = 0
    while not answer.done() and sent < 100 * 2**20:
        writer.write(b"10000\r\n" + b" " * 65536 + b"\r\n")
        sent += 65536
        await asyncio.sleep(0)
    assert status(await answer) == 413
    assert sent < 20 * 2**20
    writer.close()


async def test_a_small_body_that_unpacks_to_a_large_one_is_no_json(home: Site) -> None:
    origin, zipped = f"Origin: http://127.0.0.1:{home.port}", b"\x1f\x8b\x08" + bytes(100)
    headers = [origin, JSON, PAGE, "Content-Encoding: gzip", f"Content-Length: {len(zipped)}"]
    response = await home.raw(home.request("POST /api/privacy HTTP/1.1", *headers, body=zipped))
    assert status(response) == 400


@pytest.mark.parametrize(
    "sent", [b"{", b"[[" * 50_000, b'{"days": NaN}', b'"text"', b"\xff\xfe", b"", b'{"days": 1e999}']
)
async def test_a_body_that_is_no_json_object_is_refused_in_words(home: Site, sent: bytes) -> None:
    origin = f"Origin: http://127.0.0.1:{home.port}"
    headers = [origin, JSON, PAGE, f"Content-Length: {len(sent)}"]
    response = await home.raw(home.request("POST /api/privacy HTTP/1.1", *headers, body=sent))
    assert status(response) == 400
    assert b'"error"' in response


async def test_an_unknown_charset_is_refused_in_words(home: Site) -> None:
    origin = f"Origin: http://127.0.0.1:{home.port}"
    headers = [origin, "Content-Type: application/json; charset=nonsense", PAGE, "Content-Length: 2"]
    assert status(await home.raw(home.request("POST /api/privacy HTTP/1.1", *headers, body=b"{}"))) == 400


async def refused_in_words(home: Site, capsys: pytest.CaptureFixture[str], request: bytes, expected: int) -> None:
    """And without a trace in the log: whoever likes could fill that."""
    response = await home.raw(request)
    assert status(response) == expected
    assert shielded(response)
    assert body(response).startswith(b'{"error": "')
    assert f"\r\nContent-Length: {len(body(response))}\r\n".encode() in response
    assert "Traceback" not in capsys.readouterr().out


@pytest.mark.parametrize("value", ["http://[", "http://[::1", "http://[x]/"])
async def test_a_referrer_that_is_no_address_is_refused_in_words(
    home: Site, capsys: pytest.CaptureFixture[str], value: str
) -> None:
    await refused_in_words(home, capsys, home.request("GET /api/me HTTP/1.1", f"Referer: {value}"), 403)


@pytest.mark.parametrize(
    ("charset", "sent"),
    [
        ("", b"token=\xff"),
        ("; charset=bogus", b"token=x"),
        ("; charset=ascii", b"\xe4=x"),
        ("; charset=hex", b"token=x"),
    ],
)
async def test_a_login_that_cannot_be_read_is_refused_in_words(
    home: Site, capsys: pytest.CaptureFixture[str], charset: str, sent: bytes
) -> None:
    form = f"Content-Type: application/x-www-form-urlencoded{charset}"
    headers = [f"Origin: http://127.0.0.1:{home.port}", form, f"Content-Length: {len(sent)}"]
    await refused_in_words(home, capsys, home.request("POST /login HTTP/1.1", *headers, body=sent), 400)


async def test_numbers_of_thousands_of_digits_are_refused_in_words(
    home: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    async with home.browser() as browser:
        where = await browser.begin()
    await refused_in_words(home, capsys, home.request(f"GET {where}?before={'1' * 4301} HTTP/1.1"), 400)
    length = f"Content-Length: {'0' * 4301}2"
    await refused_in_words(home, capsys, home.request("GET /api/me HTTP/1.1", length, body=b"{}"), 400)


@pytest.mark.parametrize("path", ["/", "/nothing"])
async def test_what_cannot_be_expected_is_refused_in_words(
    home: Site, capsys: pytest.CaptureFixture[str], path: str
) -> None:
    await refused_in_words(home, capsys, home.request(f"GET {path} HTTP/1.1", "Expect: the-unexpected"), 417)


@pytest.mark.parametrize(
    "line",
    [
        "X-Long: " + "a" * 20_000,
        "Cookie: " + "a=b; " * 5_000,
        "\r\n".join(f"X-Many-{number}: 1" for number in range(5_000)),
        "Content-Length: -1",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Content-Length: 5\r\nContent-Length: 6",
        "X-Null: \0",
        " X-Folded: 1",
    ],
)
async def test_headers_that_are_too_much_or_no_headers_are_refused(home: Site, line: str) -> None:
    response = await home.raw(home.request("GET / HTTP/1.1", line))
    assert status(response) == 400
    assert shielded(response)


async def test_what_is_no_http_is_answered_and_ends(home: Site) -> None:
    response = await home.raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100))
    assert status(response) == 400
    assert shielded(response)


async def test_a_line_of_100_kb_is_refused(home: Site) -> None:
    assert status(await home.raw(home.request(f"GET /{'a' * 100_000} HTTP/1.1"))) == 400


async def test_there_are_no_web_sockets(home: Site) -> None:
    headers = ["Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
    line = f"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1:{home.port}\r\nConnection: keep-alive, Upgrade, close\r\n"
    response = await home.raw((line + "\r\n".join(headers) + "\r\n\r\n").encode())
    assert status(response) == 400
    assert shielded(response)


async def test_only_methods_that_mean_something_are_answered(home: Site) -> None:
    origin = f"Origin: http://127.0.0.1:{home.port}"
    head = await home.raw(home.request("HEAD / HTTP/1.1"))
    assert (status(head), body(head)) == (200, b"")
    for method in ("OPTIONS", "TRACE", "PUT", "PROPFIND"):
        response = await home.raw(home.request(f"{method} / HTTP/1.1", origin, JSON, PAGE))
        assert status(response) == 405
        assert b"X-Hearth" not in body(response)
        assert b"Access-Control" not in response
    ask = ["Origin: https://evil.example", "Access-Control-Request-Method: POST"]
    response = await home.raw(home.request("OPTIONS /api/conversations HTTP/1.1", *ask))
    assert status(response) == 403
    assert b"Access-Control-Allow" not in response
    assert status(await home.raw(home.request("CONNECT evil.example:443 HTTP/1.1"))) in {400, 403, 405}


async def test_every_response_has_the_headers(home: Site) -> None:
    paths = [
        "/",
        "/login",
        "/nothing",
        "/api/nothing",
        "/api/me",
        "/static/base.css",
        "/api/usage",
        "/healthz",
        "/readyz",
    ]
    for path in paths:
        assert shielded(await home.raw(home.request(f"GET {path} HTTP/1.1"))), path


async def test_an_error_is_json_in_words_and_no_trace(home: Site) -> None:
    async with home.browser() as browser:
        assert (await browser.get("/api/nothing")).error == "There is nothing here."
        assert (await browser.get("/api/conversations/none")).error == "There is no such conversation."
        assert (await browser.get("/api/conversations/..%2f..")).status == 404
        with closing(sqlite3.connect(home.app.config.data_dir / "hearth.db")) as database:
            database.execute("DROP TABLE conversations")
        broken = await browser.get("/api/conversations")
        assert (broken.status, broken.error) == (503, "The database does not answer just now. Please try again.")
        assert "Traceback" not in broken.body.decode()
        assert "hearth.db" not in broken.body.decode()
