"""Who is heard by the API, over real sockets: names, origins, proxies, keys, organisations, models and tokens of the page."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.web.sessions import FAILURES
from bot.api_door import MISSING, UNKNOWN, new_secret
from bot.errors import HearthError, StartError
from tests.programs import CHAT, HELLO, TEXT, error, program
from tests.web import ANN_TOKEN, BEN_TOKEN, OWNER_TOKEN, TOKENS, Answer, Site, body, site, status

ELSEWHERE = "https://app.example.org"
MODELS = "GET /v1/models HTTP/1.1"


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Site]:
    """No token, and no key yet."""
    async with site(tmp_path) as made:
        yield made


async def key(home: Site, name: str = "website", **more: Any) -> str:
    """A new key's secret."""
    secret = new_secret()
    await home.app.store.add_key(secret, name=name, **more)
    return secret


def refusal(response: bytes) -> Any:
    """The error object of a raw response."""
    found = json.loads(body(response))
    assert list(found) == ["error"]
    assert set(found["error"]) == {"message", "type", "param", "code"}
    return found["error"]


# --- without a key: this machine alone ---


async def test_without_a_key_programs_of_this_machine_are_heard(home: Site) -> None:
    for host in (f"127.0.0.1:{home.port}", f"localhost:{home.port}", f"LOCALHOST:{home.port}", f"[::1]:{home.port}"):
        assert status(await home.raw(home.request(MODELS, host=host))) == 200
    async with program(home) as asker:
        assert (await asker.chat())["choices"][0]["message"]["content"] == "You said: hello"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1.evil.example:{port}",
        "localhost.evil.example:{port}",
        "127.0.0.1:1",
        "127.0.0.1",
        "10.0.0.1:{port}",
        "0.0.0.0:{port}",
        "[::ffff:127.0.0.1]:{port}",
        "127.1:{port}",
        "2130706433:{port}",
    ],
)
async def test_a_name_that_was_rebound_to_loopback_is_refused(home: Site, host: str) -> None:
    for line in (MODELS, "POST /v1/chat/completions HTTP/1.1", "OPTIONS /v1/models HTTP/1.1"):
        response = await home.raw(home.request(line, host=host.format(port=home.port)))
        assert status(response) == 403
        assert refusal(response)["message"].startswith("Without a key the API is not served as ")
    assert home.engine.requests == []


@pytest.mark.parametrize(
    "header",
    [
        "X-Forwarded-For: 127.0.0.1",
        "x-forwarded-host: 127.0.0.1",
        "X-FORWARDED-ANYTHING: ",
        "Forwarded: for=127.0.0.1",
        "Via: 1.1 proxy",
        "X-Real-IP: 127.0.0.1",
        "CF-Connecting-IP: 127.0.0.1",
        "True-Client-IP: 127.0.0.1",
        "X-Original-URL: /v1/models",
    ],
)
async def test_what_came_through_a_proxy_is_refused_without_a_key_and_served_with_one(home: Site, header: str) -> None:
    response = await home.raw(home.request(MODELS, header))
    assert status(response) == 403
    assert "needs a key" in refusal(response)["message"]
    bearer = f"Authorization: Bearer {await key(home)}"
    assert status(await home.raw(home.request(MODELS, header, bearer, host="api.example.org"))) == 200


async def test_what_a_plain_nginx_passes_on_is_refused_without_a_key(home: Site) -> None:
    host = f"Host: 127.0.0.1:{home.port}\r\n"
    response = await home.raw(f"GET /v1/models HTTP/1.0\r\n{host}Connection: close\r\n\r\n".encode())
    assert status(response) == 403
    for passed_on in ("Connection: close\r\n", "Connection: upgrade, close\r\n"):
        response = await home.raw(f"GET /v1/models HTTP/1.1\r\n{host}{passed_on}\r\n".encode())
        assert status(response) == 403
        assert "needs a key" in refusal(response)["message"]


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "http://127.0.0.1:1", "https://127.0.0.1:{port}", "null", "file://", "", ELSEWHERE],
)
async def test_a_page_of_another_origin_is_refused_with_and_without_a_key(home: Site, origin: str) -> None:
    said = f"Origin: {origin.format(port=home.port)}"
    asked = b'{"model": "default", "messages": [{"role": "user", "content": "hello"}]}'
    own = [said, "Content-Type: application/json", f"Content-Length: {len(asked)}"]
    for more in ([], [f"Authorization: Bearer {await key(home)}"]):
        for request in (
            home.request(MODELS, said, *more),
            home.request("POST /v1/chat/completions HTTP/1.1", *own, *more, body=asked),
            home.request("OPTIONS /v1/models HTTP/1.1", said, "Access-Control-Request-Method: GET", *more),
        ):
            response = await home.raw(request)
            assert status(response) == 403
            assert b"access-control-" not in response.lower()
            assert "another site" in refusal(response)["message"]
    assert home.engine.requests == []


async def test_what_another_site_s_page_asks_for_without_saying_so_is_refused(home: Site) -> None:
    for value in ("cross-site", "same-site"):
        assert status(await home.raw(home.request(MODELS, f"Sec-Fetch-Site: {value}"))) == 403
    for value in ("none", "same-origin"):
        assert status(await home.raw(home.request(MODELS, f"Sec-Fetch-Site: {value}"))) == 200


async def test_the_server_s_own_page_may_ask(home: Site) -> None:
    own = [f"Origin: http://127.0.0.1:{home.port}", "Sec-Fetch-Site: same-origin"]
    assert status(await home.raw(home.request(MODELS, *own))) == 200


async def test_a_simple_request_of_a_form_does_nothing(home: Site) -> None:
    """What a page may send without being asked: no JSON. And a browser says the Origin of whatever it posts."""
    asked = json.dumps({"model": "default", "messages": HELLO}).encode()
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        headers = [f"Content-Type: {kind}", f"Content-Length: {len(asked)}"]
        response = await home.raw(home.request("POST /v1/chat/completions HTTP/1.1", *headers, body=asked))
        assert (status(response), refusal(response)["code"]) == (415, "unsupported_media_type")
    assert home.engine.requests == []


async def test_web_sockets_and_addresses_of_others_are_refused(home: Site) -> None:
    upgrade = ["Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
    for request in (
        home.request("GET /v1/realtime HTTP/1.1", *upgrade),
        home.request("GET http://evil.example/v1/models HTTP/1.1"),
    ):
        assert status(await home.raw(request)) in {400, 403}


# --- from the first key on: nobody without one ---


async def test_the_first_key_closes_the_api_for_good(home: Site) -> None:
    async with program(home) as nobody:
        assert (await nobody.get("/models")).status == 200
        secret = await key(home)
        async with program(home, secret) as website:
            for path in ("/models", "/openapi.json", "/engines", "/chat/completions", "/nothing"):
                answer = await nobody.get(path)
                assert (answer.status, error(answer)["message"], error(answer)["code"]) == (401, MISSING, None)
                assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert (await website.get("/models")).status == 200
            assert (await website.chat())["choices"][0]["message"]["content"] == "You said: hello"
            await home.app.store.revoke_key("website")
            assert (await website.get("/models")).status == 401
        assert (await nobody.get("/models")).status == 401, "a key was made once"


async def test_every_route_is_behind_the_key(home: Site) -> None:
    await key(home)
    assert home.page.api is not None
    routes = home.page.api.routes
    assert len(routes) > 12
    async with program(home) as nobody, program(home, new_secret()) as stranger:
        for method, path in sorted(routes):
            where = re.sub(r"\{[^}]*\}", "one", path).removeprefix("/v1")
            answer = await nobody.send(method, where, json={})
            assert answer.status == 401, (method, where)
            assert method == "HEAD" or error(answer)["message"] == MISSING
        assert (await stranger.get("/models")).status == 401
    assert home.engine.requests == []


async def test_a_key_is_shown_in_one_header_and_in_no_other_way(home: Site) -> None:
    secret = await key(home)
    for shown, expected in (
        (f"Authorization: Bearer {secret}", 200),
        (f"Authorization: bearer {secret}", 200),
        (f"authorization: BEARER   {secret} ", 200),
        (f"Authorization: Basic {secret}", 401),
        (f"Authorization: {secret}", 401),
        (f"Authorization: Bearer {secret}x", 401),
        (f"Authorization: Bearer {secret[:-1]}", 401),
        (f"Authorization: Bearer {secret.upper()}", 401),
        (f"api-key: {secret}", 401),
        (f"X-API-Key: {secret}", 401),
        (f"Cookie: key={secret}; hearth_{home.port}={secret}", 401),
    ):
        assert status(await home.raw(home.request(MODELS, shown))) == expected, shown
    assert status(await home.raw(home.request(f"GET /v1/models?api_key={secret} HTTP/1.1"))) == 401


async def test_wrong_revoked_and_expired_keys_are_told_apart(home: Site) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    expired, revoked = await key(home, "old", expires_at=past), await key(home, "gone")
    await home.app.store.revoke_key("gone")
    future = await key(home, "new", expires_at=past + timedelta(days=1))
    for secret, words in (
        (new_secret(), UNKNOWN),
        ("nonsense", UNKNOWN),
        (revoked, f"The API key {revoked[:6]}...{revoked[-4:]} was revoked."),
        (expired, f"The API key {expired[:6]}...{expired[-4:]} has expired."),
    ):
        async with program(home, secret) as asker:
            found = await asker.refused(CHAT, 401, messages=HELLO)
            assert (found["message"], found["code"]) == (words, "invalid_api_key")
            assert found["type"] == "invalid_request_error"
            assert secret not in json.dumps(found)
    async with program(home, future) as asker:
        await asker.chat()


async def test_who_guesses_is_made_to_wait_and_who_has_a_key_is_not(home: Site) -> None:
    """What cannot be a key may be a guess at a token of the page."""
    right = await key(home)
    async with program(home, "a guess at a key") as guesser, program(home, right) as website, program(home) as nobody:
        for _ in range(FAILURES):
            assert (await guesser.get("/models")).status == 401
        answer = await guesser.get("/models")
        assert (answer.status, error(answer)["type"]) == (429, "rate_limit_error")
        assert 0 < int(answer.headers["Retry-After"]) <= 601
        assert (await website.get("/models")).status == 200
        assert (await nobody.get("/models")).status == 401


async def test_a_token_of_the_page_is_not_guessed_by_the_api(tmp_path: Path) -> None:
    async with site(tmp_path, TOKENS) as home:
        for number in range(FAILURES):
            async with program(home, f"a guess of a token {number}") as guesser:
                assert (await guesser.get("/models")).status == 401
        async with program(home, OWNER_TOKEN) as owner:
            assert (await owner.get("/models")).status == 429


async def test_tokens_of_the_page_are_keys(tmp_path: Path) -> None:
    async with site(tmp_path, TOKENS, permissions={"deny": ["web:ben"]}) as home:
        async with program(home) as nobody:
            assert (await nobody.get("/models")).status == 401, "with a token the page is not open, nor is the API"
        for token in (OWNER_TOKEN, ANN_TOKEN):
            async with program(home, token) as person:
                await person.chat()
        assert {row["key"] for row in await home.app.store.api_usage()} == {"owner", "ann"}
        async with program(home, BEN_TOKEN) as ben:
            answer = await ben.post(CHAT, {"model": "default", "messages": HELLO})
            assert (answer.status, error(answer)["code"]) == (403, "not_allowed")
        async with program(home, await key(home)) as website:
            await website.chat()
        async with home.person(OWNER_TOKEN) as browser:
            assert (await browser.get("/api/me")).status == 200
            assert (await browser.get("/v1/models")).status == 401, (
                "a cookie is sent by whoever makes the browser do so"
            )


async def test_an_organisation_is_the_key_s_or_none(home: Site) -> None:
    acme, free = await key(home, "acme", organisation="org-acme"), await key(home, "free")
    for secret, said, expected, told in (
        (acme, None, 200, "org-acme"),
        (acme, "org-acme", 200, "org-acme"),
        (acme, "org-other", 401, None),
        (free, None, 200, None),
        (free, "org-acme", 401, None),
        (free, "", 200, None),
    ):
        headers = {} if said is None else {"OpenAI-Organization": said}
        async with program(home, secret, **headers) as asker:
            answer = await asker.get("/models")
            assert answer.status == expected
            assert answer.headers.get("openai-organization") == told
            if expected == 401:
                assert error(answer)["code"] == "mismatched_organization"


async def test_a_key_uses_its_models_alone(tmp_path: Path) -> None:
    models = {"small": {"path": "small.fake"}}
    async with site(tmp_path, models=models, api={"aliases": {"other-name": "small"}}) as home:
        limited = await key(home, models=("small",))
        named = await key(home, "named", models=("scripted-1970-01-01",))
        async with program(home, limited) as asker:
            names = [card["id"] for card in (await asker.get("/models")).json["data"]]
            assert names == ["small", "small-1970-01-01", "other-name"]
            for model in names:
                assert (await asker.chat(model=model))["model"] == "small-1970-01-01"
                assert (await asker.get(f"/models/{model}")).json["snapshot"] == "small-1970-01-01"
            for model in ("default", "gpt-3.5-turbo", "scripted-1970-01-01", "nobody", ""):
                found = await asker.refused(CHAT, 404, messages=HELLO, model=model)
                assert (found["code"], found["param"]) == ("model_not_found", "model")
                assert (await asker.refused(TEXT, 404, prompt="x", model=model))["code"] == "model_not_found"
            answer = await asker.get("/models/default")
            assert (answer.status, error(answer)["code"]) == (404, "model_not_found")
        by_another = [await key(home, f"by-{name}", models=(name,)) for name in ("other-name", "gpt-3.5-turbo")]
        for secret, own, other in zip(by_another, ("small", "default"), ("default", "small"), strict=True):
            async with program(home, secret) as asker:
                known = {card["id"] for card in (await asker.get("/models")).json["data"]}
                snapshot = (await asker.chat(model=own))["model"]
                assert {own, snapshot} <= known
                assert other not in known
                assert (await asker.chat(model=snapshot))["model"] == snapshot
                await asker.refused(CHAT, 404, messages=HELLO, model=other)
        async with program(home, await key(home, "gone", models=("gone",))) as asker:
            assert (await asker.get("/models")).json["data"] == []
        async with program(home, named) as asker:
            names = [card["id"] for card in (await asker.get("/models")).json["data"]]
            assert {"default", "scripted-1970-01-01", "gpt-3.5-turbo"} <= set(names)
            assert "small" not in names
            await asker.chat(model="gpt-3.5-turbo")
            assert (await asker.refused(CHAT, 404, messages=HELLO, model="small"))["code"] == "model_not_found"


# --- pages of other origins ---


def allowed(answer: Answer) -> str | None:
    found: str | None = answer.headers.get("Access-Control-Allow-Origin")
    return found


@pytest.mark.parametrize("written", [ELSEWHERE, ELSEWHERE.replace("app", "App")])
async def test_a_page_of_a_configured_origin_may_ask_with_a_key(tmp_path: Path, written: str) -> None:
    async with site(tmp_path, api={"cors_origins": [written]}) as home:
        secret = await key(home)
        own = {"Origin": ELSEWHERE, "Sec-Fetch-Site": "cross-site"}
        asks = {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "Authorization, X-Stainless-OS",
        }
        async with program(home, **own) as page:
            answer = await page.send("OPTIONS", CHAT, headers=asks)
            assert (answer.status, answer.body, allowed(answer)) == (204, b"", ELSEWHERE)
            assert {"GET", "POST", "DELETE"} <= set(answer.headers["Access-Control-Allow-Methods"].split(", "))
            headers = answer.headers["Access-Control-Allow-Headers"].split(", ")
            assert {"authorization", "content-type", "openai-organization", "x-stainless-os"} <= set(headers)
            assert int(answer.headers["Access-Control-Max-Age"]) > 0
            refused = await page.get("/models")
            assert (refused.status, allowed(refused)) == (401, ELSEWHERE), "a page may read why"
            assert (await page.send("OPTIONS", CHAT)).status == 401, "not the question of a browser"
        async with program(home, secret, **own) as page:
            answer = await page.post(CHAT, {"model": "default", "messages": HELLO})
            assert (answer.status, allowed(answer), answer.headers["Vary"]) == (200, ELSEWHERE, "Origin")
            assert "x-request-id" in answer.headers["Access-Control-Expose-Headers"]
            assert "Access-Control-Allow-Credentials" not in answer.headers
            assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
            await page.chat(stream=True)
        async with program(home, secret) as other:
            answer = await other.get("/models")
            assert (allowed(answer), answer.headers["Vary"]) == (None, "Origin")
        for origin in ("https://evil.example", f"{ELSEWHERE}.evil.example", "http://app.example.org", "null"):
            async with program(home, secret, Origin=origin) as other:
                for answer in (await other.send("OPTIONS", CHAT, headers=asks), await other.get("/models")):
                    assert (answer.status, allowed(answer)) == (403, None)


async def test_a_configured_origin_does_not_open_the_page(tmp_path: Path) -> None:
    async with site(tmp_path, api={"cors_origins": [ELSEWHERE]}) as home, home.browser(Origin=ELSEWHERE) as page:
        assert (await page.get("/api/me")).status == 403
        assert (await page.get("/v1/models")).status == 200


# --- the start ---


async def test_without_a_token_nobody_else_s_machine_is_served_whatever_keys_there_are(tmp_path: Path) -> None:
    """The page is on the same port, and a key is none for it."""
    async with site(tmp_path) as home:
        await key(home)
    with pytest.raises((BaseExceptionGroup, HearthError)) as caught:
        async with site(tmp_path, {"host": "0.0.0.0"}):
            pytest.fail("it started")
    found: BaseException = caught.value
    while isinstance(found, BaseExceptionGroup):
        (found,) = found.exceptions
    assert isinstance(found, StartError)
    assert "there is no token. Set web.token" in str(found)


async def test_on_every_address_keys_and_tokens_are_asked_for(tmp_path: Path) -> None:
    async with site(tmp_path, {"host": "0.0.0.0", "token": OWNER_TOKEN}) as home:
        async with program(home) as nobody:
            assert (await nobody.get("/models")).status == 401
        async with program(home, await key(home)) as website:
            await website.chat()


async def test_where_the_api_is_left_out_there_is_none(tmp_path: Path) -> None:
    async with site(tmp_path, api={"enabled": False}) as home, home.browser() as browser:
        assert (await browser.get("/v1/models")).status == 404
        assert home.page.api is None
