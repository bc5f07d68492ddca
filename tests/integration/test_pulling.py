"""Models from a hub: what is asked of it, what is kept when something breaks, and that only a model becomes one."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bot import local_models, pulling
from bot.config import EMBEDDED_CHAT_MODEL
from bot.engines import gguf
from bot.errors import HubError, ModelError, StartError
from bot.local_models import Entry
from tests.hub import COMMIT, HubStandIn, Repo, standing_in
from tests.parts import in_parts
from tests.unit.test_gguf import write

if TYPE_CHECKING:
    from bot.hub import Hub

DEMO = EMBEDDED_CHAT_MODEL.read_bytes()
SHA256 = hashlib.sha256(DEMO).hexdigest()
SIZE = 3_528_128


@dataclass
class Seen:
    """Progress that keeps what it is told."""

    works: list[tuple[str, int]] = field(default_factory=list)
    done: list[int] = field(default_factory=list)

    def begin(self, what: str, size: int) -> Callable[[int], None]:
        self.works.append((what, size))
        return self.done.append


@dataclass
class Puller:
    """A data directory and a hub to fill it from."""

    data_dir: Path
    hub: HubStandIn

    def __call__(
        self, file: str | None = None, *, name: str = "demo-q8", repository: str = "owner/demo", tries: int = 0
    ) -> Entry:
        """`hearth models pull`; a connection that breaks is tried again so many times."""
        client = self.client(tries)
        try:
            candidate = pulling.choose(client.look(repository), file)
            return pulling.pull(client, candidate, self.data_dir, name, Seen())
        finally:
            client.close()

    def client(self, tries: int = 0) -> Hub:
        """Our side."""
        return pulling.open_hub(self.data_dir, {"HF_ENDPOINT": self.hub.url}, (0.0,) * tries)

    def fails(self, *, repository: str = "owner/demo") -> str:
        """The words of a pull that must fail, on one line."""
        with pytest.raises((HubError, ModelError)) as failed:
            self(repository=repository)
        assert "\n" not in str(failed.value)
        return str(failed.value)

    def parts(self) -> dict[str, int]:
        """What broken pulls have left, and how much of it."""
        return {file.name: file.stat().st_size for file in self.data_dir.rglob("incoming/*.part")}

    def files(self) -> list[str]:
        """Everything in the data directory."""
        return sorted(str(path.relative_to(self.data_dir)) for path in self.data_dir.rglob("*") if path.is_file())


@pytest.fixture
def hub() -> Iterator[HubStandIn]:
    with standing_in(owner__demo=Repo({"Demo-Q8_0.gguf": DEMO, "README.md": b"# Demo"})) as standing:
        yield standing
        assert standing.strange == []


@pytest.fixture
def pull(tmp_path: Path, hub: HubStandIn) -> Puller:
    return Puller(tmp_path / "data", hub)


class TestWhole:
    def test_a_model_comes_as_the_hub_has_it(self, pull: Puller) -> None:
        entry = pull()
        assert entry.path == pull.data_dir / "models/demo-q8/Demo-Q8_0.gguf"
        assert entry.path.read_bytes() == DEMO
        assert entry.files == {"Demo-Q8_0.gguf": SHA256}
        host = pull.hub.url.removeprefix("http://")
        assert (entry.source, entry.revision) == (f"{host}/owner/demo", COMMIT)
        assert (entry.licence, entry.size, entry.complete) == ("apache-2.0", SIZE, True)
        assert local_models.entries(pull.data_dir) == {"demo-q8": entry}

    def test_nothing_is_asked_but_the_list_and_the_file_and_nothing_else_is_written(self, pull: Puller) -> None:
        pull()
        assert pull.hub.asked == [
            "hub GET /api/models/owner/demo/revision/main?blobs=true",
            f"hub GET /owner/demo/resolve/{COMMIT}/Demo-Q8_0.gguf",
            "store GET /owner/demo/Demo-Q8_0.gguf?Signature=abc all",
        ]
        assert pull.files() == ["models/demo-q8/Demo-Q8_0.gguf", "models/demo-q8/model.json"]
        assert pull.data_dir.stat().st_mode & 0o777 == 0o700

    def test_progress_ends_at_the_files_size(self, pull: Puller) -> None:
        client, seen = pull.client(), Seen()
        pulling.pull(client, pulling.choose(client.look("owner/demo"), None), pull.data_dir, "demo-q8", seen)
        client.close()
        assert seen.works == [("Demo-Q8_0.gguf", SIZE), ("checking Demo-Q8_0.gguf", SIZE)]
        assert seen.done[0] == 0
        assert seen.done[-1] == SIZE

    def test_what_is_here_is_not_fetched_again(self, pull: Puller) -> None:
        first = pull()
        pull.hub.asked.clear()
        assert pull() == first
        assert pull.hub.ranges() == []

    def test_a_file_that_somebody_took_away_is_fetched_again(self, pull: Puller) -> None:
        pull().path.unlink()
        assert pull().path.read_bytes() == DEMO

    def test_a_file_in_a_folder_of_the_repository_lies_in_the_models_own(self, pull: Puller) -> None:
        pull.hub.repos["owner/demo"].files = {"gguf/q8/Demo.gguf": DEMO}
        assert pull().path == pull.data_dir / "models/demo-q8/Demo.gguf"

    def test_a_token_goes_to_the_hub_and_not_to_the_store(self, pull: Puller) -> None:
        pull.hub.repos["owner/demo"].token = "hf_secret"
        client = pulling.open_hub(pull.data_dir, {"HF_ENDPOINT": pull.hub.url, "HF_TOKEN": "hf_secret\n"}, ())
        pulling.pull(client, pulling.choose(client.look("owner/demo"), None), pull.data_dir, "demo-q8", Seen())
        client.close()
        assert pull.hub.tokens == [("hub", "Bearer hf_secret")] * 2
        assert not [name for name in pull.files() if b"hf_secret" in (pull.data_dir / name).read_bytes()]


class TestBroken:
    def test_a_connection_that_breaks_is_taken_up_where_it_broke(self, pull: Puller) -> None:
        pull.hub.breaks = [1_000_000, 500_000]
        assert pull(tries=1).path.read_bytes() == DEMO
        assert pull.hub.ranges() == ["all", "bytes=1000000-", "bytes=1500000-"]

    def test_a_pull_goes_on_where_an_earlier_one_was_given_up(self, pull: Puller) -> None:
        pull.hub.breaks = [1_000_000]
        assert "cannot be reached (peer closed connection" in pull.fails()
        assert pull.parts() == {f"Demo-Q8_0.gguf.{SHA256[:12]}.part": 1_000_000}
        assert local_models.entries(pull.data_dir)["demo-q8"].complete is False
        assert pull().path.read_bytes() == DEMO
        assert pull.hub.ranges() == ["all", "bytes=1000000-"]
        assert pull.parts() == {}

    def test_a_store_that_sends_nothing_is_given_up(self, pull: Puller) -> None:
        pull.hub.breaks = [0] * 10
        with pytest.raises(HubError, match="cannot be reached"):
            pull(tries=3)
        assert pull.hub.ranges() == ["all"] * 4

    def test_a_store_that_fails_in_passing_is_asked_again(self, pull: Puller) -> None:
        pull.hub.statuses = [503, 500]
        assert pull(tries=2).complete
        pull.hub.repos["owner/other"] = Repo({"Other.gguf": DEMO})
        pull.hub.statuses = [503, 503]
        with pytest.raises(HubError, match=r"answers 503\. What has come is kept: try again later"):
            pull(repository="owner/other", name="other", tries=1)

    def test_a_store_without_ranges_sends_all_again(self, pull: Puller) -> None:
        pull.hub.breaks, pull.hub.whole_only = [1_000_000], True
        assert pull(tries=1).path.read_bytes() == DEMO

    def test_another_part_than_was_asked_for_is_not_taken(self, pull: Puller) -> None:
        pull.hub.breaks, pull.hub.shifted = [1_000_000], True
        with pytest.raises(HubError, match=r"sends another part of Demo-Q8_0\.gguf than it was asked for"):
            pull(tries=1)
        assert list(pull.parts().values()) == [1_000_000]

    def test_more_than_the_list_tells_of_is_not_taken(self, pull: Puller) -> None:
        pull.hub.more = b"x" * 100_000
        assert f"sends more of Demo-Q8_0.gguf than its {SIZE} bytes" in pull.fails()

    def test_a_wrong_checksum_is_told_and_the_file_removed(self, pull: Puller) -> None:
        pull.hub.repos["owner/demo"].digests = {"Demo-Q8_0.gguf": "ab" * 32}
        assert "Demo-Q8_0.gguf is not the file that" in pull.fails()
        assert pull.parts() == {}
        assert not any(entry.complete for entry in local_models.entries(pull.data_dir).values())
        pull.hub.repos["owner/demo"].digests = {}
        assert pull().path.read_bytes() == DEMO

    def test_what_was_begun_of_another_version_is_not_gone_on_with(self, pull: Puller) -> None:
        pull.hub.breaks = [1_000_000]
        pull.fails()
        changed = DEMO[:-1] + bytes([DEMO[-1] ^ 1])
        pull.hub.repos["owner/demo"].files["Demo-Q8_0.gguf"] = changed
        assert pull().path.read_bytes() == changed
        assert pull.hub.ranges() == ["all", "all"]
        assert pull.parts() == {}

    def test_two_pulls_of_the_same_file_do_not_mix(self, pull: Puller) -> None:
        candidate = pulling.choose(pull.client().look("owner/demo"), None)
        pull.hub.hold.clear()
        first = threading.Thread(target=pull)
        first.start()
        try:
            while not pull.hub.ranges():
                first.join(0.01)
            with pytest.raises(StartError, match="another process is pulling the model 'demo-q8'"):
                pulling.pull(pull.client(), candidate, pull.data_dir, "demo-q8", Seen())
        finally:
            pull.hub.hold.set()
            first.join()
        assert local_models.entries(pull.data_dir)["demo-q8"].complete


class TestNoModel:
    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"<html>Sign in to the network</html>", "it is no GGUF model file"),
            (DEMO[:100_000], "it is cut off"),
            (b"", "it is empty"),
        ],
    )
    def test_what_is_no_model_is_refused_and_not_kept(self, pull: Puller, content: bytes, reason: str) -> None:
        pull.hub.repos["owner/demo"].files = {"Demo.gguf": content}
        words = pull.fails()
        assert words.startswith(f"Demo.gguf is no model for Hearth and was removed again: {reason}")
        assert pull.files() == []

    def test_a_model_that_cannot_hold_a_conversation_is_refused(self, pull: Puller, tmp_path: Path) -> None:
        base = write(tmp_path / "base.gguf", template=None).read_bytes()
        pull.hub.repos["owner/demo"].files = {"Base.gguf": base}
        assert "it has no chat template; use the instruction-tuned version" in pull.fails()
        assert pull.files() == []

    def test_a_new_version_that_is_no_model_leaves_the_old_one(self, pull: Puller) -> None:
        entry = pull()
        pull.hub.repos["owner/demo"].files["Demo-Q8_0.gguf"] = b"rubbish"
        assert "it is no GGUF model file" in pull.fails()
        assert local_models.entries(pull.data_dir) == {"demo-q8": entry}
        assert entry.path.read_bytes() == DEMO
        assert pull.parts() == {}

    def test_a_model_that_the_disk_has_no_room_for_is_not_begun(self, pull: Puller) -> None:
        pull.hub.repos["owner/demo"].sizes = {"Demo-Q8_0.gguf": 10**18}
        words = pull.fails()
        assert words.startswith("1000000000.0 GB are needed and ")
        assert words.endswith("make room, or choose another place with HEARTH_DATA_DIR")
        assert pull.hub.ranges() == []
        assert not pull.data_dir.exists()

    def test_a_file_without_a_checksum_is_not_fetched(self, pull: Puller) -> None:
        pull.hub.repos["owner/demo"].digests = {"Demo-Q8_0.gguf": "../../up"}
        assert "names no checksum for Demo-Q8_0.gguf" in pull.fails()
        assert pull.hub.ranges() == []

    def test_a_name_belongs_to_one_model(self, pull: Puller) -> None:
        pull()
        pull.hub.repos["other/demo"] = Repo({"Demo-Q8_0.gguf": DEMO})
        words = pull.fails(repository="other/demo")
        assert "there is another model 'demo-q8'" in words
        assert "choose a name for this one with --name" in words

    def test_a_name_belongs_to_one_file_of_a_repository(self, pull: Puller) -> None:
        """Two files may be called the same in different folders."""
        changed = DEMO[:-1] + bytes([DEMO[-1] ^ 1])
        pull.hub.repos["owner/demo"].files = {"q4/Demo.gguf": DEMO, "q8/Demo.gguf": changed}
        entry = pull("q4/Demo.gguf")
        assert entry.origin == "q4/Demo.gguf"
        with pytest.raises(HubError, match=r"another model 'demo-q8', .*/owner/demo/q4/Demo\.gguf: .* with --name"):
            pull("q8/Demo.gguf")
        assert local_models.entries(pull.data_dir) == {"demo-q8": entry}
        assert entry.path.read_bytes() == DEMO
        assert pull("q8/Demo.gguf", name="other").path.read_bytes() == changed

    def test_a_pull_goes_on_of_a_model_whose_card_does_not_tell_its_path(self, pull: Puller) -> None:
        entry = pull()
        local_models.save(pull.data_dir, entry.model_copy(update={"origin": ""}))
        assert pull().path == entry.path


class TestParts:
    @pytest.fixture
    def parts(self, pull: Puller, tmp_path: Path) -> list[bytes]:
        (tmp_path / "split").mkdir()
        files = {path.name: path.read_bytes() for path in in_parts(tmp_path / "split")}
        pull.hub.repos["owner/demo"].files = files
        return list(files.values())

    def test_all_parts_of_a_model_come(self, pull: Puller, parts: list[bytes]) -> None:
        entry = pull()
        assert entry.path.name == "demo-00001-of-00002.gguf"
        assert [entry.path.with_name(name).read_bytes() for name in entry.files] == parts
        assert gguf.read(entry.path).parameters == 3_279_104

    def test_a_part_that_is_here_is_not_fetched_again(self, pull: Puller, parts: list[bytes]) -> None:
        pull.hub.breaks = [len(parts[0]), 1000]
        pull.fails()
        pull.hub.asked.clear()
        pull()
        stores = [line for line in pull.hub.asked if line.startswith("store")]
        assert stores == ["store GET /owner/demo/demo-00002-of-00002.gguf?Signature=abc bytes=1000-"]

    def test_any_of_its_files_names_the_whole_model(self, pull: Puller, parts: list[bytes]) -> None:
        assert len(pull("demo-00002-of-00002.gguf").files) == 2

    def test_a_model_that_lacks_a_part_is_not_offered(self, pull: Puller, parts: list[bytes]) -> None:
        del pull.hub.repos["owner/demo"].files["demo-00001-of-00002.gguf"]
        assert pull.fails().startswith("owner/demo has no GGUF model in it")


class TestChoice:
    FILES = (
        "M-Q2_K.gguf",
        "M-Q4_K_M.gguf",
        "M-Q4_K_S.gguf",
        "M-Q8_0.gguf",
        "mmproj-M-f16.gguf",
        "imatrix.gguf",
        "a.txt",
    )

    @pytest.fixture
    def many(self, pull: Puller) -> Puller:
        pull.hub.repos["owner/demo"].files = {name: DEMO[:size] for size, name in enumerate(self.FILES, start=1)}
        return pull

    @pytest.mark.parametrize(
        ("wanted", "file"),
        [(None, "M-Q4_K_M.gguf"), ("M-Q2_K.gguf", "M-Q2_K.gguf"), ("q8_0", "M-Q8_0.gguf"), ("Q4_K_S", "M-Q4_K_S.gguf")],
    )
    def test_one_file_is_meant(self, many: Puller, wanted: str | None, file: str) -> None:
        assert pulling.choose(many.client().look("owner/demo"), wanted).path == file

    def test_what_fits_several_files_is_asked_back(self, many: Puller) -> None:
        with pytest.raises(pulling.Unclear, match=r"'Q4' fits 2 models of owner/demo; write more") as unclear:
            pulling.choose(many.client().look("owner/demo"), "Q4")
        assert [one.path for one in unclear.value.candidates] == ["M-Q4_K_M.gguf", "M-Q4_K_S.gguf"]

    def test_a_name_that_several_folders_have_is_asked_back(self, many: Puller) -> None:
        many.hub.repos["owner/demo"].files = {"q4/M.gguf": DEMO[:10], "q8/M.gguf": DEMO[:20], "M-M.gguf": DEMO[:5]}
        found = many.client().look("owner/demo")
        with pytest.raises(pulling.Unclear, match=r"'M\.gguf' fits 2 models of owner/demo; write more") as unclear:
            pulling.choose(found, "M.gguf")
        assert [one.path for one in unclear.value.candidates] == ["q4/M.gguf", "q8/M.gguf"]
        assert pulling.choose(found, "q8/M.gguf").path == "q8/M.gguf"

    def test_a_file_that_is_not_there_is_told_with_those_that_are(self, many: Puller) -> None:
        with pytest.raises(pulling.Unclear, match="owner/demo has no model 'Q3'") as unclear:
            pulling.choose(many.client().look("owner/demo"), "Q3")
        assert len(unclear.value.candidates) == 4

    def test_several_without_the_usual_one_are_asked_back(self, many: Puller) -> None:
        del many.hub.repos["owner/demo"].files["M-Q4_K_M.gguf"]
        with pytest.raises(pulling.Unclear, match="3 models: hearth models pull owner/demo FILE"):
            pulling.choose(many.client().look("owner/demo"), None)


class TestRefused:
    def test_a_repository_that_is_not_there(self, pull: Puller) -> None:
        host = pull.hub.url.removeprefix("http://")
        assert pull.fails(repository="owner/none") == (
            f"there is no repository owner/none at {host}, or it is private: then set HF_TOKEN"
        )

    def test_a_token_that_may_not(self, pull: Puller) -> None:
        pull.hub.repos["owner/demo"].token = "hf_right"
        client = pulling.open_hub(pull.data_dir, {"HF_ENDPOINT": pull.hub.url, "HF_TOKEN": "hf_wrong"})
        with pytest.raises(HubError, match="or HF_TOKEN may not read it") as failed:
            client.look("owner/demo")
        client.close()
        assert "hf_wrong" not in str(failed.value)

    def test_a_revision_that_is_not_there(self, pull: Puller) -> None:
        with pytest.raises(HubError, match="owner/demo has no such revision"):
            pull.client().look("owner/demo", "v9")

    def test_a_gated_repository(self, pull: Puller) -> None:
        pull.hub.repos["owner/demo"].gated = True
        assert pull.fails() == (
            f"owner/demo is gated: accept its conditions at {pull.hub.url}/owner/demo, "
            "then set HF_TOKEN to a token of yours"
        )

    def test_a_file_that_went_meanwhile(self, pull: Puller) -> None:
        client = pull.client()
        candidate = pulling.choose(client.look("owner/demo"), None)
        pull.hub.repos["owner/demo"].files.clear()
        with pytest.raises(HubError, match="owner/demo has no such file any more; try again"):
            pulling.pull(client, candidate, pull.data_dir, "demo-q8", Seen())
        client.close()

    @pytest.mark.parametrize(("retry", "when"), [("37", "in 37 s"), ("", "in some minutes")])
    def test_too_many_requests(self, pull: Puller, retry: str, when: str) -> None:
        pull.hub.status, pull.hub.retry_after = 429, retry
        assert pull.fails().endswith(f"has had too many requests from here; try again {when}")

    def test_a_hub_that_fails(self, pull: Puller) -> None:
        pull.hub.status = 502
        assert pull.fails().endswith("answers 502. Try again later")

    @pytest.mark.parametrize("body", [b"<html>Sign in to the network</html>", b"[]", b"{}", b'{"siblings": [5]}'])
    def test_something_else_than_a_hub(self, pull: Puller, body: bytes) -> None:
        pull.hub.body = body
        assert pull.fails().endswith("does not answer as a model hub does; is HF_ENDPOINT right?")

    def test_nobody_at_the_address(self, pull: Puller) -> None:
        pull.hub.close_listening()
        words = pull.fails()
        assert "cannot be reached (" in words
        assert words.endswith("a file that is on this machine needs no hub: hearth models use PATH")

    @pytest.mark.parametrize("name", ["a b/c", "x/y/z", "-/", "owner/demo?x=1"])
    def test_what_is_no_repositorys_name(self, pull: Puller, name: str) -> None:
        assert pull.fails(repository=name) == (
            f"{name!r} is no repository: write OWNER/NAME, or the path of a file here"
        )
        assert pull.hub.asked == []


class TestOfThisMachine:
    def test_a_file_stays_where_it_is(self, tmp_path: Path) -> None:
        mine = tmp_path / "mine.gguf"
        mine.write_bytes(DEMO)
        entry = pulling.keep(mine, tmp_path / "data", "mine", Seen())
        assert (entry.path, entry.files, entry.licence, entry.size) == (mine, {}, "MIT", SIZE)
        assert local_models.entries(tmp_path / "data") == {"mine": entry}
        local_models.remove(tmp_path / "data", "mine")
        assert mine.exists()

    def test_a_file_is_copied_with_all_its_parts_if_that_is_asked(self, tmp_path: Path) -> None:
        first, second = in_parts(tmp_path)
        entry = pulling.keep(first, tmp_path / "data", "mine", Seen(), copy=True)
        assert entry.path == tmp_path / "data/models/mine/demo-00001-of-00002.gguf"
        assert entry.path.with_name(second.name).read_bytes() == second.read_bytes()
        assert gguf.read(entry.path).parameters == 3_279_104

    @pytest.mark.parametrize("copy", [False, True])
    def test_what_is_no_model_is_refused(self, tmp_path: Path, copy: bool) -> None:
        (tmp_path / "mine.gguf").write_text("rubbish")
        with pytest.raises(ModelError, match=r"mine\.gguf: is no GGUF model file"):
            pulling.keep(tmp_path / "mine.gguf", tmp_path / "data", "mine", Seen(), copy=copy)
        assert not (tmp_path / "data").exists()

    def test_a_name_is_not_given_to_two_files(self, tmp_path: Path) -> None:
        for name in ("one.gguf", "two.gguf"):
            (tmp_path / name).write_bytes(DEMO)
        pulling.keep(tmp_path / "one.gguf", tmp_path / "data", "mine", Seen())
        with pytest.raises(HubError, match=r"there is another model 'mine', .*one\.gguf: choose a name"):
            pulling.keep(tmp_path / "two.gguf", tmp_path / "data", "mine", Seen())

    def test_a_copys_name_is_not_given_to_a_file_of_the_same_name_elsewhere(self, tmp_path: Path) -> None:
        changed = DEMO[:-1] + bytes([DEMO[-1] ^ 1])
        for folder, content in (("one", DEMO), ("two", changed)):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "m.gguf").write_bytes(content)
        entry = pulling.keep(tmp_path / "one/m.gguf", tmp_path / "data", "m", Seen(), copy=True)
        with pytest.raises(HubError, match=r"there is another model 'm', .*one/m\.gguf: choose a name"):
            pulling.keep(tmp_path / "two/m.gguf", tmp_path / "data", "m", Seen(), copy=True)
        assert entry.path.read_bytes() == DEMO
