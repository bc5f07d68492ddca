"""History -> token ids: the model's own template, roles that cannot be forged, a window that fits, a prefix that stays.

`PromptBuilder` is the way in; `MessageBuilder` for an engine that takes messages, `TextPrompts` (raw) for texts without
roles. values: what goes in and comes out.
guard: untrusted text. wording, layout: turns to text. template: the sandbox. shape: what to try where a template refuses.
calls: what it wants of those. encoding: text to ids. cutting: the window's rule. builder, messages: all of it together.
"""

from bot.prompt.builder import PromptBuilder
from bot.prompt.messages import MessageBuilder
from bot.prompt.raw import TextPrompts
from bot.prompt.values import PlainVocabulary, Prompt, Prompts, Vocabulary
from bot.turns import ToolCall, Turn

__all__ = [
    "MessageBuilder",
    "PlainVocabulary",
    "Prompt",
    "PromptBuilder",
    "Prompts",
    "TextPrompts",
    "ToolCall",
    "Turn",
    "Vocabulary",
]
