"""Compile src/interlock/serve/oip.proto into oip.binpb beside it; `--check` says whether they agree."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "src" / "interlock" / "serve"


def compiled() -> bytes:
    """Return the FileDescriptorSet of the protocol's text."""
    from grpc_tools import protoc

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "oip.binpb"
        status = protoc.main(["protoc", f"-I{FOLDER}", f"--descriptor_set_out={target}", "oip.proto"])
        if status:
            sys.exit(status)
        return target.read_bytes()


def main() -> None:
    found, target = compiled(), FOLDER / "oip.binpb"
    if "--check" not in sys.argv:
        target.write_bytes(found)
    elif target.read_bytes() != found:
        sys.exit(f"{target.name} is not what oip.proto says. Run scripts/proto.py.")


if __name__ == "__main__":
    main()
