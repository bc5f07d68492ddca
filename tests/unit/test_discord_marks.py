"""How far a bot on Discord has heard: what is not safe is never behind the mark."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import discord
from hypothesis import given
from hypothesis import strategies as st

from adapters.discord.marks import MARGIN, Marks, since

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def test_nothing_is_known_at_first() -> None:
    assert Marks().value == 0


def test_the_mark_is_below_what_is_not_safe() -> None:
    marks = Marks()
    for number in (10, 20, 30):
        marks.begin(number)
    marks.done(20)
    marks.done(30)
    assert marks.value == 9
    marks.done(10)
    assert marks.value == 30


def test_what_comes_late_is_read_again() -> None:
    """Messages of two channels: the second one's id is the lower."""
    marks = Marks()
    marks.begin(20)
    marks.done(20)
    marks.begin(15)
    assert marks.value == 14
    marks.done(15)
    assert marks.value == 20


def test_a_start_never_goes_back() -> None:
    marks = Marks()
    marks.start(20)
    marks.start(10)
    assert marks.value == 20


def test_while_something_may_be_missed_the_mark_stays() -> None:
    marks = Marks()
    marks.start(10)
    marks.freeze()
    marks.begin(20)
    marks.done(20)
    assert marks.value == 10
    marks.freeze()
    assert marks.value == 10, "a second pause within the first"
    marks.thaw()
    assert marks.value == 20


def test_what_was_dropped_is_to_be_read() -> None:
    marks = Marks()
    marks.start(10)
    marks.begin(15)
    marks.begin(20)
    marks.done(20)
    marks.drop()
    assert marks.value == 14
    marks.begin(30)
    marks.done(30)
    assert marks.value == 14
    marks.thaw()
    assert marks.value == 30


@given(st.lists(st.tuples(st.sampled_from(["begin", "done", "freeze", "thaw"]), st.integers(1, 20)), max_size=60))
def test_whatever_happens_the_mark_is_below_what_is_open(steps: list[tuple[str, int]]) -> None:
    marks, open_, frozen = Marks(), set[int](), False
    for name, number in steps:
        if name == "begin":
            marks.begin(number)
            open_.add(number)
        elif name == "done" and number in open_:
            marks.done(number)
            open_.discard(number)
        elif name == "freeze":
            marks.freeze()
            frozen = True
        elif name == "thaw":
            marks.thaw()
            frozen = False
        if open_ and not frozen:
            assert marks.value < min(open_)


def at(moment: datetime) -> int:
    return discord.utils.time_snowflake(moment)


def moment_of(mark: int, joined: datetime | None = None) -> datetime:
    return discord.utils.snowflake_time(since(mark, most=DAY, joined=joined, now=NOW))


def test_a_channel_is_read_from_a_little_before_the_mark() -> None:
    assert moment_of(at(NOW - timedelta(hours=1))) == NOW - timedelta(hours=1) - MARGIN


def test_of_a_long_pause_the_last_day_is_read() -> None:
    assert moment_of(at(NOW - timedelta(days=9))) == NOW - DAY
    assert moment_of(0) == NOW - DAY


def test_what_was_said_before_the_bot_came_is_not_read() -> None:
    joined = NOW - timedelta(minutes=10)
    assert moment_of(at(NOW - timedelta(hours=1)), joined) == joined
    assert moment_of(at(NOW - timedelta(minutes=5)), joined) == NOW - timedelta(minutes=5) - MARGIN
