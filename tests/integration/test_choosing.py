"""The settings of a conversation under their buttons: shown, pressed, changed in place; who may; after a restart."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from bot.choices import GROUPS
from bot.config import Config
from bot.errors import DatabaseError, FloodWait, MessageGone, PlatformError, TextRefused, Unreachable
from bot.messages import Action, ActionName, Author, Limits, MessageRef, Outgoing, Settings
from bot.options import TITLES
from bot.testing import MemoryAdapter
from bot.testing_platform import Fault
from storage.store import SqlStore
from tests.house import ADA, BEA, House, configuration, house, place, until

OWNER = Author("9", "Owner")
ONLY_OWNERS = "In a group only the bot's owners may change that."


def configured(**sections: Any) -> Config:
    """With something to choose."""
    rich = {
        "models": {"big": {"path": "big.fake"}},
        "personas": {"pirate": {"system": "You are a pirate."}},
        "permissions": {"admins": ["memory:9"]},
    }
    return configuration(**(rich | sections))


def buttons() -> MemoryAdapter:
    return MemoryAdapter(limits=Limits(text=2000, seconds_per_call=0.0, buttons=True, private_answers=True))


def shown(h: House) -> Outgoing:
    """The message of settings."""
    return h.platform.messages[0].now


def labels(h: House) -> list[str]:
    return [button.label for button in shown(h).buttons]


async def press(h: House, label: str, **how: Any) -> None:
    """Press one of the buttons that are shown, and wait until all is done."""
    [found] = [button.id for button in shown(h).buttons if button.label == label]
    name, _, choice = found.partition(":")
    await h.press(ActionName(name), h.platform.messages[0].ref.message_id, choice=choice, **how)
    await obeyed(h)


async def obeyed(h: House) -> None:
    """Return when nothing is under way any more."""
    await until(lambda: not h.dispatcher._control.tasks, "the press to take effect")


OVERVIEW = [
    "Persona: default",
    "Model: default",
    "What I hear: above the answer",
    "Messages: kept for 30 days",
    "Close",
]
DAYS = ["Not kept", "Kept for 1 day", "Kept for 7 days", "Kept for 30 days", "Kept for 90 days"]


async def test_settings_are_shown_with_buttons(tmp_path: Path) -> None:
    async with house(tmp_path, configured(), platform=buttons()) as h:
        assert (await h.ask("/settings")).startswith("The settings of this conversation:\n\nPersona: default ")
        assert labels(h) == OVERVIEW


async def test_a_press_changes_a_setting_and_shows_that_in_place(tmp_path: Path) -> None:
    async with house(tmp_path, configured(), platform=buttons()) as h:
        await h.ask("/settings")
        await press(h, "Persona: default")
        assert labels(h) == ["✓ default", "pirate", "Back", "Close"]
        await press(h, "pirate")
        assert labels(h) == ["default", "✓ pirate", "Back", "Close"]
        assert shown(h).text == "The persona is pirate."
        await press(h, "Back")
        assert labels(h) == ["Persona: pirate", *OVERVIEW[1:]]
        assert len(h.platform.messages) == 1
        assert (await h.conversation()).settings == Settings(persona="pirate")
        await h.ask("hello")
        assert "You are a pirate." in h.prompts()[-1]


async def test_where_there_are_selects_all_choices_are_shown_at_once_and_stay(tmp_path: Path) -> None:
    platform = MemoryAdapter(limits=replace(buttons().limits, selects=True))
    async with house(tmp_path, configured(), platform=platform) as h:
        await h.ask("/settings")
        assert {button.group for button in shown(h).buttons} == {*(TITLES[name] for name in GROUPS), ""}
        await press(h, "pirate")
        await press(h, "Not kept")
        assert shown(h).form
        chosen = [button.label for button in shown(h).buttons if button.chosen]
        assert (chosen[0], chosen[-1]) == ("pirate", "Not kept")
        assert (await h.conversation()).settings == Settings(persona="pirate", retention_days=0)
        await press(h, "Close")
        assert (shown(h).buttons, shown(h).form) == ((), True)


@pytest.mark.parametrize(
    ("opened", "pressed", "after"),
    [
        ("Model: default", "big", Settings(model="big")),
        ("What I hear: above the answer", "Not shown", Settings(transcripts="never")),
        ("Messages: kept for 30 days", "Kept for 7 days", Settings(retention_days=7)),
    ],
)
async def test_every_setting_can_be_chosen(tmp_path: Path, opened: str, pressed: str, after: Settings) -> None:
    async with house(tmp_path, configured(), platform=buttons()) as h:
        await h.ask("/settings")
        await press(h, opened)
        await press(h, pressed)
        assert (await h.conversation()).settings == after


async def test_close_takes_the_buttons_away_and_leaves_what_holds(tmp_path: Path) -> None:
    async with house(tmp_path, configured(), platform=buttons()) as h:
        before = await h.ask("/settings")
        await press(h, "Persona: default")
        await press(h, "Close")
        assert (shown(h).text, shown(h).buttons) == (before, ())


async def test_a_press_does_not_wait_for_an_answer_that_is_being_made(tmp_path: Path) -> None:
    async with house(tmp_path, configured(), platform=buttons()) as h:
        await h.ask("/settings")
        h.engine.stall_after = 5
        await h.say("tell me")
        await until(lambda: h.engine.active == 1, "the answer")
        await press(h, "Model: default")
        assert labels(h)[0].startswith("✓ As the persona has it")
        assert h.engine.active == 1


async def test_a_button_of_a_persona_that_is_gone_shows_the_truth(tmp_path: Path) -> None:
    async with house(tmp_path, configured(), platform=buttons()) as h:
        await h.ask("/settings")
        await press(h, "Persona: default")
        h.config = configured(personas={"clown": {"system": "You are a clown."}})
        await press(h, "pirate")
        assert labels(h) == ["✓ default", "clown", "Back", "Close"]
        assert (await h.conversation()).settings == Settings()


async def test_buttons_work_after_a_restart(tmp_path: Path) -> None:
    platform = buttons()
    async with house(tmp_path, configured(), platform=platform) as h:
        await h.ask("/settings")
        await press(h, "Model: default")
    async with house(tmp_path, configured(), platform=platform) as h:
        await press(h, "big")
        assert labels(h)[2] == "✓ big"
        assert (await h.conversation()).settings == Settings(model="big")


async def test_a_press_that_is_told_twice_counts_once(tmp_path: Path) -> None:
    """The second time comes after the setting was changed otherwise: it must not be taken back."""
    async with house(tmp_path, configured(), platform=buttons()) as h:
        await h.ask("/settings")
        target = h.platform.messages[0].ref.message_id
        action = Action(
            key=place(),
            event_id="press",
            author=ADA,
            name=ActionName.CHOOSE,
            sent_at=datetime.now(UTC),
            target=target,
            choice="keep:7",
        )
        await h.inbox.receive(action)
        await obeyed(h)
        await h.ask("/privacy 1")
        await h.inbox.receive(action)
        await obeyed(h)
        assert (await h.conversation()).settings == Settings(retention_days=1)


# Who may


async def test_in_a_group_only_owners_press(tmp_path: Path) -> None:
    async with house(tmp_path, configured(), platform=buttons()) as h:
        await h.ask("/settings", group=True, author=OWNER)
        await press(h, "Model: default", author=BEA)
        assert h.texts()[1:] == [ONLY_OWNERS]
        assert h.platform.messages[1].reply_to == h.platform.messages[0].ref.message_id
        assert labels(h) == OVERVIEW
        await press(h, "Model: default", author=OWNER)
        await press(h, "big", author=ADA)
        assert (await h.conversation()).settings == Settings()
        await press(h, "big", author=OWNER)
        assert (await h.conversation()).settings == Settings(model="big")


async def test_in_a_group_others_are_shown_settings_without_buttons(tmp_path: Path) -> None:
    async with house(tmp_path, configured(), platform=buttons()) as h:
        assert (await h.ask("/settings", group=True)).startswith("The settings of this conversation:")
        assert labels(h) == []


async def test_a_strangers_press_is_nothing(tmp_path: Path) -> None:
    config = configured(permissions={"allow": ["memory:1"]})
    async with house(tmp_path, config, platform=buttons()) as h:
        await h.ask("/settings")
        await press(h, "Model: default", author=BEA)
        assert labels(h) == OVERVIEW
        assert len(h.platform.messages) == 1


async def test_the_buttons_of_a_conversation_that_is_forgotten_lead_nowhere(tmp_path: Path) -> None:
    async with house(tmp_path, configured(), platform=buttons()) as h:
        await h.ask("/settings")
        await h.ask("/forgetme")
        await press(h, "Messages: kept for 30 days")
        assert shown(h).text.startswith("The conversation that these buttons were about is not there any more.")
        assert shown(h).buttons == ()
        assert await h.store.find_conversation(place()) is None


# When something is in the way


@pytest.mark.parametrize("error", [FloodWait(0.01), Unreachable("timed out")])
async def test_a_platform_that_is_away_for_a_moment_shows_it_later(tmp_path: Path, error: PlatformError) -> None:
    async with house(tmp_path, configured(), platform=buttons()) as h:
        await h.ask("/settings")
        h.platform.faults.append(Fault(error, kind="edit"))
        await press(h, "Model: default")
        assert labels(h)[0] == "✓ As the persona has it (default)"


async def test_while_the_platform_is_slow_presses_hold_and_the_last_page_is_shown(tmp_path: Path) -> None:
    class Slow(MemoryAdapter):
        door = asyncio.Event()

        async def edit(self, message: MessageRef, what: Outgoing) -> None:
            await self.door.wait()
            await super().edit(message, what)

    async with house(tmp_path, configured(), platform=Slow(limits=buttons().limits)) as h:
        await h.ask("/settings")
        target = h.platform.messages[0].ref.message_id
        for choice in ("keep:1", "keep:90", "model", "keep:7"):
            await h.press(ActionName.CHOOSE, target, choice=choice)
        while (await h.conversation()).settings != Settings(retention_days=7):
            await asyncio.sleep(0.001)
        assert labels(h) == OVERVIEW
        await until(lambda: len(h.dispatcher._control.tasks) == 4, "all four to wait")
        Slow.door.set()
        await obeyed(h)
        assert [len(state.buttons) for state in h.platform.messages[0].states] == [5, 8, 8], "the first and the last"
        assert "✓ Kept for 7 days" in labels(h)


async def test_a_text_that_the_platform_cannot_parse_is_shown_plain(tmp_path: Path) -> None:
    class Strict(MemoryAdapter):
        async def edit(self, message: MessageRef, what: Outgoing) -> None:
            if not what.plain:
                raise TextRefused("can't parse entities")
            await super().edit(message, what)

    async with house(tmp_path, configured(), platform=Strict(limits=buttons().limits)) as h:
        await h.ask("/settings")
        await press(h, "Model: default")
        assert (shown(h).plain, labels(h)[-1]) == (True, "Close")


@pytest.mark.parametrize(
    ("error", "logged"), [(MessageGone("message to edit not found"), False), (PlatformError("no rights"), True)]
)
async def test_a_message_that_cannot_be_edited_is_let_be(tmp_path: Path, error: PlatformError, logged: bool) -> None:
    async with house(tmp_path, configured(), platform=buttons()) as h:
        await h.ask("/settings")
        h.platform.faults.append(Fault(error, kind="edit"))
        with capture_logs() as logs:
            await h.press(ActionName.CHOOSE, h.platform.messages[0].ref.message_id, choice="keep:7")
            await obeyed(h)
        assert any(entry["log_level"] == "warning" for entry in logs) is logged
        assert (await h.conversation()).settings == Settings(retention_days=7)
        assert len([call for call in h.platform.calls if call.kind == "edit"]) == 1
        assert len(h.platform.messages) == 1
        assert labels(h) == OVERVIEW


async def test_a_press_that_the_database_refuses_is_told(tmp_path: Path) -> None:
    class Full(SqlStore):
        async def set_settings(self, conversation: int, settings: Settings) -> None:
            raise DatabaseError("the disk is full")

    store = await Full.open(f"sqlite+aiosqlite:///{tmp_path / 'hearth.db'}", default_retention_days=30)
    async with house(tmp_path, configured(), platform=buttons(), store=store) as h:
        await h.ask("/settings")
        await press(h, "Model: default")
        await press(h, "big")
        assert h.texts()[1:] == ["That could not be written down. Please try again."]
        assert labels(h)[0].startswith("✓ As the persona has it")


async def test_presses_in_quick_succession_lose_none_of_each_other(tmp_path: Path) -> None:
    """Each reads the settings and writes them all: between the two comes no other press."""

    class Slow(SqlStore):
        async def set_settings(self, conversation: int, settings: Settings) -> None:
            await asyncio.sleep(0.02)
            await super().set_settings(conversation, settings)

    store = await Slow.open(f"sqlite+aiosqlite:///{tmp_path / 'hearth.db'}", default_retention_days=30)
    async with house(tmp_path, configured(), platform=buttons(), store=store) as h:
        await h.ask("/settings")
        target = h.platform.messages[0].ref.message_id
        for choice in ("keep:7", "transcripts:never", "keep:90"):
            await h.press(ActionName.CHOOSE, target, choice=choice)
        await obeyed(h)
        assert (await h.conversation()).settings == Settings(retention_days=90, transcripts="never")


async def test_an_odd_press_changes_nothing(tmp_path: Path) -> None:
    """Some clients send what they like."""
    async with house(tmp_path, configured(), platform=buttons()) as h:
        await h.ask("/settings")
        target = h.platform.messages[0].ref.message_id
        await h.press(ActionName.CHOOSE, target, choice="keep:1000000000000")
        await h.press(ActionName.CHOOSE, None, choice="keep:1")
        await h.press(ActionName.CHOOSE, "404", choice="persona:ffffffff")
        await obeyed(h)
        assert (await h.conversation()).settings == Settings()
        assert labels(h) == ["✓ As configured (kept for 30 days)", *DAYS, "Back", "Close"]
