"""How long a prompt is for a server that counts, and for one that does not; and what refusals mean."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import ModuleType
from typing import Any

import pytest

from bot import aside
from bot.engines.remote import asking, sizing
from bot.engines.remote import engine as engine_module
from bot.engines.remote.faults import Fault, fault, from_json
from bot.engines.remote.servers import Patience, Pool
from bot.engines.remote.sizing import Estimate, length
from bot.errors import BadRequest, EngineBroken, EngineError, TooLong
from bot.generation import ChatMessage, Generation
from bot.testing import ScriptedEngine
from tests.model_server import ModelServer, answer, refuses, remote, serving

TEXT = "The quick brown fox jumps over the lazy dog. " * 100
ASKED = (ChatMessage("user", TEXT),)
LENGTH = length(ASKED)
URL = "http://127.0.0.1:8000/v1"


class TestEstimate:
    def test_at_first_three_bytes_are_a_token(self) -> None:
        assert Estimate().of(LENGTH) == 1572

    def test_it_is_never_more_than_a_token_for_each_byte(self) -> None:
        estimate = Estimate()
        estimate.learn(LENGTH, 99_999)
        assert estimate.of(LENGTH) == 4500 + 72 == estimate.at_most(LENGTH)

    def test_a_higher_usage_is_believed_at_once_and_a_lower_one_slowly(self) -> None:
        estimate = Estimate()
        estimate.learn(LENGTH, 2000)
        assert estimate.of(LENGTH) == 2272  # 2000 and a tenth, and the template's words
        estimate.learn(LENGTH, 1000)
        assert estimate.of(LENGTH) == 2162
        for _ in range(100):
            estimate.learn(LENGTH, 1000)
        assert estimate.of(LENGTH) == 1173

    def test_short_prompts_teach_nothing(self) -> None:
        estimate = Estimate()
        estimate.learn(length((ChatMessage("user", "hi"),)), 300)
        assert estimate.of(LENGTH) == 1572

    def test_a_refused_prompt_had_more(self) -> None:
        estimate = Estimate()
        estimate.was_too_low(LENGTH, 3000)
        assert estimate.of(LENGTH) == 3072
        estimate.was_too_low(LENGTH, 0)
        assert estimate.of(LENGTH) == 4500 + 72

    def test_what_is_learnt_makes_a_count_needless(self) -> None:
        estimate = Estimate()
        assert estimate.at_most(LENGTH) == 4572
        estimate.learn(LENGTH, 1000)
        assert estimate.at_most(LENGTH) == pytest.approx(2300, abs=100)


class TestCounting:
    @pytest.mark.parametrize("counts", ["vllm", "llamacpp"])
    async def test_the_server_counts_a_prompt_that_may_be_too_long(self, counts: str) -> None:
        server = ModelServer(counts=counts)  # type: ignore[arg-type]  # one of its words
        async with serving(server), remote(server.url) as engine:
            size = await engine.size(ASKED, enough=4000)
            assert (size.exact, size.tokens) == (True, len(TEXT) + len("user\n\n assistant\n") - 1 + 3)
            assert not (await engine.size(ASKED, enough=5000)).exact

    async def test_a_server_that_cannot_is_asked_once(self) -> None:
        async with serving(ModelServer(counts="not")) as server, remote(server.url) as engine:
            sizes = {await engine.size(ASKED, enough=0) for _ in range(3)}
            assert {(size.tokens, size.exact) for size in sizes} == {(1572, False)}
            assert server.paths == ["/v1/models", "/tokenize", "/apply-template"]

    async def test_a_server_that_is_away_is_no_error_here(self) -> None:
        async with remote("http://127.0.0.1:1/v1", remote_model="m", context_length=999) as engine:
            assert not (await engine.size(ASKED, enough=0)).exact


class TestFaults:
    @pytest.mark.parametrize(
        ("status", "message"),
        [
            (400, "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens."),
            (400, "The input (61709 tokens) is longer than the model's context length (40960 tokens)."),
            (400, "request (12009 tokens) exceeds the available context size (1024 tokens), try increasing it"),
            (400, "max_tokens must be at least 1, got -186."),
            (500, "the request exceeds the available context size."),
            (413, "too large"),
        ],
    )
    def test_every_servers_word_for_too_long_is_known(self, status: int, message: str) -> None:
        assert isinstance(Fault(url=URL, status=status, message=message).told(), TooLong)

    @pytest.mark.parametrize(
        ("message", "length"),
        [
            ("This model's maximum context length is 4096 tokens. However, you requested 5000 tokens.", 4096),
            ("The input (61709 tokens) is longer than the model's context length (40960 tokens).", 40960),
            ("request (12009 tokens) exceeds the available context size (1024 tokens), try increasing it", 1024),
            ("max_tokens must be at least 1, got -186.", None),
        ],
    )
    def test_the_context_length_in_it_is_read(self, message: str, length: int | None) -> None:
        assert Fault(url=URL, status=400, message=message).context_length == length

    @pytest.mark.parametrize(
        "body",
        [
            b'{"error": {"message": "no such model", "type": "not_found", "code": "model_not_found"}}',
            b'{"object": "error", "message": "no such model", "type": "not_found", "code": "model_not_found"}',
        ],
    )
    def test_errors_are_read_nested_and_flat(self, body: bytes) -> None:
        found = fault(URL, 404, {}, body)
        assert (found.message, found.kind) == ("no such model", "not_found model_not_found")
        assert "no such model" in str(found.told())

    @pytest.mark.parametrize("body", [b'{"detail": "gone"}', b'{"error": "gone"}', b'"gone"'])
    def test_and_as_mere_words(self, body: bytes) -> None:
        assert fault(URL, 404, {}, body).message == "gone"

    @pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'{"error": 5}', b'{"error": {"message": {}}}', b"\xff"])
    def test_what_is_no_error_object_is_a_fault_without_words(self, body: bytes) -> None:
        found = fault(URL, 502, {}, body)
        assert (found.status, found.message, found.kind) == (502, "", "")
        assert isinstance(found.told(), EngineError)

    def test_an_error_in_a_stream_has_its_status_inside(self) -> None:
        assert isinstance(from_json(URL, 200, {"error": {"message": "no", "code": 400}}).told(), BadRequest)
        assert isinstance(from_json(URL, 200, {"error": {"message": "no", "code": 401}}).told(), EngineBroken)
        assert from_json(URL, 200, {"error": {"message": "no", "code": "x"}}).status == 500

    @pytest.mark.parametrize(("text", "seconds"), [("7", 7.0), ("0.5", 0.5), ("soon", None), ("-3", None), ("", None)])
    def test_retry_after_in_seconds(self, text: str, seconds: float | None) -> None:
        assert fault(URL, 429, {"Retry-After": text}, b"").wait == seconds

    def test_retry_after_as_a_date(self) -> None:
        soon = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
        assert fault(URL, 429, {"Retry-After": soon}, b"").wait == pytest.approx(3600, abs=60)
        past = format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True)
        assert fault(URL, 429, {"Retry-After": past}, b"").wait == 0.0

    def test_a_servers_words_are_short_and_on_one_line(self) -> None:
        told = str(Fault(url=URL, status=404, message="a\nb\x1b[31m" + "c" * 999).told())
        assert told.startswith(f"{URL}: 404: a b [31mccc")
        assert len(told) < 300


class TestServers:
    async def test_a_server_rests_longer_each_time(self) -> None:
        pool = Pool([URL], Patience())
        [server] = pool.servers
        rests = []
        for _ in range(9):
            server.rests_until = 0.0
            server.failed("no")
            rests.append(server.failures)
        assert rests == [1, 2, 3, 4, 5, 6, 7, 8, 9]
        server.works()
        assert (server.failures, server.rests_until) == (0, 0.0)

    async def test_a_server_that_asked_for_time_and_answers_is_open(self) -> None:
        [server] = Pool([URL], Patience()).servers
        server.close_for(200)
        server.works()
        assert server.closed_until == 0.0

    async def test_what_fails_together_counts_once(self) -> None:
        [server] = Pool([URL], Patience()).servers
        for _ in range(5):
            server.failed("no")
        assert server.failures == 1

    async def test_the_same_conversation_goes_to_the_same_server_also_after_a_restart(self) -> None:
        urls = [f"http://10.0.0.{n}/v1" for n in range(5)]
        one, two = Pool(urls, Patience()), Pool(urls, Patience())
        chosen = [one.choose([f"talk {n}"]).url for n in range(50)]
        assert chosen == [two.choose([f"talk {n}"]).url for n in range(50)]
        assert set(chosen) == set(urls)


class TestLargePrompts:
    @pytest.mark.parametrize("counts", ["vllm", "llamacpp"])
    @pytest.mark.parametrize("large", [True, False])
    async def test_large_ones_are_gone_through_beside_the_event_loop_and_small_ones_at_once(
        self, monkeypatch: pytest.MonkeyPatch, counts: str, *, large: bool
    ) -> None:
        """Wherever all of a prompt is looked at, also after a refusal."""
        threads: dict[str, set[str]] = {}

        def watch(module: ModuleType, name: str) -> None:
            function: Callable[..., Any] = getattr(module, name)

            def watched(*given: Any) -> Any:
                threads.setdefault(f"{module.__name__}.{name}", set()).add(threading.current_thread().name)
                return function(*given)

            monkeypatch.setattr(module, name, watched)

        places = {
            engine_module: ("length", "_keys", "without_system", "shortened"),
            sizing: ("as_json",),
            asking: ("as_json",),
            aside: ("written",),
        }
        for module, names in places.items():
            for name in names:
                watch(module, name)
        words, times = (2000, 100) if large else (20, 1)
        pairs = (ChatMessage("user", "word " * words), ChatMessage("assistant", "ok")) * times
        messages = (ChatMessage("system", "Be brief."), *pairs, ChatMessage("user", "word"))
        scripted = ScriptedEngine(lambda _: "ok", context_length=4_000_000, batch=4_000_000)
        server = ModelServer(scripted, counts=counts, takes_system=False)  # type: ignore[arg-type]  # one of its words
        server.faults.append(refuses(400, f"This model's maximum context length is {600_000 if large else 60} tokens."))
        async with serving(server), remote(server.url) as engine:
            with aside.for_a_program():
                size = await engine.size(messages[1:], enough=0)
                text, _ = await answer(engine, Generation(messages=messages, max_tokens=5))
            assert (size.exact, text) == (True, "ok")
            asked = server.asked[-1]["messages"]
            assert asked[0]["content"].startswith("Be brief.\n\nword")
            assert len(asked) < len(messages) - 1
        assert threads.keys() == {f"{module.__name__}.{name}" for module, names in places.items() for name in names}
        expected = f"{aside.NAME}-huge_0" if large else threading.current_thread().name
        assert {name: found for name, found in threads.items() if found != {expected}} == {}

    def test_how_much_it_is_is_not_looked_at_further_than_needed(self) -> None:
        assert sizing.work([ChatMessage("user", "ab"), ChatMessage("user", "")]) == 2 + 2 * aside.EACH
        assert sizing.work([ChatMessage("user", "a" * aside.HUGE)] * 9) == aside.HUGE + aside.EACH

    def test_in_steps_it_is_the_same(self, monkeypatch: pytest.MonkeyPatch) -> None:
        messages = [ChatMessage("user", "wörd \U0001f600" * 9), ChatMessage("assistant", ""), ChatMessage("user", "x")]
        plain = length(messages), engine_module._keys(messages)
        assert plain[0].bytes == sum(len(message.content.encode()) for message in messages)
        monkeypatch.setattr(aside, "STEP", 2)
        assert (length(messages), engine_module._keys(messages)) == plain
