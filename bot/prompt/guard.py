"""Untrusted text: what is taken out of it, and how the control strings in it are broken.

A broken string holds `MARK`, a noncharacter that cannot come from outside because `clean` removes it. The text is
split at the marks before it is encoded, so a mark never reaches a tokenizer, and no part holds a control string.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

from bot import aside
from bot.errors import ModelError
from bot.generation import ChatTemplate

MARK = "\ufdd0"
"""Stands where a text is split for encoding."""
SPLICE_OPEN, SPLICE_CLOSE = "\ufdd1", "\ufdd2"
"""Around the number of a turn whose generated ids take this place."""

_SPLICE_LENGTH = 16
"""More than a splice mark has characters."""

_NONCHARACTERS = re.compile("[\ufdd0-\ufdef]")
# Unicode 16, section 3.9: an ill-formed part is replaced by U+FFFD. NUL ends a string in C libraries; CommonMark 2.3
# replaces it in the same way.
_ILL_FORMED = re.compile("[\ud800-\udfff\x00]")
_RUN_OF_SPACE = re.compile("[ \t\n\r\v\f\u00a0\u2000-\u200a\u3000\u2581]*")
_NAME_LENGTH = 64
_NAME_LOOKED_AT = 64 * _NAME_LENGTH
"""Characters of a name: what is behind so many that cannot be seen is nobody's name."""
# HTML elements that Gemma's vocabulary holds as added tokens. Without <s> and </s>, which many models begin and end
# a text with.
_HTML_TAG = re.compile(
    "</?(?:table|caption|thead|tbody|tfoot|tr|th|td|h[1-6]|blockquote|ul|ol|li|dl|dt|dd|p|pre|hr|br|div|span|a|img|"
    "strong|em|b|i|u|sub|sup|code)>"
)


def clean(text: str) -> str:
    """Remove the noncharacters U+FDD0..U+FDEF; put U+FFFD for each lone surrogate and NUL."""
    if len(text) <= aside.STEP:
        return _clean_step(text)
    return "".join([_clean_step(step) for step in aside.steps(text)])


def _clean_step(text: str) -> str:
    return _ILL_FORMED.sub("\ufffd", _NONCHARACTERS.sub("", text))


def clean_name(name: str) -> str:
    """A display name on one line, without control and format characters and colons, at most 64 characters long."""
    spaced = " ".join(name[:_NAME_LOOKED_AT].replace(":", " ").split())
    visible = "".join(char for char in spaced if unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co", "Cn"})
    return visible[:_NAME_LENGTH].strip() or "Someone"


def take_apart(text: str) -> str:
    """A mark around every character: the last resort for text that gives control ids although its strings are broken."""
    return "".join([MARK, *(MARK.join(step) + MARK for step in aside.steps(text))])


class Guard:
    """The control strings of one vocabulary, as they may occur in text. Raises ModelError if they are hostile."""

    def __init__(self, control_strings: Collection[str], template: ChatTemplate) -> None:
        self.strings = frozenset(string for string in control_strings if not _is_harmless(string, template))
        self._joined = "\n".join(self.strings)
        self._longest = max(map(len, self.strings), default=0) + _SPLICE_LENGTH
        single = "".join(string for string in self.strings if len(string) == 1)
        self._single = str.maketrans(dict.fromkeys(single, "\ufffd"))
        try:
            self._long = re.compile(_any_of(string for string in self.strings if len(string) > 1))
            self._rendered = re.compile(f"{SPLICE_OPEN}[0-9]+{SPLICE_CLOSE}|{_any_of(self.strings)}")
        except RecursionError as error:
            raise ModelError("the model's added tokens cannot be told apart: too many begin alike") from error

    def protect(self, text: str) -> str:
        """Clean untrusted text and break every control string in it, nested and overlapping ones too.

        Text without control strings comes back unchanged. A control character that alone is a control string is
        replaced by U+FFFD, as it cannot be broken.
        """
        text = clean(text)
        if self._single:
            text = "".join([step.translate(self._single) for step in aside.steps(text)])
        parts, begin = [], 0
        for seam in sorted(set(self._seams(text))):
            parts.append(text[begin:seam])
            begin = seam
        return MARK.join([*parts, text[begin:]])

    def is_within(self, text: str) -> bool:
        """Whether text is a part of a control string, which the words around it could complete."""
        return text in self._joined

    def find(self, text: str) -> list[str]:
        """The control strings in text, from left to right, the longest at each place."""
        return [match.group() for match in self.landmarks(text) if match.group()[0] != SPLICE_OPEN]

    def landmarks(self, rendered: str) -> Iterator[re.Match[str]]:
        """The control strings and the splice marks in a rendered template, from left to right."""
        if len(rendered) <= aside.STEP:
            return self._rendered.finditer(rendered)
        return self._landmarks_in_steps(rendered)

    def _landmarks_in_steps(self, rendered: str) -> Iterator[re.Match[str]]:
        position = 0
        while position < len(rendered):
            end = position + aside.STEP
            for match in self._rendered.finditer(rendered, position, end + self._longest):
                if match.start() >= end:  # perhaps not all of it was seen
                    break
                yield match
                position = match.end()
            position = max(position, end)

    def _seams(self, text: str) -> Iterator[int]:
        """Where to split, so that no part holds a control string."""
        position = 0
        while match := self._next(text, position):
            position = match.start() + _seam(match.group())
            yield position
            for inner in self._seams(text[match.start() : position]):
                yield match.start() + inner

    def _next(self, text: str, position: int) -> re.Match[str] | None:
        """The first control string from there on."""
        for begin in range(position, len(text), aside.STEP):
            match = self._long.search(text, begin, begin + aside.STEP + self._longest)
            if match is not None and match.start() < begin + aside.STEP:
                return match
        return None


def map_strings(value: Any, change: Callable[[str], str]) -> Any:
    """Change every string in a JSON-like value, the keys of its objects included."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {change(str(key)): map_strings(inner, change) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [map_strings(inner, change) for inner in value]
    return value


def _is_harmless(string: str, template: ChatTemplate) -> bool:
    """Whether an added token is plain text in disguise: it can carry no role, and breaking it would only harm.

    Runs of white space (GPT-NeoX, Gemma), single visible characters (DeepSeek), HTML tags (Gemma) if the template
    does not use them.
    """
    if _RUN_OF_SPACE.fullmatch(string):
        return True
    if len(string) == 1:
        return unicodedata.category(string) not in {"Cc", "Cf", "Co", "Cn"}
    if string in {template.bos_token, template.eos_token}:
        return False
    return _HTML_TAG.fullmatch(string) is not None and string not in template.source


def _seam(string: str) -> int:
    """Where to break a control string: where a word ends, because tokenizers divide a text there in any case.

    So the parts of `<|im_end|>`, `<|im_end` and `|>`, give the very ids of the whole if it were no control string.
    """
    borders = [i for i in range(1, len(string)) if string[i - 1].isalnum() != string[i].isalnum()]
    ends = [i for i in borders if string[i - 1].isalnum()]
    return (ends or borders or [len(string) // 2])[-1]


def _any_of(strings: Iterable[str]) -> str:
    """A regular expression for the longest of these strings at a place, quick for thousands: a trie."""
    trie: dict[str, Any] = {}
    for string in strings:
        node = trie
        for char in string:
            node = node.setdefault(char, {})
        node[""] = {}
    return _trie_expression(trie) if trie else r"(?!)"


def _trie_expression(node: dict[str, Any]) -> str:
    chain = ""
    while len(node) == 1 and "" not in node:
        char, node = next(iter(node.items()))
        chain += re.escape(char)
    branches = [re.escape(char) + _trie_expression(inner) for char, inner in sorted(node.items()) if char]
    return chain + (f"(?:{'|'.join(branches)}){'?' if '' in node else ''}" if branches else "")
