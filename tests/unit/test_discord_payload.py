"""What the bot says, as Discord takes it: each body is held against Discord's own specification."""

from __future__ import annotations

from adapters.discord import payload
from adapters.discord.payload import BUTTON, EPHEMERAL, GREY, RED, ROW, SELECT, SUPPRESS_EMBEDS, TEXT, VERSION_2
from bot.messages import Button, Outgoing
from tests.discord_fake import content
from tests.discord_fake.errors import Json
from tests.discord_fake.spec import api

STOP, RETRY = Button("stop:7", "Stop"), Button("retry:7", "Retry")
CLOSE = Button("choose:close", "Close")


def made(what: Outgoing) -> Json:
    """A new message, which Discord takes, also as an interaction's."""
    body = payload.message(what)
    operation, _ = api().find("POST", "/channels/1/messages")
    if not what.private:
        api().body(operation, body)
    content.draft(body, {}, interaction=what.private)
    return body


def edited(what: Outgoing) -> Json:
    """The same as an edit."""
    body = payload.edit(what)
    operation, _ = api().find("PATCH", "/channels/1/messages/2")
    api().body(operation, body)
    return body


def choices(count: int, group: str, chosen: int = 0) -> tuple[Button, ...]:
    return tuple(Button(f"choose:{group}:{n}", f"{group} {n}", group=group, chosen=n == chosen) for n in range(count))


def test_a_message_pings_nobody_and_shows_no_cards() -> None:
    body = made(Outgoing(text="@everyone see https://example.org", nonce="n" * 24))
    assert body["allowed_mentions"] == {"parse": [], "replied_user": False}
    assert body["flags"] == SUPPRESS_EMBEDS
    assert (body["nonce"], body["enforce_nonce"]) == ("n" * 24, True)
    assert "nonce" not in made(Outgoing(text="hello"))


def test_an_edit_pings_nobody_either_and_takes_files_away() -> None:
    body = edited(Outgoing(text="@everyone"))
    assert body["allowed_mentions"] == {"parse": [], "replied_user": False}
    assert (body["attachments"], body["flags"]) == ([], SUPPRESS_EMBEDS)


def test_what_is_private_is_seen_by_one_person() -> None:
    assert made(Outgoing(text="hello", private=True))["flags"] == SUPPRESS_EMBEDS | EPHEMERAL
    assert made(Outgoing(text="hello", private=True, form=True))["flags"] == EPHEMERAL | VERSION_2


def test_markdown_is_discord_s_unless_it_is_to_be_shown_letter_by_letter() -> None:
    table = "| a | b |\n|---|---|\n| c | d |"
    assert made(Outgoing(text=table))["content"].startswith("```\n")
    assert made(Outgoing(text=table, plain=True))["content"] == table


def test_stop_is_red_and_buttons_stand_five_in_a_row() -> None:
    body = made(Outgoing(text="hello", buttons=(STOP, *(Button(f"retry:{n}", f"Retry {n}") for n in range(6)))))
    rows = body["components"]
    assert [row["type"] for row in rows] == [ROW, ROW]
    assert [len(row["components"]) for row in rows] == [5, 2]
    assert [button["style"] for button in rows[0]["components"]] == [RED, GREY, GREY, GREY, GREY]
    assert {button["type"] for row in rows for button in row["components"]} == {BUTTON}
    assert made(Outgoing(text="hello"))["components"] == [], "an edit takes them away"


def test_a_form_has_no_content_but_its_text_as_a_component() -> None:
    what = Outgoing(text="The settings", buttons=(*choices(3, "Persona"), *choices(4, "Model", 2), CLOSE), form=True)
    for body in (made(what), edited(what)):
        assert body["flags"] == VERSION_2
        assert not body.get("content")
        text, persona, model, buttons = body["components"]
        assert text == {"type": TEXT, "content": "The settings"}
        (first,), (second,), (close,) = (row["components"] for row in (persona, model, buttons))
        assert (first["type"], first["placeholder"], len(first["options"])) == (SELECT, "Persona", 3)
        assert [option["default"] for option in second["options"]] == [False, False, True, False]
        assert first["custom_id"] != second["custom_id"]
        assert (close["label"], close["custom_id"]) == ("Close", "choose:close")
    assert edited(what)["content"] is None, "what was talk before loses it"


def test_a_form_without_words_is_a_form_all_the_same() -> None:
    assert made(Outgoing(text="", form=True))["components"] == [{"type": TEXT, "content": "-"}]


def test_labels_are_cut_where_discord_would_refuse_them() -> None:
    long = "x" * 200
    what = Outgoing(text="?", form=True, buttons=(Button("choose:a:1", long, group=long), Button("choose:close", long)))
    _, select, buttons = made(what)["components"]
    assert len(select["components"][0]["options"][0]["label"]) == 100
    assert len(select["components"][0]["placeholder"]) == 100
    assert len(buttons["components"][0]["label"]) == 80
