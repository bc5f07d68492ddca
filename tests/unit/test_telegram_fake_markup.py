"""The Telegram stand-in reads formatted text as strictly as the platform."""

from __future__ import annotations

from typing import Any

import pytest

from tests.telegram.entities import Formatted, formatted
from tests.telegram.errors import Misuse, Refused


def html(source: str) -> Formatted:
    return formatted(source, "HTML")


def shown(source: str) -> list[tuple[Any, ...]]:
    """(type, offset, length, and what else there is) of each entity."""
    known = {"type", "offset", "length"}
    return [
        (e["type"], e["offset"], e["length"], *(v for k, v in e.items() if k not in known))
        for e in html(source).entities
    ]


@pytest.mark.parametrize(
    ("source", "text", "entities"),
    [
        ("plain", "plain", []),
        ("<b>bold</b> and <i>italic</i>", "bold and italic", [("bold", 0, 4), ("italic", 9, 6)]),
        ("<strong>a</strong><em>b</em>", "ab", [("bold", 0, 1), ("italic", 1, 1)]),
        ("<u>a</u><ins>b</ins>", "ab", [("underline", 0, 1), ("underline", 1, 1)]),
        ("<s>a</s><strike>b</strike><del>c</del>", "abc", [("strikethrough", at, 1) for at in range(3)]),
        ("<b>a<i>b<u>c</u></i></b>", "abc", [("bold", 0, 3), ("italic", 1, 2), ("underline", 2, 1)]),
        ('<span class="tg-spoiler">a</span><tg-spoiler>b</tg-spoiler>', "ab", [("spoiler", 0, 1), ("spoiler", 1, 1)]),
        (
            '<a href="https://example.org/a?b=1&amp;c=2">x</a>',
            "x",
            [("text_link", 0, 1, "https://example.org/a?b=1&c=2")],
        ),
        ("<a href='http://example.org'>x</a>", "x", [("text_link", 0, 1, "http://example.org/")]),
        ('<a href="nonsense">x</a>', "x", []),
        ("<code>a &lt; b</code>", "a < b", [("code", 0, 5)]),
        ("<pre>x\ny</pre>", "x\ny", [("pre", 0, 3)]),
        ('<pre><code class="language-python">x = 1</code></pre>', "x = 1", [("pre", 0, 5, "python")]),
        ('<pre><code class="language-python">x</code> y</pre>', "x y", [("pre", 0, 3)]),
        ("<blockquote>a <b>b</b></blockquote>", "a b", [("blockquote", 0, 3), ("bold", 2, 1)]),
        ("<blockquote expandable>a</blockquote>", "a", [("expandable_blockquote", 0, 1)]),
        ("<blockquote>a<blockquote>b</blockquote></blockquote>", "ab", [("blockquote", 0, 2)]),
        ("<b>a <code>b</code> c</b>", "a b c", [("bold", 0, 2), ("code", 2, 1), ("bold", 3, 2)]),
        ("<code>a <b>b</b></code>", "a b", [("code", 0, 3)]),
        ("<B>a</b >", "a", [("bold", 0, 1)]),
        ("<b></b>a", "a", []),
        ("<b>a</>", "a", [("bold", 0, 1)]),
    ],
)
def test_html_becomes_entities(source: str, text: str, entities: list[tuple[Any, ...]]) -> None:
    assert (html(source).text, shown(source)) == (text, entities)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("&lt;b&gt; &amp;amp; &quot;", '<b> &amp; "'),
        ("&#65;&#x42;&#128512;", "AB😀"),
        ("&nbsp; &copy; &", "&nbsp; &copy; &"),
        ("a > b", "a > b"),
        ("  a\r\n b \n\n", "a\n b"),
    ],
)
def test_characters_are_resolved_and_the_text_is_trimmed(source: str, text: str) -> None:
    assert html(source) == Formatted(text)


def test_offsets_and_lengths_are_in_utf16_code_units() -> None:
    assert shown("😀<b>😀é</b><i>x</i>") == [("bold", 2, 3), ("italic", 5, 1)]
    assert html("😀<b>😀é</b>").slice(html("😀<b>😀é</b>").entities[0]) == "😀é"


def test_entities_end_where_the_trimmed_text_ends() -> None:
    assert (html("<b>a  </b>\n").text, shown("<b>a  </b>\n")) == ("a", [("bold", 0, 1)])


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("<b>a", 'Can\'t find end tag corresponding to start tag "b"'),
        ("<b>a</i>", 'Unmatched end tag at byte offset 4, expected "</b>", found "</i>"'),
        ("<b><i>a</b></i>", 'Unmatched end tag at byte offset 7, expected "</i>", found "</b>"'),
        ("a</b>", "Unexpected end tag at byte offset 1"),
        ("é<h1>a</h1>", 'Unsupported start tag "h1" at byte offset 2'),
        ("a < b", 'Unsupported start tag "" at byte offset 2'),
        ("<br/>", 'Unsupported start tag "br/" at byte offset 0'),
        ("<!-- a -->", 'Unsupported start tag "!--" at byte offset 0'),
        ("a <b", "Unclosed start tag at byte offset 2"),
        ("<b>a</b", "Unclosed end tag at byte offset 4"),
        ('<a href="x>y</a>', "Unclosed start tag at byte offset 0"),
        ("<a href>y</a>", 'Expected equal sign in declaration of an attribute of the tag "a" at byte offset 0'),
        ("<span>a</span>", 'Tag "span" must have class "tg-spoiler" at byte offset 0'),
    ],
)
def test_html_that_the_platform_refuses_is_refused(source: str, words: str) -> None:
    with pytest.raises(Refused) as caught:
        html(source)
    assert caught.value.code == 400
    assert caught.value.description == f"Bad Request: can't parse entities: {words}"


def test_links_mentions_commands_and_hashtags_are_found_but_not_in_code() -> None:
    found = formatted("see https://example.org/a. @ada_l /help@hearth_bot #tag /usr/bin a@b.org")
    assert [(e["type"], found.slice(e)) for e in found.entities] == [
        ("url", "https://example.org/a"),
        ("mention", "@ada_l"),
        ("bot_command", "/help@hearth_bot"),
        ("hashtag", "#tag"),
    ]
    assert shown("<code>/help https://example.org/a</code>") == [("code", 0, 27)]
    assert shown("<b>/help</b>") == [("bold", 0, 5), ("bot_command", 0, 5)]


@pytest.mark.parametrize(
    ("offset", "length", "words"),
    [
        (3, 1, "entity begins after the end of the text at UTF-16 offset 3"),
        (1, 5, "entity beginning at UTF-16 offset 1 ends after the end of the text at 6"),
        (1, 1, "entity at UTF-16 offset 1 is in the middle of a UTF-16 symbol"),
    ],
)
def test_entities_must_lie_within_the_text(offset: int, length: int, words: str) -> None:
    with pytest.raises(Refused, match=words):
        formatted("😀a", entities=[{"type": "bold", "offset": offset, "length": length}])


def test_entities_may_come_instead_of_markup() -> None:
    bold = {"type": "bold", "offset": 2, "length": 1}
    assert formatted("😀a<b>", entities=[bold]) == Formatted("😀a<b>", [bold])


def test_half_a_surrogate_pair_is_no_text() -> None:
    with pytest.raises(Refused, match="strings must be encoded in UTF-8"):
        formatted("a\ud83d")


def test_other_parse_modes_are_loudly_missing() -> None:
    with pytest.raises(Misuse, match="not implemented"):
        formatted("*a*", "MarkdownV2")
    with pytest.raises(Refused, match="unsupported parse_mode"):
        formatted("a", "BBCode")


@pytest.mark.parametrize(
    "source",
    [
        "<b>a <i>b</i></b> &lt;&amp;",
        '<pre><code class="language-python">x &lt; 1</code></pre>',
        '<a href="https://example.org/?a=1&amp;b=2">😀</a> c',
        "<blockquote expandable>a</blockquote>",
    ],
)
def test_a_message_can_be_looked_at_as_html(source: str) -> None:
    assert html(source).html == source
