"""Markup: always valid, everything visible, nothing that pings, in bounded time."""

from __future__ import annotations

import re
import time
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.text import discord_length, discord_markdown, telegram_html, telegram_length, utf16_length
from adapters.text.telegram import rendered, visible_text
from adapters.text.weights import Scale

SIGNS = [
    "*", "**", "_", "__", "`", "``", "```", "~~", "~~~", "[", "]", "(", ")", "![", "](", "<", ">", "&", "&amp;", "\\", "|", "#", "## ",
    "- ", "1. ", "> ", "    ", "\n", "\n\n", "  \n", " ", "<b>", "</b>", "<script>", "\"", "'", "http://e.x", "](http://e.x)",
    "\n| a | b |\n|---|---|\n| c | d |\n", "\n---\n", "\n===\n", "字", "😀", "e\u0301", ":", "-", "+", "=", "<br>", "\t",
]  # fmt: skip
markdown = st.lists(st.one_of(st.sampled_from(SIGNS), st.sampled_from(["word", "other"])), max_size=50).map("".join)

ALLOWED = {"b", "i", "s", "code", "pre", "a", "blockquote"}


class Checker(HTMLParser):
    """Knows whether HTML is well-formed and within what Telegram takes."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ALLOWED
        assert tag not in self.open
        assert not {"code", "a"} & set(self.open)
        assert tag == "code" or "pre" not in self.open
        assert tag != "code" or not {"b", "i", "s", "a"} & set(self.open)
        names = [name for name, _ in attrs]
        assert names == {"a": ["href"]}.get(tag, ["class"] if tag == "code" and names else [])
        if tag == "a":
            assert str(attrs[0][1]).startswith(("http://", "https://"))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        assert "<" not in data
        assert "&" not in data
        self.text += data

    def handle_entityref(self, name: str) -> None:
        self.text += {"lt": "<", "gt": ">", "amp": "&", "quot": '"'}[name]

    def handle_charref(self, name: str) -> None:
        raise AssertionError(name)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(decl)


def checked(html: str) -> str:
    checker = Checker()
    checker.feed(html)
    checker.close()
    assert checker.open == []
    return checker.text


@given(st.one_of(markdown, st.text(max_size=100)))
@settings(max_examples=500, deadline=None)
def test_any_text_becomes_well_formed_html_that_telegram_takes(text: str) -> None:
    html = telegram_html(text)
    assert checked(html) == visible_text(html)


@given(markdown)
@settings(max_examples=300, deadline=None)
def test_every_beginning_of_a_text_is_valid_too(text: str) -> None:
    for end in range(0, len(text), 7):
        checked(telegram_html(text[:end]))


@given(st.lists(st.tuples(st.sampled_from(SIGNS), st.integers(0, 99)), max_size=40))
@settings(max_examples=500, deadline=None)
def test_every_word_stays_visible_and_in_order(pieces: list[tuple[str, int]]) -> None:
    """Words follow a space so that they are neither a fence's language nor a link's address."""
    pieces = [(sign, number) for sign, number in pieces if sign not in ("```", "~~~", "](", "](http://e.x)", "`", "``")]
    text = "".join(f"{sign} w{number}w " for sign, number in pieces)
    words = re.findall(r"w\d+w", text)
    assert re.findall(r"w\d+w", visible_text(telegram_html(text))) == words
    assert re.findall(r"w\d+w", discord_markdown(text)) == words


@given(st.lists(st.one_of(st.sampled_from(SIGNS), st.characters(), st.just("!")), max_size=6).map("".join))
@settings(max_examples=2000, deadline=None)
def test_a_line_without_signs_is_what_the_parser_makes_of_it(text: str) -> None:
    assert telegram_html(f"a{text}") == rendered(f"a{text}")


@given(st.text(alphabet="abc xyz,.!?äß字😀", max_size=80))
def test_text_without_markup_stays_as_it_is(text: str) -> None:
    assert visible_text(telegram_html(text)) == "\n".join(line.strip() for line in text.strip().split("\n"))
    assert discord_markdown(text) == text


@given(markdown)
@settings(max_examples=500, deadline=None)
def test_the_weight_of_a_text_without_tables_bounds_its_length(text: str) -> None:
    if "|" not in text and "\t" not in text:
        assert telegram_length(text) <= Scale(telegram_length).weigh(text) + 4


@given(markdown)
@settings(max_examples=300, deadline=None)
def test_discords_markdown_is_made_once(text: str) -> None:
    once = discord_markdown(text)
    if "<" not in once:
        assert discord_markdown(once) == once


@pytest.mark.parametrize(
    ("markdown", "html"),
    [
        ("# Head", "<b>Head</b>"),
        ("Head\n====", "<b>Head</b>"),
        ("**b** *i* ~~s~~ `c<d`", "<b>b</b> <i>i</i> <s>s</s> <code>c&lt;d</code>"),
        ("***both***", "<i><b>both</b></i>"),
        ("**a `b` c**", "<b>a </b><code>b</code><b> c</b>"),
        ("# A **b** c", "<b>A b c</b>"),
        ("**open and `open", "**open and `open"),
        ("a < b & c", "a &lt; b &amp; c"),
        ("&lt;b&gt;", "&lt;b&gt;"),
        ("<b>x</b>", "&lt;b&gt;x&lt;/b&gt;"),
        ("[t](http://e.x/?a=1&b=\"2\")", '<a href="http://e.x/?a=1&amp;b=%222%22">t</a>'),
        ("[`t`](http://e.x)", '<a href="http://e.x">t</a>'),
        ("[](http://e.x)", '<a href="http://e.x">http://e.x</a>'),
        ("<http://e.x>", '<a href="http://e.x">http://e.x</a>'),
        ("![cat](http://e.x/c.png)", '<a href="http://e.x/c.png">cat</a>'),
        ("[page](docs/page.md)", "page (docs/page.md)"),
        ("[hey](tg://user?id=1)", "hey (tg://user?id=1)"),
        ("[x](javascript:alert)", "[x](javascript:alert)"),
        ("[https://bank.example](https://evil.example)", "https://bank.example (https://evil.example)"),
        ("[https://www.bank.example/a](https://bank.example)", '<a href="https://bank.example">https://www.bank.example/a</a>'),
        ("[ref]: http://e.x", "[ref]: http://e.x"),
        ("- a\n- b\n  - c", "• a\n• b\n  • c"),
        ("3. a\n4. b", "3. a\n4. b"),
        ("- a\n\n  b", "• a\n\n  b"),
        ("- \n- b", "• \n• b"),
        ("a\n\n---\n\nb", "a\n\n———\n\nb"),
        ("> a\n> > b\n\nc", "<blockquote>a\nb</blockquote>\n\nc"),
        ("> a\n> ```\n> b\n> ```\n> c", "<blockquote>a</blockquote>\n<pre>b</pre>\n<blockquote>c</blockquote>"),
        ("```py\nx < 1\n```", '<pre><code class="language-py">x &lt; 1</code></pre>'),
        ("```\"><b>\nx\n```", "<pre>x</pre>"),
        ("```\nopen", "<pre>open</pre>"),
        ("a\n```c++ title\nx\n", 'a\n<pre><code class="language-c++">x</code></pre>'),
        ("|a|b|\n|-|-|\n|long|字|", "<pre>a    | b\n-----+---\nlong | 字</pre>"),
        ("- | a | b |\n  |---|---|\n  | c | d | e |", "• <pre>a | b\n--+---+--\nc | d | e</pre>"),
        ("|a|b|\n|-|-|\n|**x**<br>y|`z`|", "<pre>a   | b\n----+--\nx y | z</pre>"),
        ("#", "#"),
        ("***", "———"),
        ("", ""),
    ],
)  # fmt: skip
def test_telegram_html(markdown: str, html: str) -> None:
    assert telegram_html(markdown) == html


def test_a_table_too_wide_for_a_screen_is_not_aligned() -> None:
    wide = "x" * 70
    assert telegram_html(f"|a|b|\n|-|-|\n|{wide}|y|") == f"<pre>a | b\n{wide} | y</pre>"


def test_length_counts_utf16_units_of_what_is_seen() -> None:
    assert telegram_length("**😀** [link](http://example.com)") == 7
    assert utf16_length("a😀") == 3
    assert discord_length("**😀**") == 6


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        ("# **a** `b` [c](http://e.x) @everyone", "# **a** `b` [c](http://e.x) @everyone"),
        ("#### deep", "### deep"),
        ("```\n#### code\n~~~\n```", "```\n#### code\n~~~\n```"),
        ("~~~py x\na\n~~~", "```py\na\n```"),
        ("````md\n```\na\n```\n````", "```md\n`\u200b``\na\n`\u200b``\n```"),
        ("a\n\n| x | y |\n|---|---|\n| 1 | 2 |\n\nb", "a\n\n```\nx | y\n--+--\n1 | 2\n```\n\nb"),
        ("[https://bank.example](https://evil.example)", "https://bank.example <https://evil.example>"),
        ("`[https://a.example](https://b.example)`", "`[https://a.example](https://b.example)`"),
    ],
)
def test_discord_markdown(markdown: str, shown: str) -> None:
    assert discord_markdown(markdown) == shown


@pytest.mark.parametrize(
    "piece", ["[", "*", "`", "[a](", "![[]()", "_*", "**a ", "> ", "- ", "|", "&#", "<", "[[x]", "a|", "#### "]
)
def test_no_markup_takes_long(piece: str) -> None:
    """100 kB of one sign within seconds of CPU; quadratic work would take minutes."""
    text = piece * (100_000 // len(piece))
    began = time.process_time()
    telegram_html(text)
    discord_markdown(text)
    assert time.process_time() - began < 10
