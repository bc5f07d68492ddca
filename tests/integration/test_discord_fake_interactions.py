"""Buttons, menus and commands on the Discord stand-in, answered by discord.py."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import discord
import pytest
from discord import app_commands

from tests.discord_fake import DiscordServer, serving
from tests.discord_fake.client import Listener, running

Answer = Callable[[discord.Interaction], Awaitable[None]]


class Bot(Listener):
    """Answers every interaction with what the test says; commands are in its tree."""

    def __init__(self, answer: Answer | None = None) -> None:
        super().__init__()
        self.tree = app_commands.CommandTree(self)
        self.answer = answer
        self.errors: list[BaseException] = []
        self.tree.error(self.failed)

    async def failed(self, _: discord.Interaction, error: app_commands.AppCommandError) -> None:
        self.errors.append(error)

    async def on_interaction(self, interaction: discord.Interaction) -> None:
        if self.answer is not None:
            try:
                await self.answer(interaction)
            except (AssertionError, discord.HTTPException) as error:
                self.errors.append(error)


def everywhere(command: Any) -> Any:
    installs = app_commands.allowed_installs(guilds=True, users=True)
    return installs(app_commands.allowed_contexts(guilds=True, dms=True, private_channels=True)(command))


@asynccontextmanager
async def answering(bot: Bot) -> AsyncIterator[DiscordServer]:
    async with serving() as server, running(server, bot):
        await server.wait_for(lambda: bot.of("ready"), "READY")
        await bot.tree.sync()
        yield server
        assert bot.errors == []


async def two_buttons(server: DiscordServer, bot: Bot) -> tuple[Any, Any, Any]:
    ada = server.world.user("Ada")
    channel = server.world.guild("Ferns", ada).text("general")
    view = discord.ui.View(timeout=None)
    view.add_item(discord.ui.Button(label="Stop", custom_id="stop"))
    select: discord.ui.Select[discord.ui.View] = discord.ui.Select(custom_id="model", max_values=2)
    for name in ("small", "large"):
        select.add_option(label=name.title(), value=name)
    view.add_item(select)
    await bot.get_partial_messageable(channel.id, guild_id=1).send("choose", view=view)
    return ada, channel, channel.from_bot[0]


async def test_a_press_can_change_the_message() -> None:
    async def answer(interaction: discord.Interaction) -> None:
        pressed: Any = interaction.data
        assert pressed["custom_id"] == "stop"
        await interaction.response.edit_message(content="stopped", view=None)

    bot = Bot(answer)
    async with answering(bot) as server:
        ada, channel, message = await two_buttons(server, bot)
        pressed = channel.press(ada, message, "Stop")
        await server.wait_for(lambda: pressed.answered)
        assert (channel.texts_of_bot(), message.components, pressed.kind) == (["stopped"], [], 7)
        assert 0 < pressed.waited < 60
        await server.wait_for(lambda: len(bot.of("raw_message_edit")) == 1)


async def test_a_choice_can_be_acknowledged_and_worked_on() -> None:
    async def answer(interaction: discord.Interaction) -> None:
        await interaction.response.defer()
        chosen: Any = interaction.data
        await interaction.edit_original_response(content=" ".join(chosen["values"]))
        await interaction.followup.send("done", ephemeral=True)

    bot = Bot(answer)
    async with answering(bot) as server:
        ada, channel, message = await two_buttons(server, bot)
        chosen = channel.select(ada, message, "model", "small", "large")
        await server.wait_for(lambda: chosen.texts == ["done"])
        assert channel.texts_of_bot() == ["small large", "done"]
        assert [m.ephemeral for m in channel.from_bot] == [False, True]
        # What only Ada sees is in no list, and nobody is told of it.
        assert [m.content for m in channel.messages] == ["small large"]
        assert [m.id for m in bot.of("message")] == [message.id]


async def test_a_command_is_deferred_and_answered_in_private() -> None:
    bot = Bot()
    seen: list[Any] = []

    @bot.tree.command(description="Ask")
    @everywhere
    async def ask(interaction: discord.Interaction, text: str, times: int, file: discord.Attachment) -> None:
        seen.append((text, times, await file.read(), interaction.context.dm_channel))
        await interaction.response.defer(ephemeral=True, thinking=True)
        await interaction.followup.send("first", file=discord.File(io.BytesIO(b"a"), "a.txt"))
        second = await interaction.followup.send("second", wait=True)
        await second.edit(content="2nd")
        await interaction.delete_original_response()

    async with answering(bot) as server:
        ada = server.world.user("Ada")
        chat = server.world.dm(ada)
        used = chat.command(ada, "ask", text="why", times=2, file=chat.upload(("q.txt", b"words")))
        await server.wait_for(lambda: used.texts == ["2nd"])
        assert seen == [("why", 2, b"words", True)]
        original = used.original
        # The first follow-up takes the place of "is thinking", and stays as private as that was.
        assert original is not None
        assert (original.edits, original.ephemeral, original.deleted) == (["", "first"], True, True)
        assert [m.ephemeral for m in used.followups] == [False]


async def test_suggestions_come_while_somebody_types() -> None:
    bot = Bot()

    @bot.tree.command(description="Choose")
    @everywhere
    async def model(interaction: discord.Interaction, name: str) -> None:
        await interaction.response.send_message(name)

    @model.autocomplete("name")
    async def names(interaction: discord.Interaction, current: str) -> list[app_commands.Choice[str]]:
        return [app_commands.Choice(name=n, value=n) for n in ("small", "smart", "large") if n.startswith(current)]

    async with answering(bot) as server:
        ada = server.world.user("Ada")
        chat = server.world.dm(ada)
        asked = chat.autocomplete(ada, "model", "name", name="sm")
        await server.wait_for(lambda: asked.choices == ["small", "smart"])
        used = chat.command(ada, "model", name="small")
        await server.wait_for(lambda: used.texts == ["small"])
        await server.wait_for(lambda: [m.author.id for m in bot.of("message")] == [server.world.bot.id])


async def test_a_menu_command_brings_the_message_and_a_group_its_subcommands() -> None:
    bot = Bot()
    seen: list[str] = []

    @bot.tree.context_menu(name="Transcribe")
    @everywhere
    async def transcribe(interaction: discord.Interaction, message: discord.Message) -> None:
        seen.append(message.content)
        await interaction.response.send_message("text", ephemeral=True)

    group = app_commands.Group(name="settings", description="Settings")

    @group.command(description="Persona")
    async def persona(interaction: discord.Interaction, who: discord.Member) -> None:
        seen.append(who.display_name)
        await interaction.response.send_message("ok")

    bot.tree.add_command(group)
    async with answering(bot) as server:
        ada = server.world.user("Ada")
        channel = server.world.guild("Ferns", ada).text("general")
        used = channel.menu(ada, "Transcribe", channel.say(ada, "hello"))
        await server.wait_for(lambda: used.texts == ["text"])
        used = channel.command(ada, "settings persona", who=ada)
        await server.wait_for(lambda: used.texts == ["ok"])
        assert seen == ["hello", "Ada"]
        assert [message.json["type"] for message in channel.from_bot] == [23, 20]


async def test_commands_are_shown_to_those_who_may_and_where_they_belong() -> None:
    bot = Bot()

    @bot.tree.command(description="For moderators")
    @app_commands.default_permissions(manage_guild=True)
    @app_commands.guild_only()
    async def admin(interaction: discord.Interaction) -> None:
        await interaction.response.send_message("ok")

    @bot.tree.command(description="For all")
    @everywhere
    async def usage(interaction: discord.Interaction) -> None:
        await interaction.response.send_message("ok")

    async with answering(bot) as server:
        world = server.world
        ada, bob = world.user("Ada"), world.user("Bob")
        inside, outside = world.guild("Ferns", ada, bob), world.guild("Elsewhere", bob, ada, with_bot=False)
        here, there = inside.text("general"), outside.text("general")
        assert (here.offers(ada), here.offers(bob), world.dm(bob).offers(bob)) == (
            ["admin", "usage"],
            ["usage"],
            ["usage"],
        )
        assert (there.offers(ada), world.dm_between(ada, bob).offers(ada)) == ([], [])
        world.install_for(ada)
        assert (there.offers(ada), world.dm_between(ada, bob).offers(ada)) == (["usage"], ["usage"])
        with pytest.raises(AssertionError):
            here.command(bob, "admin")


async def test_an_app_of_the_user_answers_where_the_bot_is_not() -> None:
    bot = Bot()

    @bot.tree.command(description="Ask")
    @everywhere
    async def ask(interaction: discord.Interaction) -> None:
        await interaction.response.send_message("0")
        for number in range(1, 6):
            await interaction.followup.send(str(number))
        try:
            await interaction.followup.send("6")
        except discord.HTTPException as error:
            codes.append(error.code)

    codes: list[int] = []
    async with answering(bot) as server:
        world = server.world
        ada, bob = world.user("Ada"), world.user("Bob")
        world.install_for(ada)
        elsewhere = world.guild("Elsewhere", bob, ada, with_bot=False).text("general")
        for place in (elsewhere, world.dm_between(ada, bob)):
            used = place.command(ada, "ask")
            await server.wait_for(lambda used=used: len(used.texts) == 6)  # type: ignore[misc]
            assert used.owners == {"1": str(ada.id)}
        await server.wait_for(lambda: codes == [40094, 40094])
        assert bot.of("message") == []
        assert [guild for guild in bot.guilds if guild.me in guild.members] == []


async def test_an_interaction_must_be_answered_in_three_seconds_and_once() -> None:
    gate = asyncio.Event()
    outcomes: list[int] = []

    async def answer(interaction: discord.Interaction) -> None:
        await gate.wait()
        for _ in range(2):
            try:
                # discord.py remembers that it answered; a second process would not.
                interaction.response._response_type = None
                await interaction.response.defer()
            except discord.HTTPException as error:
                outcomes.append(error.code)

    bot = Bot(answer)
    async with answering(bot) as server:
        ada, channel, message = await two_buttons(server, bot)
        late = channel.press(ada, message, "stop")
        server.world.scene.pass_(4)
        assert late.failed()
        gate.set()
        await server.wait_for(lambda: len(outcomes) == 2)
        in_time = channel.press(ada, message, "stop")
        await server.wait_for(lambda: len(outcomes) == 3)
        assert (outcomes, late.answered, in_time.kind) == ([10062, 10062, 40060], False, 6)


async def test_a_token_is_good_for_fifteen_minutes() -> None:
    gate = asyncio.Event()
    codes: list[int] = []

    async def answer(interaction: discord.Interaction) -> None:
        await interaction.response.defer(thinking=True)
        await gate.wait()
        try:
            await interaction.edit_original_response(content="too late")
        except discord.HTTPException as error:
            codes.append(error.code)

    bot = Bot(answer)
    async with answering(bot) as server:
        ada, channel, message = await two_buttons(server, bot)
        pressed = channel.press(ada, message, "stop")
        await server.wait_for(lambda: pressed.thinking)
        server.world.scene.pass_(16 * 60)
        gate.set()
        await server.wait_for(lambda: codes == [50027])
        assert pressed.texts == []


async def test_who_does_not_answer_first_has_no_webhook() -> None:
    codes: list[int] = []

    async def answer(interaction: discord.Interaction) -> None:
        try:
            await interaction.followup.send("first")
        except discord.NotFound as error:
            codes.append(error.code)

    bot = Bot(answer)
    async with answering(bot) as server:
        ada, channel, message = await two_buttons(server, bot)
        channel.press(ada, message, "stop")
        await server.wait_for(lambda: codes == [10015])


async def test_a_layout_view_is_pressed_by_its_custom_id() -> None:
    async def answer(interaction: discord.Interaction) -> None:
        await interaction.response.send_message("pressed", ephemeral=True)

    bot = Bot(answer)
    async with answering(bot) as server:
        ada = server.world.user("Ada")
        chat = server.world.dm(ada)
        view = discord.ui.LayoutView()
        button: discord.ui.Button[discord.ui.LayoutView] = discord.ui.Button(label="Go", custom_id="go")
        view.add_item(discord.ui.Container(discord.ui.Section("Persona", accessory=button), discord.ui.Separator()))
        await bot.get_partial_messageable(chat.id).send(view=view)
        pressed = chat.press(ada, chat.from_bot[0], "go")
        await server.wait_for(lambda: pressed.texts == ["pressed"])
        assert pressed.ephemeral
