"""`interlock models`: find and download versions; prove, and check what others prove, of their files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from interlock.cli.commands import Near, common
from interlock.cli.session import note, open_workspace, said, show
from interlock.core.errors import Conflict, Invalid, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from interlock.sdk.services import Service

_FAULTY = 1
_VERSION = "A version: model:NAME@3, model:NAME@champion, or model:NAME for the newest."


def models(services: Mapping[str, Service]) -> click.Command:
    """Return the group of commands about models and their files."""
    group = Near("models", help="Find and download models; sign, verify and check their files.", params=common())

    def add(name: str, work: Callable[..., Any], text: str, *params: click.Parameter) -> None:
        def call(**words: Any) -> Any:
            return work(services, **words)

        group.add_command(click.Command(name, callback=call, params=[*params, *common()], help=text))

    version = click.Argument(["version"], help=_VERSION)
    copy = click.Option(["--folder"], metavar="FOLDER", help="Look at this copy, not at what is kept here.")
    key = click.Option(["--key"], required=True, metavar="FILE", help="The public key that you trust.")
    given = "What `sign` or `prove` wrote [default: model.sig or model.proof.json in the folder]."
    add("ls", _ls, "List models, or those that a filter finds; --versions lists versions.", *_searching())
    add("download", _download, "Write files of a version or run as a folder, each checked.", *_downloading())
    add("verify", _verify, "Check a version's signature and name each changed, missing and extra file.", version, copy)
    add(
        "sign",
        _sign,
        "Sign a version's files as OpenSSF's model-signing does; its tool verifies them with `verify key`.",
        version,
        *_written("model.sig"),
    )
    add(
        "prove",
        _prove,
        "Write what this workspace signed of a version's files when it was registered, for `check`.",
        version,
        *_written("model.proof.json"),
    )
    add(
        "check",
        _check,
        "Check a folder against what `prove` wrote, or any signature of OpenSSF's; no workspace is needed.",
        click.Argument(["folder"], help="The files."),
        key,
        click.Option(["--signature"], metavar="FILE", help=given),
    )
    add(
        "export",
        _export,
        "Write a version as a folder in OCI's image layout: its files, pins, proof and locked environment.",
        version,
        click.Argument(["folder"], help="Where to write; not there yet."),
    )
    return group


def _written(name: str) -> list[click.Parameter]:
    return [
        click.Option(["--output", "-o"], default=name, metavar="FILE", help="Where to write it."),
        click.Option(["--public-key"], metavar="FILE", help="Write the key that verifies it, too."),
    ]


def _downloading() -> list[click.Parameter]:
    return [
        click.Argument(["ref"], help="model:NAME@3, NAME@champion, models:/NAME/3, run:ID/path."),
        click.Argument(["folder"], help="Where to write; not there yet."),
        click.Option(["--proof"], is_flag=True, help="Write model.proof.json too, for `check`."),
    ]


def _searching() -> list[click.Parameter]:
    return [
        click.Option(["--filter"], default="", help="Such as \"metrics.auc > 0.8 and feature = 'AGEP'\"."),
        click.Option(["--order-by"], multiple=True, metavar="TERM", help='Such as "created DESC".'),
        click.Option(["--versions"], is_flag=True, help="List versions of all models, newest first."),
        click.Option(["--limit"], default=50, show_default=True, help="At most so many."),
        click.Option(["--page-token"], default="", help="Where the page begins: what the last page came with."),
        click.Option(["--archived"], is_flag=True, help="Those that were put away instead."),
    ]


def _ls(services: Mapping[str, Service], filter: str, order_by: Sequence[str], versions: bool, **words: Any) -> None:
    with open_workspace(services) as workspace:
        registry = workspace.registry
        found: Any = (registry.find if versions else registry.find_models)(filter, list(order_by), **words)
    if said("json"):
        show(found)
        return
    show(list(found.versions if versions else found.models))
    if found.next_page_token:
        note(f"There are more: --page-token {found.next_page_token}")


def _verify(services: Mapping[str, Service], version: str, folder: str | None) -> int:
    from interlock.registry.verify import see

    seen = None if folder is None else see(_folder(Path(folder)))
    with open_workspace(services) as workspace:
        found = workspace.registry.verify(version, seen)
    show(found)
    return 0 if found.ok else _FAULTY


def _export(services: Mapping[str, Service], version: str, folder: str) -> None:
    from interlock.cli.layouts import export

    with open_workspace(services) as workspace:
        show(export(workspace, version, Path(folder)))


def _download(services: Mapping[str, Service], ref: str, folder: str, *, proof: bool) -> None:
    from interlock.sdk.downloads import download

    with open_workspace(services) as workspace:
        show(download(workspace, ref, Path(folder), proof=proof))


def _sign(services: Mapping[str, Service], version: str, output: str, public_key: str | None) -> None:
    with open_workspace(services) as workspace:
        made = workspace.registry.sign(version)
    _write(output, made.signature, public_key, made.key)


def _prove(services: Mapping[str, Service], version: str, output: str, public_key: str | None) -> None:
    import msgspec

    with open_workspace(services) as workspace:
        signed = workspace.registry.signature(version)
    _write(output, msgspec.json.encode(signed).decode(), public_key, f"{signed.key}\n")


def _write(output: str, signature: str, public_key: str | None, public: str) -> None:
    for path, text in ((output, signature), *([(public_key, public)] if public_key else [])):
        try:
            Path(path).write_text(text, encoding="utf-8")
        except OSError as error:
            raise Conflict(f"{path!r} cannot be written: {error.strerror}.", about="file") from None
        note(f"Wrote {path}.")


def _check(services: Mapping[str, Service], folder: str, key: str, signature: str | None) -> int:  # noqa: ARG001
    import msgspec

    from interlock.registry.openssf import SIGNATURE_FILE, check
    from interlock.registry.signatures import PROOF_FILE, Signed, check_signed
    from interlock.registry.verify import see

    root = Path(folder)
    ours = not (root / SIGNATURE_FILE).exists() and (root / PROOF_FILE).exists()
    path = Path(signature) if signature else root / (PROOF_FILE if ours else SIGNATURE_FILE)
    inside = path.resolve().is_relative_to(root.resolve())
    beside = path.resolve().relative_to(root.resolve()).as_posix() if inside else ""
    text, trusted, seen = _text(path), _text(Path(key)), see(_folder(root))
    try:
        signed = msgspec.json.decode(text, type=Signed)
    except (msgspec.MsgspecError, RecursionError):
        faults = check(text, trusted, seen, beside)
    else:  # nobody can have signed the proof's own file
        faults = check_signed(signed, trusted, [file for file in seen if file.path != beside])
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
