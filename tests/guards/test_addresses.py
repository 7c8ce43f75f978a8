"""The repository works anywhere: no file names a package registry's host or somebody's home folder."""

from __future__ import annotations

import re

# Written in parts, so that this file does not break its own rule.
HOSTS = [
    "py" + "pi.org",
    "python" + "hosted.org",
    "registry.npm" + "js",
    "registry.yarn" + "pkg",
    "deb.deb" + "ian.org",
]
HOMES = [r"/ho" + r"me/\w+/", r"/Use" + r"rs/\w+/", r"(?<![\w.])/ro" + r"ot/", r"[A-Z]:\\Use" + r"rs\\"]
FORBIDDEN = re.compile("|".join([*map(re.escape, HOSTS), *HOMES]).encode())


def test_no_file_names_a_registry_or_a_home_folder(files, root) -> None:
    found = []
    for path in files:
        for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
            if match := FORBIDDEN.search(line):
                found.append(f"{path.relative_to(root)}:{number} {match.group().decode()}")
    assert found == []
