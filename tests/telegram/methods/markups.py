"""Keyboards under a message."""

from __future__ import annotations

from tests.telegram.errors import Json, bad_request

DATA_BYTES = 64
_ACTIONS = frozenset(
    {
        *("url", "callback_data", "web_app", "login_url", "switch_inline_query", "switch_inline_query_current_chat"),
        *("switch_inline_query_chosen_chat", "copy_text", "callback_game", "pay"),
    }
)


def inline_keyboard(given: Json) -> Json:
    """The reply_markup of a message as a field of it; other kinds of keyboard are not a part of a message."""
    rows = given.get("reply_markup", {}).get("inline_keyboard", [])
    for button in (button for row in rows for button in row):
        _check(button)
    kept = [row for row in rows if row]
    return {"reply_markup": {"inline_keyboard": kept}} if kept else {}


def _check(button: Json) -> None:
    if not button["text"]:
        raise bad_request("can't parse inline keyboard button: BUTTON_TEXT_EMPTY")
    actions = _ACTIONS & button.keys()
    if len(actions) != 1:
        raise bad_request("can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard")
    if "callback_data" in button and not 0 < len(button["callback_data"].encode()) <= DATA_BYTES:
        raise bad_request("BUTTON_DATA_INVALID")
