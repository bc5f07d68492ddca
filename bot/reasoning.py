"""Reasoning text (`<think>...</think>` and the like) is taken out of an answer while it streams."""

from __future__ import annotations

from typing import Literal

_PAIRS = {"<think>": "</think>", "<thinking>": "</thinking>", "[THINK]": "[/THINK]"}
"""As DeepSeek R1, Qwen 3 and their kin write it; some distillates; Mistral's Magistral."""


class Visible:
    """What of a growing answer a person is shown.

    Only reasoning at the very beginning is hidden: a tag in the middle of an answer is a quotation (somebody asks how
    models think) and stays.
    """

    def __init__(self, head: str = "") -> None:
        """`head`: what the template wrote before the answer; the reasoning may begin there."""
        opened = next((tag for tag in _PAIRS if head.rstrip().endswith(tag)), None)
        self.hidden = opened is not None
        """Whether there was reasoning."""
        self._state: Literal["start", "reasoning", "gap", "answer"] = "reasoning" if opened else "start"
        self._held = ""
        self._closing = _PAIRS[opened] if opened else ""

    def feed(self, text: str) -> str:
        """The model's next text -> what of it can be shown now."""
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
        return self._flush() if self._state == "start" else ""

    def _begin(self) -> None:
        start = self._held.lstrip()
        opening = next((tag for tag in _PAIRS if start.startswith(tag)), None)
        if opening is not None:
            self._state, self.hidden = "reasoning", True
            self._closing, self._held = _PAIRS[opening], start.removeprefix(opening)
        elif start and not any(tag.startswith(start) for tag in _PAIRS):
            self._state = "answer"

    def _seek_end(self) -> None:
        _, found, after = self._held.partition(self._closing)
        if found:
            self._state, self._held = "gap", after
        else:
            self._held = self._held[-len(self._closing) :]

    def _flush(self) -> str:
        held, self._held = self._held, ""
        return held
