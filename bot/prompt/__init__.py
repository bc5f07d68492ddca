"""History -> token ids: the model's own template, roles that cannot be forged, a window that fits, a prefix that stays.

`PromptBuilder` is the way in. values: what goes in and comes out. guard: untrusted text. template: the sandbox.
shape: what to try where a template refuses. encoding: text to ids. aside: large texts, beside the event loop.
builder: all of it together, and the window.
"""

from bot.prompt.builder import PromptBuilder
from bot.prompt.values import Prompt, ToolCall, Turn, Vocabulary

__all__ = ["Prompt", "PromptBuilder", "ToolCall", "Turn", "Vocabulary"]
