"""The methods of the Bot API that this server knows; any other one is answered with a loud 501."""

from __future__ import annotations

from tests.telegram.methods import about, answering, chats, editing, files, sending, updating
from tests.telegram.platform import Handler

HANDLERS: dict[str, Handler] = {
    **updating.HANDLERS,
    **sending.HANDLERS,
    **editing.HANDLERS,
    **files.HANDLERS,
    **answering.HANDLERS,
    **chats.HANDLERS,
    **about.HANDLERS,
}
