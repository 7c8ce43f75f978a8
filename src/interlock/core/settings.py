"""Settings: every value knows where it came from.

Sources in order: argument, `INTERLOCK_*` variable, project file, user file, default. This module resolves; it
reads no file and no environment by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from interlock.core.errors import Invalid, NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping


class Setting(msgspec.Struct, frozen=True):
    """One setting: its name, type, default and meaning."""

    name: str
    type: type
    default: Any
    help: str

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return f"INTERLOCK_{self.name.upper()}"


class Value(msgspec.Struct, frozen=True):
    """What a setting is, and where that was said."""

    name: str
    value: Any
    origin: str
    help: str


SETTINGS: Final = {
    setting.name: setting
    for setting in (
        Setting("workspace", str, "", "Folder or address of the workspace; empty: beside interlock.toml."),
        Setting("host", str, "127.0.0.1", "Address that servers listen on."),
        Setting("port", int, 8230, "Port of `interlock up`; 0 picks a free one."),
        Setting("webhooks_private", bool, False, "Webhooks may go to private addresses and by http://."),
        Setting("color", bool, True, "Use colours and progress bars on a terminal."),
    )
}


def resolve(
    *,
    arguments: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    project: Mapping[str, Any] | None = None,
    user: Mapping[str, Any] | None = None,
) -> dict[str, Value]:
    """Return every setting with its value and origin.

    Args:
        arguments: what the caller said in this call.
        environ: the environment's variables.
        project: the `[settings]` table of interlock.toml.
        user: the user's own settings file.

    Raises:
        NotFound: a source sets something that is no setting.
        Invalid: a value has the wrong type; the error names the place.
    """
    sources = (("argument", arguments or {}), ("environment", environ or {}))
    files = (("interlock.toml", project or {}), ("user file", user or {}))
    for origin, source in files:
        for name in source:
            if name not in SETTINGS:
                raise NotFound.named("setting", name, SETTINGS, hint=f"It is set in {origin}.")
    return {name: _resolve_one(setting, (*sources, *files)) for name, setting in SETTINGS.items()}


def _resolve_one(setting: Setting, sources: tuple[tuple[str, Mapping[str, Any]], ...]) -> Value:
    for origin, source in sources:
        key = setting.variable if origin == "environment" else setting.name
        if source.get(key) is None:
            continue
        place = key if origin == "environment" else origin
        try:
            value: Any = msgspec.convert(source[key], setting.type, strict=False)
        except msgspec.ValidationError as error:
            raise Invalid(
                f"Setting {setting.name!r} from {place} is wrong: {error}.", about="setting", hint=setting.help
            ) from None
        return Value(setting.name, value, place, setting.help)
    return Value(setting.name, setting.default, "default", setting.help)
