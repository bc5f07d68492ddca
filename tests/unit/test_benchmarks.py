"""The benchmarks count and compare what they say they do."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import api, page
from benchmarks import discord as on_discord
from benchmarks import telegram as on_telegram
from benchmarks.api_client import Client, ask_together, request_of
from benchmarks.crowd import AtWork, all_chats, in_turn
from benchmarks.filled import Talk, fill, key_of
from benchmarks.own_time import Compared, table_of
from benchmarks.past import Past
from benchmarks.past import fill as fill_past
from benchmarks.prefix import ROOM, Conversation, slide
from benchmarks.report import Aim, Row, Table, percentile
from benchmarks.script import ANSWERED, ASKED, fixed_answer, questions
from benchmarks.throughput import ratios_of
from bot.generation import Usage
from bot.messages import ConversationKey, Message, Role, Triage
from bot.prompt import PromptBuilder, Turn
from bot.testing import ScriptedEngine
from storage.store import SqlStore
from tests.discord_fake import Call as DiscordCall
from tests.house import ADA
from tests.telegram import Call
from tests.web import site


def test_a_percentile_is_the_nearest_rank() -> None:
    values = [float(n) for n in range(100, 0, -1)]
    assert [percentile(values, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1.0, 50.0, 99.0, 100.0]
    assert percentile([7.0], 0.99) == 7.0


def test_a_table_says_of_each_aim_whether_it_is_met() -> None:
    rows = [
        Row("fast enough", ("4.90 ms",), Aim(5, "ms"), 4.9),
        Row("too little", ("0.969",), Aim(0.97, at_least=True), 0.969),
        Row("no aim", ("1",)),
    ]
    assert str(Table("of things", ("figure",), rows, ["A note."])) == (
        "## of things\n"
        "\n"
        "|             | figure  | aim    | met |\n"
        "| ----------- | ------- | ------ | --- |\n"
        "| fast enough | 4.90 ms | ≤ 5 ms | yes |\n"
        "| too little  | 0.969   | ≥ 0.97 | NO  |\n"
        "| no aim      | 1       |        |     |\n"
        "\n"
        "A note.\n"
    )


def test_own_time_compares_the_full_database_with_the_empty_one() -> None:
    times = Compared(first=[0.001], empty=[0.002], full=[0.003], prompt=900.0)
    rows = {row.what: (row.figures, row.verdict) for row in table_of("SQLite", times, 0.0002).rows}
    assert rows["p50, full over empty"] == (("1.50",), "NO")
    assert rows["empty database, prompt of 900 tokens: p50"] == (("2.00 ms",), "yes")


def test_ratios_are_of_speed_pair_by_pair() -> None:
    assert ratios_of([[2.0, 4.0], [1.0, 6.0]]) == [0.5, 1.5]


def test_an_unknown_benchmark_is_refused_with_the_known_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["prefixes"]) == 2
    assert capsys.readouterr().err == (
        "There is no benchmark 'prefixes'. There are: own_time, prefix, throughput, loop_lag, start, page, voice, telegram, discord, api.\n"
    )


async def test_the_script_has_the_lengths_that_it_promises() -> None:
    engine = ScriptedEngine()
    asked = await questions(engine, 20)
    assert len(set(asked)) == 20
    assert {len(ids) for ids in await engine.encode(asked)} == {ASKED}
    text, ids = await fixed_answer(engine)
    assert len(ids) == ANSWERED
    assert engine.decode(ids) == text


async def test_a_sliding_window_leaves_out_no_more_than_it_must() -> None:
    """One message less, and the prompt would have fitted the room with it too."""
    engine = ScriptedEngine(context_length=2048)
    pairs = [(Role.USER, "a" * 100), (Role.ASSISTANT, "b" * 100)] * 10
    conversation = Conversation(
        [Turn(Role.SYSTEM, "s"), *(Turn(role, text) for role, text in pairs), Turn(Role.USER, "c")]
    )
    ids = await slide(PromptBuilder(engine), conversation)
    assert len(ids) <= ROOM < len(ids) + 100 + len("<|im_start|>assistant\n<|im_end|>\n")
    assert conversation.window[0] == Turn(Role.SYSTEM, "s")
    assert conversation.window[-1] == Turn(Role.USER, "c")


def test_what_was_cached_is_not_counted_as_evaluated() -> None:
    conversation = Conversation([Turn(Role.SYSTEM, "s")])
    conversation.count(Usage(prompt_tokens=100, cached_tokens=0))
    conversation.count(Usage(prompt_tokens=150, cached_tokens=100))
    assert (conversation.evaluated, conversation.largest, conversation.prompts) == (150, 100, [100, 150])


async def test_a_filled_database_is_one_that_the_store_goes_on_with(tmp_path: Path) -> None:
    """Its references hold, its first conversation has a hundredth of all messages, and the next question follows them."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'filled.db'}"
    store = await SqlStore.open(url, default_retention_days=30)
    await store.aclose()
    fill(url, 10_000, Talk("a question", "an answer", (1, 2, 3), "model@1"))
    with sqlite3.connect(tmp_path / "filled.db") as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        counts = connection.execute("SELECT conversation, count(*) FROM messages GROUP BY 1").fetchall()
    connection.close()
    assert dict(counts) == dict.fromkeys(range(1, 101), 100)
    store = await SqlStore.open(url, default_retention_days=30)
    try:
        before = await store.conversation(key_of(1))
        cut = await store.history(before.head)
        assert [(m.role, m.text, m.token_ids) for m in cut] == [
            (Role.USER, "a question", None),
            (Role.ASSISTANT, "an answer", (1, 2, 3)),
        ]
        asked = Message(key=key_of(1), event_id="new", author=ADA, text="next", sent_at=cut[-1].created_at, direct=True)
        received = await store.receive(asked, Triage.PENDING)
        claim = await store.claim("me", lease=60)
    finally:
        await store.aclose()
    assert received.message == 10_001
    assert claim is not None
    assert (claim.question.id, claim.question.parent, claim.attempt) == (10_001, before.head, 1)


@pytest.mark.parametrize("guild", ["", "5"])
async def test_a_chat_with_a_past_goes_on_where_it_was(tmp_path: Path, guild: str) -> None:
    """Its references hold, the stored cut is found, and a new question follows the last answer."""
    keys = [ConversationKey("telegram", "1", str(number)) for number in (7, 8)]
    store = await SqlStore.open(f"sqlite+aiosqlite:///{tmp_path / 'past.db'}", default_retention_days=30)
    await store.aclose()
    talk = Talk("a question", "an answer", (1, 2, 3), "model@1")
    fill_past(
        str(tmp_path / "past.db"),
        Past([(key, key.chat) for key in keys], turns=20, talk=talk, cut_every=7, guild=guild),
    )
    with sqlite3.connect(tmp_path / "past.db") as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()
    store = await SqlStore.open(f"sqlite+aiosqlite:///{tmp_path / 'past.db'}", default_retention_days=30)
    try:
        heads = [(await store.conversation(key)).head for key in keys]
        assert heads == [78, 80]
        assert [m.text for m in await store.history(heads[0])] == ["a question", "an answer"]
        seen = Message(key=keys[0], event_id="39", author=ADA, text="next", sent_at=datetime.now(UTC), direct=not guild)
        assert (await store.receive(seen, Triage.PENDING)).duplicate
        assert not (await store.receive(replace(seen, event_id="41"), Triage.PENDING)).duplicate
        claim = await store.claim("me", lease=60)
    finally:
        await store.aclose()
    assert claim is not None
    assert (claim.question.id, claim.question.parent) == (81, 78)


def test_calls_are_told_per_answer_of_private_chats_and_of_groups() -> None:
    private = [Call("sendMessageDraft", {"chat_id": 7}, 0.0)] * 8 + [Call("sendMessage", {"chat_id": 7}, 1.0)] * 4
    group = [Call("sendMessage", {"chat_id": -1}, 0.0)] * 4 + [Call("editMessageText", {"chat_id": -1}, 0.0)] * 6
    rows = on_telegram.calls_table([*private, *group, Call("getUpdates", {}, 0.0)], {7}, refused=1).rows
    assert [(row.figures, row.verdict) for row in rows] == [
        (("2.0", "1.0", "0.0", "0.0", "3.0"), ""),
        (("0.0", "1.0", "1.5", "0.0", "2.5"), ""),
        (("", "", "", "", "1"), "NO"),
    ]


def test_calls_on_discord_are_told_likewise() -> None:
    def call(operation: str, channel: int) -> DiscordCall:
        return DiscordCall(operation, {"channel_id": str(channel)}, {}, {}, 0.0)

    direct = [call("create_message", 7)] * 4 + [call("update_message", 7)] * 8
    channel = [call("create_message", 1)] * 4 + [call("trigger_typing_indicator", 1)] * 2
    elsewhere = DiscordCall("get_bot_gateway", {}, {}, {}, 0.0)
    rows = on_discord.calls_table([*direct, *channel, elsewhere], {7}, refused=0).rows
    assert [(row.figures, row.verdict) for row in rows] == [
        (("1.0", "2.0", "0.0", "3.0"), ""),
        (("1.0", "0.0", "0.5", "1.0"), ""),
        (("", "", "", "0"), "yes"),
    ]


@pytest.mark.parametrize("at_work", [on_telegram.at_work, on_discord.at_work])
async def test_both_bots_answer_in_the_benchmark(tmp_path: Path, at_work: AtWork) -> None:
    for kind in ("hearth", "echo"):
        async with at_work(kind, tmp_path / kind) as bot:
            done = await all_chats(bot, 2, at_once=kind == "echo")
            assert min(done.answered, done.stored) > 0
            assert len(await in_turn(bot, 2)) == 2
            everything = bot.people[0][1].everything
            said = [str(message.versions[-1][1].get("text") or message.json.get("content")) for message in everything]
        assert len(said) == 8
        assert {text.partition(" ")[0] for text in said} == {"hello"}
        assert sorted(said)[::2] == sorted(said)[1::2], "each is said back"


async def test_a_program_of_the_benchmark_reads_a_stream_to_its_end(tmp_path: Path) -> None:
    """Over one connection, one answer after the other; a refusal is told and never waited for."""
    async with site(tmp_path) as home:
        load = api.Load(clients=2, requests=2, tokens=4, pairs=1)
        client = Client(home.port)
        done = await ask_together(home.port, api.bodies(home.port, load, 1, {}))
        with pytest.raises(AssertionError, match=r"HTTP/1\.1 400"):
            await client.ask(request_of(home.port, {"model": "default"}))
        client.close()
    assert [answer.tokens for answer in done.answers] == [4] * 4
    assert all(0 < answer.first <= answer.seconds for answer in done.answers)


async def test_the_page_is_asked_for_a_conversation_of_40_messages(tmp_path: Path) -> None:
    async with site(tmp_path) as home, page.browser(home.port) as http:
        path = await page.conversation(http)
        async with http.get(path) as response:
            assert len((await response.json())["messages"]) == 40
        assert len(await page.times(http, path)) == page.REQUESTS == 30


def test_every_benchmark_is_named_where_its_figures_are() -> None:
    told = (Path(command.__file__).parent.parent / "docs/performance.md").read_text("utf-8")
    assert [name for name in command.NAMES if f"**`{name}`:" not in told] == []
