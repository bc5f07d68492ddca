"""Splitting: nothing is dropped, every part fits, fences stay whole, and what is full never changes."""

from __future__ import annotations

import time
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.text import Part, Splitter, cut, discord_length, split, telegram_length, utf16_length
from adapters.text.weights import Measure

MEASURES: list[Measure] = [len, utf16_length, telegram_length, discord_length]

PIECES = [
    "word", "a", "Mär", "字字", "😀", "👩\u200d👩\u200d👧", "e\u0301", "🇩🇪🇫🇷", "❤\ufe0f", " ", "  ", "\n", "\n\n", "\n    ", "\t",
    "```", "```py\n", "\n```\n", "\n~~~\n", "~~~ text\n", "````md\n", "\n````\n", "\n  ```\n", "- ```sh\n", "> ```\n> x\n", "    ",
    "- ", "\n- item", "\n  - sub", "\n1. ", "> ", "# ", "\n## Head\n", "**", "*", "_", "`", "~~", "[", "](", ")", "\\", "|",
    "[text](http://example.com/x)", "![alt](http://e.x/i.png)", "&amp;", "&lt;", "<b>", "http://example.com/aaa",
    "\n| a | b |\n|---|---|\n| c | d |\n", "\n|x|long cell with words|\n", "\n---\n", "\n===\n",
]  # fmt: skip
markdown = st.lists(st.sampled_from(PIECES), max_size=60).map("".join)
code = st.lists(st.sampled_from(["x", "long_name ", " = 1\n", "\n", "    ", "``", "``\n", "\n\n"]), max_size=60).map(
    lambda pieces: "".join(["```py\n", *pieces, "\n```\n", *pieces])
)
limits = st.one_of(st.integers(40, 120), st.integers(121, 400), st.just(100_000))


def without_whitespace(text: str) -> str:
    return "".join(text.split())


def content(part: Part) -> str:
    return part.text.removeprefix(part.opening).removesuffix(part.closing)


@given(markdown, limits, st.sampled_from(MEASURES))
def test_parts_are_slices_of_the_source_with_nothing_but_whitespace_between(
    text: str, limit: int, measure: Measure
) -> None:
    parts = cut(text, limit, measure)
    end = 0
    for part in parts:
        assert not text[end : part.start].strip()
        assert without_whitespace(content(part)) == without_whitespace(text[part.start : part.stop])
        end = part.stop
    assert not text[end:].strip()


@given(markdown, limits, st.sampled_from(MEASURES))
def test_inside_a_part_only_shared_indentation_is_lost(text: str, limit: int, measure: Measure) -> None:
    for part in cut(text, limit, measure):
        shown, source = content(part).split("\n"), text[part.start : part.stop].split("\n")
        assert len(shown) == len(source)
        for one, other in zip(shown, source, strict=True):
            assert other.endswith(one)
            assert not other[: len(other) - len(one)].strip(" \t")


@given(markdown, limits, st.sampled_from(MEASURES))
@settings(max_examples=300, deadline=None)
def test_every_part_fits_and_is_visible(text: str, limit: int, measure: Measure) -> None:
    for part in split(text, limit, measure):
        assert part.strip()
        assert measure(part) <= limit


@given(markdown, st.text(max_size=8), markdown, limits, st.sampled_from(MEASURES))
@settings(max_examples=500, deadline=None)
def test_a_full_part_never_changes_whatever_follows(
    text: str, between: str, more: str, limit: int, measure: Measure
) -> None:
    full = split(text, limit, measure)[:-1]
    assert split(text + between + more, limit, measure)[:-1][: len(full)] == full


@given(st.one_of(markdown, code), st.integers(40, 90), st.sampled_from(MEASURES))
@settings(max_examples=150, deadline=None)
def test_a_full_part_never_changes_from_one_character_to_the_next(text: str, limit: int, measure: Measure) -> None:
    full: list[str] = []
    for end in range(len(text) + 1):
        now = split(text[:end], limit, measure)[:-1]
        assert now[: len(full)] == full
        full = now


@given(st.lists(markdown, max_size=6), limits, st.sampled_from(MEASURES))
def test_a_growing_text_ends_as_if_it_had_come_at_once(pieces: list[str], limit: int, measure: Measure) -> None:
    splitter, text, parts = Splitter(limit, measure), "", list[Part]()
    for piece in pieces:
        text += piece
        parts = splitter.update(text)
    assert [part.text for part in parts] == split(text, limit, measure)


@given(st.text(max_size=200), st.integers(1, 30))
def test_tiny_limits_end_and_lose_nothing(text: str, limit: int) -> None:
    parts = cut(text, limit, len)
    joined = "".join(text[part.start : part.stop] for part in parts)
    assert without_whitespace(joined) == without_whitespace(text)


CLUSTERS = [
    "a",
    "b",
    " ",
    "e\u0301",
    "👩🏽",
    "❤\ufe0f",
    "👩\u200d👩\u200d👧",
    "하\u11ab",
    "न\u094d\u0928\u093f",
    "🏴\U000e0067\U000e007f",
]


@given(st.lists(st.sampled_from(CLUSTERS), max_size=60), st.integers(12, 30))
def test_no_cut_is_within_a_character_as_people_see_it(clusters: list[str], limit: int) -> None:
    whole = set(accumulate(map(len, clusters), initial=0))
    assert {part.start for part in cut("".join(clusters), limit, len)} <= whole


def test_flags_are_not_halved() -> None:
    assert split("🇩🇪" * 10, 7, len) == ["🇩🇪" * 3, "🇩🇪" * 3, "🇩🇪" * 3, "🇩🇪"]


def test_text_within_the_limit_is_one_part_as_it_is() -> None:
    assert split("Hello **you**\n\n  - a", 4096, telegram_length) == ["Hello **you**\n\n  - a"]


def test_no_text_is_no_part() -> None:
    assert split("", 10, len) == []
    assert split(" \n ", 10, len) == []


def test_paragraphs_are_better_than_lines_and_lines_than_words() -> None:
    assert split("aaaa aaaa\nbbbb\n\ncccc cccc\ndddd", 24, len) == ["aaaa aaaa\nbbbb", "cccc cccc\ndddd"]
    assert split("aaaa aaaa\nbbbb\ncccc cccc", 18, len) == ["aaaa aaaa\nbbbb", "cccc cccc"]
    assert split("aaaa bbbb cccc dddd", 12, len) == ["aaaa bbbb", "cccc dddd"]
    assert split("a" * 25, 10, len) == ["a" * 10, "a" * 10, "a" * 5]


def test_a_fence_is_closed_and_opened_again_with_its_language() -> None:
    text = "```python\none = 1\ntwo = 2\nthree = 3\n```\nEnd."
    assert split(text, 34, len) == ["```python\none = 1\ntwo = 2\n```", "```python\nthree = 3\n```\nEnd."]


def test_a_long_tilde_fence_keeps_its_length_and_the_fences_in_it() -> None:
    text = "~~~~md\nfirst line\n~~~\nsecond line\n~~~~"
    assert split(text, 33, len) == ["~~~~md\nfirst line\n~~~\n~~~~", "~~~~md\nsecond line\n~~~~"]


def test_a_fence_in_a_list_item_is_closed_in_the_item_and_loses_its_indentation_in_the_next_part() -> None:
    text = "1. item\n   ```sh\n   echo first\n   echo second\n   ```\n   after"
    assert split(text, 40, len) == [
        "1. item\n   ```sh\n   echo first\n   ```",
        "```sh\necho second\n```\nafter",
    ]


def test_a_fence_in_a_quote_stays_in_the_quote() -> None:
    text = "> ```py\n> first = 1\n> second = 2\n> ```"
    assert split(text, 30, len) == ["> ```py\n> first = 1\n> ```", "> ```py\n> second = 2\n> ```"]


def test_a_fence_ends_with_the_list_item_that_it_is_in() -> None:
    text = "- ```\n  some code\nno code, and not in the list\nany more at all"
    assert split(text, 30, len) == ["- ```\n  some code", "no code, and not in the list", "any more at all"]


def test_a_measure_that_is_longer_than_the_text_is_held_too() -> None:
    parts = split("word " * 50, 40, lambda text: 2 * len(text))
    assert max(map(len, parts)) <= 20
    assert " ".join(parts) == ("word " * 50).strip()


def test_the_closing_line_stays_with_its_code() -> None:
    parts = split("```\n" + "x = 1\n" * 4 + "```\n\nand then some words follow", 34, len)
    assert parts == ["```\nx = 1\nx = 1\nx = 1\nx = 1\n```", "and then some words follow"]


def test_code_keeps_its_indentation_behind_a_cut() -> None:
    text = "```\ndef f():\n    return 1\n    # end\n```"
    assert split(text, 32, len) == ["```\ndef f():\n    return 1\n```", "```\n    # end\n```"]


def test_an_open_fence_is_closed_at_the_end() -> None:
    assert split("```py\nx = 1", 100, len) == ["```py\nx = 1\n```"]


def test_a_link_is_not_cut() -> None:
    text = "words before the [linked words here](https://example.com/a/b) and after"
    assert split(text, 48, len) == [
        "words before the",
        "[linked words here](https://example.com/a/b) and",
        "after",
    ]


def test_a_link_that_is_still_being_written_is_not_cut() -> None:
    text = "many words before the [linked words here](https://example.com/a/long"
    assert split(text, 60, len)[0] == "many words before the"


def test_an_entity_is_not_cut() -> None:
    assert split("aaaaaaa&amp;bbbb", 10, len) == ["aaaaaaa", "&amp;bbbb"]


def test_a_table_is_cut_between_rows() -> None:
    rows = [f"| row {n} | {'x' * 20} |" for n in range(40)]
    parts = split("\n".join(["| a | b |", "|---|---|", *rows]), 1000, telegram_length)
    assert len(parts) > 1
    assert [line for part in parts for line in part.split("\n")][2:] == rows


def test_the_first_row_of_a_table_is_not_parted_from_the_second() -> None:
    text = "Some words that fill half of it.\n| one | two |\n|-----|-----|\n| 3 | 4 |"
    assert split(text, 50, len)[1].startswith("| one | two |\n|-----|-----|")


def test_nested_items_stay_nested_behind_a_cut() -> None:
    text = "- top\n    - first sub item\n    - second sub item\n        - deep"
    assert split(text, 34, len) == ["- top\n    - first sub item", "- second sub item\n    - deep"]


@pytest.mark.parametrize("limit", [1, 50, 4096, 1_000_000])
@pytest.mark.parametrize(
    "piece", ["[", "*", "`", "[[x]", "[a](", "a ", "\n", "|", "> ", "- ", "&", "<", "```\n", "🇩", "\u0301"]
)
def test_no_text_takes_long(piece: str, limit: int) -> None:
    """100 kB of one sign: a split that is quadratic in the text would take minutes, and the test's time-out ends it."""
    text = piece * (100_000 // len(piece)) if limit > 1 else piece * 3000
    began = time.process_time()
    split(text, limit, len)
    assert time.process_time() - began < 20
