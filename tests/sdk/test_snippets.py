"""OpenAI's published snippets run as they are: snippets/README.md says what they are."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.sdk.conftest import Served
from tests.sdk.plan import CHAT, ENGLISH, SPOKEN
from tests.sdk.sdks import NODE_3, PYTHON_0, PYTHON_1, PYTHON_3, Sdk

SNIPPETS = Path(__file__).parent / "snippets"
PUBLISHED = "https://api.openai.com"
PLACE = "/path/to/file/"
SHOW = "import runpy, sys; seen = runpy.run_path(sys.argv[1]); print(seen.get(sys.argv[2]))"
"""What a snippet leaves in a variable, printed after what it prints itself."""


def curl(name: str, served: Served) -> Any:
    """What a snippet for the shell prints, as JSON."""
    script = (SNIPPETS / name).read_text("utf-8").replace(PUBLISHED, served.url).replace(PLACE, f"{served.folder}/")
    environ = {"PATH": os.environ["PATH"], "HOME": str(served.folder), "OPENAI_API_KEY": served.key}
    done = subprocess.run(
        ["bash", "-c", script], env=environ, cwd=served.folder, capture_output=True, text=True, timeout=120, check=True
    )
    return json.loads(done.stdout)


def python(sdk: Sdk, name: str, served: Served, left: str = "") -> str:
    """What a Python snippet prints, and what it leaves in a variable."""
    mended = served.folder / name
    mended.write_text((SNIPPETS / name).read_text("utf-8").replace(PLACE, f"{served.folder}/"), "utf-8")
    show = served.folder / "show.py"
    show.write_text(SHOW, "utf-8")
    url = f"{served.url}/v1"
    environ = {"OPENAI_API_KEY": served.key, "OPENAI_API_BASE": url, "OPENAI_BASE_URL": url}
    return sdk.run(show, str(mended), left, folder=served.folder, **environ)


def is_chat_completion(completion: dict[str, Any]) -> None:
    """As the pages show it."""
    assert completion["id"].startswith("chatcmpl-")
    assert completion["object"] == "chat.completion"
    assert completion["model"].startswith("hearth-demo-chat-")
    [choice] = completion["choices"]
    assert (choice["index"], choice["message"]["role"], choice["finish_reason"]) == (0, "assistant", "stop")
    assert choice["message"]["content"]
    usage = completion["usage"]
    assert usage["prompt_tokens"] + usage["completion_tokens"] == usage["total_tokens"] > 0


@pytest.mark.parametrize("name", ["announcement-chat.sh", "reference-chat.sh"])
def test_chat_by_curl(served: Served, name: str) -> None:
    is_chat_completion(curl(name, served))


def test_transcription_by_curl(served: Served) -> None:
    assert curl("announcement-transcribe.sh", served)["text"] == SPOKEN


def test_models_by_curl(served: Served) -> None:
    models = curl("reference-models.sh", served)
    assert models["object"] == "list"
    offered = {CHAT, "gpt-3.5-turbo-0613", "gpt-3.5-turbo-0301", "whisper-1"}
    assert {model["id"] for model in models["data"]} >= offered


def test_chat_of_the_announcement(served: Served) -> None:
    is_chat_completion(json.loads(python(PYTHON_0, "announcement-chat.py", served).removesuffix("None\n")))


def test_chat_of_the_reference(served: Served) -> None:
    message = json.loads(python(PYTHON_0, "reference-chat.py", served).removesuffix("None\n"))
    assert (message["role"], message["content"]) == ("assistant", "Hello! How can I help you?")


@pytest.mark.parametrize("sdk", [PYTHON_1, PYTHON_3], ids=lambda sdk: sdk.name)
def test_chat_of_the_overview(served: Served, sdk: Sdk) -> None:
    printed = python(sdk, "overview-chat.py", served)
    assert printed.startswith("ChatCompletionMessage(content=")
    assert "role='assistant'" in printed


def test_models_of_the_reference(served: Served) -> None:
    """It prints nothing; the SDK raises what goes wrong."""
    assert python(PYTHON_0, "reference-models.py", served) == "None\n"


def test_transcription_of_the_announcement(served: Served) -> None:
    printed = python(PYTHON_0, "announcement-transcribe.py", served)
    assert json.loads(printed.removesuffix("None\n"))["text"] == SPOKEN


@pytest.mark.parametrize("name, heard", [("reference-transcribe.py", SPOKEN), ("reference-translate.py", ENGLISH)])
def test_audio_of_the_reference(served: Served, name: str, heard: str) -> None:
    assert json.loads(python(PYTHON_0, name, served, "transcript"))["text"] == heard


def test_engines_of_the_reference(served: Served) -> None:
    """The SDK of that page reads no variable for the URL."""
    key = "    apiKey: process.env.OPENAI_API_KEY,\n"
    snippet = (SNIPPETS / "reference-engines.mjs").read_text("utf-8")
    assert key in snippet
    folder = served.folder / "engines"
    folder.mkdir()
    (folder / "node_modules").symlink_to(NODE_3.folder / "node_modules")
    mended = folder / "reference-engines.mjs"
    mended.write_text(
        snippet.replace(key, f"{key}    basePath: {json.dumps(f'{served.url}/v1')},\n")
        + "console.log(JSON.stringify(response.data));\n",
        "utf-8",
    )
    engines = json.loads(NODE_3.run(mended, folder=folder, OPENAI_API_KEY=served.key))
    assert engines["object"] == "list"
    assert CHAT in {engine["id"] for engine in engines["data"]}
    assert {engine["object"] for engine in engines["data"]} == {"engine"}


def test_each_model_that_a_snippet_names_is_offered(served: Served) -> None:
    texts = [path.read_text("utf-8") for path in SNIPPETS.iterdir() if path.suffix != ".md"]
    named = set(re.findall(r'"(gpt-[^"]+|whisper-[^"]+)"', "".join(texts)))
    assert named == {CHAT, "whisper-1"}
    assert {model["id"] for model in curl("reference-models.sh", served)["data"]} >= named
