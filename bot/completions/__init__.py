"""The port `Completions`: the models for programs, through the same queue as everybody.

service: what is asked, whom, and what it cost. names: aliases, other names and snapshots. choices: several streams as
one. chat, text: what a request becomes, and what an engine's stream becomes.
"""

from bot.completions.names import Names
from bot.completions.service import ModelCompletions

__all__ = ["ModelCompletions", "Names"]
