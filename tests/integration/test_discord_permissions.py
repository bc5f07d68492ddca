"""Who may, on Discord: by guild, channel, role and person; what the others are told, and that others do not see it."""

from __future__ import annotations

from itertools import count, product

from bot.strangers import REFUSED
from tests.discord_fake import Channel, Permission
from tests.discord_house import DiscordHouse, Ferns, discord_config

NOT_YOURS = "There is nothing here that I could answer again for you."
LEVELS = ("person", "role", "chat", "guild", "everybody")
"""The entries that name Ada where she writes."""
ELSEWHERE = ("another person", "another role", "another chat", "another guild")
_NUMBERS = count(1)


def entries(ferns: Ferns, channel: Channel, role: int) -> dict[str, str]:
    """Entries by what they name."""
    number = ferns.guild.id + 1
    here = (f"{ferns.ada.id}", f"role/{role}", f"chat/{channel.id}", f"guild/{ferns.guild.id}", "*")
    there = (f"{number}", f"role/{number}", f"chat/{number}", f"guild/{number}")
    return {name: f"discord:{entry}" for name, entry in zip((*LEVELS, *ELSEWHERE), (*here, *there), strict=True)}


def word(ferns: Ferns, channel: Channel) -> str:
    """What a stranger is told in a channel."""
    return (
        f"I do not know you here yet. My owner can let in you alone with the id discord:{ferns.ada.id}, or everybody in "
        f"this chat with discord:chat/{channel.id}"
    )


class Trial:
    """Ada tries all that she can in a channel of its own."""

    def __init__(self, ferns: Ferns, h: DiscordHouse, role: int) -> None:
        self.ferns = ferns
        self.h = h
        self.role = role

    def permit(self, **permissions: list[str]) -> None:
        """From now on these may."""
        self.h.app.config = discord_config(self.ferns.folder, self.ferns.server, permissions=permissions)

    async def channel(self) -> Channel:
        """A new channel, in which there is an answer to Olga."""
        self.permit(allow=["discord:*"])
        made = self.ferns.guild.text(f"channel-{next(_NUMBERS)}")
        made.say(self.ferns.olga, "hello", mention=self.ferns.bot)
        await self.h.answered(made, "You said: Olga: hello")
        return made

    async def tries(self, channel: Channel, *, told: str, pressed: str, heard: str | None) -> None:
        """A mention is answered with `told`, if anything; a press with `pressed`, and a command with `heard`, None: as it ought to be."""
        press = channel.press(self.ferns.ada, channel.from_bot[0], "Retry")
        await self.h.told(press, pressed)
        used = channel.command(self.ferns.ada, "history")
        await self.h.server.wait_for(lambda: used.texts, "a word")
        await self.h.settled()
        if heard is None:
            assert "Olga: hello" in used.texts[0]
        else:
            assert used.texts == [heard]
        before = len(channel.from_bot)
        channel.say(self.ferns.ada, "hello", mention=self.ferns.bot)
        marker = channel.command(self.ferns.ada, "usage")  # private, and behind what was said before it
        await self.h.server.wait_for(lambda: marker.texts, "a word")
        await self.h.settled()
        await self.h.server.wait_for(lambda: self._said(channel, before) == ([told] if told else []), f"{told!r}")
        assert all(message.ephemeral for one in (press, marker) for message in one.messages)
        assert used.ephemeral is (heard is not None)

    def _said(self, channel: Channel, before: int) -> list[str]:
        return [message.content for message in channel.from_bot[before:] if not message.ephemeral]


async def test_every_pair_of_allow_and_deny(ferns: Ferns) -> None:
    """A mention, a command and a press, by one who may, one who is denied, and one whom nobody has named."""
    role = ferns.guild.role("Cooks", Permission(0), ferns.ada).id
    pairs = product((None, *LEVELS, "another person"), (None, *LEVELS, "another role"))
    async with ferns.house() as h:
        trial = Trial(ferns, h, role)
        for allow, deny in pairs:
            channel = await trial.channel()
            named = entries(ferns, channel, role)
            trial.permit(allow=[named[allow]] if allow else [], deny=[named[deny]] if deny else [])
            if deny in LEVELS:
                await trial.tries(channel, told="", pressed=REFUSED, heard=REFUSED)
            elif allow in LEVELS:
                await trial.tries(channel, told="You said: Ada: hello", pressed=NOT_YOURS, heard=None)
            else:
                stranger = word(ferns, channel)
                await trial.tries(channel, told=stranger, pressed=stranger, heard=stranger)


async def test_every_entry_that_names_somebody_else(ferns: Ferns) -> None:
    role = ferns.guild.role("Cooks", Permission(0), ferns.ada).id
    async with ferns.house() as h:
        trial = Trial(ferns, h, role)
        for name in ELSEWHERE:
            channel = await trial.channel()
            named = entries(ferns, channel, role)
            trial.permit(allow=[named[name]])
            stranger = word(ferns, channel)
            await trial.tries(channel, told=stranger, pressed=stranger, heard=stranger)
            channel = await trial.channel()
            trial.permit(allow=["discord:*"], deny=[entries(ferns, channel, role)[name]])
            await trial.tries(channel, told="You said: Ada: hello", pressed=NOT_YOURS, heard=None)


async def test_what_holds_in_a_channel_holds_in_its_threads(ferns: Ferns) -> None:
    thread = ferns.general.thread(ferns.olga, "Moss")
    allow = [f"discord:{ferns.olga.id}", f"discord:chat/{ferns.general.id}"]
    other = ferns.guild.text("other").thread(ferns.olga, "Lichen")
    async with ferns.house(permissions={"allow": allow}) as h:
        thread.say(ferns.ada, "hello", mention=ferns.bot)
        await h.answered(thread, "You said: Ada: hello")
        other.say(ferns.ada, "hello", mention=ferns.bot)
        other.say(ferns.olga, "hello", mention=ferns.bot)
        await h.server.wait_for(lambda: len(other.from_bot) == 2, "the answer")
        await h.settled()
        assert "You said: Ada: hello" not in other.texts_of_bot()


async def test_roles_make_owners(ferns: Ferns) -> None:
    role = ferns.guild.role("Keepers", Permission(0), ferns.bea)
    async with ferns.house(permissions={"admins": [f"discord:role/{role.id}"]}) as h:
        ferns.general.say(ferns.ada, "/new", mention=ferns.bot)
        refused = "Here only who manages the server, or owns the bot, may change that."
        await h.answered(ferns.general, refused)
        ferns.general.say(ferns.bea, "/new", mention=ferns.bot)
        done = "A new conversation begins. What was said before is not in it."
        await h.answered(ferns.general, refused, done)
        ferns.general.say(ferns.olga, "/new", mention=ferns.bot)
        await h.answered(ferns.general, refused, done, done)


async def test_a_refused_command_is_refused_in_private(ferns: Ferns) -> None:
    """Those that change what others see are shown to who manages the server only; who is shown one all the same may not."""
    async with ferns.house() as h:
        for command in h.server.world.scene.commands:
            command["default_member_permissions"] = None  # as a server's owner can set it
        used = ferns.general.command(ferns.ada, "system", text="You are mine.")
        await h.told(used, "Here only who manages the server, or owns the bot, may change that.")
        assert used.ephemeral
        assert (await h.app.store.conversation(h.key(ferns.general))).settings.system_prompt is None


async def test_commands_for_those_who_manage_the_server_are_shown_to_nobody_else(ferns: Ferns) -> None:
    keeper = ferns.world.user("Kim")
    ferns.guild.join(keeper)
    ferns.guild.role("Keepers", Permission.MANAGE_GUILD, keeper)
    changing = {"new", "settings", "model", "persona", "system", "transcripts", "server"}
    async with ferns.house() as h:
        commands = {command["name"]: command for command in h.server.world.scene.commands}
        guarded = {name for name, command in commands.items() if command["default_member_permissions"] is not None}
        assert guarded == changing
        assert {commands[name]["default_member_permissions"] for name in guarded} == {str(int(Permission.MANAGE_GUILD))}
        assert set(ferns.general.offers(ferns.ada)) == commands.keys() - changing
        assert set(ferns.general.offers(keeper)) == set(ferns.general.offers(ferns.olga)) == commands.keys()
        assert "server" not in ferns.world.dm(ferns.ada).offers(ferns.ada), "there is no server there"
        assert "new" in ferns.world.dm(ferns.ada).offers(ferns.ada)


async def test_a_stranger_in_a_dm_is_told_an_id_and_nothing_is_kept(ferns: Ferns) -> None:
    dm = ferns.world.dm(ferns.ada)
    async with ferns.house(permissions={"allow": [f"discord:{ferns.bea.id}"]}) as h:
        dm.say(ferns.ada, "let me in")
        dm.say(ferns.ada, "please")
        told = f"I do not know you yet. My owner can let you in with this id: discord:{ferns.ada.id}"
        await h.answered(dm, told)
        used = dm.command(ferns.ada, "help")
        await h.told(used, told)
        assert await h.app.store.find_conversation(h.key(dm)) is None
        assert h.prompts() == []


async def test_what_is_read_back_has_its_authors_roles(ferns: Ferns) -> None:
    """Discord says them only of what it tells at once."""
    role = ferns.guild.role("Cooks", Permission(0), ferns.ada)
    left = ferns.world.user("Lea")
    ferns.guild.join(left)
    ferns.guild.give(left, role)
    permissions = {"allow": [f"discord:role/{role.id}"], "stranger_word_in_groups": ""}
    async with ferns.house(permissions=permissions) as h:
        ferns.general.say(ferns.ada, "one", mention=ferns.bot)
        await h.answered(ferns.general, "You said: Ada: one")
    ferns.general.say(left, "hello", mention=ferns.bot)
    ferns.general.say(ferns.bea, "hello", mention=ferns.bot)
    ferns.general.say(ferns.ada, "two", mention=ferns.bot)
    ferns.guild.rename(ferns.ada, "Countess")
    ferns.guild.leave(left)
    async with ferns.house(permissions=permissions) as h:
        await h.answered(ferns.general, "You said: Ada: one", "You said: Countess: two")
    ferns.general.say(ferns.ada, "three", mention=ferns.bot)
    permissions = {"allow": ["discord:*"], "deny": [f"discord:role/{role.id}"]}
    async with ferns.house(permissions=permissions) as h:
        ferns.general.say(ferns.bea, "four", mention=ferns.bot)
        await h.server.wait_for(lambda: "You said: Bea: four" in ferns.general.texts_of_bot(), "the answer")
        await h.settled()
        assert "You said: Countess: three" not in ferns.general.texts_of_bot()
