"""The Telegram stand-in holds each call against the documentation."""

from __future__ import annotations

from typing import Any

import pytest

from tests.telegram.errors import Misuse
from tests.telegram.spec import Upload, bot_api

FILE = Upload("a.txt", b"a", "text/plain")


def arguments(method: str, **given: Any) -> dict[str, Any]:
    return bot_api().arguments(method, given, {})


def test_text_of_a_form_becomes_values() -> None:
    form = {
        "chat_id": "-100123",
        "text": "5",
        "disable_notification": "true",
        "reply_parameters": '{"message_id":7}',
    }
    assert arguments("sendMessage", **form) == {
        "chat_id": -100123,
        "text": "5",
        "disable_notification": True,
        "reply_parameters": {"message_id": 7},
    }


def test_values_of_json_stay_as_they_are() -> None:
    assert arguments("getUpdates", offset=-1, allowed_updates=["message"]) == {
        "offset": -1,
        "allowed_updates": ["message"],
    }
    assert arguments("getChat", chat_id="@somewhere") == {"chat_id": "@somewhere"}


@pytest.mark.parametrize(
    ("method", "given", "code", "words"),
    [
        ("sendMesage", {}, 404, "method not found"),
        ("getMe", {"verbose": True}, 400, "there is no parameter verbose"),
        ("sendMessage", {"text": "a"}, 400, "parameter chat_id of sendMessage is required"),
        ("sendMessage", {"chat_id": 1}, 400, "parameter text of sendMessage is required"),
        ("sendMessage", {"chat_id": 1.5, "text": "a"}, 400, "chat_id must be of type Integer"),
        ("sendMessage", {"chat_id": True, "text": "a"}, 400, "chat_id must be of type Integer"),
        ("getUpdates", {"offset": "now"}, 400, "offset must be of type Integer"),
        ("getUpdates", {"allowed_updates": "message"}, 400, "allowed_updates must be an array"),
        ("getUpdates", {"allowed_updates": '["message",1]'}, 400, r"allowed_updates\[1\] must be of type String"),
        ("sendMessage", {"chat_id": 1, "text": "a", "disable_notification": "yes"}, 400, "must be of type Boolean"),
        ("sendMessage", {"chat_id": 1, "text": "a", "reply_parameters": "{}"}, 400, "must have message_id"),
        ("sendMessage", {"chat_id": 1, "text": "a", "reply_parameters": "{"}, 400, "must be an object"),
        ("sendMessage", {"chat_id": 1, "text": "a", "reply_markup": {"inline": []}}, 400, "has no field inline"),
        ("sendChatAction", {"chat_id": 1, "action": "thinking"}, 400, "action can't be 'thinking'"),
        ("setMyCommands", {"commands": [], "scope": {"type": "everywhere"}}, 400, "can't be 'everywhere'"),
        ("sendDocument", {"chat_id": 1, "document": "attach://a"}, 400, "the file of document did not come"),
    ],
)
def test_a_call_that_breaks_the_documentation_is_a_misuse(method: str, given: Any, code: int, words: str) -> None:
    with pytest.raises(Misuse, match=words) as caught:
        arguments(method, **given)
    assert caught.value.code == code


def test_a_file_comes_under_its_parameters_name_or_under_another_that_it_names() -> None:
    spec = bot_api()
    assert spec.arguments("sendDocument", {"chat_id": 1}, {"document": FILE})["document"] is FILE
    referring = {"chat_id": 1, "document": "attach://x"}
    assert spec.arguments("sendDocument", referring, {"x": FILE})["document"] is FILE
    with pytest.raises(Misuse, match="nothing refers to the file y"):
        spec.arguments("sendDocument", {"chat_id": 1, "document": "id"}, {"y": FILE})


def test_answers_and_updates_are_held_against_it_too() -> None:
    spec = bot_api()
    assert spec.returns("deleteMessage", True) == []
    assert spec.returns("deleteMessage", 1) == ["deleteMessage's result must be of type Boolean"]
    assert spec.complaints("Update", {"update_id": 1, "message": {"message_id": 1, "date": 0}}) == [
        "Update.message: Message must have chat"
    ]
    assert spec.complaints("Update", {"update_id": 1, "news": {}}) == ["Update: Update has no field news"]
