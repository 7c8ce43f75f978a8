from __future__ import annotations

import re

import pytest

from interlock.core.errors import Invalid
from interlock.core.events import KINDS, check
from interlock.core.refs import KINDS as REF_KINDS


def test_kinds_are_noun_past_tense_about_a_known_thing() -> None:
    for name, kind in KINDS.items():
        assert re.fullmatch(r"[a-z_]+\.[a-z_]+", name)
        assert kind.subject in REF_KINDS
        assert kind.help.endswith(".")


def test_what_the_table_does_not_declare_cannot_be_written() -> None:
    check("job.finished", {"status": "done", "reason": ""})
    with pytest.raises(Invalid, match="no kind"):
        check("run.finishd", {})
    with pytest.raises(Invalid, match="reason"):
        check("job.finished", {"status": "done"})
    with pytest.raises(Invalid, match="extra"):
        check("job.finished", {"status": "", "reason": "", "extra": 1})
