"""A model on an OpenAI-compatible server: vLLM, SGLang, tabbyAPI, llama.cpp, Ollama, or a cluster of them.

The server is given messages. It has the template, the tokenizer and the weights, so three promises are its own here:
that roles cannot be forged, that the prefix of a prompt stays put, and that tokens are counted and not guessed.

engine: `RemoteEngine`. attempt: one request to one server. servers: which of several. sizing: how long a prompt is.
probe: what a server says of itself. wire, sse, chunks, faults: what comes over the line, within bounds.

Whose time-out is whose: reaching a server (`connect_timeout`), the last words of an answer, counting and asking are
this package's; the first token, the stall and the whole answer are the scheduler's, and all tries are within them.
Going from a silent server to another is this package's, too (`Patience.silence`).
"""

from bot.engines.remote.engine import Health, RemoteEngine
from bot.engines.remote.probe import Look, look
from bot.engines.remote.servers import Patience

__all__ = ["Health", "Look", "Patience", "RemoteEngine", "look"]
