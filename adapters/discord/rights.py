"""What the bot has to be allowed, and the link with which it is invited to exactly that."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import discord

SEE, WRITE, READ_BACK = "view_channel", "send_messages", "read_message_history"
WRITE_IN_THREADS, OPEN_THREADS, ATTACH = "send_messages_in_threads", "create_public_threads", "attach_files"
RIGHTS: Final = {
    # Discord tells a bot of a channel, and takes its calls for it, only if it sees it.
    SEE: "see the channel",
    # POST /channels/ID/messages, and /typing.
    WRITE: "write",
    # The same where the channel is a thread, and PATCH /channels/ID for one that was archived.
    WRITE_IN_THREADS: "write in threads",
    # POST /channels/ID/messages/ID/threads, for a question that gets a thread of its own (groups.threads).
    OPEN_THREADS: "open threads",
    # A message with a file: long code (chat.code_file_lines).
    ATTACH: "send files",
    # GET /channels/ID/messages after a pause, the message at which a thread begins, and `message_reference`: replies.
    READ_BACK: "read the history",
}
"""The library's names of the rights, and what each is good for, behind "may not". Editing and deleting its own messages needs none."""


def invitation(application: int) -> str:
    """Where the bot is invited to a server, with these rights and its commands."""
    rights = discord.Permissions(**dict.fromkeys(RIGHTS, True))
    return discord.utils.oauth_url(application, permissions=rights, scopes=("bot", "applications.commands"))


def missing(has: discord.Permissions, wanted: Iterable[str]) -> str:
    """What of it the bot may not, in words; empty if it may all."""
    words = [RIGHTS[name] for name in wanted if not getattr(has, name)]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
