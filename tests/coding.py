"""A model that writes code, for tests of code that is sent as a file."""

from __future__ import annotations

from tests.house import question

CODE = "x = 1\n" * 4
LINES = 4
"""How many it has."""
SEE_FILE = "Here it is.\n\n(see `code.py`)"
"""What such an answer is then, in Markdown."""


def answers(prompt: str) -> str:
    """Code for who asks for it; anything else is said back."""
    asked = question(prompt)
    return f"Here it is.\n\n```python\n{CODE}```" if "code" in asked else f"You said: {asked}"
