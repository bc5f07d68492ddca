"""Reasoning at the beginning of an answer is hidden, wherever the stream is split."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.reasoning import Visible


def shown(*pieces: str) -> str:
    visible = Visible()
    return "".join([*(visible.feed(piece) for piece in pieces), visible.end()])


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("Hello.", "Hello."),
        ("<think>hm</think>Hello.", "Hello."),
        ("<think>\nhm\n</think>\n\nHello.\n", "Hello.\n"),
        ("\n <think>hm</think> Hello.", "Hello."),
        ("<thinking>hm</thinking>Hello.", "Hello."),
        ("[THINK]hm[/THINK]Hello.", "Hello."),
        ("<think></think>Hello.", "Hello."),
        ("<think>a <b </thin </think>Hello.", "Hello."),
        ("<think>never ends", ""),
        ("<think>hm</think>", ""),
        ("<think>hm</think>  \n", ""),
        ("<think>hm</thinking>Hello.", ""),
        ("A tag <think>is quoted</think> here.", "A tag <think>is quoted</think> here."),
        ("<think>hm</think>Hello <think>again</think>.", "Hello <think>again</think>."),
        ("<thi", "<thi"),
        ("<thin air", "<thin air"),
        ("< think>", "< think>"),
        (" leading space", " leading space"),
        ("  ", "  "),
        ("", ""),
    ],
)
def test_what_is_seen_of_what_is_written(written: str, seen: str) -> None:
    assert shown(written) == seen
    assert shown(*written) == seen


PIECES = st.sampled_from(
    [
        "<think>",
        "</think>",
        "<thinking>",
        "</thinking>",
        "[THINK]",
        "[/THINK]",
        "<",
        "/",
        "think",
        ">",
        " ",
        "\n",
        "a",
        "é",
    ]
)


@given(st.lists(PIECES, max_size=12).map("".join), st.data())
def test_every_split_of_a_text_is_seen_alike(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert shown(*pieces) == shown(text)


@given(st.lists(PIECES, max_size=12).map("".join))
def test_what_has_no_reasoning_is_seen_whole(text: str) -> None:
    visible = Visible()
    seen = visible.feed(text) + visible.end()
    assert seen == text or visible.hidden


def test_an_answer_is_shown_as_soon_as_it_cannot_be_reasoning() -> None:
    visible = Visible()
    assert [visible.feed(piece) for piece in ("<", "t", "r", ">")] == ["", "", "<tr", ">"]


def test_long_reasoning_is_not_held_in_memory() -> None:
    visible = Visible()
    visible.feed("<think>")
    for _ in range(1000):
        visible.feed("x" * 1000)
    assert len(visible._held) < 100


def test_reasoning_that_the_template_opened_is_not_shown() -> None:
    visible = Visible("<|im_start|>assistant\n<think>\n")
    assert [visible.feed(piece) for piece in ("They greet", " me.</think>\n\nHel", "lo!")] == ["", "Hel", "lo!"]
    assert visible.hidden
