"""Who may talk, who owns the bot, what becomes of an event, and how much is enough."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bot.config import GroupsConfig, PermissionsConfig
from bot.errors import NotAllowed
from bot.messages import Action, ActionName, Author, ConversationKey, Deleted, Edited, Left, Message, Migrated, Triage
from bot.permissions import RateLimit, always, is_admin, is_stranger, may_talk, named, triage

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CHAT = ConversationKey("telegram", "bot", "-100")
ADA = Author("42", "Ada", roles=frozenset({"7", "staff"}))
BOT = Author("99", "Other", is_bot=True)


def permissions(**entries: tuple[str, ...]) -> PermissionsConfig:
    return PermissionsConfig.model_validate(entries)


def message(
    author: Author = ADA, key: ConversationKey = CHAT, *, direct: bool = False, addressed: bool = False
) -> Message:
    return Message(key=key, event_id="1", author=author, text="hi", sent_at=NOW, direct=direct, addressed=addressed)


@pytest.mark.parametrize(
    "entry", ["telegram:42", "telegram:chat/-100", "telegram:role/7", "telegram:role/staff", "telegram:*"]
)
def test_a_person_is_named_by_id_by_chat_by_role_or_with_everybody(entry: str) -> None:
    assert may_talk(permissions(allow=(entry,)), ADA, CHAT)


@pytest.mark.parametrize(
    "entry",
    [
        "telegram:4",
        "telegram:421",
        "discord:42",
        "discord:*",
        "telegram:-100",
        "telegram:chat/42",
        "42",
        "*",
        "telegram:Ada",
    ],
)
def test_another_name_does_not_let_in(entry: str) -> None:
    assert not may_talk(permissions(allow=(entry,)), ADA, CHAT)


def test_nobody_is_let_in_who_is_not_named() -> None:
    assert not may_talk(permissions(), ADA, CHAT)


@pytest.mark.parametrize("entry", ["telegram:42", "telegram:chat/-100", "telegram:role/7", "telegram:*"])
def test_denied_beats_allowed_and_owner(entry: str) -> None:
    config = permissions(allow=("telegram:42", "telegram:*"), admins=("telegram:42",), deny=(entry,))
    assert not may_talk(config, ADA, CHAT)


def test_an_owner_may_talk_without_being_allowed() -> None:
    config = permissions(admins=("telegram:42",))
    assert may_talk(config, ADA, CHAT)
    assert is_admin(config, ADA, CHAT)
    assert not is_admin(config, Author("43", "Eve"), CHAT)


def test_another_bot_is_let_in_by_its_own_id_only() -> None:
    """Two bots that answer each other never end."""
    wide = permissions(allow=("telegram:*", "telegram:chat/-100"), admins=("telegram:*",))
    assert not may_talk(wide, BOT, CHAT)
    assert may_talk(permissions(allow=("telegram:99",)), BOT, CHAT)
    assert not may_talk(permissions(allow=("telegram:99",), deny=("telegram:99",)), BOT, CHAT)


def test_who_is_paired_may_talk_and_does_not_own_the_bot() -> None:
    assert may_talk(permissions(), ADA, CHAT, paired=True)
    assert not is_admin(permissions(), ADA, CHAT)
    assert not may_talk(permissions(deny=("telegram:42",)), ADA, CHAT, paired=True)
    assert not may_talk(permissions(), BOT, CHAT, paired=True)


def test_strangers_are_those_whom_a_pairing_would_let_in() -> None:
    assert is_stranger(permissions(), ADA, CHAT)
    for config in (
        permissions(allow=("telegram:42",)),
        permissions(deny=("telegram:*",)),
        permissions(admins=("telegram:42",)),
    ):
        assert not is_stranger(config, ADA, CHAT)
    assert not is_stranger(permissions(), BOT, CHAT)
    for place in (web("ann"), (ADA, ConversationKey("console", "local", "default"))):
        assert not is_stranger(permissions(deny=("web:*", "console:*")), *place)
        assert not is_stranger(permissions(), *place)


def test_what_the_paired_say_change_and_press_counts() -> None:
    edited = Edited(key=CHAT, event_id="1", revision=5, author=ADA, text="new", sent_at=NOW)
    press = Action(key=CHAT, event_id="2", author=ADA, name=ActionName.RETRY, sent_at=NOW)
    for event in (message(direct=True), edited, press):
        assert triage(permissions(), event, paired=True, remember_group_talk=False) is Triage.PENDING
        assert triage(permissions(), event, remember_group_talk=False) is not Triage.PENDING


def test_whoever_reaches_the_terminal_owns_the_bot() -> None:
    terminal = ConversationKey("console", "local", "default")
    config = permissions(deny=("console:*",))
    assert may_talk(config, ADA, terminal)
    assert is_admin(config, ADA, terminal)


ALLOWED = permissions(allow=("telegram:42",))


def web(person: str) -> tuple[Author, ConversationKey]:
    return Author(person, person), ConversationKey("web", "local", person, "one")


def test_whoever_has_a_token_for_the_page_may_talk_unless_denied() -> None:
    assert may_talk(permissions(), *web("ann"))
    assert not may_talk(permissions(deny=("web:ann",)), *web("ann"))
    assert not may_talk(permissions(deny=("web:*",)), *web("ann"))
    assert not is_admin(permissions(), *web("ann"))
    assert is_admin(permissions(admins=("web:ann",)), *web("ann"))


def test_the_owner_of_the_page_owns_the_bot_and_nobody_of_that_name_elsewhere() -> None:
    assert may_talk(permissions(deny=("web:*",)), *web("owner"))
    assert is_admin(permissions(), *web("owner"))
    assert not is_admin(permissions(), Author("owner", "owner"), CHAT)


def test_what_is_addressed_to_the_bot_is_answered() -> None:
    assert triage(ALLOWED, message(direct=True), remember_group_talk=False) is Triage.PENDING
    assert triage(ALLOWED, message(addressed=True), remember_group_talk=False) is Triage.PENDING


def test_group_talk_is_kept_only_where_the_setting_says_so() -> None:
    assert triage(ALLOWED, message(), remember_group_talk=False) is Triage.IGNORED
    assert triage(ALLOWED, message(), remember_group_talk=True) is Triage.CONTEXT


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("hearth", "hearth, what is it?"),
        ("hearth", "What do you say, Hearth?"),
        ("hearth", "HEARTH!"),
        ("Hearth", "ask hearth's opinion"),
        ("hearth", "hearths? no: hearth"),
        ("Öfchen", "o\u0308fchen, bist du da?"),
        ("Straße", "STRASSE?"),
        ("old hearth", "tell me, Old Hearth"),
        (" hearth ", "hearth?"),
        ("@hearth", "hi @hearth"),
        ("ﬁre", "fire?"),
        ("炉", "你好炉你在吗"),
        ("ホーム", "ﾎｰﾑさん"),
    ],
)
def test_a_name_is_heard_as_a_whole_word_in_any_spelling(name: str, text: str) -> None:
    said = replace(message(), text=text)
    for wanted in ((name,), ("other", name)):
        heard = named(GroupsConfig(names=wanted), said)
        assert heard == replace(said, addressed=True)
        assert triage(ALLOWED, heard, remember_group_talk=False) is Triage.PENDING


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("hearth", "hearths are warm"),
        ("hearth", "the ahearth"),
        ("hearth", "my_hearth"),
        ("hearth", "hearth2"),
        ("hearth", "heart h"),
        ("kami", "kamī\u0301"),
        ("की", "कींमत"),
        ("hearth", ""),
    ],
)
def test_a_part_of_a_word_is_no_name(name: str, text: str) -> None:
    said = replace(message(), text=text)
    assert named(GroupsConfig(names=(name,)), said) is said


def test_a_name_that_is_said_by_who_may_not_talk_is_not_answered() -> None:
    groups = GroupsConfig(names=("hi",), always=("telegram:*",))
    for author in (Author("43", "Eve"), BOT):
        heard = always(groups, named(groups, message(author)))
        assert triage(ALLOWED, heard, remember_group_talk=False) is Triage.IGNORED


@pytest.mark.parametrize("entry", ["telegram:chat/-100", "telegram:*", "telegram:42", "telegram:role/7"])
def test_where_everything_is_answered_it_need_not_be_addressed(entry: str) -> None:
    heard = always(GroupsConfig(always=(entry,)), message())
    assert triage(ALLOWED, heard, remember_group_talk=False) is Triage.PENDING
    elsewhere = message(key=replace(CHAT, platform="discord"))
    assert always(GroupsConfig(always=(entry,)), elsewhere) is elsewhere


def test_where_everything_is_answered_other_bots_still_have_to_say_a_name() -> None:
    """Also those that may talk: two bots in such a chat would never end."""
    groups, said = GroupsConfig(names=("hearth",), always=("telegram:*",)), message(BOT)
    assert always(groups, named(groups, said)) is said
    heard = named(groups, replace(said, text="hearth, hello"))
    assert triage(permissions(allow=("telegram:99",)), heard, remember_group_talk=False) is Triage.PENDING


@pytest.mark.parametrize("text", ["/stop@otherbot", " /help@otherbot please"])
def test_where_everything_is_answered_another_bots_command_is_not(text: str) -> None:
    said = replace(message(), text=text)
    assert always(GroupsConfig(always=("telegram:*",)), said) is said


def test_strangers_and_bots_are_not_stored() -> None:
    stranger = Author("43", "Eve")
    for author in (stranger, BOT):
        for keep in (True, False):
            said = message(author, direct=True, addressed=True)
            assert triage(ALLOWED, said, remember_group_talk=keep) is Triage.IGNORED


def test_a_strangers_button_press_does_nothing() -> None:
    press = Action(key=CHAT, event_id="2", author=Author("43", "Eve"), name=ActionName.RETRY, sent_at=NOW)
    assert triage(ALLOWED, press, remember_group_talk=False) is Triage.IGNORED


def test_a_change_of_what_is_stored_is_followed_whoever_sends_it() -> None:
    """A person who was denied since may still change and delete what was said; it is not answered anew."""
    eve = Author("43", "Eve")
    edited = Edited(key=CHAT, event_id="1", revision=5, author=eve, text="new", sent_at=NOW)
    deleted = Deleted(key=CHAT, event_id="1", sent_at=NOW)
    moved = Migrated(key=CHAT, event_id="m", new_chat="-200", sent_at=NOW)
    left = Left(key=CHAT, event_id="l", sent_at=NOW)
    for event in (replace(edited, author=ADA), deleted, moved, left):
        assert triage(ALLOWED, event, remember_group_talk=False) is Triage.PENDING
    assert triage(ALLOWED, edited, remember_group_talk=False) is Triage.CONTEXT


def refusal(limit: RateLimit, second: float, author: str = "42") -> str | None:
    """The words of a refusal, or None if there was none."""
    try:
        limit.admit("telegram", author, NOW + timedelta(seconds=second), 2)
    except NotAllowed as error:
        return error.words
    return None


TOLD = "That was more than 2 messages in a minute. Please wait a little and ask again."


def test_so_many_messages_in_a_minute_and_no_more() -> None:
    limit = RateLimit()
    assert [refusal(limit, second) for second in (0, 10, 20)] == [None, None, TOLD]
    assert refusal(limit, 59.9) == ""
    assert refusal(limit, 60) is None
    assert refusal(limit, 61) == ""


def test_the_limit_is_told_once_a_minute() -> None:
    limit = RateLimit()
    words = [refusal(limit, second) for second in (0, 1, 2, 3, 50, 60, 61, 61.5, 62, 63)]
    assert words == [None, None, TOLD, "", "", None, None, "", TOLD, ""]


def test_what_was_refused_does_not_count() -> None:
    limit = RateLimit()
    for second in range(60):
        refusal(limit, second)
    assert refusal(limit, 60) is None


def test_one_person_does_not_use_up_anothers_limit() -> None:
    limit = RateLimit()
    for second in range(5):
        refusal(limit, second)
    assert refusal(limit, 5, "43") is None


def test_who_wrote_nothing_for_a_while_is_not_remembered() -> None:
    """A busy bot that runs for months must not keep a line for everybody who ever wrote."""
    limit = RateLimit()
    for author in range(1000):
        refusal(limit, author / 100, str(author))
    refusal(limit, 120, "42")
    assert len(limit._received) == 1
