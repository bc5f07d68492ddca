"""Answers with calls in them are read alike wherever the stream is split, and nothing of them is lost."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.api import Function
from bot.generation import ChatTemplate
from bot.tools.formats import Arguments, CallBegun, CallEnded, Said, ToolEvent
from bot.tools.formats.family import Family
from bot.tools.formats.generic import Generic
from bot.tools.formats.hermes import Hermes
from bot.tools.formats.llama3 import Llama3
from bot.tools.formats.mistral import Mistral, NamedMistral

FUNCTIONS = [Function(name="f"), Function(name="get_time")]
FAMILIES: list[type[Family]] = [Hermes, Llama3, Mistral, NamedMistral, Generic]
TRICKY = '{"a": "}</tool_call>{ [TOOL_CALLS] ``` \\"", "b": [1, {"c": null}]}'
CALL = f'{{"name": "f", "arguments": {TRICKY}}}'
OTHER = '{"name": "get_time", "arguments": {}}'
BROKEN = '{"name": "f", "arguments": {"a": tru, "b": 1}}'

Call = tuple[str, str]


def call(name: str, arguments: str, *, number: int = 0, whole: bool = True) -> list[ToolEvent]:
    return [CallBegun(number, name), Arguments(number, arguments), CallEnded(number, whole)]


CUT = call("f", "", whole=False)
FIRST, SECOND = call("f", TRICKY), call("get_time", "{}", number=1)


def joined(events: Iterable[ToolEvent]) -> list[ToolEvent]:
    """Neighbours that go on put together."""
    found: list[ToolEvent] = []
    for event in events:
        match found, event:
            case [*_, Said(before)], Said(text):
                found[-1] = Said(before + text)
            case [*_, Arguments(number, before)], Arguments(same, text) if number == same:
                found[-1] = Arguments(number, before + text)
            case _:
                found.append(event)
    return found


def read(
    family: type[Family], *pieces: str, functions: Sequence[Function] = FUNCTIONS, forced: bool = False
) -> list[ToolEvent]:
    parser = family(ChatTemplate(source=""), {}, in_template=True).parser(functions, forced=forced)
    return joined([*(event for piece in pieces for event in parser.feed(piece)), *parser.end()])


EVERYWHERE: list[tuple[str, list[ToolEvent]]] = [
    ("", []),
    ("Hello.", [Said("Hello.")]),
    (" Hello. \n", [Said(" Hello. \n")]),
    ("  ", [Said("  ")]),
    ("<", [Said("<")]),
    ("``", [Said("``")]),
    ("a < b [TO and <|py", [Said("a < b [TO and <|py")]),
    ('Say {"name": "f", "arguments": {}}', [Said('Say {"name": "f", "arguments": {}}')]),
    ("[a](b) and {c}", [Said("[a](b) and {c}")]),
    ('{"name": "nobody", "arguments": {}}', [Said('{"name": "nobody", "arguments": {}}')]),
    ('{"answer": "f", "arguments": {}}', [Said('{"answer": "f", "arguments": {}}')]),
]

CASES: dict[type[Family], list[tuple[str, list[ToolEvent]]]] = {
    Hermes: [
        (f"<tool_call>\n{CALL}\n</tool_call>", FIRST),
        (f"<tool_call>{CALL}</tool_call>", FIRST),
        (f"Let me see.\n\n<tool_call>\n{CALL}\n</tool_call>", [Said("Let me see."), *FIRST]),
        (f"<tool_call>\n{CALL}\n</tool_call>\n<tool_call>\n{OTHER}\n</tool_call>\n", [*FIRST, *SECOND]),
        (f"<tool_call>{CALL}</tool_call>\n\nDone. ", [*FIRST, Said("\n\nDone. ")]),
        (f"<tool_call>{CALL}", FIRST),  # models forget to close
        (f"<tool_call>\n{CALL[:-1]}", FIRST),
        (f"<tool_call>\n{CALL}\n<tool_call>\n{OTHER}", [*FIRST, *SECOND]),
        (f"<tool_call>\n{CALL}\n{OTHER}\n</tool_call>", [*FIRST, *SECOND]),
        (f"<tool_call>[{CALL}, {OTHER}]</tool_call>", [*FIRST, *SECOND]),
        (f"<tool_call>{CALL} oops", [*FIRST, Said(" oops")]),
        (f"<tool_call>{CALL}}}</tool_call>", [*FIRST, Said("}</tool_call>")]),
        (f"<tool_call>{CALL[:30]}", call("f", CALL[27:30], whole=False)),
        ('<tool_call>{"name": "f"', CUT),
        ('<tool_call>{"name": "f", "argum', CUT),
        ('a <tool_call>{"name": "f", "arguments": ', [Said("a"), *CUT]),
        ('<tool_call>{"id": 7, "name": "f", "arguments": "{', CUT),
        ('<tool_call>{"name": "f', [Said('<tool_call>{"name": "f')]),
        ('<tool_call>{"arguments": {"a": 1}, "na', [Said('<tool_call>{"arguments": {"a": 1}, "na')]),
        ("<tool_call>\n", [Said("<tool_call>\n")]),
        (f'<tool_call>{CALL[:-1]}, "id', FIRST),
        (f"<tool_call>{CALL}\n</tool", FIRST),
        (f"<tool_call>{CALL}</tool_call>\n<tool", [*FIRST, Said("\n<tool")]),
        ("a <tool_call> b </tool_call>", [Said("a <tool_call> b </tool_call>")]),
        ("a <tool_call", [Said("a <tool_call")]),
        ("<tool_call>{\"name\": 'f'}", [Said("<tool_call>{\"name\": 'f'}")]),
        (
            '<tool_call>{"name": "nobody", "arguments": {}}</tool_call> <tool_call>' + OTHER,
            [Said('<tool_call>{"name": "nobody", "arguments": {}}</tool_call>'), *call("get_time", "{}")],
        ),
        (
            f"<tool_call>[{OTHER}, {{}}]</tool_call>",
            [*call("get_time", "{}"), Said(", {}]</tool_call>")],
        ),
        (
            f"<tool_call>{BROKEN}</tool_call>{OTHER}",
            [*call("f", '{"a": tru', whole=False), Said(f', "b": 1}}}}</tool_call>{OTHER}')],
        ),
        (
            f"<tool_call>{BROKEN}</tool_call><tool_call>{OTHER}</tool_call>",
            [*call("f", '{"a": tru', whole=False), Said(', "b": 1}}</tool_call>'), *SECOND],
        ),
        ('<tool_call>{"name": "get_time"}</tool_call>', call("get_time", "{}")),
        ('<tool_call>{"name": "get_time", "arguments": null, "id": 7}', call("get_time", "{}")),
        ('<tool_call>{"arguments": {"x": [1]}, "name": "f"}</tool_call>', call("f", '{"x": [1]}')),
        ('<tool_call>{"arguments": {"x": 1}, "name": "g"}', [Said('<tool_call>{"arguments": {"x": 1}, "name": "g"}')]),
        ('<tool_call>{"name": "f", "arguments": "{\\"a\\":\\n1}"}', call("f", '{"a":\n1}')),
        ('<tool_call>{"name": "f", "arguments": "a"}', [Said('<tool_call>{"name": "f", "arguments": "a"}')]),
        ('<tool_call>{"name": "f", "arguments": [1]}', [Said('<tool_call>{"name": "f", "arguments": [1]}')]),
        ('<tool_call>{"name": "f", "arguments": {"a": "x\ny"}}', call("f", '{"a": "x\\ny"}')),
        ('<tool_call>{"name": "f", "arguments": {}, "arguments": {}}', [*call("f", "{}"), Said(', "arguments": {}}')]),
        ('<tool_call>{"name": "f", "arguments": {}, x', [*call("f", "{}"), Said(", x")]),
        ('<tool_call>{"name": 1}', [Said('<tool_call>{"name": 1}')]),
        ("<tool_call>{}</tool_call>", [Said("<tool_call>{}</tool_call>")]),
    ],
    Llama3: [
        (CALL, FIRST),
        (CALL.replace("arguments", "parameters"), FIRST),
        (f"\n{CALL}; {OTHER}", [*FIRST, *SECOND]),
        (f"<|python_tag|>{CALL};{OTHER}", [*FIRST, *SECOND]),
        (f"Sure. <|python_tag|>{CALL}", [Said("Sure."), *FIRST]),
        ('{"type": "function", "name": "f", "parameters": {"a": 1}}', call("f", '{"a": 1}')),
        ('<|python_tag|>brave.call(q="x")', [Said('<|python_tag|>brave.call(q="x")')]),
        (f"{CALL} Done.", [*FIRST, Said(" Done.")]),
        (f"{CALL}; Done.", [*FIRST, Said("; Done.")]),
        ('{"name": "f", "para', CUT),
        ('{"name": "f', [Said('{"name": "f')]),
    ],
    Mistral: [
        (f"[TOOL_CALLS][{CALL}, {OTHER}]", [*FIRST, *SECOND]),
        (f"[TOOL_CALLS] [{CALL}]\n", FIRST),
        (f"[TOOL_CALLS]{CALL}", FIRST),
        (f"[TOOL_CALLS][{CALL}", FIRST),
        (f"See: [TOOL_CALLS][{CALL}] Done.", [Said("See:"), *FIRST, Said(" Done.")]),
        ('[TOOL_CALLS]f[ARGS]{"a": 1}[TOOL_CALLS]get_time[ARGS]{}', [*call("f", '{"a": 1}'), *SECOND]),
        ('[TOOL_CALLS]f[CALL_ID]a1B-2[ARGS] {"a": 1}', call("f", '{"a": 1}')),
        ('[TOOL_CALLS] f{"a": 1}', call("f", '{"a": 1}')),
        ("[TOOL_CALLS]get_time", [Said("[TOOL_CALLS]get_time")]),  # it may go on to get_time_of_day
        ("[TOOL_CALLS]f and", [Said("[TOOL_CALLS]f and")]),
        ("[TOOL_CALLS]f ", [Said("[TOOL_CALLS]f ")]),
        *(
            (f"[TOOL_CALLS]f{more}", CUT)
            for more in ("[", "[ARGS", "[ARGS]", "[ARGS] ", " [ARGS]", "[CALL_ID]a1", "[CALL_ID]a1[")
        ),
        (f'[TOOL_CALLS][{CALL}, {{"name": "get_time"', [*FIRST, *call("get_time", "", number=1, whole=False)]),
        ("[TOOL_CALLS]nobody[ARGS]{}", [Said("[TOOL_CALLS]nobody[ARGS]{}")]),
        ("[TOOL_CALLS]f[ARGS] x", [Said("[TOOL_CALLS]f[ARGS] x")]),
        ("[TOOL_CALLS]f[CALL_ID]a b", [Said("[TOOL_CALLS]f[CALL_ID]a b")]),
        ('[TOOL_CALLS]f[ARGS]{"a": }', [*call("f", '{"a": ', whole=False), Said("}")]),
    ],
    Generic: [
        (CALL, FIRST),
        (f"{CALL}\n{OTHER}\n", [*FIRST, *SECOND]),
        (f"[{CALL},\n{OTHER}]", [*FIRST, *SECOND]),
        (f"```json\n{CALL}\n{OTHER}\n```", [*FIRST, *SECOND]),
        (f"```\n{CALL}\n```\nThat is it.", [*FIRST, Said("\nThat is it.")]),
        ("```python\nx\n```", [Said("```python\nx\n```")]),
        ('```json\n{"a": 1}\n```', [Said('```json\n{"a": 1}\n```')]),
        ('{"name": "f", "arguments": {"a": 1}} {"b": 1}', [*call("f", '{"a": 1}'), Said(' {"b": 1}')]),
    ],
}
CASES[NamedMistral] = CASES[Mistral]
TABLE = [(family, *case) for family in FAMILIES for case in [*EVERYWHERE, *CASES[family]]]


@pytest.mark.parametrize(("family", "text", "events"), TABLE)
def test_what_an_answer_tells_wherever_it_is_split(family: type[Family], text: str, events: list[ToolEvent]) -> None:
    assert read(family, text) == events
    assert read(family, *text) == events
    for at in range(1, len(text)):
        assert read(family, text[:at], text[at:]) == events


WHOLE: list[tuple[type[Family], str]] = [
    (Hermes, f"<tool_call>\n{CALL}\n</tool_call>\n<tool_call>\n{OTHER}\n</tool_call>"),
    (Llama3, f"{CALL.replace('arguments', 'parameters')}; {OTHER}"),
    (Mistral, f"[TOOL_CALLS] [{CALL}, {OTHER}]"),
    (NamedMistral, f"[TOOL_CALLS]f[ARGS]{TRICKY}[TOOL_CALLS]get_time[ARGS]{{}}"),
    (Generic, f"{CALL}\n{OTHER}"),
]


@pytest.mark.parametrize(("family", "text"), WHOLE)
def test_of_forced_calls_nothing_is_text_wherever_they_are_cut_off(family: type[Family], text: str) -> None:
    names = []
    for end in range(len(text) + 1):
        events = read(family, text[:end], forced=True)
        assert events == read(family, *text[:end], forced=True)
        assert not any(isinstance(event, Said) for event in events), text[:end]
        names.append([event.name for event in events if isinstance(event, CallBegun)])
        told = [event.text for event in events if isinstance(event, Arguments)]
        assert all(whole.startswith(came) for whole, came in zip((TRICKY, "{}"), told, strict=False))
        ended = [event.whole for event in events if isinstance(event, CallEnded)]
        assert ended == [came == whole for whole, came in zip((TRICKY, "{}"), told, strict=False)]
    assert names == sorted(names, key=len)
    assert names[-1] == ["f", "get_time"]


def test_arguments_come_as_they_are_written() -> None:
    parser = Hermes(ChatTemplate(source=""), {}, in_template=True).parser(FUNCTIONS)
    pieces = ['<tool_call>{"name": "f", "argu', 'ments": {"a"', ': "x', '"}', "}"]
    assert [parser.feed(piece) for piece in pieces] == [
        [],
        [CallBegun(0, "f"), Arguments(0, '{"a"')],
        [Arguments(0, ': "x')],
        [Arguments(0, '"}'), CallEnded(0)],
        [],
    ]


def test_text_is_not_held_back_longer_than_it_could_become_a_call() -> None:
    parser = Hermes(ChatTemplate(source=""), {}, in_template=True).parser(FUNCTIONS)
    assert [parser.feed(piece) for piece in ["Hi ", "there <", "b>", " <tool_call", "s>"]] == [
        [Said("Hi")],
        [Said(" there")],
        [Said(" <b>")],
        [],
        [Said(" <tool_calls>")],
    ]


@pytest.mark.parametrize("family", [Llama3, Generic])
def test_an_answer_in_json_that_is_no_call_streams_from_its_first_key_on(family: type[Family]) -> None:
    parser = family(ChatTemplate(source=""), {}, in_template=True).parser(FUNCTIONS)
    assert [parser.feed(piece) for piece in ['{"answ', 'er"', ": 4", "2"]] == [
        [],
        [Said('{"answer"')],
        [Said(": 4")],
        [Said("2")],
    ]


FRAGMENTS = [
    *(
        "<tool_call>",
        "</tool_call>",
        "[TOOL_CALLS]",
        "[ARGS]",
        "[CALL_ID]",
        "<|python_tag|>",
        "```json",
        "```",
        "[",
        "]",
    ),
    *(
        CALL,
        OTHER,
        BROKEN,
        '{"name": "f", "arguments": ',
        '{"name": "',
        "f",
        "get_time",
        "{",
        "}",
        '"',
        ",",
        ";",
        " ",
        "\n",
    ),
    *("a", "é", ":", "\\", '{"a": 1}', '"arguments"', '"name"', "null", "<", "tool_call>"),
]
SOUP = st.lists(st.sampled_from(FRAGMENTS), max_size=14).map("".join)


@pytest.mark.parametrize("family", FAMILIES)
@settings(deadline=None)
@given(text=SOUP, data=st.data())
def test_any_text_is_read_alike_wherever_it_is_split(family: type[Family], text: str, data: st.DataObject) -> None:
    whole = read(family, text)
    assert read(family, *text) == whole
    ends = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4)))
    assert read(family, *(text[a:b] for a, b in zip([0, *ends], [*ends, len(text)], strict=True))) == whole


@pytest.mark.parametrize("family", FAMILIES)
@settings(deadline=None)
@given(text=SOUP)
def test_without_functions_everything_is_text(family: type[Family], text: str) -> None:
    assert read(family, text, functions=()) == ([Said(text)] if text else [])


@pytest.mark.parametrize("family", FAMILIES)
@settings(deadline=None)
@given(text=SOUP)
def test_calls_are_in_order_and_their_arguments_are_objects(family: type[Family], text: str) -> None:
    events = [event for event in read(family, text) if not isinstance(event, Said)]
    assert len(events) % 3 == 0
    for number in range(len(events) // 3):
        begun, arguments, ended = events[3 * number : 3 * number + 3]
        assert begun == CallBegun(number, begun.name)  # type: ignore[union-attr]
        assert isinstance(begun, CallBegun)
        assert begun.name in {"f", "get_time"}
        assert isinstance(arguments, Arguments)
        assert isinstance(ended, CallEnded)
        if ended.whole:
            assert isinstance(json.loads(arguments.text), dict)
        else:
            with pytest.raises(ValueError):
                json.loads(arguments.text)


@pytest.mark.parametrize("family", FAMILIES)
@settings(deadline=None)
@given(text=SOUP)
def test_every_character_is_told_or_belongs_to_a_call(family: type[Family], text: str) -> None:
    """What is said stands in the answer in that order; what lies between is a call and its tags."""
    at = 0
    for event in read(family, text):
        if isinstance(event, Said):
            found = text.find(event.text, at)
            assert found >= 0
            at = found + len(event.text)
    if not any(isinstance(event, CallBegun) for event in read(family, text)):
        assert at == len(text)
