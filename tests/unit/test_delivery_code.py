"""Delivery: long code of an answer is sent as files, where that is configured."""

from __future__ import annotations

import pytest

from bot.messages import AnswerState, Text
from bot.ports import Mark
from tests.staging import CHAT, FILE, Stage, a_claim, done

CODE = "x = 1\n" * 5
ANSWER = f"Here it is.\n\n```python\n{CODE}```\n\nGood luck."
NOTE = "Here it is.\n\n(see `code.py`)\n\nGood luck."


def stage(least: int = 5, **limits: object) -> Stage:
    return Stage(code_file_lines=least, **{"buttons": True, "code_files": True, **limits})


def standing(made: Stage) -> list[tuple[str, list[str], list[str]]]:
    """Texts, files and buttons."""
    return [
        (what.text, [file.name for file in what.files], [button.id for button in what.buttons])
        for what in made.platform.standing(CHAT)
    ]


async def test_long_code_is_a_file_behind_the_text_and_a_word_is_in_its_place() -> None:
    made, claim = stage(), a_claim(5)
    finished = await made.deliver(claim, done(ANSWER))
    assert finished.text == ANSWER, "what is kept has the code"
    assert standing(made) == [(NOTE, [], ["retry:5"]), ("", ["code.py"], [])]
    assert made.platform.messages[1].now.files[0].data == CODE.encode()
    made.agree(claim)


@pytest.mark.parametrize(("least", "limits"), [(0, {}), (6, {}), (5, {"code_files": False})])
async def test_it_stays_where_it_is(least: int, limits: dict[str, object]) -> None:
    made = stage(least, **limits)
    await made.deliver(a_claim(5), done(ANSWER))
    assert standing(made) == [(ANSWER, [], ["retry:5"])]


async def test_while_it_streams_it_is_shown_as_it_comes() -> None:
    made, claim = stage(), a_claim(5)
    code = "y = 12345\n" * 20
    steps = [step for line in code.splitlines() for step in (Text(line + "\n"), 1.0)]
    await made.deliver(claim, Text("```python\n"), *steps, done(f"```python\n{code}```\n\nDone."))
    first = made.platform.messages[0]
    assert any("y = 12345" in state.text for state in first.states)
    assert len(made.platform.messages) > 2, "it had rolled over"
    assert standing(made) == [("(see `code.py`)\n\nDone.", [], ["retry:5"]), ("", ["code.py"], [])]
    made.agree(claim)


async def test_several_blocks_are_several_files() -> None:
    made = stage()
    await made.deliver(a_claim(5), done(f"```py\n{CODE}```\n```sh\n{CODE}```"))
    assert standing(made) == [
        ("(see `code.py`)\n(see `code-2.sh`)", [], ["retry:5"]),
        ("", ["code.py"], []),
        ("", ["code-2.sh"], []),
    ]


async def test_an_answer_that_was_kept_comes_out_the_same() -> None:
    """It stood there already, but that was not known any more."""
    made, claim = stage(), a_claim(5)
    await made.deliver(claim, done(ANSWER))
    again = a_claim(5, parts=made.ledger.of(claim), kept=done(ANSWER), attempt=2)
    await made.deliver(again, done(ANSWER))
    assert standing(made) == [(NOTE, [], ["retry:5"]), ("", ["code.py"], [])]
    made.agree(again)


async def test_an_edited_question_takes_the_files_away() -> None:
    made, claim = stage(), a_claim(5)
    await made.deliver(claim, done(ANSWER))
    made.ledger.parts[6] = made.ledger.parts.pop(5)
    await made.deliver(a_claim(6, parts=tuple(made.ledger.parts[6].values())), done("Hello"))
    assert standing(made) == [("Hello", [], ["retry:6"])]


@pytest.mark.parametrize("outcome", [AnswerState.FAILED, AnswerState.EXPIRED])
async def test_words_of_a_failure_stay_text(outcome: AnswerState) -> None:
    made = stage()
    await made.deliver(a_claim(5), done(ANSWER, outcome=outcome, drafts=()))
    assert [files for _, files, _ in standing(made)] == [[]]


async def test_what_a_command_shows_stays_as_it_is() -> None:
    made = stage()
    await made.deliver(a_claim(5), done(ANSWER, drafts=(), files=(FILE,)))
    assert standing(made) == [(ANSWER, ["data.json"], [])]


async def test_a_mark_stands_under_the_text() -> None:
    made, claim = stage(), a_claim(5)
    await made.deliver(claim, done(ANSWER))
    parts = tuple(posted.ref for posted in made.platform.messages)
    await made.time.run(made.delivery.mark(made.platform, Mark(parts=parts, text=ANSWER), "_(Gone.)_"))
    assert standing(made) == [(f"{NOTE}\n\n_(Gone.)_", [], []), ("", ["code.py"], [])]
