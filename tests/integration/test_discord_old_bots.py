"""The oldest bots have another id than their application: commands are the application's."""

from __future__ import annotations

from pathlib import Path

from tests.discord_fake import serving
from tests.discord_house import discord_house


async def test_the_commands_of_an_old_bot(tmp_path: Path) -> None:
    async with serving() as server:
        server.world.scene.portal = {"id": "77"}
        ada = server.world.user("Ada")
        async with discord_house(tmp_path, server) as house:
            channel = server.world.dm(ada)
            await server.wait_for(lambda: "help" in channel.offers(ada), "the commands")
            asked = channel.command(ada, "help")
            await server.wait_for(lambda: asked.answered, "an answer")
            await house.settled()
        assert "/help - lists the commands" in channel.texts_of_bot()[0]
