"""How models of each family write calls of functions: told, constrained and read.

    form = format_for(engine.template, ids)         once per model; ids: each control string that is one token -> its id
    form.check(functions)
    turns, tools = form.prepare(turns, functions)   for PromptBuilder.build(turns, tools=tools, ...)
    Generation(..., grammar=form.constraint(functions, choice, parallel=..., head=prompts.answer_head), shows=form.shows)
    parser = form.parser(functions, forced=...)     one for each answer
    parser.feed(text), ..., parser.end()            -> Said, CallBegun, Arguments, CallEnded

The text that the parser is fed is the answer without its reasoning. Events of one call follow each other without those
of another between them. With `tool_choice: none` nothing of this is used. Where calls may not be parallel and there is
no grammar, whoever reads the events stops at the first CallEnded. Call ids are made by whoever reads the events.
"""

from bot.tools.formats.base import Parser, ToolFormat
from bot.tools.formats.choosing import format_for
from bot.tools.formats.events import Arguments, CallBegun, CallEnded, Said, ToolEvent

__all__ = ["Arguments", "CallBegun", "CallEnded", "Parser", "Said", "ToolEvent", "ToolFormat", "format_for"]
