"""What a bot doesn't read without the intent for message content.

https://docs.discord.com/developers/events/gateway#message-content-intent
"""

from __future__ import annotations

from tests.discord_fake.errors import Json

_BLANK: Json = {"content": "", "attachments": [], "embeds": [], "components": []}


def without_content(message: Json, bot_id: int) -> Json:
    """A message of a guild as such a bot gets it: blank, unless it is the bot's own or mentions it."""
    found = dict(message)
    if isinstance(replied := message.get("referenced_message"), dict):
        found["referenced_message"] = without_content(replied, bot_id)
    involved = {message["author"]["id"], *(user["id"] for user in message["mentions"])}
    if str(bot_id) in involved:
        return found
    found.pop("message_snapshots", None)
    return found | _BLANK
