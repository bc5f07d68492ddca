"""What config.toml and the environment come to, and the words for what is wrong in them."""

from pathlib import Path

import gguf as reference
import pytest
from sqlalchemy import make_url

from bot.config import (
    DEFAULT_SYSTEM_PROMPT,
    EMBEDDED_CHAT_MODEL,
    EMBEDDED_EMBEDDING_MODEL,
    Config,
    ModelConfig,
    load,
    socket_path,
)
from bot.errors import ConfigError
from tests.unit.test_gguf import write as write_model


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration of this machine's user is found."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))


A_CODE = "a code has 8 to 64 characters and no blank"


def write(folder: Path, text: str) -> Path:
    file = folder / "config.toml"
    file.write_text(text, "utf-8")
    return file


def refusal(file: Path | None, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(file, environ)
    return str(caught.value)


def test_without_a_file_there_is_a_model_and_a_persona_called_default(tmp_path: Path) -> None:
    config = load(None, {"HEARTH_DATA_DIR": str(tmp_path)})
    assert config.own_models["default"].path == EMBEDDED_CHAT_MODEL
    assert config.personas["default"].system == DEFAULT_SYSTEM_PROMPT
    assert config.data_dir == tmp_path
    assert config.database_url == f"sqlite+aiosqlite:///{tmp_path}/hearth.db"


def test_the_example_file_gives_the_defaults() -> None:
    """Every key that the example shows is known, and its value is the default."""
    example = load(Path(__file__).parents[2] / "config.example.toml", {})
    assert example == Config()


def test_every_key_has_its_place_in_the_example_file() -> None:
    example = (Path(__file__).parents[2] / "config.example.toml").read_text("utf-8")
    for name, section in Config.model_fields.items():
        inner = section.annotation
        keys = inner.model_fields if isinstance(inner, type) and hasattr(inner, "model_fields") else {name: None}
        for key in keys:
            assert key in example, f"{name}.{key}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[chat]\nmax_token = 5", "chat.max_token: unknown key; did you mean 'max_tokens'?"),
        ("[chatt]\nmax_tokens = 5", "chatt: unknown key; did you mean 'chat'?"),
        ("[models.big]\npath='x.gguf'\nslot=1", "models.big.slot: unknown key; did you mean 'slots'?"),
        (
            "[models.big]\npath='x'\n[models.big.gpu]\ncache=5",
            "models.big.gpu.cache: unknown key; did you mean 'cache_bits'?",
        ),
        ("[models.gpu]\npath='x'\nslot=1", "models.gpu.slot: unknown key; did you mean 'slots'?"),
        ("[models.big]\npath='x'\ngpu.cache_bits=5", "models.big.gpu.cache_bits: Input should be 16, 8, 6 or 4"),
        (
            "[models.big]\npath='x'\ngpu.draft_model='y'\ngpu.ngram_draft=true",
            "models.big.gpu: draft_model and ngram_draft exclude each other",
        ),
        ("[personas.p]\nsistem='x'", "personas.p.sistem: unknown key; did you mean 'system'?"),
        ("[retention]\nxyzzy = 1", "retention.xyzzy: unknown key; known here: days"),
        ("[personas.p]\nmodel = 'nope'", "personas.p.model: there is no model 'nope' under [models]"),
        (
            "[models.big]\nslots = 2",
            "models.big.path: is missing; a model is a file (path) or on a server (url)",
        ),
        *(
            (f"[permissions]\npairing_code = '{code}'", f"permissions.pairing_code: {A_CODE}")
            for code in ("seven77", "a" * 65, "with blank", "line\u2028break")
        ),
        (
            "[permissions]\nstranger_word = 'Hi {name}'",
            "permissions.stranger_word: there is no {name}; there are {id} and {chat}",
        ),
        (
            "[permissions.limits.'role/7']\nmessages_per_minute = 5",
            "permissions.limits: 'role/7' is no entry; they are like \"discord:role/7\"",
        ),
        (
            "[permissions.limits.'discord:role/7']\nmessages_per_minut = 5",
            "permissions.limits.discord:role/7.messages_per_minut: unknown key; did you mean 'messages_per_minute'?",
        ),
        ("[groups]\nnames = ['hearth', ' ']", "groups.names: a name has at least one letter"),
        (
            "[models.default]\npath = 'x'\nkind = 'embedding'",
            "models.default: is a model for embeddings, which cannot chat; call it models.embedding",
        ),
        (
            "[models.embedding]\npath = 'x'",
            "models.embedding: is a model for chat; this name is for one that makes embeddings",
        ),
        (
            "[models.places]\npath = 'x'\nkind = 'embedding'\n[personas.p]\nmodel = 'places'",
            "personas.p.model: 'places' is a model for embeddings, which cannot chat",
        ),
        (
            "[models.big]\npath = 'x'\npooling = 'mean'",
            'models.big: pooling is for a model with kind = "embedding"',
        ),
        ("[models.big]\npath = 'x'\nkind = 'speech'", "models.big.kind: Input should be 'chat' or 'embedding'"),
        (
            "[models.far]\nurl = 'http://127.0.0.1:1/v1'\nkind = 'embedding'",
            "models.far.kind: is for a model of Hearth's own; this one is on a server (url)",
        ),
        ("[chat]\nmax_tokens = 0", "chat.max_tokens: Input should be greater than or equal to 1"),
        ("[chat]\nmax_document_bytes = 0", "chat.max_document_bytes: Input should be greater than or equal to 1"),
        (
            "[chat]\nmax_document_bytes = 67108865",
            "chat.max_document_bytes: Input should be less than or equal to 67108864",
        ),
        ("models = 3", "models: Input should be a valid dictionary"),
        ("[models]\nbig = 3", "models.big: Input should be a valid dictionary or instance of ModelConfig"),
        ("data_dir = 3", "data_dir: Input is not a valid path for <class 'pathlib.Path'>"),
        ("[chat]\nwhile_answering = 'run'", "chat.while_answering: Input should be 'wait' or 'interrupt'"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    file = write(tmp_path, text)
    assert refusal(file) == f"{file}: {words}"


def test_models_for_embeddings_are_no_models_to_chat_with(tmp_path: Path) -> None:
    """A file tells what it is for; the configuration may say otherwise."""
    encoder = write_model(tmp_path / "encoder.gguf", architecture="bert", template=None)
    pooled = write_model(tmp_path / "pooled.gguf", pooling=reference.PoolingType.LAST)
    chat = write_model(tmp_path / "chat.gguf")
    text = "".join(f"[models.{path.stem}]\npath = '{path}'\n" for path in (encoder, pooled, chat))
    config = load(write(tmp_path, text), {})
    assert list(config.models) == ["default", "chat"]
    assert list(config.embedding_models) == ["embedding", "encoder", "pooled"]
    otherwise = text.replace("pooled.gguf'", "pooled.gguf'\nkind = 'chat'").replace(
        "chat.gguf'", "chat.gguf'\nkind = 'embedding'"
    )
    config = load(write(tmp_path, otherwise + "[personas.p]\nmodel = 'pooled'\n"), {})
    assert list(config.models) == ["default", "pooled"]
    assert list(config.embedding_models) == ["embedding", "encoder", "chat"]


def test_the_model_for_embeddings_can_be_another(tmp_path: Path) -> None:
    embedded = load(None, {"HEARTH_DATA_DIR": str(tmp_path)}).embedding_models["embedding"]
    assert (embedded.path, embedded.kind) == (EMBEDDED_EMBEDDING_MODEL, "embedding")
    mine = write_model(tmp_path / "mine.gguf", architecture="nomic-bert", template=None)
    config = load(write(tmp_path, f"[models.embedding]\npath = '{mine}'\npooling = 'cls'\n"), {})
    assert config.embedding_models == {"embedding": ModelConfig(path=mine, kind="embedding", pooling="cls")}


def test_a_code_is_not_shown(tmp_path: Path) -> None:
    config = load(write(tmp_path, "[permissions]\npairing_code = 'open-sesame'"), {})
    assert config.permissions.pairing_code.get_secret_value() == "open-sesame"
    assert "sesame" not in repr(config)
    assert "sesame" not in refusal(write(tmp_path, "[permissions]\npairing_code = 'open sesame'"))


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    file = write(tmp_path, "[chat]\nmax_tokens = 0\n[queue]\nlenght = 1")
    assert "chat.max_tokens" in refusal(file)
    assert "queue.lenght: unknown key; did you mean 'length'?" in refusal(file)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("90", 90.0), ("0.5", 0.5), ("'90s'", 90.0), ("'5m'", 300.0), ("'1.5h'", 5400.0), ("' 2 d '", 172800.0)],
)
def test_a_duration_is_seconds_or_text_with_a_unit(tmp_path: Path, value: str, seconds: float) -> None:
    assert load(write(tmp_path, f"[chat]\ndrain = {value}"), {}).chat.drain == seconds


@pytest.mark.parametrize("value", ["'1w'", "'soon'", "'-5s'", "true"])
def test_what_is_no_duration_is_told_how_one_looks(tmp_path: Path, value: str) -> None:
    assert 'is no duration; write seconds, or text like "90s"' in refusal(write(tmp_path, f"[chat]\ndrain = {value}"))


@pytest.mark.parametrize("value", ["0", "'0s'", "-1", "inf", "nan"])
def test_a_duration_is_a_finite_time_above_nothing(tmp_path: Path, value: str) -> None:
    assert "chat.drain: Input should be" in refusal(write(tmp_path, f"[chat]\ndrain = {value}"))


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, "[chat]\nmax_tokens = 5\ndrain = '3s'")
    config = load(file, {"HEARTH_CHAT__MAX_TOKENS": "7", "HEARTH_PERMISSIONS__ALLOW": '["telegram:1", "discord:*"]'})
    assert config.chat.max_tokens == 7
    assert config.chat.drain == 3.0
    assert config.permissions.allow == ("telegram:1", "discord:*")


@pytest.mark.parametrize(
    ("value", "expected"),
    [("[red] is my colour", "[red] is my colour"), ("{x", "{x"), ("5", "5"), ("true", "true"), ("", "")],
)
def test_text_from_the_environment_stays_text(value: str, expected: str) -> None:
    assert load(None, {"HEARTH_PERSONAS__P__SYSTEM": value}).personas["p"].system == expected


def test_a_mistake_in_the_environment_is_told_too() -> None:
    words = refusal(None, HEARTH_CHAT__MAX_TOKEN="5")
    assert words == "the environment: chat.max_token: unknown key; did you mean 'max_tokens'?"


def test_a_variable_that_goes_into_a_value_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, "[chat]\nmax_tokens = 5")
    assert (
        refusal(file, HEARTH_CHAT__MAX_TOKENS__X="5")
        == "HEARTH_CHAT__MAX_TOKENS__X: max_tokens is a value, not a table"
    )


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("HEARTH_CHAT_MAX_TOKENS", "did you mean HEARTH_CHAT__MAX_TOKENS?"),
        ("HEARTH_DATADIR", "did you mean HEARTH_DATA_DIR?"),
        ("HEARTH_DATABASE_URL", "did you mean HEARTH_DATABASE__URL?"),
        ("HEARTH_XYZZY", "there are HEARTH_CONFIG, HEARTH_DATA_DIR and HEARTH_SECTION__KEY"),
    ],
)
def test_a_variable_that_sets_nothing_is_refused(name: str, hint: str) -> None:
    assert refusal(None, **{name: "5"}) == f"{name}: unknown variable; {hint}"


def test_other_peoples_variables_are_left_alone() -> None:
    """Kubernetes gives every pod variables like these for a service called hearth or hearth-web."""
    others = {
        "HEARTH_PORT": "tcp://10.0.0.1:80",
        "HEARTH_PORT_80_TCP": "tcp://10.0.0.1:80",
        "HEARTH_PORT_80_TCP_ADDR": "10.0.0.1",
        "HEARTH_SERVICE_HOST": "10.0.0.1",
        "HEARTH_WEB_SERVICE_PORT": "80",
        "HEARTH_WEB_PORT": "tcp://10.0.0.1:80",
        "HEARTH_TEST_SEED": "5",
        "HEARTH_TEST__SEED": "5",
    }
    assert load(None, others) == load(None, {})


@pytest.mark.parametrize("name", ["data", "what? #1 50%", "a%3Fb", "h@h:h", "\u00fc d"])
def test_any_path_can_be_the_data_directory(tmp_path: Path, name: str) -> None:
    """What a URL gives a meaning to is a part of the name here."""
    config = Config(data_dir=tmp_path / name)
    assert make_url(config.database_url).database == str(tmp_path / name / "hearth.db")


def test_only_a_database_of_a_server_is_shared() -> None:
    assert not Config().shared_database
    assert not load(None, {"HEARTH_DATABASE__URL": "sqlite+aiosqlite:////srv/h.db"}).shared_database
    assert load(None, {"HEARTH_DATABASE__URL": "postgresql+psycopg://h@db/h"}).shared_database


def test_a_secret_is_read_from_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text("postgresql+psycopg://h:s3cret@db/hearth\n")
    assert (
        load(None, {"HEARTH_DATABASE__URL_FILE": str(secret)}).database_url == "postgresql+psycopg://h:s3cret@db/hearth"
    )


def test_a_secret_that_cannot_be_read_is_told_by_its_variable(tmp_path: Path) -> None:
    gone, binary = tmp_path / "gone", tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    assert refusal(None, HEARTH_DATABASE__URL_FILE=str(gone)) == (
        f"HEARTH_DATABASE__URL_FILE: {gone} cannot be read (No such file or directory)"
    )
    assert refusal(None, HEARTH_DATABASE__URL_FILE=str(binary)) == (
        f"HEARTH_DATABASE__URL_FILE: {binary} is not UTF-8 text"
    )


def test_a_wrong_secret_is_not_repeated_in_the_words(tmp_path: Path) -> None:
    file = write(tmp_path, "[database]\nurl = ['s3cret']")
    assert refusal(file) == f"{file}: database.url: Input should be a valid string"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('token = "short"', "web: token: a token has 12 characters or more (openssl rand -hex 16 makes one)"),
        ('people = {ann = ""}', "web: people.ann: a token has 12 characters or more"),
        ('metrics_token = "eleven-char"', "web: metrics_token: a token has 12 characters or more"),
        ('token = "the-same-token"\npeople = {ann = "the-same-token"}', "web: two tokens are the same"),
        ('people = {owner = "a-long-enough-token"}', "web: people: 'owner' can be nobody's name here"),
        ('people = {"a/b" = "a-long-enough-token"}', "web: people: 'a/b' can be nobody's name here"),
        ('public_origins = ["chat.example.org"]', "web: public_origins: 'chat.example.org' is not like https://"),
        (
            'public_origins = ["https://chat.example.org/"]',
            "web: public_origins: 'https://chat.example.org/' is not like",
        ),
        ('trusted_proxies = ["proxy"]', "web: 'proxy' does not appear to be an IPv4 or IPv6 network"),
        ("port = 65536", "web.port: "),
        ('host = ""', "web.host: "),
    ],
)
def test_a_page_that_would_not_be_safe_is_refused_without_repeating_a_token(
    tmp_path: Path, text: str, words: str
) -> None:
    told = refusal(write(tmp_path, f"[web]\n{text}"))
    assert words in told
    assert "the-same-token" not in told


def test_tokens_of_people_come_from_the_environment_and_from_files(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("the-token-of-ann\n", "utf-8")
    environ = {"HEARTH_WEB__PEOPLE__ANN_FILE": str(tmp_path / "token"), "HEARTH_WEB__PORT": "8090"}
    config = load(None, environ)
    assert (config.web.people, config.web.port) == ({"ann": "the-token-of-ann"}, 8090)


def test_a_relative_path_is_relative_to_the_file_that_names_it(tmp_path: Path) -> None:
    file = write(tmp_path, "data_dir = 'data'\n[models.big]\npath = 'models/big.gguf'")
    config = load(file, {})
    assert config.data_dir == tmp_path / "data"
    assert config.own_models["big"].path == tmp_path / "models" / "big.gguf"


def test_a_relative_path_from_the_environment_is_relative_to_here(tmp_path: Path) -> None:
    file = write(tmp_path, "data_dir = 'data'")
    environ = {"HEARTH_DATA_DIR": "elsewhere", "HEARTH_MODELS__BIG__PATH": "big.gguf"}
    config = load(file, environ)
    assert config.data_dir == Path.cwd() / "elsewhere"
    assert config.own_models["big"].path == Path.cwd() / "big.gguf"


def test_an_empty_variable_for_the_data_directory_is_none(tmp_path: Path) -> None:
    assert load(write(tmp_path, "data_dir = 'data'"), {"HEARTH_DATA_DIR": ""}).data_dir == tmp_path / "data"


def test_a_tilde_is_the_home_directory() -> None:
    assert load(None, {"HEARTH_DATA_DIR": "~/hearth"}).data_dir == Path.home() / "hearth"


def test_the_file_in_the_data_directory_is_found(tmp_path: Path) -> None:
    write(tmp_path, "[chat]\nmax_tokens = 5")
    assert load(None, {"HEARTH_DATA_DIR": str(tmp_path)}).chat.max_tokens == 5


def test_a_file_that_the_environment_names_must_be_there(tmp_path: Path) -> None:
    """Another one in its place would be a silent surprise."""
    write(tmp_path, "[chat]\nmax_tokens = 5")
    gone = str(tmp_path / "gone.toml")
    words = refusal(None, HEARTH_CONFIG=gone, HEARTH_DATA_DIR=str(tmp_path))
    assert words == f"{gone}: there is no such file (HEARTH_CONFIG names it)"


def test_a_file_that_is_no_toml_is_told(tmp_path: Path) -> None:
    file = write(tmp_path, "[chat\n")
    assert refusal(file).startswith(f"{file}: Expected ']'")
    file.write_bytes(b"\xff")
    assert refusal(file) == f"{file}: is not UTF-8 text"
    assert refusal(tmp_path / "gone.toml").endswith("gone.toml: cannot be read (No such file or directory)")


def test_a_configuration_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config().chat.max_tokens = 5  # type: ignore[misc]  # the point of the test


def test_a_deep_data_directory_has_its_socket_elsewhere(tmp_path: Path) -> None:
    """A unix socket's path has 108 bytes; two data directories never share one."""
    short, deep = Path("/srv/hearth"), tmp_path / ("d" * 120)
    assert socket_path(short, "hearth.sock") == Path("/srv/hearth/run/hearth.sock")
    assert len(str(socket_path(deep, "hearth.sock"))) < 100
    assert socket_path(deep, "hearth.sock") == socket_path(deep, "hearth.sock")
    assert socket_path(deep, "hearth.sock") != socket_path(deep.with_name("e" * 120), "hearth.sock")


def test_paths_of_a_gpus_models_are_relative_to_the_file(tmp_path: Path) -> None:
    text = "[models.big]\npath = 'm'\n[models.big.gpu]\ndraft_model = 'd'\nfallback = 'f.gguf'\nloras = ['l', '/abs']"
    gpu = load(write(tmp_path, text), {}).own_models["big"].gpu
    assert (gpu.draft_model, gpu.fallback) == (tmp_path / "d", tmp_path / "f.gguf")
    assert gpu.loras == (tmp_path / "l", Path("/abs"))
    assert gpu.drafts
    assert (
        load(write(tmp_path, "[models.big]\npath = 'm'"), {}).own_models["big"].gpu.fallback_model
        == EMBEDDED_CHAT_MODEL
    )
