"""Tokens, sessions and failed logins, without a network."""

from __future__ import annotations

from pathlib import Path

from adapters.web.sessions import (
    FAILURE_SECONDS,
    FAILURES,
    NETWORKS,
    SESSION_SECONDS,
    SESSIONS_EACH,
    Failures,
    People,
    Sessions,
)
from bot.config import WebConfig

OWNER, ANN = "token-of-the-owner", "token-of-somebody-else"
PEOPLE = People(WebConfig(token=OWNER, people={"ann": ANN}))


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_a_token_is_one_person_s() -> None:
    assert PEOPLE.who(OWNER) == "owner"
    assert PEOPLE.who(ANN) == "ann"
    for wrong in ("", OWNER[:-1], f"{OWNER} ", OWNER.upper(), "\udcff"):
        assert PEOPLE.who(wrong) is None


def test_nobody_is_known_where_there_is_no_token() -> None:
    assert People(WebConfig()).who("") is None
    assert People(WebConfig()).may_scrape("") is False


def test_a_session_ends_after_its_time(tmp_path: Path) -> None:
    clock = Clock()
    sessions = Sessions(PEOPLE, tmp_path / "sessions", clock)
    session = sessions.begin("ann")
    clock.now += SESSION_SECONDS - 1
    assert sessions.who(session) == "ann"
    clock.now += 1
    assert sessions.who(session) is None


def test_the_oldest_of_too_many_sessions_ends(tmp_path: Path) -> None:
    sessions = Sessions(PEOPLE, tmp_path / "sessions")
    own = [sessions.begin("ann") for _ in range(SESSIONS_EACH)]
    other = sessions.begin("owner")
    newest = sessions.begin("ann")
    assert sessions.who(own[0]) is None
    assert [sessions.who(session) for session in (own[1], newest, other)] == ["ann", "ann", "owner"]


def test_what_was_saved_is_known_to_the_next_process(tmp_path: Path) -> None:
    sessions = Sessions(PEOPLE, tmp_path / "sessions")
    session, ended = sessions.begin("ann"), sessions.begin("ann")
    sessions.end(ended)
    sessions.save()
    assert [path.name for path in tmp_path.iterdir()] == ["sessions"]
    later = Sessions(PEOPLE, tmp_path / "sessions")
    later.load()
    assert (later.who(session), later.who(ended)) == ("ann", None)
    changed = Sessions(People(WebConfig(people={"ann": "a new token of hers"})), tmp_path / "sessions")
    changed.load()
    assert changed.who(session) is None


def test_a_file_that_cannot_be_read_logs_everybody_out_and_stops_nothing(tmp_path: Path) -> None:
    for broken in (b"{", b"[1]", b'{"a": 1}', b'{"a": ["ann", "x", "y"]}', b"\xff"):
        (tmp_path / "sessions").write_bytes(broken)
        sessions = Sessions(PEOPLE, tmp_path / "sessions")
        sessions.load()
        assert sessions.who(sessions.begin("ann")) == "ann"


def test_what_was_wrong_long_ago_does_not_count() -> None:
    clock = Clock()
    failures = Failures(clock)
    for _ in range(FAILURES):
        assert failures.wait("10.0.0.1") == 0
        failures.failed("10.0.0.1")
        clock.now += 1
    assert failures.wait("10.0.0.1") == FAILURE_SECONDS - FAILURES
    assert failures.wait("10.0.0.2") == 0
    clock.now += FAILURE_SECONDS - FAILURES
    assert failures.wait("10.0.0.1") == 0


def test_only_so_many_networks_are_remembered() -> None:
    failures = Failures()
    for _ in range(FAILURES):
        failures.failed("first")
    for number in range(NETWORKS):
        failures.failed(f"{number}")
    assert failures.wait("first") == 0
