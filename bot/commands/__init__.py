"""The commands: one table from which every face's menus, the help text and the dispatch are made.

Every effect is relative to the command's parent, which the store resolved once: a command that is run again after a
crash does the same thing, not twice the thing. `table` is the way in. calling: what is a command. context: what one may
use. settings, talk, data: what each one does.
"""

from bot.commands.calling import Call, as_action, parse, spoken
from bot.commands.context import Answer, Context, Entry, Hear, Result
from bot.commands.settings import MAX_SYSTEM_PROMPT
from bot.commands.table import TABLE, menu, run
from bot.commands.talk import as_asked

__all__ = [
    "MAX_SYSTEM_PROMPT",
    "TABLE",
    "Answer",
    "Call",
    "Context",
    "Entry",
    "Hear",
    "Result",
    "as_action",
    "as_asked",
    "menu",
    "parse",
    "run",
    "spoken",
]
