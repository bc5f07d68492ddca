"""What the store promises about completions that programs asked to keep, on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from bot.api import ApiUse, Caller, Kept
from bot.clean_json import dump
from bot.generation import Usage
from storage import api_kept
from storage.api_kept import CHUNK
from storage.store import SqlStore
from tests.contract.conftest import Clock, OpenStore
from tests.contract.talk import THEN, answer, ask

MESSAGES = [{"role": "user", "content": "Who wrote «Momo»?"}]
COMPLETION = {"id": "chatcmpl-1", "choices": [{"message": {"content": "Michael Ende."}, "logprobs": None}]}
KEPT = Kept(
    id="chatcmpl-1",
    caller="key/1",
    model="default",
    created=THEN,
    messages=dump(MESSAGES),
    completion=dump(COMPLETION),
    metadata={"topic": "books"},
)


def numbered(number: int, **more: object) -> Kept:
    """One of several, the later the higher."""
    more = {"id": f"chatcmpl-{number}", "created": THEN + timedelta(seconds=number), **more}
    return replace(KEPT, **more)  # type: ignore[arg-type]


def listed(number: int, **more: object) -> Kept:
    """The same as a list has it: without the messages, of which there may be much."""
    return replace(numbered(number, **more), messages="[]")


async def ids(store: SqlStore, **how: object) -> list[str]:
    """Of one page."""
    found, _ = await store.kept_completions(caller="key/1", **how)  # type: ignore[arg-type]
    return [one.id.removeprefix("chatcmpl-") for one in found]


async def test_what_is_kept_is_as_it_was(open_store: OpenStore) -> None:
    store = await open_store()
    await store.keep_completion(KEPT)
    await store.keep_completion(KEPT)
    assert await store.kept_completion("chatcmpl-1", caller="key/1") == KEPT
    await store.aclose()
    assert await (await open_store()).kept_completion("chatcmpl-1", caller="key/1") == KEPT


async def test_what_no_database_can_hold_is_replaced(store: SqlStore) -> None:
    content = [{"type": "text", "text": "a\x00b\ud800"}]
    await store.keep_completion(replace(KEPT, messages=dump([{"role": "user", "content": content}])))
    found = await store.kept_completion("chatcmpl-1", caller="key/1")
    assert found is not None
    assert json.loads(found.messages)[0]["content"] == [{"type": "text", "text": "a\ufffdb\ufffd"}]


async def test_nobody_else_finds_it(store: SqlStore) -> None:
    await store.keep_completion(KEPT)
    assert await store.kept_completion("chatcmpl-1", caller="key/2") is None
    assert await store.kept_completions(caller="key/2") == ([], False)
    assert await store.change_metadata("chatcmpl-1", {}, caller="key/2") is None
    assert not await store.drop_completion("chatcmpl-1", caller="key/2")
    with pytest.raises(ValueError, match="no completion"):
        await store.kept_completions(caller="key/2", after="chatcmpl-1")
    assert await store.kept_completion("chatcmpl-1", caller="key/1") == KEPT


async def test_what_is_dropped_is_gone(store: SqlStore) -> None:
    await store.keep_completion(KEPT)
    assert await store.drop_completion("chatcmpl-1", caller="key/1")
    assert not await store.drop_completion("chatcmpl-1", caller="key/1")
    assert await store.kept_completion("chatcmpl-1", caller="key/1") is None


async def test_metadata_is_replaced(store: SqlStore) -> None:
    await store.keep_completion(KEPT)
    changed = replace(KEPT, metadata={"read": "yes"})
    assert await store.change_metadata("chatcmpl-1", {"read": "yes"}, caller="key/1") == changed
    assert await store.kept_completion("chatcmpl-1", caller="key/1") == changed
    assert await store.change_metadata("chatcmpl-2", {}, caller="key/1") is None


async def test_pages_in_both_orders(store: SqlStore) -> None:
    """Those of one second, too, are each on one page."""
    for number in (3, 1, 5, 2):
        await store.keep_completion(numbered(number))
    await store.keep_completion(numbered(4, created=THEN + timedelta(seconds=3)))
    assert await ids(store) == ["1", "2", "3", "4", "5"]
    assert await store.kept_completions(caller="key/1", limit=2) == ([listed(1), listed(2)], True)
    assert await ids(store, limit=2, after="chatcmpl-2") == ["3", "4"]
    assert await store.kept_completions(caller="key/1", limit=2, after="chatcmpl-4") == ([listed(5)], False)
    assert await ids(store, limit=2, newest_first=True) == ["5", "4"]
    assert await ids(store, limit=3, newest_first=True, after="chatcmpl-4") == ["3", "2", "1"]
    assert (await store.kept_completions(caller="key/1", limit=5))[1] is False


async def test_those_of_a_model_and_with_some_metadata(store: SqlStore) -> None:
    await store.keep_completion(numbered(1, model="big"))
    await store.keep_completion(numbered(2, metadata={"topic": "books", "mood": "good"}))
    await store.keep_completion(numbered(3, metadata={"topic": "films"}))
    await store.keep_completion(numbered(4))
    assert await ids(store, model="default") == ["2", "3", "4"]
    assert await ids(store, metadata={"topic": "books"}) == ["1", "2", "4"]
    assert await ids(store, metadata={"topic": "books", "mood": "good"}) == ["2"]
    assert await ids(store, metadata={"topic": "books"}, model="default", newest_first=True) == ["4", "2"]
    books = {"caller": "key/1", "metadata": {"topic": "books"}}
    assert await store.kept_completions(**books, limit=2) == (  # type: ignore[arg-type]
        [listed(1, model="big"), listed(2, metadata={"topic": "books", "mood": "good"})],
        True,
    )


async def test_what_is_sought_may_lie_far_behind(store: SqlStore) -> None:
    for number in range(CHUNK + 3):
        await store.keep_completion(numbered(number, metadata={"last": str(number == CHUNK + 2)}))
    assert await ids(store, metadata={"last": "True"}) == [str(CHUNK + 2)]
    assert len(await ids(store, metadata={"last": "False"}, limit=CHUNK * 2)) == CHUNK + 2


async def test_a_page_ends_where_it_is_large(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the next one goes on from there; each has one at least."""
    sizes = [10, 10, 500, 10, 300, 300, *[10] * 20]
    for number, size in enumerate(sizes):
        await store.keep_completion(numbered(number, completion=dump("x" * (size - 2))))
    for most, pages in ((2000, [25, 1]), (510, [3, 3, 20]), (5, [1] * 26)):
        monkeypatch.setattr(api_kept, "MOST_OF_PAGE", most)
        seen: list[str] = []
        for length in pages:
            after = f"chatcmpl-{seen[-1]}" if seen else None
            found, more = await store.kept_completions(caller="key/1", limit=25, after=after)
            assert len(found) == length
            seen += [one.id.removeprefix("chatcmpl-") for one in found]
            assert more is (len(seen) < len(sizes))
        assert seen == [str(number) for number in range(len(sizes))]


async def test_retention_ends_it(store: SqlStore, clock: Clock) -> None:
    await store.keep_completion(KEPT)
    await store.keep_completion(numbered(2, created=THEN + timedelta(days=1)))
    clock.now = THEN + timedelta(days=30)
    await store.expire(clock.now, 30)
    assert await ids(store) == ["1", "2"]
    clock.now = THEN + timedelta(days=30, seconds=1)
    await store.expire(clock.now, 30)
    assert await ids(store) == ["2"]


async def test_where_nothing_is_kept_this_is_not_either(open_store: OpenStore) -> None:
    store = await open_store(default_retention_days=0)
    with pytest.raises(ValueError, match=r"retention\.days is 0"):
        await store.keep_completion(KEPT)
    assert await ids(store) == []


async def test_it_is_in_nobodys_export_whose_use_it_is_not(store: SqlStore) -> None:
    await store.keep_completion(KEPT)
    assert "Michael Ende" not in str((await store.export("web", "1")).data)
    assert "api" not in (await store.export("telegram", "1")).data
    await store.forget_person("telegram", "1")
    await store.forget_person("web", "1")
    assert await ids(store) == ["1"]


async def test_who_uses_the_api_with_a_token_of_the_page_has_it_as_their_own(store: SqlStore) -> None:
    ada, ben = Caller(id="page/ada", name="ada"), Caller(id="page/ben", name="ben")
    for caller in (ada, ben):
        await store.keep_completion(replace(KEPT, id=f"chatcmpl-{caller.name}", caller=caller.id))
        cost = Usage(prompt_tokens=10, completion_tokens=3)
        await store.count_api_use(ApiUse(caller=caller, endpoint="chat", model="default", usage=cost))
    exported = (await store.export("web", "ada")).data["api"]
    assert isinstance(exported, dict)
    [row] = exported["usage"]
    assert (row["key"], row["prompt_tokens"]) == ("ada", 10)
    [completion] = exported["completions"]
    assert completion["id"] == "chatcmpl-ada"
    assert completion["created"] == THEN.isoformat()
    assert (completion["messages"], completion["completion"]) == (MESSAGES, COMPLETION)
    await store.forget_person("web", "ada")
    assert (await store.export("web", "ada")).data["api"] == {"usage": [], "completions": []}
    assert [row["key"] for row in await store.api_usage()] == ["ben"]
    assert await store.kept_completion("chatcmpl-ben", caller="page/ben") is not None


@pytest.mark.parametrize("how", ["drop", "expire", "forget"])
async def test_sqlite_keeps_no_byte_of_what_goes(tmp_path: Path, how: str) -> None:
    store = await SqlStore.open(f"sqlite+aiosqlite:///{tmp_path / 'hearth.db'}", default_retention_days=30)

    def holds() -> list[str]:
        return [path.name for path in tmp_path.iterdir() if path.is_file() and b"xyzzy" in path.read_bytes()]

    await ask(store, "1")
    await answer(store)
    await store.keep_completion(replace(KEPT, caller="page/ada", completion=dump({"content": "xyzzy"})))
    assert holds()
    if how == "drop":
        await store.drop_completion("chatcmpl-1", caller="page/ada")
    elif how == "expire":
        await store.expire(THEN + timedelta(days=31), 30)
    else:
        await store.forget_person("web", "ada")
    assert holds() == []
    await store.aclose()
