"""The settings table, its environment, and how wrong values are refused."""

import logging
import os
import pickle
import re
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, SecretStr, ValidationError
from pydantic_settings import SettingsConfigDict

from quasiqueue.errors import SettingsError, UsageError
from quasiqueue.settings import Settings, prefix_for, settings_for, settings_table

DEFAULTS = {
    "num_processes": 2,
    "max_queue_size": 300,
    "lookup_block_size": 10,
    "max_jobs_per_process": 200,
    "prevent_requeuing_time": 300.0,
    "empty_queue_sleep_time": 1.0,
    "full_queue_sleep_time": 5.0,
    "graceful_shutdown_timeout": 30.0,
    "queue_interaction_timeout": 0.01,
    "concurrent_tasks_per_process": 4,
    "max_attempts": 1,
    "retry_delay": 1.0,
    "retry_delay_max": 60.0,
    "max_crashes": 3,
    "item_timeout": None,
    "startup_timeout": 60.0,
    "max_memory_per_process": None,
    "max_restarts": 5,
    "restart_window": 60.0,
    "writer_max_errors": 5,
    "start_method": "auto",
}

COUNTS = [
    "num_processes",
    "max_queue_size",
    "lookup_block_size",
    "max_jobs_per_process",
    "concurrent_tasks_per_process",
    "max_attempts",
    "max_crashes",
    "writer_max_errors",
]
SECONDS = [
    "prevent_requeuing_time",
    "empty_queue_sleep_time",
    "full_queue_sleep_time",
    "graceful_shutdown_timeout",
    "queue_interaction_timeout",
    "retry_delay",
    "retry_delay_max",
]
POSITIVE = ["item_timeout", "startup_timeout", "max_memory_per_process", "restart_window"]
OPTIONAL = ["max_jobs_per_process", "item_timeout", "max_memory_per_process"]


class MySettings(Settings):
    model_config = SettingsConfigDict(env_prefix="My_Queue_")

    num_processes: int = 8
    api_key: SecretStr = SecretStr("hidden")
    pool: int = Field(default=1, ge=1, description="Connections.")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {name.upper() for name in DEFAULTS} | {"NUM_PROCESS"}
    for variable in list(os.environ):
        if variable.upper() in names or variable.upper().startswith(("ACME_", "MY_QUEUE_")):
            monkeypatch.delenv(variable)


def refusal(build: type[Settings] = Settings, **arguments: object) -> str:
    with pytest.raises(SettingsError) as caught:
        build(**arguments)
    assert caught.value.__cause__ is None
    return str(caught.value)


def test_settings_defaults_are_those_of_the_table() -> None:
    """Without arguments and environment every setting has its documented default, of the documented type."""
    values = Settings().model_dump()
    assert values == DEFAULTS
    assert {name: type(value) for name, value in values.items()} == {n: type(v) for n, v in DEFAULTS.items()}


@pytest.mark.parametrize("name", COUNTS)
def test_count_is_at_least_one(name: str) -> None:
    """Zero of what a count counts would be a queue that does nothing."""
    assert Settings(**{name: 1})[name] == 1
    assert refusal(**{name: 0}) == (
        f"{name} cannot be 0 (from the argument {name}=0): Input should be greater than or equal to 1"
    )


@pytest.mark.parametrize("name", SECONDS)
def test_seconds_take_numbers_and_strings_and_are_never_negative(name: str) -> None:
    """Seconds are floats, given as numbers or text; below zero they mean nothing."""
    values = [Settings(**{name: value})[name] for value in (0, 1, "1.5")]
    assert values == [0.0, 1.0, 1.5]
    assert all(type(value) is float for value in values)
    assert refusal(**{name: -1}) == (
        f"{name} cannot be -1 (from the argument {name}=-1): Input should be greater than or equal to 0"
    )


@pytest.mark.parametrize("name", POSITIVE)
def test_limit_is_above_zero(name: str) -> None:
    """A limit of zero would forbid everything."""
    assert Settings(**{name: "0.5"})[name] == 0.5
    assert refusal(**{name: 0}) == f"{name} cannot be 0 (from the argument {name}=0): Input should be greater than 0"


@pytest.mark.parametrize("name", SECONDS + POSITIVE)
@pytest.mark.parametrize("value", ["inf", "nan"])
def test_float_is_finite(name: str, value: str) -> None:
    """Infinite or undefined durations cannot be waited for."""
    assert refusal(**{name: value}) == (
        f"{name} cannot be {value!r} (from the argument {name}={value!r}): Input should be a finite number"
    )


def test_max_restarts_may_be_zero() -> None:
    """No death at all may be borne, but not fewer."""
    assert Settings(max_restarts=0).max_restarts == 0
    assert refusal(max_restarts=-1) == (
        "max_restarts cannot be -1 (from the argument max_restarts=-1): Input should be greater than or equal to 0"
    )


@pytest.mark.parametrize("name", OPTIONAL)
@pytest.mark.parametrize("text", ["none", "None", "NONE", "", " "])
def test_optional_setting_reads_none_from_the_environment(
    name: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment knows only text, so `none` and nothing mean `None`."""
    monkeypatch.setenv(name.upper(), text)
    assert Settings()[name] is None
    assert Settings(**{name: None})[name] is None


def test_start_method_is_one_of_three() -> None:
    """Other start methods are refused with the choice."""
    assert [Settings(start_method=m).start_method for m in ("auto", "fork", "spawn")] == ["auto", "fork", "spawn"]
    assert refusal(start_method="forkserver") == (
        "start_method cannot be 'forkserver' (from the argument start_method='forkserver'): "
        "Input should be 'auto', 'fork' or 'spawn'"
    )


def test_argument_wins_over_bare_variables_and_the_rest_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """`Settings(...)` keeps what was given and reads the rest from names without a prefix."""
    monkeypatch.setenv("LOOKUP_BLOCK_SIZE", "7")
    monkeypatch.setenv("NUM_PROCESSES", "6")
    settings = Settings(lookup_block_size=50)
    assert (settings.lookup_block_size, settings.num_processes) == (50, 6)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"NUM_PROCESS": "5"}, 5),
        ({"num_process": "5"}, 5),
        ({"NUM_PROCESS": "5", "NUM_PROCESSES": "6"}, 6),
    ],
)
def test_num_process_is_understood_and_the_exact_name_wins(
    variables: dict[str, str], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`NUM_PROCESS` is a common slip for `NUM_PROCESSES`, with every prefix."""
    for prefix in ("", "acme_", "MY_QUEUE_"):
        for name, value in variables.items():
            monkeypatch.setenv(prefix + name, value)
    assert Settings().num_processes == expected
    assert settings_for("Acme").num_processes == expected
    assert MySettings().num_processes == expected


def test_settings_for_reads_the_queues_variables_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue's settings come from names with its prefix, in any case; bare names are not its own."""
    monkeypatch.setenv("ACME_NUM_PROCESSES", "3")
    monkeypatch.setenv("Acme_Lookup_Block_Size", "4")
    monkeypatch.setenv("MAX_QUEUE_SIZE", "5")
    assert settings_for("Acme").model_dump() == {**DEFAULTS, "num_processes": 3, "lookup_block_size": 4}


def test_stranger_with_the_prefix_is_warned_about(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A variable with the prefix that is no setting is most likely a slip: the warning names the nearest."""
    monkeypatch.setenv("Acme_LOOKUP_BLOCKSIZE", "3")
    monkeypatch.setenv("MY_QUEUE_POOLS", "3")
    monkeypatch.setenv("MY_QUEUE_POOL", "3")
    monkeypatch.setenv("MY_QUEUE_NUM_PROCESS", "3")
    with caplog.at_level(logging.WARNING, logger="quasiqueue.settings"):
        settings_for("Acme")
        MySettings()
        Settings()
    assert caplog.record_tuples == [
        (
            "quasiqueue.settings",
            logging.WARNING,
            "The environment variable Acme_LOOKUP_BLOCKSIZE is no setting; the nearest is ACME_LOOKUP_BLOCK_SIZE",
        ),
        (
            "quasiqueue.settings",
            logging.WARNING,
            "The environment variable MY_QUEUE_POOLS is no setting; the nearest is MY_QUEUE_POOL",
        ),
    ]


def test_variable_with_a_wrong_value_is_named_as_it_is_spelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every wrong value gets its own line, with the variable that it came from."""
    monkeypatch.setenv("Acme_Num_Process", "many")
    monkeypatch.setenv("ACME_RETRY_DELAY", "soon")
    with pytest.raises(SettingsError) as caught:
        settings_for("Acme")
    assert str(caught.value).splitlines() == [
        "num_processes cannot be 'many' (from the environment variable Acme_Num_Process): "
        "Input should be a valid integer, unable to parse string as an integer",
        "retry_delay cannot be 'soon' (from the environment variable ACME_RETRY_DELAY): "
        "Input should be a valid number, unable to parse string as a number",
    ]


def test_unknown_argument_is_refused_with_the_nearest_name() -> None:
    """An argument that is no setting is never ignored."""
    assert refusal(lookup_blocksize=3) == (
        "lookup_blocksize is no setting, but was given as an argument; the nearest is lookup_block_size"
    )


def test_setting_is_read_by_attribute_and_by_name() -> None:
    """Both forms give the same; an unknown name is a KeyError with the nearest."""
    settings = MySettings(pool=4)
    assert (settings.pool, settings["pool"]) == (4, 4)
    with pytest.raises(KeyError, match=re.escape("'pol' is no setting; the nearest is 'pool'")):
        settings["pol"]
    with pytest.raises(KeyError, match="'model_config' is no setting"):
        settings["model_config"]


def test_settings_cannot_be_changed() -> None:
    """Workers have copies, so a change after the fact would only confuse."""
    with pytest.raises(ValidationError, match="frozen"):
        Settings().num_processes = 3


@pytest.mark.parametrize("settings", [Settings(lookup_block_size=50), MySettings(api_key=SecretStr("s3cret"))])
def test_settings_are_picklable(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A spawned worker gets the values in force, not those of its own environment."""
    data = pickle.dumps(settings)
    monkeypatch.setenv("NUM_PROCESSES", "99")
    monkeypatch.setenv("MY_QUEUE_NUM_PROCESSES", "99")
    again = pickle.loads(data)
    assert again == settings
    assert type(again) is type(settings)


def test_subclass_keeps_the_tables_bounds_and_descriptions() -> None:
    """A subclass that writes `num_processes: int = 8` changes the default and nothing else."""
    assert MySettings().num_processes == 8
    assert MySettings.model_fields["num_processes"].description.startswith("Workers that run items; ")
    assert refusal(MySettings, num_processes=0) == (
        "num_processes cannot be 0 (from the argument num_processes=0): Input should be greater than or equal to 1"
    )
    assert Settings().num_processes == 2


def test_subclass_may_narrow_a_bound() -> None:
    """Bounds of a subclass are added to those of the table."""

    class Narrow(MySettings):
        num_processes: int = Field(default=4, le=8, description="Up to eight.")

    assert Narrow.model_fields["num_processes"].description == "Up to eight."
    assert refusal(Narrow, num_processes=9).endswith("Input should be less than or equal to 8")
    assert refusal(Narrow, num_processes=0).endswith("Input should be greater than or equal to 1")


@pytest.mark.parametrize("option", ["prefix", "env_prefix"])
def test_older_form_of_config_sets_the_prefix_without_a_warning(option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`class Config` with `prefix` or `env_prefix` does what `model_config` does, and nobody calls it deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")

        class Older(Settings):
            lookup_block_size: int = 11
            pool: int = 1

            Config = type("Config", (), {option: "my_queue_"})

        class Younger(Older):
            pass

    monkeypatch.setenv("MY_QUEUE_POOL", "3")
    assert Older.model_config["env_prefix"] == "my_queue_"
    assert Older.model_config["extra"] == "forbid"
    for build in (Older, Younger):
        assert (build().pool, build().lookup_block_size) == (3, 11)


def test_config_class_statement_sets_the_prefix() -> None:
    """The older form as users write it."""

    class Older(Settings):
        class Config:
            prefix = "MY_QUEUE_"

    assert Older.model_config["env_prefix"] == "MY_QUEUE_"
    assert Older.model_config["frozen"] is True


def test_wrong_default_of_a_subclass_is_named_as_such() -> None:
    """Defaults are checked as well."""

    class Wrong(Settings):
        num_processes: int = 0

    assert refusal(Wrong) == (
        "num_processes cannot be 0 (from its default): Input should be greater than or equal to 1"
    )


def test_missing_setting_of_a_subclass_names_its_variable() -> None:
    """A setting without a default says where it can be given, and shows no other setting's value."""

    class Needs(MySettings):
        url: str

    assert refusal(Needs, api_key=SecretStr("s3cret")) == (
        "url is missing: give it as an argument, or set the environment variable MY_QUEUE_URL"
    )


def test_secret_is_masked_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither repr nor an error shows a secret, wherever it came from."""

    class Account(BaseModel):
        user: str = ""
        password: SecretStr = SecretStr("")

    class Secrets(Settings):
        model_config = SettingsConfigDict(env_prefix="MY_QUEUE_", env_nested_delimiter="__")

        token: SecretStr | None = Field(default=None, min_length=9)
        tokens: tuple[SecretStr, ...] = ()
        account: Account = Account()

    assert "s3cret" not in repr(MySettings(api_key=SecretStr("s3cret")))
    monkeypatch.setenv("MY_QUEUE_TOKEN", "s3cret")
    assert refusal(Secrets) == (
        "token cannot be ********** (from the environment variable MY_QUEUE_TOKEN): "
        "Value should have at least 9 items after validation, not 6"
    )
    monkeypatch.setenv("MY_QUEUE_TOKEN", "long enough")
    monkeypatch.setenv("MY_QUEUE_TOKENS", "s3cret")
    assert refusal(Secrets) == (
        "tokens cannot be ********** (from the environment variable MY_QUEUE_TOKENS): write it as JSON"
    )
    monkeypatch.delenv("MY_QUEUE_TOKENS")
    monkeypatch.setenv("MY_QUEUE_ACCOUNT__PASSWORD", "[1]")
    assert refusal(Secrets, tokens=[5]).splitlines()[0] == (
        "tokens.0 cannot be ********** (from the argument tokens.0=**********): Input should be a valid string"
    )
    assert refusal(Secrets, account={"user": 5, "password": "s3cret"}) == (
        "account.user cannot be ********** (from the argument account.user=**********): Input should be a valid string"
    )


def test_setting_with_parts_is_read_as_json_or_by_parts(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Settings with parts are read as JSON or by parts, and their errors name the variable."""

    class Point(BaseModel):
        x: int = 0

    class Parts(Settings):
        model_config = SettingsConfigDict(env_prefix="MY_QUEUE_", env_nested_delimiter="__")

        ports: tuple[int, ...] = ()
        point: Point = Point()

    monkeypatch.setenv("MY_QUEUE_PORTS", "[1, 2]")
    monkeypatch.setenv("MY_QUEUE_POINT__X", "3")
    assert (Parts().ports, Parts().point.x) == ((1, 2), 3)
    assert caplog.records == []
    monkeypatch.setenv("MY_QUEUE_PORTS", "[1, 'x'")
    with pytest.raises(SettingsError) as caught:
        Parts()
    assert str(caught.value) == (
        "ports cannot be \"[1, 'x'\" (from the environment variable MY_QUEUE_PORTS): write it as JSON"
    )
    monkeypatch.setenv("MY_QUEUE_PORTS", '["x"]')
    monkeypatch.setenv("MY_QUEUE_POINT__X", "y")
    assert refusal(Parts).splitlines() == [
        "ports.0 cannot be 'x' (from the environment variable MY_QUEUE_PORTS): "
        "Input should be a valid integer, unable to parse string as an integer",
        "point.x cannot be ********** (from the environment variables MY_QUEUE_POINT__X): "
        "Input should be a valid integer, unable to parse string as an integer",
    ]


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("Acme", "ACME_"),
        ("acme mail", "ACME_MAIL_"),
        ("acme.mail-2", "ACME_MAIL_2_"),
        ("2fast", "_2FAST_"),
        ("é", "__"),
        ("ß", "SS_"),
        ("_x", "_X_"),
        ("\u0663", "__"),
    ],
)
def test_prefix_is_the_name_as_a_variable_can_hold_it(name: str, prefix: str) -> None:
    """Uppercase; what a variable's name cannot hold becomes an underscore; no digit comes first."""
    assert prefix_for(name) == prefix


@pytest.mark.parametrize("name", ["", " ", "\t\n", None, 3])
def test_empty_name_has_no_prefix(name: object) -> None:
    """A queue without a name is refused."""
    with pytest.raises(UsageError, match=re.escape(f"The queue's name cannot be {name!r}")):
        prefix_for(name)


@given(st.text(min_size=1).filter(str.strip))
def test_prefix_of_any_name_is_a_valid_variable_name(name: str) -> None:
    """Whatever the name, the prefix can begin a variable's name, and making it again changes nothing but the end."""
    prefix = prefix_for(name)
    assert re.fullmatch(r"[A-Z_][A-Z0-9_]*_", prefix)
    assert prefix_for(prefix) == f"{prefix}_"


def test_settings_table_lists_every_setting_with_its_meaning() -> None:
    """The documentation's table has one row per setting, in order, each with a default, a variable and a sentence."""
    lines = settings_table().splitlines()
    assert lines[:3] == [
        "| setting | default | environment variable | meaning |",
        "|---|---|---|---|",
        "| `num_processes` | `2` | `NUM_PROCESSES` | Workers that run items; one that is replaced has its successor "
        "get ready beside it. |",
    ]
    assert [re.split(r" ?\| ?", line)[1] for line in lines[2:]] == [f"`{name}`" for name in DEFAULTS]
    assert all(re.fullmatch(r"\| `\w+` \| `.+` \| `[A-Z_]+` \| .+\. \|", line) for line in lines[2:])
