"""One choice of a chat completion: which tokens are reasoning, and which log-probabilities belong to the text."""

from __future__ import annotations

import pytest

from bot.api import ApiEvent, CallPiece, Ended, ReasoningPiece, TextPiece
from bot.completions.chat import Choice, with_description, with_one_voice
from bot.generation import Delta, Finish, TokenLogprob, Usage
from bot.messages import Role
from bot.tools.formats.events import Arguments, CallBegun, CallEnded, Said, ToolEvent
from bot.turns import Turn

FINISH = Finish(reason="stop", usage=Usage(completion_tokens=9))


def delta(*tokens: str) -> Delta:
    """Tokens that come together."""
    told = tuple((TokenLogprob(n, text, -0.5, text.encode()), ()) for n, text in enumerate(tokens))
    return Delta("".join(tokens), tuple(range(len(tokens))), told)


def events(choice: Choice, *given: Delta | Finish) -> list[ApiEvent]:
    return [event for one in given for event in choice.feed(one)]


def spelt(found: list[ApiEvent]) -> list[str]:
    """What the tokens spell whose log-probabilities are told, piece by piece."""
    return ["".join(token.text for token, _ in one.logprobs) for one in found if isinstance(one, TextPiece)]


def text(found: list[ApiEvent]) -> str:
    return "".join(one.text for one in found if isinstance(one, TextPiece))


@pytest.mark.parametrize(
    "deltas",
    [
        [("<think>",), ("why",), ("</think>",), ("\n\n",), ("be",), ("cause",)],
        [("<th",), ("ink>", "why"), ("</thi",), ("nk>", "\n\n"), ("be", "cause")],
        [("<think>", "why", "</think>", "\n\n", "be", "cause")],
        [("\n",), ("<think>",), ("why",), ("</think>", "\n\n", "be"), ("cause",)],
    ],
)
def test_log_probabilities_are_those_of_the_text(deltas: list[tuple[str, ...]]) -> None:
    choice = Choice(0, head="", parser=None, parallel=True)
    found = events(choice, *(delta(*one) for one in deltas), FINISH)
    assert text(found) == "".join(spelt(found)) == "because"
    assert "".join(one.text for one in found if isinstance(one, ReasoningPiece)) == "why"
    assert found[-1] == Ended(0, "stop")
    assert choice.completion_tokens == 9


def test_a_token_that_ends_the_reasoning_and_begins_the_answer_is_told() -> None:
    choice = Choice(0, head="<think>\n", parser=None, parallel=True)
    found = events(choice, delta("why", "</think>", "\n\nbe"), delta("cause"), FINISH)
    assert text(found) == "because"
    assert spelt(found) == ["\n\nbe", "cause"]


def test_what_only_looked_like_reasoning_is_text_with_all_its_tokens() -> None:
    choice = Choice(0, head="", parser=None, parallel=True)
    found = events(choice, delta("<"), delta("thi"), delta("s>"), FINISH)
    assert (text(found), spelt(found), choice.reasoning_tokens) == ("<this>", ["<this>"], 0)
    choice = Choice(0, head="", parser=None, parallel=True)
    found = events(choice, delta("<"), delta("thi"), FINISH)
    assert (text(found), spelt(found), choice.reasoning_tokens) == ("<thi", ["<thi"], 0)


def test_the_tokens_of_the_tags_are_reasoning_too() -> None:
    choice = Choice(0, head="", parser=None, parallel=True)
    events(choice, *(delta(token) for token in ("<", "think", ">", "why", "</think>", "\n", "be", "cause")), FINISH)
    assert choice.reasoning_tokens == 6


class Reader:
    """A parser to whom a call stands in brackets: [name arguments]."""

    def __init__(self) -> None:
        self._held = ""
        self._calls = 0

    def feed(self, text: str) -> list[ToolEvent]:
        self._held += text
        found: list[ToolEvent] = []
        while "]" in self._held or (self._held and "[" not in self._held):
            said, _, rest = self._held.partition("[")
            call, _, self._held = rest.partition("]")
            name, _, arguments = call.partition(" ")
            found += [Said(said)] if said else []
            if name:
                number, self._calls = self._calls, self._calls + 1
                found += [CallBegun(number, name), Arguments(number, arguments), CallEnded(number)]
        return found

    def end(self) -> list[ToolEvent]:
        return [Said(self._held)] if self._held else []


def test_tokens_of_calls_have_no_log_probabilities_in_the_text() -> None:
    choice = Choice(0, head="", parser=Reader(), parallel=True)
    tokens = ("I ", "look. ", "[", "look ", "{}", "]", " So", ".")
    found = events(choice, *(delta(token) for token in tokens), FINISH)
    assert text(found) == "".join(spelt(found)) == "I look.  So."
    assert [one.name for one in found if isinstance(one, CallPiece) and one.name] == ["look"]
    assert found[-1] == Ended(0, "tool_calls")


class CutOff(Reader):
    """In whose last call the answer ends."""

    def end(self) -> list[ToolEvent]:
        return [CallBegun(self._calls, "look"), Arguments(self._calls, '{"at":'), CallEnded(self._calls, whole=False)]


@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize("before", [(), ("[a {}]",)])
def test_an_answer_that_ends_within_a_call_does_not_end_with_calls(before: tuple[str, ...], *, parallel: bool) -> None:
    """As by a stop string: who runs what was called must not run half of it."""
    choice = Choice(0, head="", parser=CutOff(), parallel=parallel)
    found = events(choice, *(delta(token) for token in before), FINISH)
    assert found[-1] == Ended(0, "tool_calls" if before and not parallel else "stop")


def test_nothing_is_told_behind_the_first_call_where_one_is_all() -> None:
    choice = Choice(0, head="", parser=Reader(), parallel=False)
    found = events(choice, delta("[a {}]"), delta("more[b {}]"), FINISH)
    assert [one.name for one in found if isinstance(one, CallPiece) and one.name] == ["a"]
    assert found[-1] == Ended(0, "tool_calls")
    assert text(found) == ""


def test_developers_keep_their_role_where_they_alone_begin() -> None:
    def roles(*given: str) -> list[str]:
        return [turn.role.value for turn in with_one_voice([Turn(Role(role), "x") for role in given])]

    for kept in (("developer", "user"), ("developer", "developer", "user", "assistant"), ("system", "user"), ("user",)):
        assert roles(*kept) == list(kept)
    assert roles("system", "developer", "user") == ["system", "system", "user"]
    assert roles("developer", "system", "user") == ["system", "system", "user"]
    assert roles("developer", "user", "developer", "user") == ["system", "user", "system", "user"]
    assert roles("developer", "user", "system") == ["system", "user", "system"]


@pytest.mark.parametrize(
    ("roles", "described"),
    [
        (["user"], ["system: The answer is JSON: towns", "user: x"]),
        (["system", "user"], ["system: x\n\nThe answer is JSON: towns", "user: x"]),
        (["developer", "user", "system"], ["developer: x\n\nThe answer is JSON: towns", "user: x", "system: x"]),
        ([], ["system: The answer is JSON: towns"]),
    ],
)
def test_the_system_says_what_the_json_of_an_answer_is(roles: list[str], described: list[str]) -> None:
    turns = [Turn(Role(role), "x") for role in roles]
    assert [f"{turn.role.value}: {turn.content}" for turn in with_description(turns, "towns")] == described
    assert with_description(turns, "") == turns
