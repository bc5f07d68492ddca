"""Files and the microphone on the page of `hearth run`, where nothing is configured: the embedded models hear and answer."""

from __future__ import annotations

import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Dialog, expect

from bot.transcription import SAMPLE_RATE
from tests import speech
from tests.e2e.browser import Served, Visitor, axe, browser, serving, visiting
from tests.recordings import recording

TEXT = "what is my name"
NOT_TOLD = "I do not know your name"
BOTH = pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the browser's microphone hears, again and again: a question, and then a while nothing."""
    path = tmp_path_factory.mktemp("microphone") / "spoken.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        quiet = np.zeros(SAMPLE_RATE, np.int16)
        file.writeframes(np.concatenate([quiet, speech.samples(TEXT), np.tile(quiet, 30)]).tobytes())
    return path


@pytest.fixture(scope="module")
def chromium(spoken: Path) -> Iterator[Browser]:
    """A browser with a microphone, whose person has said yes."""
    arguments = (
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={spoken}",
    )
    with browser(*arguments) as started:
        yield started


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(Served(tmp_path_factory.mktemp("demo"), "hearth")) as served:
        yield served


def attach(somebody: Visitor, name: str, media_type: str, data: bytes) -> None:
    """Choose a file."""
    somebody.page.locator("#chooser").set_input_files({"name": name, "mimeType": media_type, "buffer": data})
    expect(somebody.page.locator("#attached")).to_contain_text(name)


def send(somebody: Visitor) -> None:
    """Send what is attached, and wait for the answer."""
    count = somebody.answers.count()
    somebody.page.get_by_role("button", name="Send", exact=True).click()
    expect(somebody.answers).to_have_count(count + 1)
    somebody.settled()


@BOTH
def test_a_recording_is_heard_and_answered(chromium: Browser, demo: Served, phone: bool) -> None:
    """A synthesizer's voice that the speech model was not trained with, as Opus in Ogg; in a conversation that is not made yet."""
    with visiting(chromium, demo, phone=phone) as somebody:
        somebody.open()
        somebody.fresh()
        attach(somebody, "note.ogg", "audio/ogg", speech.opus(TEXT))
        send(somebody)
        assert somebody.words(somebody.questions.last)[0].startswith(TEXT)
        assert NOT_TOLD in somebody.words(somebody.last)[0]
        assert somebody.ask("My name is Zelda.") == "Nice to meet you, Zelda!"
        attach(somebody, "note.ogg", "audio/ogg", speech.opus(TEXT))
        send(somebody)
        assert somebody.words(somebody.last)[0] == "Your name is Zelda."
        somebody.page.reload()
        somebody.ready()
        expect(somebody.questions.last).to_contain_text(TEXT)
        assert somebody.overflow() <= 0


def test_the_microphone(chromium: Browser, demo: Served) -> None:
    with visiting(chromium, demo) as somebody:
        somebody.open()
        somebody.fresh()
        page = somebody.page
        page.get_by_role("button", name="Record a voice message").click()
        expect(page.locator("#recording-state")).to_contain_text("Listening … 0:04")
        page.get_by_role("button", name="Send the recording").click()
        expect(somebody.answers).to_have_count(1)
        somebody.settled()
        expect(somebody.questions.last).to_contain_text(TEXT)
        expect(somebody.questions.last.locator(".files")).to_contain_text("Recording")
        assert NOT_TOLD in somebody.words(somebody.last)[0]


def test_a_recording_is_not_lost_without_a_question(chromium: Browser, demo: Served) -> None:
    """The browser asks who would leave the page; after it was sent or thrown away it does not."""
    with visiting(chromium, demo) as somebody:
        somebody.open()
        somebody.fresh()
        page = somebody.page
        page.get_by_role("button", name="Record a voice message").click()
        expect(page.locator("#recording-state")).to_contain_text("0:01")
        with page.expect_event("dialog") as asked:
            page.close(run_before_unload=True)
        assert asked.value.type == "beforeunload"
        asked.value.dismiss()
        page.get_by_role("button", name="Throw the recording away").click()
        expect(page.locator("#recording-state")).to_be_hidden()
        asked_again: list[str] = []

        def answer(dialog: Dialog) -> None:
            asked_again.append(dialog.type)
            dialog.accept()

        page.on("dialog", answer)
        page.reload()
        somebody.ready()
        assert asked_again == []


def test_a_recording_ends_at_the_limit_that_is_configured(chromium: Browser, tmp_path: Path) -> None:
    """A little before it, and is sent: what is longer the server would not hear."""
    served = Served(tmp_path, "hearth", config='[speech]\nmax_duration = "5s"\n')
    with serving(served), visiting(chromium, served) as somebody:
        somebody.open()
        somebody.fresh()
        somebody.page.get_by_role("button", name="Record a voice message").click()
        expect(somebody.answers).to_have_count(1)
        somebody.settled()
        expect(somebody.page.locator("#recording-state")).to_be_hidden()
        expect(somebody.questions.last).to_contain_text(TEXT)


def test_where_nothing_hears_there_is_no_microphone(chromium: Browser, tmp_path: Path) -> None:
    served = Served(tmp_path, "hearth", config="[speech]\nenabled = false\n")
    with serving(served), visiting(chromium, served) as somebody:
        somebody.open()
        expect(somebody.page.get_by_role("button", name="Attach files")).to_be_visible()
        expect(somebody.page.locator("#record")).to_be_hidden()


def test_a_recording_can_be_thrown_away(chromium: Browser, demo: Served) -> None:
    with visiting(chromium, demo) as somebody:
        somebody.open()
        somebody.fresh()
        page = somebody.page
        page.get_by_role("button", name="Record a voice message").click()
        expect(page.locator("#recording-state")).to_contain_text("0:01")
        page.get_by_role("button", name="Throw the recording away").click()
        expect(page.get_by_role("button", name="Record a voice message")).to_be_visible()
        expect(page.locator("#recording-state")).to_be_hidden()
        expect(somebody.questions).to_have_count(0)
        assert somebody.ask("My name is Zelda.") == "Nice to meet you, Zelda!"


def test_a_file_is_dropped_and_a_text_goes_with_it(chromium: Browser, demo: Served) -> None:
    with visiting(chromium, demo) as somebody:
        somebody.open()
        somebody.fresh()
        somebody.page.evaluate(
            """() => {
                const files = new DataTransfer();
                files.items.add(new File(["My name is Zora."], "notes.txt", { type: "text/plain" }));
                const how = { dataTransfer: files, bubbles: true, cancelable: true };
                document.querySelector("#messages").dispatchEvent(new DragEvent("dragover", how));
                document.querySelector("#messages").dispatchEvent(new DragEvent("drop", how));
            }"""
        )
        expect(somebody.page.locator("#attached")).to_contain_text("notes.txt")
        somebody.field.fill("Hello!")
        send(somebody)
        assert "Zora" in somebody.words(somebody.last)[0]
        expect(somebody.questions.last).to_contain_text("Hello!")
        expect(somebody.questions.last.locator(".files")).to_contain_text("notes.txt")
        assert somebody.field.input_value() == ""


def test_what_is_wrong_with_a_file_is_told(chromium: Browser, demo: Served) -> None:
    """Before it is sent, where the page can know; else in the answer."""
    with visiting(chromium, demo) as somebody:
        somebody.open()
        somebody.fresh()
        page = somebody.page
        page.locator("#chooser").set_input_files({"name": "none.ogg", "mimeType": "audio/ogg", "buffer": b""})
        expect(page.locator("#composer-state")).to_have_text("none.ogg: the file is empty")
        expect(page.locator("#attached")).to_be_hidden()
        attach(somebody, "tone.mp3", "audio/mpeg", recording("mp3", 2.0))
        send(somebody)
        expect(somebody.last).to_contain_text("I understand no word in it")


def test_several_files_are_answered_in_their_order_and_one_can_be_left_out(chromium: Browser, demo: Served) -> None:
    with visiting(chromium, demo) as somebody:
        somebody.open()
        somebody.fresh()
        attach(somebody, "one.txt", "text/plain", b"My name is Zora.")
        attach(somebody, "two.txt", "text/plain", b"never sent")
        attach(somebody, "three.ogg", "audio/ogg", speech.opus(TEXT))
        somebody.page.get_by_role("button", name="Leave two.txt out").click()
        somebody.page.get_by_role("button", name="Send", exact=True).click()
        expect(somebody.answers).to_have_count(2)
        somebody.settled()
        assert somebody.words(somebody.last)[0] == "Your name is Zora."


def test_a_file_waits_for_the_connection(chromium: Browser, demo: Served) -> None:
    with visiting(chromium, demo) as somebody:
        somebody.open()
        somebody.fresh()
        somebody.expected = "Failed to load resource"
        somebody.page.route("**/files", lambda route: route.abort())
        attach(somebody, "note.ogg", "audio/ogg", speech.opus(TEXT))
        somebody.page.get_by_role("button", name="Send", exact=True).click()
        expect(somebody.page.locator("#composer-state")).to_contain_text("No connection.")
        somebody.page.unroute("**/files")
        expect(somebody.answers).to_have_count(1)
        somebody.settled()
        expect(somebody.questions).to_have_count(1)
        expect(somebody.questions.last).to_contain_text(TEXT)


@BOTH
def test_nothing_of_it_is_in_the_way_of_anybody(chromium: Browser, demo: Served, phone: bool) -> None:
    """By axe-core, with a file attached and while it records."""
    with visiting(chromium, demo, phone=phone) as somebody:
        somebody.open()
        somebody.fresh()
        attach(somebody, "a file with quite a long name that says what is in it.txt", "text/plain", b"hello")
        assert somebody.violations(axe()) == []
        assert somebody.overflow() <= 0
        somebody.page.get_by_role("button", name="Record a voice message").click()
        expect(somebody.page.locator("#recording-state")).to_contain_text("0:01")
        assert somebody.violations("0") == []
        somebody.page.get_by_role("button", name="Throw the recording away").click()
