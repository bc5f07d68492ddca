"""Who may where a platform has guilds: every pair of allow and deny by guild, channel, role and person; limits; threads."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from bot.config import GroupsConfig, PermissionsConfig
from bot.messages import Action, ActionName, Author, ConversationKey, Message, Triage
from bot.permissions import (
    always,
    in_thread,
    is_admin,
    is_stranger,
    may_change,
    may_talk,
    messages_per_minute,
    tokens_per_day,
    triage,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CHANNEL = ConversationKey("discord", "bot", "20")
THREAD = replace(CHANNEL, thread="21")
ADA = Author("42", "Ada", roles=frozenset({"7", "8"}), guild="5")
BOT = replace(ADA, is_bot=True)
HERE = ("discord:42", "discord:role/7", "discord:role/8", "discord:chat/20", "discord:guild/5", "discord:*")
"""Every entry that names Ada where she writes."""
ELSEWHERE = (
    "discord:43",
    "discord:role/9",
    "discord:role/5",
    "discord:chat/21",
    "discord:chat/5",
    "discord:guild/20",
    "discord:guild/",
    "telegram:guild/5",
    "telegram:*",
)
"""Entries that name somebody or some place else."""


def permissions(**values: object) -> PermissionsConfig:
    return PermissionsConfig.model_validate(values)


@pytest.mark.parametrize("key", [CHANNEL, THREAD])
@pytest.mark.parametrize("deny", [None, *HERE, *ELSEWHERE])
@pytest.mark.parametrize("allow", [None, *HERE, *ELSEWHERE])
def test_who_is_allowed_and_not_denied_may_talk(allow: str | None, deny: str | None, key: ConversationKey) -> None:
    config = permissions(allow=[allow] if allow else [], deny=[deny] if deny else [])
    may = allow in HERE and deny not in HERE
    assert may_talk(config, ADA, key) is may
    assert is_stranger(config, ADA, key) is (allow not in HERE and deny not in HERE)
    said = Message(key=key, event_id="1", author=ADA, text="hi", sent_at=NOW, addressed=True)
    press = Action(key=key, event_id="2", author=ADA, name=ActionName.STOP, sent_at=NOW)
    for event in (said, press):
        decision = triage(config, event, remember_group_talk=False)
        assert decision is (Triage.PENDING if may else Triage.IGNORED)


@pytest.mark.parametrize("deny", [None, *HERE, *ELSEWHERE])
@pytest.mark.parametrize("admin", [*HERE, *ELSEWHERE])
def test_owners_by_every_kind_of_entry(admin: str, deny: str | None) -> None:
    config = permissions(admins=[admin], deny=[deny] if deny else [])
    assert is_admin(config, ADA, THREAD) is (admin in HERE)
    assert may_talk(config, ADA, THREAD) is (admin in HERE and deny not in HERE)


def test_in_a_private_chat_nobody_has_a_guild_or_a_role() -> None:
    alone, key = Author("42", "Ada"), ConversationKey("discord", "bot", "30")
    for entry in ("discord:guild/5", "discord:guild/", "discord:role/7"):
        assert not may_talk(permissions(allow=[entry]), alone, key)
        assert may_talk(permissions(allow=["discord:42"], deny=[entry]), alone, key)


@pytest.mark.parametrize("entry", HERE)
def test_another_bot_is_let_in_by_its_own_id_only(entry: str) -> None:
    assert may_talk(permissions(allow=[entry]), BOT, CHANNEL) is (entry == "discord:42")


def test_who_manages_the_guild_may_change_what_others_see_and_owns_nothing() -> None:
    manager = replace(ADA, manages=True)
    assert may_change(permissions(), manager, CHANNEL)
    assert not is_admin(permissions(), manager, CHANNEL)
    assert not may_talk(permissions(), manager, CHANNEL), "that has to be allowed, too"
    assert not may_change(permissions(allow=["discord:*"]), ADA, CHANNEL)
    assert may_change(permissions(admins=["discord:role/8"]), ADA, CHANNEL)


@pytest.mark.parametrize("entry", HERE)
def test_everything_is_answered_by_every_kind_of_entry(entry: str) -> None:
    said = Message(key=CHANNEL, event_id="1", author=ADA, text="hi", sent_at=NOW)
    assert always(GroupsConfig(always=(entry,)), said).addressed  # type: ignore[union-attr]  # a message stays one


# Limits


LIMITS = {
    "discord:42": {"messages_per_minute": 1, "tokens_per_day": 10},
    "discord:role/7": {"messages_per_minute": 2, "tokens_per_day": 20},
    "discord:role/8": {"messages_per_minute": 3, "tokens_per_day": 15},
    "discord:chat/20": {"messages_per_minute": 4, "tokens_per_day": 40},
    "discord:guild/5": {"messages_per_minute": 5, "tokens_per_day": 50},
    "discord:*": {"messages_per_minute": 6, "tokens_per_day": 60},
    "telegram:*": {"messages_per_minute": 7, "tokens_per_day": 70},
}


@pytest.mark.parametrize(
    ("without", "messages", "tokens"),
    [
        ([], 1, 10),
        (["discord:42"], 3, 20),
        (["discord:42", "discord:role/8"], 2, 20),
        (["discord:42", "discord:role/7", "discord:role/8"], 4, 40),
        (["discord:42", "discord:role/7", "discord:role/8", "discord:chat/20"], 5, 50),
        ([*HERE[:-1]], 6, 60),
        ([*HERE], 9, 90),
    ],
)
def test_the_closest_entry_sets_the_limit_and_of_roles_the_most_generous(
    without: list[str], messages: int, tokens: int
) -> None:
    limits = {entry: figures for entry, figures in LIMITS.items() if entry not in without}
    config = permissions(messages_per_minute=9, tokens_per_day=90, limits=limits)
    for key in (CHANNEL, THREAD):
        assert messages_per_minute(config, ADA, key) == messages
        assert tokens_per_day(config, ADA, key) == tokens


def test_each_figure_is_looked_for_by_itself() -> None:
    config = permissions(
        tokens_per_day=90,
        limits={"discord:42": {"tokens_per_day": 5}, "discord:role/7": {"messages_per_minute": 2}},
    )
    assert (messages_per_minute(config, ADA, CHANNEL), tokens_per_day(config, ADA, CHANNEL)) == (2, 5)
    other = replace(ADA, id="43", roles=frozenset())
    assert (messages_per_minute(config, other, CHANNEL), tokens_per_day(config, other, CHANNEL)) == (20, 90)


def test_no_limit_of_tokens_is_the_most_generous() -> None:
    limits = {"discord:role/7": {"tokens_per_day": 0}, "discord:role/8": {"tokens_per_day": 10**9}}
    assert tokens_per_day(permissions(limits=limits, tokens_per_day=5), ADA, CHANNEL) == 0


# Threads


QUESTION = Message(key=CHANNEL, event_id="90", author=ADA, text="hi", sent_at=NOW, addressed=True, opens="90")


@pytest.mark.parametrize("entry", HERE)
def test_a_question_has_a_thread_of_its_own_where_that_is_wanted(entry: str) -> None:
    assert in_thread(GroupsConfig(threads=(entry,)), QUESTION) == replace(QUESTION, key=replace(CHANNEL, thread="90"))


@pytest.mark.parametrize(
    "said",
    [
        replace(QUESTION, opens=""),
        replace(QUESTION, addressed=False),
        replace(QUESTION, direct=True),
        replace(QUESTION, key=THREAD),
        replace(QUESTION, key=replace(CHANNEL, chat="22")),
    ],
    ids=["no thread can be opened", "talk", "private", "in a thread", "elsewhere"],
)
def test_everything_else_stays_where_it_is(said: Message) -> None:
    assert in_thread(GroupsConfig(threads=("discord:chat/20",)), said) is said
