"""Reasoning text (`<think>...</think>` and the like) is taken out of an answer while it streams."""

from __future__ import annotations

from typing import Literal

TAGS = {"<think>": "</think>", "<thinking>": "</thinking>", "[THINK]": "[/THINK]"}
"""As DeepSeek R1, Qwen 3 and their kin write it; some distillates; Mistral's Magistral."""
CONTROLS = frozenset({*TAGS, *TAGS.values()})
"""For `Generation.shows`: some models write them as control tokens, which leave no text otherwise."""


class Visible:
    """What of a growing answer a person is shown.

    Only reasoning at the very beginning is hidden: a tag in the middle of an answer is a quotation (somebody asks how
    models think) and stays.
    """

    def __init__(self, head: str = "") -> None:
        """`head`: what the template wrote before the answer; the reasoning may begin there."""
        opened = next((tag for tag in TAGS if head.rstrip().endswith(tag)), None)
        self.hidden = opened is not None
        """Whether there was reasoning."""
        self._state: Literal["start", "reasoning", "gap", "answer"] = "reasoning" if opened else "start"
        self.thought = ""
        """The reasoning that was taken out by the last `feed` or `end`."""
        self._held = ""
        self._closing = TAGS[opened] if opened else ""

    @property
    def undecided(self) -> bool:
        """Whether all that came may still turn out to be the beginning of reasoning."""
        return self._state == "start"

    @property
    def reasoning(self) -> bool:
        """Whether what came last belongs to the reasoning, or to the gap behind it."""
        return self._state in {"reasoning", "gap"}

    def feed(self, text: str) -> str:
        """The model's next text -> what of it can be shown now."""
        self.thought = ""
        if self._state == "answer":
            return text
        self._held += text
        if self._state == "start":
            self._begin()
        if self._state == "reasoning":
            self._seek_end()
        if self._state == "gap" and (rest := self._held.lstrip()):
            self._state, self._held = "answer", rest
        return self._flush() if self._state == "answer" else ""

    def end(self) -> str:
        """The model has ended: what was held back because it might have become a tag."""
        self.thought = self._flush() if self._state == "reasoning" else ""
        return self._flush() if self._state == "start" else ""

    def _begin(self) -> None:
        start = self._held.lstrip()
        opening = next((tag for tag in TAGS if start.startswith(tag)), None)
        if opening is not None:
            self._state, self.hidden = "reasoning", True
            self._closing, self._held = TAGS[opening], start.removeprefix(opening)
        elif start and not any(tag.startswith(start) for tag in TAGS):
            self._state = "answer"

    def _seek_end(self) -> None:
        thought, found, after = self._held.partition(self._closing)
        if found:
            self.thought, self._state, self._held = thought, "gap", after
        else:
            keep = max(0, len(self._held) - len(self._closing) + 1)
            self.thought, self._held = self._held[:keep], self._held[keep:]

    def _flush(self) -> str:
        held, self._held = self._held, ""
        return held
