"""A database with a million messages, as years of running leave it: written by bulk SQL into the store's own tables.

Turn `i` is a question (message 2i + 1) and its answer (2i + 2). Every hundredth turn belongs to conversation 1, which so
has a hundredth of all messages; the others have 50 turns each, all of them interleaved in time. Closed answers, platform
messages, remembered events, counters and stored cuts are there as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    LargeBinary,
    String,
    and_,
    case,
    cast,
    create_engine,
    func,
    literal,
    make_url,
    null,
    select,
    text,
)

from bot.messages import AnswerState, Author, ConversationKey, Message, MessageState, Role
from storage.models import answers, conversations, events, messages, sent_parts, usage
from storage.values import micros, pack_event, pack_ids

STRIDE = 100
"""So many conversations go on at the same time."""
SHORT_TURNS = 50
"""Turns of every conversation but the first."""
BLOCK = STRIDE * SHORT_TURNS
CUT_EVERY = 7
"""Turns from one stored cut to the next: what 100 tokens a turn make of a window of 2,048."""
DAYS = 25
"""All of it is within the default retention."""
MINUTE = 60_000_000
PLATFORM, ACCOUNT = "memory", "bench"
TABLES = (conversations, messages, answers, sent_parts, events, usage)


@dataclass(frozen=True, slots=True)
class Talk:
    """What everybody says."""

    question: str
    answer: str
    answer_ids: tuple[int, ...]
    model: str


def key_of(conversation: int) -> ConversationKey:
    """Where the conversation with this id takes place."""
    return ConversationKey(PLATFORM, ACCOUNT, f"chat-{conversation}")


def conversation_of(turn: Any) -> Any:
    """Arithmetic that numbers and SQL columns both do: the conversation of a turn that is not the first one's."""
    return 1 + turn // BLOCK * (STRIDE - 1) + turn % STRIDE


def last_day(now: datetime) -> int:
    """Microseconds of the newest message."""
    return micros(now - timedelta(minutes=1))


class _Filler:
    """The statements, for so many turns."""

    def __init__(self, turns: int, talk: Talk, now: datetime) -> None:
        self._turns = turns
        self._talk = talk
        self._begin = last_day(now) - DAYS * 24 * 60 * MINUTE
        self._step = DAYS * 24 * 60 * MINUTE // (2 * turns)
        self._event = pack_event(
            Message(key=key_of(1), event_id="", author=Author("", ""), text="", sent_at=now, direct=True)
        )

    def fill(self, connection: Connection) -> None:
        """Every table, in the order of their references."""
        for table, statement in (
            (conversations, self._conversations()),
            (messages, self._messages()),
            (answers, self._answers()),
            (sent_parts, self._sent_parts()),
            (events, self._events()),
            (usage, self._usage()),
        ):
            names = [column.name for column in statement.selected_columns]
            connection.execute(table.insert().from_select(names, statement, include_defaults=False))

    def _numbers(self, count: int) -> Any:
        """0 to count - 1."""
        numbers = select(literal(0, BigInteger).label("n")).cte("numbers", recursive=True)
        return numbers.union_all(select(numbers.c.n + 1).where(numbers.c.n < count - 1)).c.n

    def _conversation(self, turn: Any) -> Any:
        return case((turn % STRIDE == 0, 1), else_=conversation_of(turn))

    def _place(self, conversation: Any) -> list[ColumnElement[Any]]:
        chat = literal("chat-") + cast(conversation, String)
        return [literal(PLATFORM).label("platform"), literal(ACCOUNT).label("account"), chat.label("chat")]

    def _time(self, message: Any) -> Any:
        return literal(self._begin) + message * literal(self._step)

    def _conversations(self) -> Any:
        """The first, and one for each other place of each block."""
        n = self._numbers(self._turns // BLOCK * (STRIDE - 1) + 1)
        conversation = n + 1
        block, place = (n - 1) // (STRIDE - 1), (n - 1) % (STRIDE - 1) + 1
        begun = case((n == 0, 0), else_=block * BLOCK + place)
        last = case((n == 0, self._turns - STRIDE), else_=block * BLOCK + (SHORT_TURNS - 1) * STRIDE + place)
        return select(
            conversation.label("id"),
            *self._place(conversation),
            literal("").label("thread"),
            literal(True).label("direct"),
            (literal("person-") + cast(conversation, String)).label("person"),
            (last * 2 + 2).label("head"),
            literal(datetime.now(UTC).date()).label("first_day"),
            self._time(begun * 2).label("created_at"),
        )

    def _messages(self) -> Any:
        n = self._numbers(2 * self._turns)
        turn, asked = n // 2, n % 2 == 0
        conversation, first = self._conversation(turn), turn % STRIDE == 0
        number = turn // STRIDE  # the turn's number in conversation 1; in the others, in their block
        begins = case((first, turn == 0), else_=number % SHORT_TURNS == 0)
        left = case((first, self._turns // STRIDE - 1 - number), else_=SHORT_TURNS - 1 - number % SHORT_TURNS)
        asker = literal("person-") + cast(conversation, String)
        ids = cast(literal(pack_ids(self._talk.answer_ids), LargeBinary), LargeBinary)
        values = {
            "id": n + 1,
            "conversation": conversation,
            "parent": case((and_(asked, begins), null()), (asked, 2 * (turn - STRIDE) + 2), else_=n),
            "answer": case((asked, null()), else_=turn + 1),
            "role": case((asked, Role.USER.value), else_=Role.ASSISTANT.value),
            "state": case((asked, MessageState.ANSWERED.value), else_=MessageState.FINAL.value),
            "placed": literal(True),
            "window_start": and_(asked, left % CUT_EVERY == 0),
            "created_at": self._time(n),
            "author_id": case((asked, asker), else_=null()),
            "author_name": case((asked, asker), else_=null()),
            "event_id": case((asked, literal("old-") + cast(turn, String)), else_=null()),
            "event": case((asked, literal(self._event)), else_=null()),
            "model": case((asked, null()), else_=literal(self._talk.model)),
            "prompt_tokens": case((asked, 0), else_=900),
            "cached_tokens": case((asked, 0), else_=800),
            "completion_tokens": case((asked, 0), else_=len(self._talk.answer_ids)),
            "token_ids": case((asked, null()), else_=ids),
            "text": case((asked, literal(self._talk.question)), else_=literal(self._talk.answer)),
        }
        return select(*(value.label(name) for name, value in values.items()))

    def _answers(self) -> Any:
        n = self._numbers(self._turns)
        return select(
            (n + 1).label("id"),
            self._conversation(n).label("conversation"),
            (2 * n + 1).label("question"),
            literal(PLATFORM).label("platform"),
            literal(ACCOUNT).label("account"),
            (2 * n + 1).label("position"),
            literal(AnswerState.DONE.value).label("state"),
            literal(1).label("attempt"),
            self._time(2 * n).label("received_at"),
            self._time(2 * n + 1).label("closed_at"),
        )

    def _sent_parts(self) -> Any:
        n = self._numbers(self._turns)
        return select(
            (n + 1).label("answer"),
            literal(0).label("number"),
            (literal("0123456789abcdef-") + cast(n, String)).label("nonce"),
            *self._place(self._conversation(n)),
            literal("").label("thread"),
            cast(n, String).label("message_id"),
        )

    def _events(self) -> Any:
        n = self._numbers(self._turns)
        return select(
            *self._place(self._conversation(n)),
            (literal("old-") + cast(n, String)).label("event_id"),
            literal(0).label("revision"),
            (2 * n + 1).label("message"),
            self._time(2 * n).label("seen_at"),
        )

    def _usage(self) -> Any:
        """One day for each conversation."""
        return select(
            conversations.c.platform,
            conversations.c.person.label("author"),
            conversations.c.first_day.label("day"),
            literal(self._talk.model).label("model"),
            literal(SHORT_TURNS).label("messages"),
            literal(SHORT_TURNS * 900).label("prompt_tokens"),
        )


def fill(url: str, message_count: int, talk: Talk) -> None:
    """Fill a database whose schema is there and whose tables are empty. `url` as in the configuration.

    `message_count` is a multiple of 10,000, so that every conversation is whole.
    """
    assert message_count % (2 * BLOCK) == 0, "whole blocks of conversations only"
    turns = message_count // 2
    engine = create_engine(make_url(url.replace("+aiosqlite", "")))
    with engine.begin() as connection:
        _Filler(turns, talk, datetime.now(UTC)).fill(connection)
        if engine.dialect.name == "postgresql":
            for table in (conversations, messages, answers):
                last = select(func.max(table.c.id)).scalar_subquery()
                connection.execute(select(func.setval(func.pg_get_serial_sequence(table.name, "id"), last)))
    if engine.dialect.name == "postgresql":  # as autovacuum will have done by itself
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
    engine.dispose()
