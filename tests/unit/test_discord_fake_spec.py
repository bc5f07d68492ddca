"""The Discord stand-in holds each request against the specification."""

from __future__ import annotations

from typing import Any

import pytest

from tests.discord_fake.errors import Misuse
from tests.discord_fake.spec import api

USER = {
    "id": "5",
    "username": "ada",
    "avatar": None,
    "discriminator": "0",
    "public_flags": 0,
    "flags": 0,
    "global_name": "Ada",
    "primary_guild": None,
}


def refusal(method: str, path: str, body: Any) -> Misuse:
    operation, _ = api().find(method, path)
    with pytest.raises(Misuse) as caught:
        api().body(operation, body)
    return caught.value


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("POST", "/channels/1/messages", "create_message"),
        ("GET", "/users/@me", "get_my_user"),
        ("GET", "/users/7", "get_user"),
        ("PATCH", "/webhooks/1/abc/messages/@original", "update_original_webhook_message"),
        ("PATCH", "/webhooks/1/abc/messages/7", "update_webhook_message"),
    ],
)
def test_a_path_with_fixed_words_goes_before_one_with_parameters(method: str, path: str, operation: str) -> None:
    assert api().find(method, path)[0].id == operation


def test_what_exists_and_is_left_out_is_told_from_what_does_not_exist() -> None:
    with pytest.raises(Misuse) as left_out:
        api().find("GET", "/guilds/1/bans")
    with pytest.raises(Misuse) as unknown:
        api().find("GET", "/guilds/1/ferns")
    assert (left_out.value.status, unknown.value.status) == (501, 404)


def test_an_error_says_where_it_is() -> None:
    button = {"type": 2, "style": 1, "label": "Stop", "custom_id": "x" * 101}
    body = {"content": "a", "components": [{"type": 1, "components": [button]}]}
    assert refusal("POST", "/channels/1/messages", body).body() == {
        "code": 50035,
        "message": "Invalid Form Body",
        "errors": {
            "components": {
                "0": {
                    "components": {
                        "0": {
                            "custom_id": {
                                "_errors": [
                                    {"code": "BASE_TYPE_MAX_LENGTH", "message": "Must be 100 or fewer in length."}
                                ]
                            }
                        }
                    }
                }
            }
        },
    }


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"contents": "a"}, "UNKNOWN_PROPERTY"),
        ({"content": 5}, "BASE_TYPE_INVALID"),
        ({"content": "a", "message_reference": {}}, "BASE_TYPE_REQUIRED"),
        ({"content": "a", "nonce": "x" * 26}, "nonce"),
        ({"embeds": [{"title": "x" * 257}]}, "256"),
        ({"embeds": [{"title": "x", "timestamp": "yesterday"}]}, "date-time"),
    ],
)
def test_a_slip_in_a_body_is_found(body: Any, words: str) -> None:
    assert words in str(refusal("POST", "/channels/1/messages", body).errors)


def test_ids_in_requests_may_be_numbers_and_in_answers_may_not() -> None:
    operation, _ = api().find("POST", "/channels/1/messages")
    api().body(operation, {"content": "a", "message_reference": {"message_id": 12}})
    assert api().complaints("UserResponse", USER) == []
    assert api().complaints("UserResponse", USER | {"id": 5}) != []


def test_a_query_becomes_values() -> None:
    operation, _ = api().find("GET", "/channels/1/messages")
    assert api().query(operation, {"limit": "7", "after": "12"}) == {"limit": 7, "after": "12"}
    for wrong in ({"limit": "101"}, {"limit": "x"}, {"after": "x"}, {"size": "1"}):
        with pytest.raises(Misuse):
            api().query(operation, wrong)


def test_an_answer_is_held_against_the_specification_too() -> None:
    operation, _ = api().find("GET", "/users/@me")
    pii = USER | {"mfa_enabled": True, "locale": "en-US"}
    assert api().returns(operation, 200, pii) == []
    assert api().returns(operation, 200, USER) != []
    assert api().returns(operation, 204, None) != []
