"""What the store promises about guilds and what is set for all of one, on SQLite and on PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bot.messages import AnswerState, GuildKey, GuildSettings, Left, Settings, Triage, Trigger
from storage.store import SqlStore
from tests.contract.conftest import Clock, OpenStore
from tests.contract.talk import ANN, BEN, GROUP, THEN, answer, ask, claimed, finished, overhear, said, texts

GUILD = GuildKey("discord", "bot", "5")
MEMBER = replace(ANN, guild="5")
OTHER = replace(GROUP, chat="another")
ALL = Settings(model="big", persona="pirate", system_prompt="Arr.", retention_days=7, transcripts="never")


async def in_guild(store: SqlStore, event_id: str, text: str = "hello", guild: str = "5", **more: object) -> None:
    await ask(store, event_id, text, **{"key": GROUP, "by": replace(ANN, guild=guild), **more})


class TestSettings:
    """They are the guild's, whole, and stay until they are taken back or the bot leaves."""

    async def test_nothing_is_set_at_first(self, store: SqlStore) -> None:
        assert await store.guild(GUILD) == GuildSettings()
        assert await store.trigger(GUILD) is None

    @pytest.mark.parametrize(
        "settings",
        [GuildSettings(settings=ALL, trigger="always"), GuildSettings(trigger="mention"), GuildSettings(settings=ALL)],
    )
    async def test_what_is_set_is_there_at_the_next_start(self, open_store: OpenStore, settings: GuildSettings) -> None:
        store = await open_store()
        await store.set_guild(GUILD, GuildSettings(settings=Settings(model="small"), trigger="always"))
        await store.set_guild(GUILD, settings)
        assert await store.guild(GUILD) == settings
        await store.aclose()
        store = await open_store()
        assert await store.guild(GUILD) == settings
        assert await store.trigger(GUILD) == settings.trigger

    async def test_each_guild_has_its_own(self, store: SqlStore) -> None:
        others = [replace(GUILD, **{part: "6"}) for part in ("platform", "account", "guild")]
        await store.set_guild(GUILD, GuildSettings(settings=ALL, trigger="always"))
        for other in others:
            assert await store.guild(other) == GuildSettings()
            assert await store.trigger(other) is None

    async def test_what_is_taken_back_is_gone(self, store: SqlStore) -> None:
        await store.set_guild(GUILD, GuildSettings(settings=ALL, trigger="always"))
        await store.set_guild(GUILD, GuildSettings())
        assert await store.guild(GUILD) == GuildSettings()

    async def test_a_change_of_the_trigger_counts_at_once(self, store: SqlStore) -> None:
        changes: tuple[Trigger | None, ...] = (None, "always", "mention", None)
        for trigger in changes:
            await store.set_guild(GUILD, GuildSettings(trigger=trigger))
            assert await store.trigger(GUILD) == trigger
            assert await store.trigger(GUILD) == trigger

    async def test_a_trigger_that_is_known_costs_no_look_up(self, database_url: str) -> None:
        looks: list[str] = []
        store = await SqlStore.open(
            database_url, default_retention_days=30, measured=lambda kind, _, __: looks.append(kind)
        )
        for guild in (GUILD, replace(GUILD, guild="6")):
            for _ in range(5):
                assert await store.trigger(guild) is None
        assert looks == ["read", "read"]
        await store.aclose()

    async def test_no_person_s_data(self, store: SqlStore) -> None:
        await store.set_guild(GUILD, GuildSettings(settings=ALL))
        await in_guild(store, "1")
        await answer(store)
        exported = (await store.export("discord", "ann")).data
        assert "hello" in str(exported)
        assert "pirate" not in str(exported)
        await store.forget_person("discord", "ann")
        assert (await store.guild(GUILD)).settings == ALL


class TestConversations:
    """A conversation is in the guild whose members write there, and has what that says beside its own."""

    async def test_it_knows_its_guild_from_the_first_message(self, store: SqlStore) -> None:
        await store.set_guild(GUILD, GuildSettings(settings=ALL))
        await in_guild(store, "1")
        claim = await claimed(store)
        assert (claim.conversation.guild, claim.conversation.around) == ("5", ALL)
        assert claim.conversation.settings == Settings()
        assert claim.event.author == MEMBER
        for place in (await store.find_conversation(GROUP), await store.conversation(GROUP, direct=False)):
            assert place is not None
            assert (place.guild, place.around) == ("5", ALL)
        [thread] = await store.threads("discord", "bot", "group")
        assert thread.conversation.around == ALL

    async def test_a_change_holds_from_the_next_question_on(self, store: SqlStore) -> None:
        await in_guild(store, "1")
        await answer(store)
        await in_guild(store, "2")
        await store.set_guild(GUILD, GuildSettings(settings=ALL))
        assert (await claimed(store)).conversation.around == ALL

    async def test_elsewhere_nothing_of_it_holds(self, store: SqlStore) -> None:
        await store.set_guild(GUILD, GuildSettings(settings=ALL))
        await in_guild(store, "1", guild="6")
        await ask(store, "2", key=OTHER, by=ANN)
        for _ in range(2):
            claim = await claimed(store)
            assert claim.conversation.around == Settings()

    async def test_one_of_an_earlier_version_learns_its_guild(self, store: SqlStore) -> None:
        """And keeps it when somebody writes of whom no guild is known."""
        await ask(store, "1", key=GROUP, by=ANN)
        await in_guild(store, "2")
        await ask(store, "3", key=GROUP, by=ANN)
        found = await store.find_conversation(GROUP)
        assert found is not None
        assert found.guild == "5"


class TestRetention:
    """A conversation's own, else its guild's, else the default."""

    @pytest.mark.parametrize(
        ("own", "guild", "days"), [(None, None, 30), (None, 7, 7), (None, 60, 60), (10, 7, 10), (60, 7, 60)]
    )
    async def test_time_removes_by_the_nearest(
        self, store: SqlStore, clock: Clock, own: int | None, guild: int | None, days: int
    ) -> None:
        await store.set_guild(GUILD, GuildSettings(settings=Settings(retention_days=guild)))
        await in_guild(store, "1", "one")
        await ask(store, "2", "two", key=OTHER, by=ANN)
        for _ in range(2):
            claim, _ = await answer(store)
        place = await store.conversation(GROUP, direct=False)
        await store.set_settings(place.id, Settings(retention_days=own))
        await store.set_title(place.id, "A title")
        clock.pass_(days=days - 1)
        await store.expire(clock.now, 30)
        here = await store.conversation(GROUP, direct=False)
        assert await texts(store, here.head) == ["one", "well"]
        clock.pass_(days=1, seconds=1)
        await store.expire(clock.now, 30)
        here = await store.conversation(GROUP, direct=False)
        assert (await texts(store, here.head), here.title) == ([], "")
        assert bool(await texts(store, claim.question.id)) is (days < 30)

    @pytest.mark.parametrize(("own", "kept"), [(None, []), (1, ["hello", "well"])])
    async def test_a_guild_that_keeps_nothing(self, store: SqlStore, own: int | None, kept: list[str]) -> None:
        """But for a conversation in it that does."""
        await store.set_guild(GUILD, GuildSettings(settings=Settings(retention_days=0)))
        place = await store.conversation(GROUP, direct=False)
        await store.set_settings(place.id, Settings(retention_days=own))
        await store.receive(said("0", "talk", key=GROUP, by=replace(BEN, guild="5")), Triage.CONTEXT)
        await in_guild(store, "1")
        claim = await claimed(store)
        await store.close(claim, AnswerState.DONE, finished("well", claim.question.id))
        here = await store.conversation(GROUP, direct=False)
        assert await texts(store, here.head) == [*(["talk"] if kept else []), *kept]
        found = await store.find_sent(GROUP, "0")
        assert (found is None) is (not kept)

    async def test_a_guild_that_keeps_what_nobody_else_does(self, open_store: OpenStore) -> None:
        store = await open_store(default_retention_days=0)
        await store.set_guild(GUILD, GuildSettings(settings=Settings(retention_days=1)))
        await in_guild(store, "1")
        await overhear(store, "2")
        _, tip = await answer(store)
        assert await texts(store, tip) == ["hello", "well"]
        assert await store.find_sent(GROUP, "2") is not None


class TestLeft:
    """The bot was removed from a guild: all its chats go, and what was set there."""

    def left(self, guild: str = "5", account: str = "bot") -> Left:
        nowhere = replace(GROUP, account=account, chat="", thread="")
        return Left(key=nowhere, event_id="left-1", sent_at=THEN, guild=guild)

    async def test_everything_of_the_guild_goes_and_nothing_else(self, store: SqlStore) -> None:
        second = replace(GUILD, account="bot2")
        for guild in (GUILD, replace(GUILD, guild="6"), second):
            await store.set_guild(guild, GuildSettings(settings=ALL, trigger="always"))
        assert await store.trigger(GUILD) == "always"
        there = (GROUP, OTHER, replace(GROUP, thread=""))
        others = (replace(GROUP, chat="of guild 6"), replace(GROUP, account="bot2"), replace(GROUP, chat="no guild"))
        for number, key in enumerate(there):
            await in_guild(store, f"{number}", key=key)
        for number, (key, name) in enumerate(zip(others, ("6", "5", ""), strict=True)):
            await in_guild(store, f"o{number}", key=key, guild=name)
        claims = [await claimed(store) for _ in range(3)]
        received = await store.receive(self.left(), Triage.PENDING)
        assert sorted(received.superseded) == sorted(claim.id for claim in claims)
        assert [await store.find_conversation(key) for key in there] == [None] * 3
        assert await store.guild(GUILD) == GuildSettings()
        assert await store.trigger(GUILD) is None
        for key in others:
            assert await store.find_conversation(key) is not None
        for kept in (replace(GUILD, guild="6"), second):
            assert await store.trigger(kept) == "always"
        assert await store.pending() == 3

    async def test_it_is_heard_once_and_what_comes_again_after_it_begins_anew(self, store: SqlStore) -> None:
        await in_guild(store, "1")
        await answer(store)
        await store.receive(self.left(), Triage.PENDING)
        await store.set_guild(GUILD, GuildSettings(trigger="always"))
        await in_guild(store, "1", "the same again")
        assert await store.pending() == 0
        await in_guild(store, "2", "hello again")
        assert (await store.receive(self.left(), Triage.PENDING)).duplicate
        assert await store.trigger(GUILD) == "always"
        assert (await claimed(store)).event.text == "hello again"

    async def test_sqlite_keeps_no_byte_of_it(self, tmp_path: Path) -> None:
        store = await SqlStore.open(f"sqlite+aiosqlite:///{tmp_path / 'hearth.db'}", default_retention_days=30)
        await store.set_guild(GUILD, GuildSettings(settings=Settings(system_prompt="xyzzy")))
        await store.receive(self.left(), Triage.PENDING)
        assert [path.name for path in tmp_path.iterdir() if path.is_file() and b"xyzzy" in path.read_bytes()] == []
        await store.aclose()


async def test_processes_that_share_a_database_hear_of_a_change(postgres_url: str) -> None:
    """Of what conversations are given at once; of the trigger within a minute."""
    one, two = [await SqlStore.open(postgres_url, default_retention_days=30) for _ in range(2)]
    assert await two.trigger(GUILD) is None
    await one.set_guild(GUILD, GuildSettings(settings=ALL, trigger="always"))
    await in_guild(two, "1")
    assert (await claimed(two)).conversation.around == ALL
    assert await one.trigger(GUILD) == "always"
    assert two._triggers._lasts == 60.0
    for store in (one, two):
        await store.aclose()
