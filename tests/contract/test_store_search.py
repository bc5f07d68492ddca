"""What the store promises about the search for words, on SQLite and on PostgreSQL."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.messages import AnswerState, ConversationKey, Finished, Role
from bot.records import Found
from storage.store import SqlStore
from tests.contract.conftest import Clock
from tests.contract.talk import BEN, answer, ask, claimed

PAGE = ConversationKey("web", "local", "ann", "one")
OTHER = replace(PAGE, thread="two")


async def search(store: SqlStore, words: str, limit: int = 50) -> list[Found]:
    return await store.search("web", "local", "ann", words, limit=limit)


async def excerpts(store: SqlStore, words: str, limit: int = 50) -> list[str]:
    return [one.excerpt for one in await search(store, words, limit)]


class TestSearch:
    """Every message of a person's conversations that has all the words."""

    async def test_it_says_where_a_message_is(self, store: SqlStore, clock: Clock) -> None:
        await ask(store, "1", "How do bees fly?", key=PAGE, direct=True)
        claim, tip = await answer(store, "Bees beat their wings.")
        await store.set_title(claim.conversation.id, "Nature")
        found = await search(store, "wings")
        assert found == [
            Found(
                conversation=claim.conversation.id,
                thread="one",
                title="Nature",
                message=tip,
                role=Role.ASSISTANT,
                at=clock.now,
                excerpt="Bees beat their wings.",
            )
        ]

    async def test_newest_first_over_all_conversations_and_no_more_than_asked_for(self, store: SqlStore) -> None:
        for number in range(6):
            key = OTHER if number % 2 else PAGE
            await ask(store, str(number), f"bee {number}", key=key, direct=True)
            await answer(store, "hm")
        assert await excerpts(store, "bee") == [f"bee {number}" for number in (5, 4, 3, 2, 1, 0)]
        assert await excerpts(store, "bee", 2) == ["bee 5", "bee 4"]
        assert await excerpts(store, "bee", 0) == []

    async def test_every_word_must_occur_in_any_order_also_within_others(self, store: SqlStore) -> None:
        for number, text in enumerate(("red apple", "Apples are red", "a red car", "apple pie")):
            await ask(store, str(number), text, key=PAGE, direct=True)
        assert await excerpts(store, "apple red") == ["Apples are red", "red apple"]
        assert await excerpts(store, "  RED\n") == ["a red car", "Apples are red", "red apple"]
        assert await excerpts(store, "green") == await excerpts(store, " \n") == await excerpts(store, "") == []

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("STRASSE und Café", "straße CAFE\u0301"),
            ("straße und cafe\u0301", "STRASSE café"),
            ("Ａｌｐｈａ ﬁnal ½", "alpha final 1⁄2"),
            ("Всё ХОРОШО", "хорошо"),
            ("ΟΔΟΣ", "οδος"),
            ("\u03aa\u0301\u03b4\u03b9\u03b1", "\u0390\u03b4\u03b9\u03b1"),
            ("我喜欢猫", "喜欢"),
            ("이것은 한국어", "\u1112\u1161\u11ab국"),
            ("100% sure_thing [x] 'quoted' \\back", "100% sure_thing [x] 'quoted' \\back"),
            ("a 😀 b", "😀"),
        ],
    )
    async def test_in_any_case_and_any_spelling_of_unicode(self, store: SqlStore, text: str, words: str) -> None:
        await ask(store, "1", text, key=PAGE, direct=True)
        await ask(store, "2", "something else", key=PAGE, direct=True)
        assert await excerpts(store, words) == [text]

    async def test_on_all_branches_and_also_what_waits_but_no_commands(self, store: SqlStore) -> None:
        await ask(store, "1", "bees?", key=PAGE, direct=True)
        await answer(store, "yes")
        await ask(store, "2", "bees!", key=PAGE, direct=True, follows=0)
        await answer(store, "no")
        await ask(store, "3", "/system bees", key=PAGE, direct=True)
        word = Finished(outcome=AnswerState.DONE, text="bees", moves_head=False)
        await store.close(await claimed(store), AnswerState.DONE, word)
        await ask(store, "4", "more bees", key=PAGE, direct=True)
        assert await excerpts(store, "bees") == ["more bees", "bees!", "bees?"]

    async def test_nobody_elses(self, store: SqlStore) -> None:
        for number, key in enumerate(
            (replace(PAGE, chat="ben"), replace(PAGE, account="x"), replace(PAGE, platform="console"))
        ):
            await ask(store, str(number), "bees", key=key, by=BEN, direct=True)
        assert await search(store, "bees") == []

    async def test_what_was_forgotten_is_not_found(self, store: SqlStore) -> None:
        received = await ask(store, "1", "bees", key=PAGE, direct=True)
        await store.forget_message(received.message or 0)
        assert await search(store, "bees") == []

    async def test_more_than_one_look_may_be_needed(self, store: SqlStore) -> None:
        await ask(store, "first", "needle", key=PAGE, direct=True)
        for number in range(1100):
            await ask(store, str(number), f"hay {number}", key=PAGE, direct=True)
        assert await excerpts(store, "needle") == ["needle"]
        assert await excerpts(store, "hay", 2) == ["hay 1099", "hay 1098"]
        assert await excerpts(store, "hay", 1050) == [f"hay {number}" for number in range(1099, 49, -1)]


class TestExcerpt:
    """The words around the first match, on one line."""

    @pytest.mark.parametrize(
        ("text", "excerpt"),
        [
            ("a\n\n  needle\tb", "a needle b"),
            ("needle " + "y " * 200, "needle " + "y " * 75 + "y…"),
            ("x " * 45 + "needle", "…" + "x " * 19 + "needle"),
            ("x " * 100 + "needle " + "y " * 100, "…" + "x " * 19 + "needle " + "y " * 56 + "y…"),
            ("é" * 300 + "needle" + "ß" * 300, "…" + "é" * 40 + "needle" + "ß" * 112 + "…"),
            ("ﬃ" * 300 + " needle", "…needle"),
            ("cafe\u0301 " * 50 + "NEEDLE " + "y " * 100, None),
        ],
    )
    async def test_it_holds_the_match(self, store: SqlStore, text: str, excerpt: str | None) -> None:
        await ask(store, "1", text, key=PAGE, direct=True)
        (found,) = await excerpts(store, "needle")
        assert "needle" in found.lower()
        assert len(found) <= 160
        if excerpt is not None:
            assert found == excerpt
