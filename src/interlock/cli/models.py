"""`interlock models`: prove to others, and check what others prove, that the files of a model are the ones meant."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from interlock.cli.commands import Near, common
from interlock.cli.session import note, open_workspace, show
from interlock.core.errors import Conflict, Invalid, NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interlock.sdk.services import Service

_FAULTY = 1
_VERSION = "A version: model:NAME@3, model:NAME@champion, or model:NAME for the newest."


def models(services: Mapping[str, Service]) -> click.Command:
    """Return the group of commands about the files of models."""

    def verify(**words: Any) -> int:
        return _verify(services, words["version"], words["folder"])

    def sign(**words: Any) -> None:
        _sign(services, words["version"], Path(words["output"]), words["public_key"])

    def check(**words: Any) -> int:
        return _check(Path(words["folder"]), words["signature"], Path(words["key"]))

    version = click.Argument(["version"], help=_VERSION)
    signature = "The signature [default: model.sig in the folder]."
    table: dict[str, tuple[Any, str, list[click.Parameter]]] = {
        "verify": (
            verify,
            "Check a version's signature and name each changed, missing and extra file.",
            [
                version,
                click.Option(["--folder"], metavar="FOLDER", help="Look at this copy, not at what is kept here."),
            ],
        ),
        "sign": (
            sign,
            "Sign a version's files as OpenSSF's model-signing does; its tool verifies them with `verify key`.",
            [
                version,
                click.Option(["--output", "-o"], default="model.sig", metavar="FILE", help="Where to write it."),
                click.Option(["--public-key"], metavar="FILE", help="Write the key that verifies it, too (PEM)."),
            ],
        ),
        "check": (
            check,
            "Check a folder against a signature of OpenSSF's model-signing; no workspace is needed.",
            [
                click.Argument(["folder"], help="The files."),
                click.Option(["--key"], required=True, metavar="FILE", help="The public key that you trust (PEM)."),
                click.Option(["--signature"], metavar="FILE", help=signature),
            ],
        ),
    }
    commands = [
        click.Command(name, callback=work, params=[*params, *common()], help=text)
        for name, (work, text, params) in table.items()
    ]
    return Near("models", help="Sign, verify and check the files of models.", commands=commands, params=common())


def _verify(services: Mapping[str, Service], version: str, folder: str | None) -> int:
    from interlock.registry.verify import see

    seen = None if folder is None else see(_folder(Path(folder)))
    with open_workspace(services) as workspace:
        found = workspace.registry.verify(version, seen)
    show(found)
    return 0 if found.ok else _FAULTY


def _sign(services: Mapping[str, Service], version: str, output: Path, key: str | None) -> None:
    with open_workspace(services) as workspace:
        made = workspace.registry.sign(version)
    for path, text in ((output, made.signature), *([(Path(key), made.key)] if key else [])):
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise Conflict(f"{str(path)!r} cannot be written: {error.strerror}.", about="file") from None
        note(f"Wrote {path}.")


def _check(folder: Path, signature: str | None, key: Path) -> int:
    from interlock.registry.openssf import SIGNATURE_FILE, check
    from interlock.registry.verify import see

    path = Path(signature) if signature else folder / SIGNATURE_FILE
    inside = path.resolve().is_relative_to(folder.resolve())
    beside = path.resolve().relative_to(folder.resolve()).as_posix() if inside else ""
    faults = check(_text(path), _text(key), see(_folder(folder)), beside)
    show(faults)
    note("Each file differs as listed." if faults else "The signature holds, and every file is as it was signed.")
    return _FAULTY if faults else 0


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise NotFound(f"There is no folder {str(path)!r}.", about="folder")
    return path


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFound(f"There is no file {str(path)!r}.", about="file") from None
    except (OSError, ValueError) as error:
        raise Invalid(f"{str(path)!r} cannot be read: {error}.", about="file") from None
