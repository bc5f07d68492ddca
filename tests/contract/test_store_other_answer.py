"""What the store promises about the way of the line: to another answer to the same question, and past a question beside it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from bot.errors import LeaseLost
from bot.messages import Action, ActionName, AnswerState, Author, Finished, Triage
from bot.ports import Received, Refusal
from storage.store import SqlStore
from tests.contract.conftest import Clock
from tests.contract.talk import (
    ANN,
    BEN,
    CHAT,
    GROUP,
    answer,
    ask,
    claimed,
    deleted,
    finished,
    overhear,
    pressed,
    texts,
)


async def again(store: SqlStore, event_id: str, target: str, text: str, message_id: str) -> int:
    """Ask for another answer; returns its id."""
    await store.receive(pressed(event_id, ActionName.RETRY, target), Triage.PENDING)
    return (await answer(store, text, message_id))[1]


def other(event_id: str, target: str | None, **more: object) -> Action:
    return replace(pressed(event_id, ActionName.BRANCH, target), **more)  # type: ignore[arg-type]


async def press(store: SqlStore, event_id: str, target: str | None, **more: object) -> Received:
    return await store.receive(other(event_id, target, **more), Triage.PENDING)


async def head(store: SqlStore) -> int | None:
    return (await store.conversation(CHAT)).head


async def two_answers(store: SqlStore) -> tuple[int, int]:
    await ask(store, "1", "one")
    _, first = await answer(store, "eins", "m1")
    return first, await again(store, "r1", "m1", "uno", "m2")


async def test_a_press_goes_on_from_the_other_answer_and_the_next_one_back(store: SqlStore) -> None:
    first, second = await two_answers(store)
    assert await head(store) == second
    received = await press(store, "p1", "m2")
    assert received.goes_on is not None
    assert (received.goes_on.id, received.goes_on.text) == (first, "eins")
    assert received == Received(goes_on=received.goes_on)
    assert await head(store) == first
    assert (await press(store, "p2", "m2")).goes_on is not None
    assert await head(store) == second


async def test_a_press_counts_once(store: SqlStore) -> None:
    first, _ = await two_answers(store)
    await press(store, "p1", "m2")
    assert await press(store, "p1", "m2") == Received(duplicate=True)
    assert await head(store) == first


async def test_three_answers_come_in_turn(store: SqlStore) -> None:
    first, second = await two_answers(store)
    third = await again(store, "r2", "m2", "un", "m3")
    heads = []
    for number in range(4):
        await press(store, f"p{number}", "m2")
        heads.append(await head(store))
    assert heads == [first, second, third, first]


async def test_the_line_goes_on_where_it_ended_there(store: SqlStore) -> None:
    first, _ = await two_answers(store)
    await ask(store, "2", "two")
    _, last = await answer(store, "due")
    await press(store, "p1", "m2")
    assert await head(store) == first
    await ask(store, "3", "three")
    _, side = await answer(store, "drei")
    assert await texts(store, side) == ["one", "eins", "three", "drei"]
    await press(store, "p2", "m2")
    assert await head(store) == last
    assert await texts(store, last) == ["one", "uno", "two", "due"]


async def test_where_the_line_goes_elsewhere_it_is_the_other_one_of_the_button(store: SqlStore) -> None:
    first, _ = await two_answers(store)
    await store.set_head((await store.conversation(CHAT)).id, None)
    await ask(store, "2", "two")
    await answer(store, "due")
    await press(store, "p1", "m2")
    assert await head(store) == first


async def test_an_answer_alone_has_no_other(store: SqlStore) -> None:
    await ask(store, "1", "one")
    _, tip = await answer(store, "eins", "m1")
    assert await press(store, "p1", "m1") == Received(refusal=Refusal.NO_OTHER)
    assert await head(store) == tip


@pytest.mark.parametrize("target", [None, "404"])
async def test_under_nothing_that_is_known_there_is_no_other(store: SqlStore, target: str | None) -> None:
    _, second = await two_answers(store)
    assert await press(store, "p1", target) == Received(refusal=Refusal.NO_OTHER)
    assert await head(store) == second


async def test_where_nothing_was_said_there_is_no_other(store: SqlStore) -> None:
    assert await press(store, "p1", "m1") == Received(refusal=Refusal.NO_OTHER)


async def test_of_a_deleted_question_there_is_no_other(store: SqlStore) -> None:
    _, second = await two_answers(store)
    await store.receive(deleted("1"), Triage.PENDING)
    assert await press(store, "p1", "m2") == Received(refusal=Refusal.NO_OTHER)
    assert await head(store) == second


async def test_not_while_an_answer_waits_or_is_made(store: SqlStore) -> None:
    first, second = await two_answers(store)
    await ask(store, "2", "two")
    assert await press(store, "p1", "m2") == Received(refusal=Refusal.BUSY)
    claim = await claimed(store)
    assert await press(store, "p2", "m2") == Received(refusal=Refusal.BUSY)
    assert await head(store) == second
    await store.release(claim)
    await answer(store, "due")
    assert (await press(store, "p3", "m2")).goes_on is not None
    assert await head(store) == first


@pytest.mark.parametrize(
    ("by", "owner", "refusal"),
    [(ANN, False, None), (BEN, False, Refusal.NOT_YOURS), (Author("eve", "Eve"), True, None)],
)
async def test_in_a_group_it_is_for_who_asked_and_for_owners(
    store: SqlStore, by: Author, owner: bool, refusal: Refusal | None
) -> None:
    await overhear(store, "0")
    await ask(store, "1", "one", key=GROUP, direct=False)
    _, first = await answer(store, "eins", "m1")
    await store.receive(pressed("r1", ActionName.RETRY, "m1", key=GROUP), Triage.PENDING)
    _, second = await answer(store, "uno", "m2")
    received = await press(store, "p1", "m2", key=GROUP, author=by, owner=owner)
    assert received.refusal is refusal
    assert (await store.conversation(GROUP)).head == (second if refusal else first)


async def test_another_conversation_of_the_chat_is_left_alone(store: SqlStore) -> None:
    """A button's message is known by its chat; the press says in which thread it happened."""
    await two_answers(store)
    thread = replace(CHAT, thread="t")
    await ask(store, "9", "nine", key=thread)
    _, tip = await answer(store, "neun")
    assert await press(store, "p1", "m2", key=thread) == Received(refusal=Refusal.NO_OTHER)
    assert (await store.conversation(thread)).head == tip


class TestAside:
    """A question that stands behind any message, and leaves the line alone."""

    async def test_its_history_ends_there_and_the_head_stays(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        _, first = await answer(store, "eins")
        await ask(store, "2", "two")
        _, tip = await answer(store, "zwei")
        await ask(store, "3", "all that")
        claim = await claimed(store)
        await store.set_aside(claim, first)
        await store.set_aside(claim, first)
        new = await store.close(claim, AnswerState.DONE, finished("alles", claim.question.id))
        assert await texts(store, new[-1]) == ["one", "eins", "all that", "alles"]
        assert await head(store) == tip

    async def test_it_holds_for_the_next_attempt(self, store: SqlStore, clock: Clock) -> None:
        await ask(store, "1", "one")
        _, first = await answer(store, "eins")
        await ask(store, "2", "two")
        await answer(store, "zwei")
        await ask(store, "3", "all that")
        await store.set_aside(await claimed(store), first)
        clock.pass_(minutes=2)
        claim = await claimed(store, "another")
        assert (claim.attempt, claim.side_branch, claim.question.parent) == (2, True, first)

    async def test_it_may_stay_where_it_is(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        _, tip = await answer(store, "eins")
        await ask(store, "2", "all that")
        claim = await claimed(store)
        await store.set_aside(claim, claim.question.parent)
        await store.close(claim, AnswerState.DONE, finished("alles", claim.question.id))
        assert await head(store) == tip

    async def test_not_behind_what_is_in_no_line_here(self, store: SqlStore) -> None:
        await ask(store, "1", "one", key=replace(CHAT, thread="t"))
        _, elsewhere = await answer(store, "eins")
        await ask(store, "2", "/help")
        command = await claimed(store)
        await store.close(command, AnswerState.DONE, Finished(outcome=AnswerState.DONE, text="Help.", moves_head=False))
        await ask(store, "3", "all that")
        await ask(store, "4", "waits")
        claim = await claimed(store)
        waits = claim.question.id + 1
        for behind in (elsewhere, command.question.id, claim.question.id, waits, 10**6):
            with pytest.raises(ValueError, match="is in no line"):
                await store.set_aside(claim, behind)

    async def test_not_without_the_claim(self, store: SqlStore) -> None:
        await ask(store, "1", "one")
        claim = await claimed(store)
        await store.release(claim)
        with pytest.raises(LeaseLost):
            await store.set_aside(claim, None)


async def test_the_line_that_ends_elsewhere_has_its_own_first_day(store: SqlStore, clock: Clock) -> None:
    await ask(store, "1", "one")
    _, first = await answer(store, "eins")
    place = (await store.conversation(CHAT)).id
    clock.pass_(days=2)
    await store.set_head(place, None)
    await ask(store, "2", "two")
    _, second = await answer(store, "zwei")
    await store.set_head(place, first)
    assert (await store.conversation(CHAT)).first_day == date(2026, 3, 1)
    await store.set_head(place, second)
    assert (await store.conversation(CHAT)).first_day == date(2026, 3, 3)
