"""Logins on the page: tokens, cookies, sessions, and how often one may be wrong."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator
from http.cookies import SimpleCookie
from pathlib import Path

import pytest

from adapters.web.sessions import FAILURES
from tests.house import until
from tests.web import ANN_TOKEN, OWNER_TOKEN, TOKENS, Answer, Browser, Site, site, status

PUBLIC = "https://chat.example.org"


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Site]:
    web = TOKENS | {"public_origins": [PUBLIC], "trusted_proxies": ["127.0.0.1"], "metrics_token": "token-for-metrics"}
    async with site(tmp_path, web, permissions={"deny": ["web:ben"]}) as made:
        yield made


@pytest.fixture
async def stranger(home: Site) -> AsyncIterator[Browser]:
    async with home.browser() as browser:
        yield browser


def cookie(answer: Answer) -> tuple[str, str, dict[str, str]]:
    """Name, value and attributes of the one cookie that was set."""
    jar = SimpleCookie(answer.headers["Set-Cookie"])
    [(name, morsel)] = jar.items()
    return name, morsel.value, {key: str(value) for key, value in morsel.items() if value}


async def test_who_is_not_known_is_shown_the_login_and_nothing_else(stranger: Browser) -> None:
    page = await stranger.get("/")
    assert (page.status, page.headers["Location"]) == (303, "/login")
    assert b'name="token"' in (await stranger.get("/login")).body
    assert (await stranger.get("/static/base.css")).status == 200
    for path in ("/api/me", "/api/conversations", "/api/events", "/api/owner", "/api/export", "/metrics", "/nothing"):
        refused = await stranger.get(path)
        assert (refused.status, refused.error) == (401, "Please sign in.")
    assert (await stranger.post("/api/conversations")).status == 401
    assert (await stranger.post("/logout")).status == 401


async def test_a_right_token_begins_a_session(stranger: Browser) -> None:
    answer = await stranger.login(OWNER_TOKEN)
    assert (answer.status, answer.headers["Location"]) == (303, "/")
    assert (await stranger.get("/")).status == 200
    assert (await stranger.get("/api/me")).json["person"] == "owner"
    assert (await stranger.get("/login")).headers["Location"] == "/"


async def test_the_cookie_is_for_this_site_s_requests_alone(home: Site, stranger: Browser) -> None:
    name, value, attributes = cookie(await stranger.login(OWNER_TOKEN))
    assert name == f"hearth_{home.port}"
    assert len(value) == 43  # 32 bytes in base64
    assert attributes == {"httponly": "True", "samesite": "Strict", "path": "/", "max-age": "2592000"}


async def test_over_https_the_cookie_is_secure_and_of_this_host_alone(stranger: Browser) -> None:
    answer = await stranger.login(OWNER_TOKEN, Host="chat.example.org", Origin=PUBLIC)
    name, _, attributes = cookie(answer)
    assert name == "__Host-hearth"
    assert attributes["secure"] == "True"
    assert "domain" not in attributes


async def test_a_wrong_token_is_told_on_the_form_without_a_script(stranger: Browser) -> None:
    answer = await stranger.login("not the token at all")
    assert answer.status == 401
    assert b'role="alert">This token is not right.</p>' in answer.body
    assert "Set-Cookie" not in answer.headers
    assert (await stranger.get("/api/me")).status == 401
    empty = await stranger.send("POST", "/login", data={"other": "x"}, headers={"Origin": stranger.site.origin})
    assert empty.status == 401


async def test_who_guesses_is_made_to_wait_right_or_wrong(home: Site, stranger: Browser) -> None:
    for number in range(FAILURES):
        assert (await stranger.login(f"guess number {number}")).status == 401
    answer = await stranger.login(OWNER_TOKEN)
    assert answer.status == 429
    assert 0 < int(answer.headers["Retry-After"]) <= 600
    assert b"Too many wrong tokens came from here. Please try again in 10 minutes." in answer.body
    bearer = await stranger.get("/api/me", headers={"Authorization": f"Bearer {OWNER_TOKEN}"})
    assert bearer.status == 429
    elsewhere = await stranger.login(OWNER_TOKEN, **{"X-Forwarded-For": "203.0.113.7"})
    assert elsewhere.status == 303


async def test_who_is_in_stays_in_while_others_guess(home: Site, stranger: Browser) -> None:
    async with home.person(ANN_TOKEN) as ann:
        for number in range(FAILURES + 1):
            await stranger.login(f"guess number {number}")
        assert (await ann.get("/api/me")).json["person"] == "ann"


async def test_a_guesser_cannot_put_on_other_addresses(tmp_path: Path) -> None:
    """Of X-Forwarded-For counts what a known proxy has added, at its end; without such a proxy nothing of it."""
    for proxies in ([], ["127.0.0.1"]):
        web = TOKENS | {"trusted_proxies": proxies}
        async with site(tmp_path / f"{len(proxies)}", web) as home, home.browser() as stranger:
            for number in range(FAILURES + 1):
                forwarded = f"198.51.100.{number}, 203.0.113.7" if proxies else f"198.51.100.{number}"
                answer = await stranger.login(f"guess number {number}", **{"X-Forwarded-For": forwarded})
            assert answer.status == 429


async def test_a_session_that_is_brought_along_is_never_taken(home: Site, stranger: Browser) -> None:
    """Session fixation: an id that somebody has put there before the login is worth nothing after it."""
    planted = {"Cookie": f"hearth_{home.port}=planted-by-somebody-else-0123456789abcdefghij"}
    name, value, _ = cookie(await stranger.login(OWNER_TOKEN, **planted))
    assert value != "planted-by-somebody-else-0123456789abcdefghij"
    stranger.http.cookie_jar.clear()
    assert (await stranger.get("/api/me", headers=planted)).status == 401
    first = {"Cookie": f"{name}={value}"}
    assert (await stranger.get("/api/me", headers=first)).status == 200
    await stranger.login(OWNER_TOKEN, **first)
    stranger.http.cookie_jar.clear()
    assert (await stranger.get("/api/me", headers=first)).status == 401


async def test_a_logout_ends_the_session_everywhere(home: Site, stranger: Browser) -> None:
    name, value, _ = cookie(await stranger.login(OWNER_TOKEN))
    out = await stranger.post("/logout")
    assert (out.status, out.json) == (200, {})
    assert (await stranger.get("/api/me")).status == 401
    assert (await stranger.get("/api/me", headers={"Cookie": f"{name}={value}"})).status == 401


async def test_a_stream_ends_with_the_login_that_opened_it(home: Site, stranger: Browser) -> None:
    """Whoever logs in anew at the same browser ends the old login: nothing more comes on what that has opened."""
    name, value, _ = cookie(await stranger.login(ANN_TOKEN))
    old = {"Cookie": f"{name}={value}"}
    async with home.person(ANN_TOKEN) as elsewhere:
        stranger.http.cookie_jar.clear()
        async with (
            stranger.http.get("/api/events", headers=old) as ended,
            elsewhere.http.get("/api/events") as kept,
        ):
            await until(lambda: home.page.screens.streams.count == 2, "the streams")
            assert (await stranger.login(OWNER_TOKEN, **old)).status == 303
            await elsewhere.say(await elsewhere.begin(), "Of Ann alone")
            assert await ended.content.read() == b"retry: 1000\n\n"
            await kept.content.readuntil(b"event: changed\n")


@pytest.mark.parametrize("value", ["", "x", "0" * 10_000 + "x", "\u00fc", '"', "; Secure", "a" * 43])
async def test_a_cookie_that_is_no_session_is_nobody(home: Site, value: str) -> None:
    response = await home.raw(home.request("GET /api/me HTTP/1.1", f"Cookie: hearth_{home.port}={value}"))
    assert status(response) in {400, 401}


async def test_a_restart_logs_nobody_out_and_a_new_token_does(tmp_path: Path) -> None:
    async with site(tmp_path, TOKENS) as home, home.browser() as ann:
        _, value, _ = cookie(await ann.login(ANN_TOKEN))
    file = tmp_path / "data" / "web-sessions.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert value not in file.read_text("utf-8")
    assert ANN_TOKEN not in file.read_text("utf-8")
    async with site(tmp_path, TOKENS) as home, home.browser() as ann:
        assert (await ann.get("/api/me", headers={"Cookie": f"hearth_{home.port}={value}"})).json["person"] == "ann"
    changed = TOKENS | {"people": {"ann": "another token of Ann's"}}
    async with site(tmp_path, changed) as home, home.browser() as ann:
        assert (await ann.get("/api/me", headers={"Cookie": f"hearth_{home.port}={value}"})).status == 401


async def test_a_login_needs_a_form_of_this_page(stranger: Browser) -> None:
    for headers, expected in (
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({}, 403),
    ):
        answer = await stranger.send("POST", "/login", data={"token": OWNER_TOKEN}, headers=headers)
        assert answer.status == expected
        assert "Set-Cookie" not in answer.headers
    as_json = await stranger.send(
        "POST", "/login", json={"token": OWNER_TOKEN}, headers={"Origin": stranger.site.origin}
    )
    assert as_json.status == 415


async def test_a_link_of_another_site_shows_the_page_which_then_knows_its_person(home: Site) -> None:
    """SameSite=Strict keeps the cookie back at first; the page is the same for all and asks for the rest itself."""
    async with home.browser() as stranger:
        linked = await stranger.get("/", headers={"Sec-Fetch-Site": "cross-site"})
        assert linked.status == 200
        async with home.person(ANN_TOKEN) as ann:
            assert linked.body == (await ann.get("/")).body
        assert (await stranger.get("/api/me", headers={"Sec-Fetch-Site": "cross-site"})).status == 403


async def test_who_is_shut_out_may_still_have_the_data_removed(home: Site) -> None:
    async with home.person(TOKENS["people"]["ben"]) as ben:
        where = await ben.begin()
        refused = await ben.post(f"{where}/messages", {"event": "a" * 10, "text": "hello"})
        assert (refused.status, refused.error) == (403, "You may not talk to this bot.")
        assert (await ben.get("/api/export")).status == 200
        assert (await ben.post("/api/forget-me")).status == 200


async def test_the_metrics_token_shows_the_metrics_and_nothing_else(home: Site) -> None:
    async with home.browser(Authorization="Bearer token-for-metrics") as prometheus:
        assert b"hearth_answers_total" in (await prometheus.get("/metrics")).body
        assert (await prometheus.get("/api/me")).status == 401


async def test_no_log_holds_a_token(home: Site, stranger: Browser, capsys: pytest.CaptureFixture[str]) -> None:
    await stranger.login("a wrong token that is secret")
    await stranger.login(OWNER_TOKEN)
    seen = capsys.readouterr()
    assert "a wrong token for the web page" in seen.out
    assert "that is secret" not in seen.out + seen.err
    assert OWNER_TOKEN not in seen.out + seen.err
