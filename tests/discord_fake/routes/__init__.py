"""The operations of the API that this server knows; any other one is answered with a loud 501."""

from __future__ import annotations

from tests.discord_fake.platform import Handler
from tests.discord_fake.routes import about, channels, commands, files, guilds, interactions, messages, threads, writing

HANDLERS: dict[str, Handler] = {
    **about.HANDLERS,
    **channels.HANDLERS,
    **writing.HANDLERS,
    **messages.HANDLERS,
    **threads.HANDLERS,
    **guilds.HANDLERS,
    **commands.HANDLERS,
    **interactions.HANDLERS,
    **files.HANDLERS,
}
