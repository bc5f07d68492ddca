"""A model on a server in config.toml: its keys, and the words for what is wrong in them."""

from pathlib import Path

import pytest

from bot.config import Config, RemoteModelConfig, load
from bot.errors import ConfigError

URL = "http://127.0.0.1:8000/v1"


def read(folder: Path, text: str, **environ: str) -> Config:
    file = folder / "config.toml"
    file.write_text(text, "utf-8")
    return load(file, {"HEARTH_DATA_DIR": str(folder), **environ})


def far(config: Config, alias: str = "big") -> RemoteModelConfig:
    model = config.models[alias]
    assert isinstance(model, RemoteModelConfig)
    return model


def test_a_url_makes_a_model_a_remote_one(tmp_path: Path) -> None:
    config = read(tmp_path, f'[models.big]\nurl = "{URL}/"\nslots = 64\ntemperature = 0.2')
    assert far(config).servers == (URL,)
    assert (far(config).slots, far(config).temperature, far(config).connect_timeout) == (64, 0.2, 5.0)
    assert list(config.own_models) == ["default"]


def test_several_urls_are_as_many_servers(tmp_path: Path) -> None:
    config = read(tmp_path, '[models.default]\nurls = ["http://a:1/v1", "https://b/v1/"]\nconnect_timeout = "2s"')
    assert far(config, "default").servers == ("http://a:1/v1", "https://b/v1")
    assert far(config, "default").connect_timeout == 2.0
    assert config.own_models == {}


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("url = 'U'\npath = 'x.gguf'", "big.path: is for a model of Hearth's own; this one is on a server (url)"),
        ("url = 'U'\nthreads = 2", "big.threads: is for a model of Hearth's own; this one is on a server (url)"),
        ("url = 'U'\ngpu_layers = 2", "big.gpu_layers: is for a model of Hearth's own; this one is on a server (url)"),
        ("path = 'x.gguf'\napi_key = 'k'", "big.api_key: is for a model on a server (url); this one is a file (path)"),
        ("url = 'U'\nslot = 2", "big.slot: unknown key; did you mean 'slots'?"),
        ("url = 'U'\nurls = ['U']", "big: needs either url, or urls with at least one"),
        ("urls = []", "big: needs either url, or urls with at least one"),
        ("urls = ['U', 'U/']", "big: urls names a server twice"),
        ("url = '127.0.0.1:8000'", "big: a server's URL looks like http://127.0.0.1:8000/v1"),
        ("url = 'ftp://host/v1'", "big: a server's URL looks like http://127.0.0.1:8000/v1"),
        ("url = 'http://me:s3cret@host/v1'", "big: a server's URL holds no password; api_key is the place for it"),
        ("url = 'http://host/v1?key=s3cret'", "big: a server's URL ends with its path, such as /v1"),
        ("url = 'U'\napi_key = \"s3cret\\n\"", "big: api_key has characters that no HTTP header may have"),
        ("url = 'U'\ncontext_length = 10", "big.context_length: Input should be greater than or equal to 256"),
        ("slots = 2", "big.path: is missing; a model is a file (path) or on a server (url)"),
    ],
)
def test_what_is_wrong_is_told_with_its_place_and_without_a_secret(tmp_path: Path, lines: str, words: str) -> None:
    with pytest.raises(ConfigError) as told:
        read(tmp_path, "[models.big]\n" + lines.replace("'U", f"'{URL}"))
    assert str(told.value) == f"{tmp_path / 'config.toml'}: models.{words}"
    assert "s3cret" not in str(told.value)


def test_the_key_comes_from_a_file_and_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("s3cret\n")
    config = read(tmp_path, f'[models.big]\nurl = "{URL}"', HEARTH_MODELS__BIG__API_KEY_FILE=str(tmp_path / "key"))
    assert far(config).api_key.get_secret_value() == "s3cret"
    assert "s3cret" not in repr(config)


def test_a_model_can_come_from_the_environment_alone(tmp_path: Path) -> None:
    config = read(tmp_path, "", HEARTH_MODELS__BIG__URLS=f'["{URL}"]', HEARTH_MODELS__BIG__REMOTE_MODEL="qwen")
    assert (far(config).servers, far(config).remote_model) == ((URL,), "qwen")


@pytest.mark.parametrize(
    ("url", "leaves"),
    [
        ("http://127.0.0.1:8000/v1", False),
        ("http://localhost/v1", False),
        ("http://[::1]:80/v1", False),
        ("http://192.168.0.5/v1", True),
        ("https://api.example.org/v1", True),
    ],
)
def test_it_is_known_whether_words_leave_the_machine(url: str, leaves: bool) -> None:
    assert RemoteModelConfig(url=url).leaves_machine is leaves
