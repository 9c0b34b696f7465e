"""The settings: one table that feeds validation, the environment and the documentation.

The user's program builds a `Settings` (or a subclass with defaults and fields of its own), or `QuasiQueue` asks
`settings_for(name)` for one made from the environment. What goes on is an immutable, picklable object that the main
process decides by and that the user's functions see.

Invariant: whatever was built is valid. A value that cannot be is refused here, in one sentence that names the setting,
the value and where it came from; defaults that a subclass changes keep the bounds and descriptions of the table.
"""

import difflib
import inspect
import logging
import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast, dataclass_transform, get_args

from pydantic import BeforeValidator, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from .errors import SettingsError, UsageError

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
    from pydantic_core import ErrorDetails
else:
    ModelMetaclass = type(BaseSettings)

_MASK = "**********"


def _none_from_text(value: object) -> object:
    return None if isinstance(value, str) and value.strip().lower() in ("", "none") else value


_NoneFromText = BeforeValidator(_none_from_text)
_Count = Annotated[int, Field(ge=1)]
# The validator stands last: bounds that come after one are applied to `None` too.
_OptionalCount = Annotated[int | None, Field(ge=1), _NoneFromText]
_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_PositiveSeconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_OptionalPositive = Annotated[float | None, Field(gt=0, allow_inf_nan=False), _NoneFromText]


class _Namespace(dict[str, object]):
    """A class body in which `class Config` becomes `model_config` at once, before pydantic can see and deprecate it."""

    def __setitem__(self, name: str, value: object) -> None:
        if name == "Config" and inspect.isclass(value):
            options = {key: getattr(value, key) for key in dir(value) if not key.startswith("__")}
            if "prefix" in options:
                options["env_prefix"] = options.pop("prefix")
            name, value = "model_config", {**cast(dict[str, object], self.get("model_config", {})), **options}
        super().__setitem__(name, value)


# Type checkers look for the decorator on the metaclass itself, not on what it derives from.
@dataclass_transform(kw_only_default=True, field_specifiers=(Field,))
class _SettingsMeta(ModelMetaclass):
    @classmethod
    def __prepare__(cls, *args: object, **kwargs: object) -> dict[str, object]:
        return _Namespace()


class Settings(BaseSettings, metaclass=_SettingsMeta):
    """How a queue works. Durations are seconds.

    What is not given as an argument is read from the environment, then from the defaults. A subclass may change
    defaults, add fields, and set the prefix of its variables by `model_config = SettingsConfigDict(env_prefix="...")`.

    Raises:
        SettingsError: a value that its setting cannot have, or an argument that is no setting.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", case_sensitive=False)

    num_processes: _Count = Field(
        default=2, description="Workers that run items; one that is replaced has its successor get ready beside it."
    )
    max_queue_size: _Count = Field(
        default=300, description="The most items that wait: backlog plus handed and not yet started."
    )
    lookup_block_size: _Count = Field(
        default=10, description="The most that `desired_items` asks for in one call; lower when less fits."
    )
    max_jobs_per_process: _OptionalCount = Field(
        default=200, description="Items that a worker runs before it is recycled; `None`: never."
    )
    prevent_requeuing_time: _Seconds = Field(
        default=300.0,
        description="Seconds from its acceptance in which an item is not accepted again; 0: nothing is a duplicate.",
    )
    empty_queue_sleep_time: _Seconds = Field(
        default=1.0, description="Seconds of pause after the writer had nothing; `wake()` ends it early."
    )
    full_queue_sleep_time: _Seconds = Field(
        default=5.0,
        description="Longest pause in seconds while the queue is full; it ends as soon as the queue is half empty.",
    )
    graceful_shutdown_timeout: _Seconds = Field(
        default=30.0, description="Seconds in which workers may finish what they run."
    )
    queue_interaction_timeout: _Seconds = Field(
        default=0.01, description="Seconds that `put()` waits for room before `QueueFull`."
    )
    concurrent_tasks_per_process: _Count = Field(
        default=4, description="Items that one worker runs at once with an async reader."
    )
    max_attempts: _Count = Field(
        default=1, description="How often a reader is called for an item that fails or runs out of time."
    )
    retry_delay: _Seconds = Field(
        default=1.0, description="Seconds before the second attempt; each further pause is twice as long."
    )
    retry_delay_max: _Seconds = Field(default=60.0, description="Longest pause in seconds between two attempts.")
    max_crashes: _Count = Field(
        default=3, description="How many workers may die while they run an item before it counts as crashed."
    )
    item_timeout: _OptionalPositive = Field(
        default=None,
        description="Seconds that one item may run before its worker is killed and replaced; `None`: without limit.",
    )
    startup_timeout: _PositiveSeconds = Field(
        default=60.0, description="Seconds that a worker may take to be ready, its context included."
    )
    max_memory_per_process: _OptionalPositive = Field(
        default=None,
        description="MiB above which a worker is recycled after the item it runs; `None`: without limit.",
    )
    max_restarts: int = Field(
        default=5,
        ge=0,
        description="Deaths of workers that are borne within `restart_window` without one finished item between them.",
    )
    restart_window: _PositiveSeconds = Field(
        default=60.0, description="Seconds in which the deaths for `max_restarts` are counted."
    )
    writer_max_errors: _Count = Field(
        default=5, description="Failures in a row of the writer or collector before the run ends."
    )
    start_method: Literal["auto", "fork", "spawn"] = Field(
        default="auto", description='How workers start; `"auto"`: `"fork"` on Linux, `"spawn"` on macOS.'
    )

    # Hidden from type checkers, which then know the arguments from the fields, in subclasses too.
    if not TYPE_CHECKING:

        def __init__(self, **values: object) -> None:
            try:
                super().__init__(**values)
            except ValidationError as error:
                source = _Environment(type(self), env_prefix=values.get("_env_prefix"))
                raise SettingsError(_explain(error, source, values)) from None

    def __getitem__(self, name: str) -> object:
        fields = type(self).model_fields
        if name not in fields:
            raise KeyError(f"{name!r} is no setting; the nearest is {_nearest(name, fields)!r}")
        return cast(object, getattr(self, name))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment; no files."""
        return init_settings, _Environment(settings_cls, env_prefix=cast(EnvSettingsSource, env_settings).env_prefix)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: object) -> None:
        """Give back what a field loses when a subclass changes its default: `num_processes: int = 8` has no bounds."""
        is_changed = False
        for name, inherited in Settings.model_fields.items():
            field = cls.model_fields[name]
            field.description = field.description or inherited.description
            if lost := [rule for rule in inherited.metadata if rule not in field.metadata]:
                field.metadata = [*lost, *field.metadata]
                is_changed = True
        if is_changed:
            cls.model_rebuild(force=True, raise_errors=False)


def settings_for(name: str) -> Settings:
    """Build the settings of a queue from the environment: `Acme` reads `ACME_NUM_PROCESSES` and so on.

    Args:
        name: the queue's name.

    Raises:
        UsageError: the name is empty.
        SettingsError: a variable has a value that its setting cannot have.
    """
    return cast(Callable[..., Settings], Settings)(_env_prefix=prefix_for(name))


def prefix_for(name: object) -> str:
    """Make the prefix of a queue's environment variables: `"Acme mail"` has `"ACME_MAIL_"`.

    Raises:
        UsageError: the name is empty, or no text.
    """
    if not isinstance(name, str) or not name.strip():
        raise UsageError(f"The queue's name cannot be {name!r}: give it some text, which also stands in logs and `ps`")
    prefix = re.sub(r"[^A-Z0-9_]", "_", name.upper()) + "_"
    return f"_{prefix}" if prefix[0].isdigit() else prefix


def settings_table() -> str:
    """Render the settings as a Markdown table for the documentation."""
    rows = ["| setting | default | environment variable | meaning |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        rows.append(f"| `{name}` | `{field.default!r}` | `{name.upper()}` | {field.description} |")
    return "\n".join(rows) + "\n"


class _Environment(EnvSettingsSource):
    """The environment as a source: knows the other spelling of a name, and speaks up about names it does not know."""

    def __call__(self) -> dict[str, Any]:
        values = super().__call__()
        if self.env_prefix:
            self._warn_of_strangers()
        return values

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        value, key, is_complex = super().get_field_value(field, field_name)
        if value is None:
            value = next((self.env_vars[name] for name in self.names_of(field_name) if name in self.env_vars), None)
        return value, key, is_complex

    def prepare_field_value(self, field_name: str, field: FieldInfo, value: Any, value_is_complex: bool) -> Any:
        try:
            return super().prepare_field_value(field_name, field, value, value_is_complex)
        except ValueError as error:
            shown = _shown(value, field)
            message = f"{field_name} cannot be {shown} (from {self.origin_of(field_name)}): write it as JSON"
            # The cause would show the value, which may be a secret.
            raise SettingsError(message) from (error if shown != _MASK else None)

    def names_of(self, field_name: str) -> list[str]:
        """The variables that are looked for, as they stand in `env_vars`, in the order in which they count."""
        field = self.settings_cls.model_fields[field_name]
        names = [name for _, name, _ in self._extract_field_info(field, field_name)]
        if field_name == "num_processes":
            names.append(self._fold(f"{self.env_prefix}num_process"))
        return names

    def origin_of(self, field_name: str) -> str:
        """Where the value of a field that is no argument came from, in words."""
        spellings = {self._fold(name): name for name in os.environ}
        names = self.names_of(field_name)
        if found := next((spellings[name] for name in names if name in spellings), None):
            return f"the environment variable {found}"
        parts = [spellings[name] for name in spellings if name.startswith(self._parts_of(names))]
        return f"the environment variables {', '.join(parts)}" if parts else "its default"

    def _warn_of_strangers(self) -> None:
        known = {name for field_name in self.settings_cls.model_fields for name in self.names_of(field_name)}
        parts = self._parts_of(known)
        for variable in os.environ:
            name = self._fold(variable)
            if name.startswith(self._fold(self.env_prefix)) and name not in known and not name.startswith(parts):
                logging.getLogger("quasiqueue.settings").warning(
                    "The environment variable %s is no setting; the nearest is %s",
                    variable,
                    (self.env_prefix + _nearest(name[len(self.env_prefix) :], self.settings_cls.model_fields)).upper(),
                )

    def _parts_of(self, names: Iterable[str]) -> tuple[str, ...]:
        """How variables begin that hold one part of a nested field."""
        delimiter = self.env_nested_delimiter
        return tuple(self._fold(name + delimiter) for name in names) if delimiter else ()

    def _fold(self, name: str) -> str:
        return name if self.case_sensitive else name.lower()


def _explain(error: ValidationError, source: _Environment, given: Mapping[str, object]) -> str:
    return "\n".join(_sentence(details, source, given) for details in error.errors(include_url=False))


def _sentence(details: "ErrorDetails", source: _Environment, given: Mapping[str, object]) -> str:
    fields = source.settings_cls.model_fields
    reason = details["msg"].removeprefix("Value error, ").removesuffix(".")
    if not details["loc"]:
        return f"The settings do not fit together: {reason}"
    name, *inner = map(str, details["loc"])
    if details["type"] == "extra_forbidden" and not inner:
        return f"{name} is no setting, but was given as an argument; the nearest is {_nearest(name, fields)}"
    by_alias = {field.validation_alias: key for key, field in fields.items() if isinstance(field.validation_alias, str)}
    field_name = by_alias.get(name, name)
    where = ".".join([name, *inner])
    if details["type"] == "missing" and not inner:
        variable = source.names_of(field_name)[0].upper()
        return f"{where} is missing: give it as an argument, or set the environment variable {variable}"
    if field_name not in fields:
        return f"{where} cannot be used: {reason}"
    shown = _shown(details["input"], fields[field_name])
    is_argument = name in given or field_name in given
    origin = f"the argument {where}={shown}" if is_argument else source.origin_of(field_name)
    return f"{where} cannot be {shown} (from {origin}): {reason}"


def _shown(value: object, field: FieldInfo) -> str:
    return _MASK if _may_hold_secrets(field.annotation) else repr(value)


def _may_hold_secrets(annotation: object) -> bool:
    """True for pydantic's secrets, and for whatever has fields of its own, any of which may be one."""
    if hasattr(annotation, "get_secret_value"):
        return True
    if inspect.isclass(annotation) and inspect.get_annotations(annotation):
        return True
    return any(map(_may_hold_secrets, get_args(annotation)))


def _nearest(name: str, names: Iterable[str]) -> str:
    return difflib.get_close_matches(name.lower(), list(names), n=1, cutoff=0.0)[0]
