"""Delivery under random faults, cancellations and lost acknowledgements: in the end the platform shows the final text, once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.text import split, telegram_length
from bot.errors import FloodWait, MessageGone, PlatformError, TextRefused, Unreachable
from bot.messages import Claim, Notice, Outgoing, Text
from bot.testing import Fault
from tests.staging import CHAT, Stage, Step, a_claim, done, in_group

FAULT = st.one_of(
    st.builds(Fault, st.sampled_from([FloodWait(7.5), None])),
    st.builds(Fault, st.just(TextRefused("entities")), kind=st.sampled_from(["send", "edit"])),
    st.builds(Fault, st.just(Unreachable("502")), after=st.booleans(), kind=st.sampled_from(["send", "edit"])),
    st.just(Fault(MessageGone("the question"), kind="send")),
)
FAULTS = st.lists(FAULT, max_size=8)
CHUNKS = st.sampled_from(
    ["word ", "longer-word ", "\n\n", "```py\n", "x = 1\n", "```\n", "- item\n", "**bold** ", "😀"]
)


@dataclass(frozen=True)
class Attempt:
    """One worker's try: what it streams, what befalls it, and after how many seconds it is cancelled, if it is."""

    chunks: list[str]
    pause: float
    faults: list[Fault]
    cancelled_after: float | None
    removed: int | None
    """The number of a message that somebody removes before this attempt."""


ATTEMPTS = st.lists(
    st.builds(
        Attempt,
        chunks=st.lists(CHUNKS, max_size=60),
        pause=st.sampled_from([0.0, 0.3, 1.7]),
        faults=FAULTS,
        cancelled_after=st.one_of(st.none(), st.floats(0, 30)),
        removed=st.one_of(st.none(), st.integers(0, 4)),
    ),
    min_size=1,
    max_size=3,
)


@st.composite
def stages(draw: st.DrawFn) -> tuple[Stage, Claim]:
    stage = Stage(
        measure=draw(st.sampled_from([len, telegram_length])),
        burst=draw(st.integers(1, 3)),
        previews=draw(st.booleans()),
        buttons=draw(st.booleans()),
    )
    stage.platform.seconds_per_call = draw(st.sampled_from([0.0, 0.2, 3.0]))
    return stage, a_claim() if draw(st.booleans()) else in_group(a_claim())


def answer(attempt: Attempt) -> list[Step]:
    steps: list[Step] = [Notice("Wait ...")]
    for chunk in attempt.chunks:
        steps += [attempt.pause, Text(chunk)]
    return [*steps, done("".join(attempt.chunks).strip())]


async def one_attempt(stage: Stage, claim: Claim, attempt: Attempt) -> bool:
    """Whether it came to its end."""
    stage.platform.faults = list(attempt.faults)
    standing = [posted for posted in stage.platform.messages if not posted.deleted]
    if attempt.removed is not None and attempt.removed < len(standing):
        standing[attempt.removed].deleted = True
    task = asyncio.create_task(stage.start(replace(claim, parts=stage.ledger.of(claim)), *answer(attempt)))
    if attempt.cancelled_after is not None:
        await stage.time.sleep(attempt.cancelled_after)
        task.cancel()
    try:
        await task
    except (asyncio.CancelledError, PlatformError):
        return False
    finally:
        stage.platform.faults = []
    return True


def in_order(stage: Stage, claim: Claim) -> list[Outgoing]:
    """What stands of the messages that the ledger knows, in its order."""
    posted = {message.ref: message for message in stage.platform.messages if not message.deleted}
    return [posted[part.message].now for part in stage.ledger.of(claim) if part.message]


@given(stages(), ATTEMPTS, st.booleans())
@settings(max_examples=250, deadline=None)
def test_whatever_happens_the_final_text_stands_once(
    made: tuple[Stage, Claim], attempts: list[Attempt], enforce_nonce: bool
) -> None:
    stage, claim = made
    stage.platform.enforce_nonce = enforce_nonce
    last = replace(attempts[-1], cancelled_after=None)

    async def all_attempts() -> None:
        for attempt in [*attempts[:-1], last]:
            ended = await one_attempt(stage, claim, attempt)
        assert ended or await one_attempt(stage, claim, replace(last, faults=[], removed=None))

    asyncio.run(run(stage, all_attempts()))
    expected = split("".join(last.chunks).strip(), 100, stage.platform.limits.measure)
    shown = in_order(stage, claim)
    assert [what.text for what in shown] == expected
    assert all(what.final for what in shown)
    known = {part.message for part in stage.ledger.of(claim)}
    orphans = [m for m in stage.platform.messages if not m.deleted and m.ref not in known]
    doubled = 0 if enforce_nonce else lost_acknowledgements(attempts)
    assert len(orphans) <= doubled + stage.ledger.never_known


def lost_acknowledgements(attempts: list[Attempt]) -> int:
    """The most messages that may be there twice. A cancelled attempt adds none: it sees its send through."""
    return sum(fault.after for attempt in [*attempts, attempts[-1]] for fault in attempt.faults)


async def run(stage: Stage, work: object) -> object:
    assert asyncio.iscoroutine(work)
    return await stage.time.run(work)


@given(st.lists(st.tuples(st.floats(0, 5), st.sampled_from(["a", "b"])), min_size=1, max_size=6), FAULTS)
@settings(max_examples=100, deadline=None)
def test_many_answers_in_two_chats_all_come_and_keep_the_pace(
    starts: list[tuple[float, str]], faults: list[Fault]
) -> None:
    stage = Stage()
    stage.platform.enforce_nonce = True
    stage.platform.faults = [f for f in faults if isinstance(f.error, FloodWait)]

    async def one(number: int, after: float, chat: str) -> None:
        await stage.time.sleep(after)
        steps: list[Step] = [step for _ in range(8) for step in (0.4, Text("word "))]
        await stage.start(a_claim(number, key=replace(CHAT, chat=chat)), *steps, done(f"the end {number}"))

    async def everything() -> None:
        await asyncio.gather(*(one(number, *start) for number, start in enumerate(starts)))

    asyncio.run(run(stage, everything()))
    for chat in ("a", "b"):
        ends = {what.text for what in stage.platform.standing(replace(CHAT, chat=chat))}
        assert ends == {f"the end {number}" for number, (_, where) in enumerate(starts) if where == chat}
        times = sorted(c.at for c in stage.platform.calls if c.key.chat == chat and c.kind != "show")
        assert all(later - earlier > 0.999 for earlier, later in pairwise(times))


async def test_time_that_nobody_sleeps_for_does_not_pass() -> None:
    stage = Stage()
    with pytest.raises(RuntimeError, match="everybody waits"):
        await stage.time.run(asyncio.Event().wait())
