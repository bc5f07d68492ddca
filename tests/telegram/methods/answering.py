"""Answers to presses of buttons."""

from __future__ import annotations

from tests.telegram.errors import Json, bad_request
from tests.telegram.platform import Handler, Platform

QUERY_SECONDS = 300.0
"""After this an answer comes too late. The platform does not say how long it waits."""
_TEXT = 200


async def answer_callback_query(platform: Platform, given: Json) -> bool:
    """What the person who pressed is shown."""
    query = platform.scene.queries.get(given["callback_query_id"])
    if query is None or platform.scene.now() - query.pressed_at > QUERY_SECONDS:
        raise bad_request("query is too old and response timeout expired or query ID is invalid")
    if len(given.get("text", "")) > _TEXT:
        raise bad_request("MESSAGE_TOO_LONG")
    query.answer = {name: value for name, value in given.items() if name != "callback_query_id"}
    return True


HANDLERS: dict[str, Handler] = {"answerCallbackQuery": answer_callback_query}
