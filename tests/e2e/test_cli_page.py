"""`hearth run` and its web page, as their user meets them."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from http.client import HTTPConnection, HTTPResponse
from typing import Any

from tests.e2e.conftest import CommandLine
from tests.e2e.hearth import wait

TOKEN = "a-token-for-the-page"


def address(hearth: CommandLine) -> str:
    found = re.search(r"Hearth is ready\. Talk to it at (http://127\.0\.0\.1:\d+);", hearth.log)
    assert found, hearth.log
    return found[1]


@contextmanager
def opened(where: str, path: str, body: object = None, *, token: str = "") -> Iterator[HTTPResponse]:
    """The answer to a request as the page makes it."""
    headers = {"Content-Type": "application/json", "X-Hearth": "page", "Origin": where, "Connection": "keep-alive"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body)
    with closing(HTTPConnection(where.removeprefix("http://"))) as connection:
        connection.request("GET" if data is None else "POST", path, data, headers)
        with connection.getresponse() as response:
            assert response.status < 300, response.read()
            yield response


def call(where: str, path: str, body: object = None, *, token: str = "") -> Any:
    """What the page's API answers."""
    with opened(where, path, body, token=token) as response:
        return json.load(response)


def asked(where: str, text: str, *, token: str = "") -> str:
    """The page's answer to a question in a new conversation."""
    one = f"/api/conversations/{call(where, '/api/conversations', {}, token=token)['id']}"
    call(where, f"{one}/messages", {"event": uuid.uuid4().hex, "text": text}, token=token)
    wait(lambda: len(call(where, one, token=token)["messages"]) == 2, "the answer")
    return str(call(where, one, token=token)["messages"][1]["text"])


def test_run_says_where_the_page_is_and_the_page_answers(hearth: CommandLine) -> None:
    with hearth.running():
        where = address(hearth)
        with opened(where, "/") as page:
            assert b"<!doctype html>" in page.read().lower()
        assert asked(where, "Hello!") == "Hello! How can I help you?"
        assert f"{where} is served without a token, for this machine alone" in " ".join(
            replace(hearth, settings={"HEARTH_WEB__PORT": where.rpartition(":")[2]}).says("check").split()
        )


def test_a_port_that_is_in_use_ends_the_start_with_one_line(hearth: CommandLine) -> None:
    with hearth.running():
        port = address(hearth).rpartition(":")[2]
        other = replace(hearth, data_dir=hearth.data_dir.parent / "other", settings={"HEARTH_WEB__PORT": port})
        done = other("run")
        assert done.returncode == 1
        assert done.stderr.strip().splitlines()[-1] == (
            f"hearth: Port {port} is in use, so the web page cannot be served. HEARTH_WEB__PORT chooses another, "
            "HEARTH_WEB__ENABLED=false does without the page."
        )


def test_open_pages_are_told_the_end_at_a_stop(hearth: CommandLine) -> None:
    with ExitStack() as after:
        with hearth.running():
            page = after.enter_context(opened(address(hearth), "/api/events"))
            assert page.readline() == b"retry: 1000\n"
        assert page.read().startswith(b"\n")


def test_terminal_and_page_talk_to_the_same_process(hearth: CommandLine) -> None:
    hearth = replace(hearth, settings={"HEARTH_WEB__TOKEN": TOKEN})
    with hearth.running():
        where = address(hearth)
        assert asked(where, "Hello!", token=TOKEN) == hearth.ask("Hello!")
    assert TOKEN not in hearth.log


def test_without_the_page_nothing_listens(hearth: CommandLine) -> None:
    hearth = replace(hearth, settings={"HEARTH_WEB__ENABLED": "false"})
    with hearth.running():
        assert "Hearth is ready. Talk to it with `hearth chat`;" in hearth.log
