"""Turns -> rendered text: protected contents, generated ids by reference, in a shape that the template takes whole.

The template is rendered twice: with the protected contents, and with an inert word in the place of each. The second
says which control strings are the template's own, whether it leaves a message out, and whether it refuses the shape.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from bot import aside
from bot.errors import BadRequest, ModelError
from bot.generation import ChatTemplate
from bot.messages import Role
from bot.prompt.calls import TRIAL_TOOLS, CallForm, find_form, in_form
from bot.prompt.guard import SPLICE_CLOSE, SPLICE_OPEN, Guard, map_strings
from bot.prompt.memo import Memo
from bot.prompt.shape import SHAPES, TemplateMessage, fold_system, fold_tools
from bot.prompt.template import TemplateRefused, TemplateRenderer
from bot.prompt.wording import Protected, Window, Wording, splice, word
from bot.turns import Turn

_EXPECTED_CHARS, _EXPECTED_KEY = 1_000_000, 50
"""Some hundred shapes of a conversation; what an entry's own key takes counts too."""
_WORDS, _WORD_LENGTH = re.compile("q[0-9]+z"), 16
"""Those of `word`, and more than one of them has characters."""
_PLAIN = {"role", "content"}
"""Of a message without tools."""
_DAY = date(2000, 1, 1)
"""Any day: for what is found out about a template once."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A conversation as text."""

    text: str
    landmarks: Sequence[tuple[int, str]]
    """Where in it a control string or a splice mark begins, and which."""
    forged: bool
    """Its control strings are not those that the template writes around inert words."""


@dataclass(frozen=True, slots=True)
class _Expected:
    """What the template writes around inert words."""

    whole: bool
    """Every turn is in it."""
    landmarks: Sequence[str]
    once: frozenset[str]
    """The splice marks that are in it exactly once."""


class _Own(dict[str, Any]):
    """A message that equals itself alone: templates compare messages to find the last one of a user, who may repeat it."""

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = dict.__hash__


class Layout:
    """One model's template, and what was found out about it. Raises ModelError if it cannot be used."""

    def __init__(self, template: ChatTemplate, guard: Guard) -> None:
        self._guard = guard
        self._renderer = TemplateRenderer(template)
        self._wording = Wording(guard, self._renderer.words)
        self._known_expected: Memo[tuple[object, ...], _Expected] = Memo(_EXPECTED_CHARS)
        self._bos = template.bos_token if template.adds_bos else ""
        self._in_parts = self._folds_system = False
        self._no_tools: list[Any] | None = None
        self._call_forms: dict[bool, CallForm] = {}
        self._wants_reasoning = False
        self._find_form()
        self._wants_reasoning = self._find_reasoning()
        if "tool" in template.source:
            self._call_forms = self._find_call_forms()
        knows_developer = "developer" in self._renderer.words and self._takes_developer()
        self._folds_system = self._find_folding()
        self._history_head, self.prompt_head = self._find_heads()
        if not knows_developer:
            self._wording.roles[Role.DEVELOPER] = Role.SYSTEM.value
        self._before_splice = re.compile(f"{re.escape(self._history_head)}(?={SPLICE_OPEN}[0-9]+{SPLICE_CLOSE})")

    def render(self, window: Window, *, only: int | None = None) -> Rendered:
        """Render a conversation; with `only`, all other turns are inert.

        Raises BadRequest if the template takes it in no shape.
        """
        texts = self._wording.texts(window.turns)
        inert = self._messages(window, texts, real=())
        real = self._messages(window, texts, real=range(len(texts)) if only is None else (only,))
        needed = _needed(window, texts)
        tools = [map_strings(window.tools, self._wording.change(window, real=real)) for real in (False, True)]
        refusal = "it leaves a message out"
        for shape in SHAPES:
            try:
                expected = self._expect(shape(inert), tools[False], window.day, needed)
                if not expected.whole:
                    continue
                text = self._finish(self._write(shape(real), tools[True], window.day))
            except TemplateRefused as error:
                refusal = str(error)
                continue
            landmarks = self._landmarks(text)
            if lost := _lost(window.spliced, expected, landmarks):
                return self.render(replace(window, spliced=window.spliced - lost), only=only)
            return Rendered(text, landmarks, forged=[string for _, string in landmarks] != expected.landmarks)
        raise BadRequest(f"The model's chat template refuses this conversation: {refusal}", param="messages")

    def protect(self, turn: Turn) -> str:
        """The turn's text as it is rendered, with the author's name before it."""
        return self._wording.texts([turn])[0].text

    def take_apart(self, turn: Turn) -> None:
        """From now on this turn's text is encoded character by character."""
        self._wording.take_apart(turn)

    def _messages(self, window: Window, texts: Sequence[Protected], real: Container[int]) -> list[TemplateMessage]:
        """The messages; those of the turns that are not `real` have inert words."""
        return self._base([self._wording.message(window, i, text, real=i in real) for i, text in enumerate(texts)])

    def _base(self, messages: list[TemplateMessage]) -> list[TemplateMessage]:
        messages = messages if self._call_forms else fold_tools(messages)
        return fold_system(messages) if self._folds_system else messages

    def _write(
        self, messages: list[TemplateMessage], tools: Sequence[Any] | None, day: date, form: CallForm | None = None
    ) -> str:
        form = form or self._call_forms.get(bool(tools), next(iter(self._call_forms.values()), None))
        if form is not None:
            messages = in_form(messages, form)
        if self._wants_reasoning:
            messages = [{**m, "reasoning_content": ""} if m["role"] == Role.ASSISTANT else m for m in messages]
        if self._in_parts:
            messages = [{**m, "content": _parts(m["content"])} for m in messages]
        generate = not messages or messages[-1]["role"] != Role.ASSISTANT
        own = [_Own(message) for message in messages]
        return self._renderer.render(own, tools or self._no_tools, day, generate=generate)

    def _expect(
        self, messages: list[TemplateMessage], tools: Sequence[Any] | None, day: date, needed: tuple[int, ...]
    ) -> _Expected:
        """What is written around inert words: it depends on the roles alone, and many conversations have those in common.

        `needed`: the turns whose words must be there.
        """
        if tools or any(message.keys() != _PLAIN for message in messages):
            return self._look(self._write(messages, tools, day), needed)
        key = (day, needed, *[part for message in messages for part in (message["role"], message["content"])])
        known = self._known_expected.get(key)
        if known is None:
            text = self._write(messages, tools, day)
            known = self._look(text, needed)
            self._known_expected.put(key, known, len(text) + _EXPECTED_KEY * len(key))
        return known

    def _look(self, text: str, needed: tuple[int, ...]) -> _Expected:
        found = {
            each
            for begin in range(0, len(text), aside.STEP)
            for each in _WORDS.findall(text[begin : begin + aside.STEP + _WORD_LENGTH].casefold())
        }
        landmarks = [string for _, string in self._landmarks(self._finish(text))]
        return _Expected(all(word(i) in found for i in needed), landmarks, _once(landmarks))

    def _landmarks(self, text: str) -> list[tuple[int, str]]:
        return [(match.start(), match.group()) for match in self._guard.landmarks(text)]

    def _finish(self, text: str) -> str:
        """With bos, and with generated ids after the very words that they were generated after."""
        if SPLICE_OPEN in text:
            text = self._before_splice.sub(lambda _: self.prompt_head, text)
        return text if text.startswith(self._bos) else self._bos + text

    # -----------------------------------------------------------------------------------------------------------------
    # Found out once, with inert words

    def _trial(self, *messages: tuple[str, str]) -> str | None:
        """The template's text for (role, content); None if it refuses or leaves one out."""
        try:
            text = self._write([{"role": role, "content": content} for role, content in messages], None, _DAY)
        except TemplateRefused:
            return None
        return text if all(content in text for _, content in messages) else None

    def _find_form(self) -> None:
        """Find out whether contents are texts or lists of parts, and what no tools are. Raises ModelError."""
        for self._no_tools, self._in_parts in itertools.product((None, []), (False, True)):
            if self._trial(("user", word(0))) or self._trial(("system", word(0)), ("user", word(1))):
                return
        raise ModelError("the model's chat template does not take a user's message")

    def _find_reasoning(self) -> bool:
        """Whether an assistant's message is refused that does not say what it thought, be it nothing."""
        turns = [("user", word(0)), ("assistant", word(1)), ("user", word(2))]
        if self._trial(*turns) is not None:
            return False
        self._wants_reasoning = True
        return self._trial(*turns) is not None

    def _find_call_forms(self) -> dict[bool, CallForm]:
        """How calls are written, with tools and without them; empty if they are not."""

        def write(form: CallForm, messages: Sequence[TemplateMessage]) -> str:
            try:
                return self._write(list(messages), tools, _DAY, form)
            except TemplateRefused:
                return ""

        found: dict[bool, CallForm] = {}
        for tools in (None, TRIAL_TOOLS):
            if (form := find_form(write, names=tools is None)) is not None:
                found[tools is not None] = form
        return found

    def _takes_developer(self) -> bool:
        return self._trial(("developer", word(0)), ("user", word(1))) is not None

    def _find_folding(self) -> bool:
        """Whether the system's text must go into the first user's: it is refused, left out, or moved with each turn."""
        turns = [("system", word(0)), ("user", word(1)), ("assistant", word(2)), ("user", word(3))]
        first, second = self._trial(*turns[:2]), self._trial(*turns)
        if first is None or second is None:
            return True
        return _shared(first, second) < first.index(word(1)) + len(word(1))

    def _find_heads(self) -> tuple[str, str]:
        """How the assistant's words begin in a history, and in a prompt that asks for them; what both share is left out."""
        asked = self._trial(("user", word(0)))
        said = self._trial(("user", word(0)), ("assistant", splice(1)), ("user", word(2)))
        if asked is None or said is None:
            return "", ""
        said = said[: said.index(splice(1))]
        shared = _shared(asked, said)
        return ("", "") if word(0) in asked[shared:] else (said[shared:], asked[shared:])


def _shared(first: str, second: str) -> int:
    """How many characters two texts share at their beginning."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((i for i, (one, other) in pairs if one != other), min(len(first), len(second)))


def _parts(content: str | None) -> list[dict[str, str]] | None:
    return None if content is None else [{"type": "text", "text": content}]


def _needed(window: Window, texts: Sequence[Protected]) -> tuple[int, ...]:
    """The turns whose words must be in the text; a turn with tool calls may do without."""
    return tuple(
        i
        for i, (turn, text) in enumerate(zip(window.turns, texts, strict=True))
        if not text.blank and not turn.tool_calls and i not in window.spliced
    )


def _lost(spliced: frozenset[int], expected: _Expected, landmarks: Sequence[tuple[int, str]]) -> set[int]:
    """The turns for whose generated ids there is no place, or more than one."""
    strings = [string for _, string in landmarks]
    once = expected.once if strings == expected.landmarks else expected.once & _once(strings)
    return {i for i in spliced if splice(i) not in once}


def _once(strings: Sequence[str]) -> frozenset[str]:
    """Those that are there exactly once."""
    return frozenset(string for string, count in Counter(strings).items() if count == 1)
