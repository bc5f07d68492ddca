"""The errors of Hearth.

HearthError
|- ConfigError            the configuration is wrong; says where and what to do
|- StartError             something outside is not as it must be (a lock, a port, a file)
|  |- DatabaseError       the database is locked, damaged, full, or from a newer version
|  |  `- InUse            another process owns it
|  `- ModelError          a model file is missing, damaged or not supported
|     `- NoGpu            a model for a GPU, and there is none that can be used
|- HubError               a model hub refused, or could not be reached; says what to do
|- LeaseLost              another worker took the answer over
|- PlatformError          a platform refused a call or could not be reached
|  |- Barred              the person or the chat does not want the bot
|  |- FloodWait           too many calls; says how long to wait
|  |- MessageGone         the message to edit or answer is not there (any more)
|  |- TextRefused         the platform cannot parse the text
|  |- TooLarge            a file is larger than is fetched
|  `- Unreachable         no answer, or the platform's own fault: worth another try
`- Told                   the person who waits is told these words
   |- Busy                the queue is full, or this person has enough waiting
   |- TooLong             the text does not fit the model's window
   |- NotAllowed          the person may not do this, or has used up a limit
   |- RoleForgery         the prompt could not be made safe (promise 3): refused
   |- BadKey              a program shows no key that opens anything
   |- LimitReached        a program has used up what its key allows
   |- BadRequest          a parameter that the engine cannot honour
   |  |- NoSuchModel      no model has this name
   |  `- WrongModel       the model that has it is one for something else
   |- NothingToRead       there is nothing in the message that could be answered
   |- UnreadError         a file cannot be read, or is more than is allowed
   `- EngineError         the model failed
      |- EngineBroken     it will fail again with the same request
      `- EngineTimeout    it did not answer in time
"""

from __future__ import annotations

from typing import Literal


class HearthError(Exception):
    """The root: every error that Hearth raises on purpose."""


class ConfigError(HearthError):
    """The configuration is wrong. The message says where and what to do."""


class StartError(HearthError):
    """Something outside is not as it must be for a start. The message says what to do."""


class DatabaseError(StartError):
    """The database is locked, damaged, full, or from a newer version."""


class InUse(DatabaseError):
    """Another process owns the database. The message names it."""


class ModelError(StartError):
    """A model file is missing, damaged or not supported. The message names the file."""


class NoGpu(ModelError):
    """A model for a GPU, and there is none that can be used. The message says what is missing."""


class HubError(HearthError):
    """A model hub refused, or could not be reached, or sent something else. The message says what to do."""


class LeaseLost(HearthError):
    """Another worker took the answer over: stop, and leave everything to it."""


class PlatformError(HearthError):
    """A platform refused a call or could not be reached."""


class Barred(PlatformError):
    """The person or the chat does not want the bot: it was blocked or removed, or may not write there."""


class FloodWait(PlatformError):
    """Too many calls."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"wait {seconds:.1f} s")
        self.seconds = seconds


class MessageGone(PlatformError):
    """The message to edit, or the chat, is not there any more."""


class TextRefused(PlatformError):
    """The platform cannot parse the text: plain text is the last resort."""


class TooLarge(PlatformError):
    """A file has more than `most` bytes, which is what is fetched from this platform."""

    def __init__(self, most: int, words: str | None = None) -> None:
        super().__init__(words or f"the file has more than {most} bytes")
        self.most = most


class Unreachable(PlatformError):
    """No answer, or the platform's own fault: worth another try."""


class Told(HearthError):
    """The person who waits is told `words`, which hold no secret and no path."""

    words = "Something went wrong. It is in the log."

    def __init__(self, words: str | None = None, *, detail: str = "") -> None:
        if words is not None:
            self.words = words
        super().__init__(detail or self.words)


class Busy(Told):
    """The queue is full, or this person has enough waiting."""

    words = "I have too much to do right now. Please ask again in a minute."


class TooLong(Told):
    """The text does not fit the model's window."""

    words = "This is too long for the model. Please send less at a time."

    def __init__(
        self,
        words: str | None = None,
        *,
        detail: str = "",
        tokens: int = 0,
        room: int = 0,
        param: str = "messages",
    ) -> None:
        """`tokens`: how many it has, and `room` for how many there is; 0 if that was not counted. `param` as of BadRequest."""
        super().__init__(words, detail=detail)
        self.tokens = tokens
        self.room = room
        self.param = param


class NotAllowed(Told):
    """The person may not do this, or has used up a limit."""

    words = "You may not do this."


class RoleForgery(Told):
    """The prompt could not be made safe: its control tokens are not those of the template."""

    words = "I cannot pass this text to the model safely."

    def __init__(self, words: str | None = None, *, detail: str = "", param: str = "messages") -> None:
        """`param` as of BadRequest."""
        super().__init__(words, detail=detail)
        self.param = param


class BadKey(Told):
    """A program shows no key, or none that opens anything (any more). `code` is the OpenAI API's word for it.

    `formed`: what it shows has the form of a key, and so is no guess.
    """

    def __init__(self, words: str, *, code: str | None = "invalid_api_key", formed: bool = True) -> None:
        super().__init__(words)
        self.code = code
        self.formed = formed


class LimitReached(Told):
    """A program has used up what its key allows. `kind` says of what; in `seconds` there is some again."""

    def __init__(self, words: str, *, kind: Literal["requests", "tokens"], seconds: float) -> None:
        super().__init__(words)
        self.kind = kind
        self.seconds = seconds


class BadRequest(Told):
    """A parameter that the engine cannot honour. `param` names it, in the OpenAI API's words."""

    def __init__(self, words: str, *, param: str | None = None) -> None:
        super().__init__(words)
        self.param = param


class NoSuchModel(BadRequest):
    """No model has this name, or none that this caller may use."""

    def __init__(self, model: str) -> None:
        super().__init__(f"The model `{model}` does not exist or you do not have access to it.", param="model")


class WrongModel(BadRequest):
    """A model is asked for what it is not for. `kind` and `needed` as of `bot.api.ModelCard`."""

    def __init__(self, model: str, *, kind: str, needed: str) -> None:
        words = f"The model `{model}` is {_KINDS[kind]}; {_KINDS[needed]} is needed here."
        super().__init__(words, param="model")


_KINDS = {
    "chat": "a model for chat and text",
    "embedding": "a model for embeddings",
    "speech": "a model for recordings",
}


class NothingToRead(Told):
    """There is nothing in a message that could be answered, and never will be: it is told so, and not kept."""


class UnreadError(Told):
    """A file cannot be read, or is more than is allowed. `words` say why, as they go on after "not read, "."""

    def __init__(self, words: str) -> None:
        super().__init__(words)


class EngineError(Told):
    """The model failed."""

    words = "The model failed. Please try again."


class EngineBroken(EngineError):
    """The model failed and will fail again with the same request."""


class EngineTimeout(EngineError):
    """The model did not answer in time."""

    words = "The model did not answer in time. Please try again."
