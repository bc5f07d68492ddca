"""Long code in Markdown becomes files: which blocks, under which names, and what stands in their place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.text import with_code_files
from adapters.text.fences import Place

CODE = "a = 1\nb = 2\nc = 3"


def files(markdown: str, least: int = 3) -> list[tuple[str, str]]:
    return [(file.name, file.data.decode()) for file in with_code_files(markdown, least)[1]]


def test_a_long_block_becomes_a_file_and_a_word_is_in_its_place() -> None:
    text, found = with_code_files(f"Here:\n\n```python\n{CODE}\n```\n\nDone.", 3)
    assert text == "Here:\n\n(see `code.py`)\n\nDone."
    assert [(file.name, file.media_type, file.data) for file in found] == [
        ("code.py", "text/plain", f"{CODE}\n".encode())
    ]


@pytest.mark.parametrize("least", [0, -1, 4])
def test_a_shorter_one_stays_and_without_a_length_all_do(least: int) -> None:
    markdown = f"```python\n{CODE}\n```"
    assert with_code_files(markdown, least) == (markdown, ())


@pytest.mark.parametrize(
    ("language", "name"),
    [
        ("", "code.txt"),
        ("python", "code.py"),
        ("Python title=x.exe", "code.py"),
        ("c++", "code.cpp"),
        ("bash", "code.sh"),
        ("exe", "code.txt"),
        ("../../x", "code.txt"),
    ],
)
def test_the_name_comes_from_the_language_and_never_is_the_models(language: str, name: str) -> None:
    assert files(f"```{language}\n{CODE}\n```") == [(name, f"{CODE}\n")]


def test_each_block_is_a_file() -> None:
    text, found = with_code_files(f"```js\n{CODE}\n```\nand\n~~~\n{CODE}\n~~~\n```\nshort\n```", 3)
    assert text == "(see `code.js`)\nand\n(see `code-2.txt`)\n```\nshort\n```"
    assert [file.name for file in found] == ["code.js", "code-2.txt"]


def test_what_is_around_a_block_is_no_part_of_its_code() -> None:
    item = "- so:\n  ```py\n  a = 1\n    b = 2\n  c = 3\n  ```\n- next"
    assert with_code_files(item, 3)[0] == "- so:\n  (see `code.py`)\n- next"
    assert files(item) == [("code.py", "a = 1\n  b = 2\nc = 3\n")]
    quote = "> ```py\n> a = 1\n>   b = 2\n> c = 3\n> ```\nend"
    assert with_code_files(quote, 3)[0] == "> (see `code.py`)\nend"
    assert files(quote) == [("code.py", "a = 1\n  b = 2\nc = 3\n")]


@pytest.mark.parametrize(
    "markdown",
    [
        f"```py\n{CODE}",
        f"```py\n{CODE}\n\n_(This is as far as I get at once.)_",
        f"> ```py\n> {CODE}\nno quote",
        "no code",
        "",
        "    ```py\n    a\n    b\n    c\n    ```",
    ],
)
def test_what_nothing_closes_is_text(markdown: str) -> None:
    assert with_code_files(markdown, 1) == (markdown, ())


LINES = st.lists(
    st.sampled_from(["```", "```py", "~~~", "> ```", "- ```", "  ```", "code", "> quoted", "", "- item", "    x"])
)


@given(LINES, st.integers(1, 4))
def test_whatever_stands_there_all_other_lines_stay_in_their_order(lines: list[str], least: int) -> None:
    markdown = "\n".join(lines)
    text, found = with_code_files(markdown, least)
    left = iter(markdown.split("\n"))
    assert all(line in left for line in text.split("\n") if "(see `code" not in line)
    assert len([line for line in text.split("\n") if "(see `code" in line]) == len(found)
    assert all(file.data.count(b"\n") >= least for file in found)
    assert bool(_open_at_end(markdown)) == bool(_open_at_end(text))


def _open_at_end(markdown: str) -> bool:
    place = Place()
    for line in markdown.split("\n"):
        place = place.after(line)
    return place.fence is not None
