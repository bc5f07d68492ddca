"""The same calls for every SDK: programs against the chat, completions, embeddings, models and audio of the API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

CHAT = "gpt-3.5-turbo"
WHISPER = "whisper-1"
EMBEDDINGS = "text-embedding-ada-002"
ORGANISATION = "org-ss4ERZ44zrBMPdIQiB2btAQQ"
"""The one of the published snippets."""
FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
SPOKEN = "what is my name"
GERMAN, ENGLISH = "guten morgen", "good morning"
"""Within what the embedded speech model knows."""

HELLO = [{"role": "user", "content": "Hello!"}]
NAMED = [
    {"role": "user", "content": "My name is Alice."},
    {"role": "assistant", "content": "Nice to meet you, Alice."},
    {"role": "user", "content": "What is my name?"},
]
WEATHER: dict[str, Any] = {
    "name": "get_weather",
    "description": "The weather in a town",
    "parameters": {
        "type": "object",
        "properties": {"town": {"type": "string", "maxLength": 20}, "unit": {"enum": ["celsius", "fahrenheit"]}},
        "required": ["town", "unit"],
        "additionalProperties": False,
    },
}
PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 20},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": WEATHER}
NAMED_TOOL = {"type": "function", "function": {"name": "get_weather"}}
ASKED_WEATHER = [{"role": "user", "content": "What is the weather in Paris?"}]
ANSWERED_FUNCTION = [
    *ASKED_WEATHER,
    {"role": "assistant", "content": None, "function_call": {"name": "get_weather", "arguments": '{"town": "Paris"}'}},
    {"role": "function", "name": "get_weather", "content": '{"degrees": 21}'},
]
CALLED = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"town": "Paris"}'}}
ANSWERED_TOOL = [
    *ASKED_WEATHER,
    {"role": "assistant", "content": None, "tool_calls": [CALLED]},
    {"role": "tool", "tool_call_id": "call_1", "content": '{"degrees": 21}'},
]
FORUM = {
    "messages": [
        {"role": "system", "content": "description of the chatbot / instructions"},
        {"role": "user", "content": "user input"},
    ],
    "max_tokens": 100,
    "temperature": 0.5,
    "top_p": 1,
    "model": CHAT,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "n": 1,
    "stream": False,
    "stop": "<|endoftext|>",
}
"""What the PHP program in OpenAI's forum sends; the four that are variables there have the API's usual values."""

WRONG = f"hk-{'x' * 43}"
"""A key that nobody has. One of another form is a guess at a token of the page, and after ten of those none is looked at."""

Call = dict[str, Any]


def _chat(messages: object = HELLO, **more: object) -> Call:
    return {"call": "chat", "arguments": {"model": CHAT, "messages": messages, **more}}


def _chats() -> dict[str, Call]:
    streamed: dict[str, Any] = {"stream": True}
    schema = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON, "strict": True}}
    return {
        "hello": _chat(),
        "history": _chat(NAMED),
        "forum": {"call": "chat", "arguments": FORUM},
        "four": _chat(n=4, max_tokens=4, temperature=1, seed=7),
        "seeded": _chat(temperature=1.5, seed=11, max_tokens=24),
        "seeded again": _chat(temperature=1.5, seed=11, max_tokens=24),
        "stopped": _chat(stop=["can"]),
        "logprobs": _chat(logprobs=True, top_logprobs=2, max_tokens=3),
        "json": _chat(
            [{"role": "user", "content": "What is 2 + 3? Answer in JSON."}], response_format={"type": "json_object"}
        ),
        "schema": _chat(response_format=schema, max_tokens=200),
        "stream": _chat(**streamed),
        "stream seeded": _chat(temperature=1.5, seed=11, max_tokens=24, **streamed),
        "stream usage": _chat(stream_options={"include_usage": True}, **streamed),
        "stream four": _chat(n=4, max_tokens=4, temperature=1, seed=7, **streamed),
    }


def _functions() -> dict[str, Call]:
    old: dict[str, Any] = {"functions": [WEATHER], "max_tokens": 200}
    new: dict[str, Any] = {"tools": [TOOL], "max_tokens": 200}
    named = {"name": "get_weather"}
    return {
        "function": _chat(ASKED_WEATHER, function_call=named, **old),
        "function streamed": _chat(ASKED_WEATHER, function_call=named, stream=True, **old),
        "function none": _chat(HELLO, function_call="none", **old),
        "function auto": _chat(HELLO, function_call="auto", **old),
        "function answered": _chat(ANSWERED_FUNCTION, **old),
        "tool": _chat(ASKED_WEATHER, tool_choice=NAMED_TOOL, **new),
        "tool required": _chat(ASKED_WEATHER, tool_choice="required", parallel_tool_calls=False, **new),
        "tool streamed": _chat(ASKED_WEATHER, tool_choice=NAMED_TOOL, stream=True, **new),
        "tool none": _chat(HELLO, tool_choice="none", **new),
        "tool answered": _chat(ANSWERED_TOOL, **new),
    }


def _texts() -> dict[str, Call]:
    def text(prompt: object, **more: object) -> Call:
        return {"call": "complete", "arguments": {"model": CHAT, "prompt": prompt, "max_tokens": 8, **more}}

    def embedded(given: object, **more: object) -> Call:
        return {"call": "embed", "arguments": {"model": EMBEDDINGS, "input": given, **more}}

    return {
        "text": text("Once upon a time", temperature=0),
        "text streamed": text("Once upon a time", temperature=0, stream=True),
        "text echoed": text(["One", "Two"], echo=True, n=2, best_of=3, seed=5),
        "text logprobs": text("Once", logprobs=2),
        "embedding": embedded("Hello"),
        "embeddings": embedded(["Hello", "Goodbye"], encoding_format="float"),
        "embedding base64": embedded("Hello", encoding_format="base64"),
    }


def _errors() -> dict[str, Call]:
    return {
        "wrong key": {**_chat(), "key": WRONG},
        "wrong key streamed": {**_chat(stream=True), "key": WRONG},
        "wrong key for models": {"call": "models", "arguments": {}, "key": WRONG},
        "key of another service": {**_chat(), "key": "sk-proj-1234"},
        "wrong organisation": {**_chat(), "organization": "org-of-others"},
        "own organisation": {**_chat(), "organization": ORGANISATION},
        "unknown model": {"call": "chat", "arguments": {"model": "no-such-model", "messages": HELLO}},
        "unknown model looked up": {"call": "model", "arguments": {"model": "no-such-model"}},
        "too hot": _chat(temperature=5),
        "too hot streamed": _chat(temperature=5, stream=True),
        "no messages": _chat([]),
        "unknown parameter": _chat(no_such_parameter=1),
        "too long": _chat([{"role": "user", "content": "word " * 40_000}]),
    }


def _recordings(folder: Path) -> dict[str, Call]:
    """Each format once for transcriptions; the least and the most that a program can say of a recording."""

    def heard(call: str, name: str, **more: object) -> Call:
        return {"call": call, "arguments": {"model": WHISPER, "file": str(folder / name), **more}}

    calls = {f"transcribe {form}": heard("transcribe", "openai.mp3", response_format=form) for form in FORMATS}
    calls["transcribe text"]["arguments"] |= {"prompt": "A question.", "temperature": 0, "language": "en"}
    return calls | {
        "transcribe": heard("transcribe", "audio.mp3"),
        "translate": heard("translate", "german.m4a"),
        "translate vtt": heard("translate", "german.m4a", prompt="A greeting.", response_format="vtt", temperature=0),
        "no recording": heard("transcribe", "words.mp3"),
        "unknown format": heard("transcribe", "openai.mp3", response_format="mp4"),
    }


def plan(url: str, key: str, folder: Path) -> dict[str, Any]:
    """For a driver. `folder` has the recordings."""
    lists = {
        "models": {"call": "models", "arguments": {}},
        "model": {"call": "model", "arguments": {"model": CHAT}},
        "snapshot": {"call": "model", "arguments": {"model": "gpt-3.5-turbo-0613"}},
    }
    calls = {**lists, **_chats(), **_functions(), **_texts(), **_errors(), **_recordings(folder)}
    return {"url": url, "key": key, "calls": [{"name": name, **call} for name, call in calls.items()]}
