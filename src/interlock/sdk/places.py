"""Where a workspace is: what the caller said, the environment, the nearest project, the user's file."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from interlock.core.errors import Invalid, NotFound
from interlock.core.settings import Value, resolve

if TYPE_CHECKING:
    from collections.abc import Mapping

PROJECT_FILE: Final = "interlock.toml"
FOLDER: Final = ".interlock"
# host:port, its scheme forgotten
_SERVER: Final = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}(?:/.*)?\Z")


def is_address(location: str) -> bool:
    """Return whether a location is a server's address rather than a folder."""
    return location.startswith(("http://", "https://"))


def find(location: str | os.PathLike[str] | None = None) -> str:
    """Return the workspace's address or project folder.

    Args:
        location: what the caller said; None to look for it in `INTERLOCK_WORKSPACE`, then in this folder and those
            above (whose interlock.toml may name another under `[settings]`), then in the user's settings file.

    Raises:
        NotFound: there is none.
    """
    said = os.fspath(location) if location is not None else os.environ.get("INTERLOCK_WORKSPACE", "")
    if said:
        return said if is_address(said) else str(_checked(Path(said).expanduser()))
    project = nearest(Path.cwd())
    redirect = settings(project)["workspace"].value
    if redirect:
        base = project or Path.cwd()
        return redirect if is_address(redirect) else str(_checked(base / Path(redirect).expanduser()))
    if project is None:
        raise NotFound(
            "There is no workspace here.",
            about="workspace",
            hint="Run `interlock init` in the project's folder, or name one with --workspace or INTERLOCK_WORKSPACE.",
        )
    return str(project)


def nearest(start: Path) -> Path | None:
    """Return the nearest folder from `start` upwards that holds a project or a workspace, or None."""
    for folder in (start, *start.parents):
        if is_project(folder):
            return folder
    return None


def is_project(folder: Path) -> bool:
    """Return whether a folder holds interlock.toml or a workspace."""
    return (folder / PROJECT_FILE).is_file() or (folder / FOLDER / "workspace.json").is_file()


def settings(project: Path | None, arguments: Mapping[str, Any] | None = None) -> dict[str, Value]:
    """Return every setting with its value and origin.

    Args:
        project: the folder of interlock.toml, or None.
        arguments: what the caller said in this call; None stands for nothing said.

    Raises:
        Invalid: a file is no TOML, or a value has the wrong type.
        NotFound: a file sets something that is no setting.
    """
    mine = _toml(project / PROJECT_FILE).get("settings", {}) if project else {}
    if not isinstance(mine, dict):
        raise Invalid("[settings] of interlock.toml is no table.", about="setting")
    return resolve(arguments=arguments, environ=os.environ, project=mine, user=_toml(user_file()))


def user_file() -> Path:
    """Return where a user's own settings are: `interlock/settings.toml` in the user's configuration folder."""
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "interlock" / "settings.toml"


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"{path.name} is not sound TOML: {error}.", about="setting", path=str(path)) from None
    except OSError as error:
        raise Invalid(f"{path.name} cannot be read: {error.strerror}.", about="setting", path=str(path)) from None


def _checked(folder: Path) -> Path:
    """Return a project folder that was named, which may be named by its `.interlock` too."""
    said = str(folder)
    server, folder = _SERVER.match(str(folder)) and not folder.exists(), folder.absolute()
    if folder.name == FOLDER:
        folder = folder.parent
    if not is_project(folder):
        raise NotFound(
            f"There is no workspace in {str(folder)!r}.",
            about="workspace",
            hint=f"For a server, write http://{said}." if server else "Run `interlock init` there.",
            path=str(folder),
        )
    return folder
