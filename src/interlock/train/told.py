"""What a pipeline raised, told to the person who wrote it: their line, not ours."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from interlock.core.errors import Error

if TYPE_CHECKING:
    from pathlib import Path


def told_error(error: Exception, project: Path) -> Error:
    """Return an error that names the last line of the project's own code that the exception passed.

    Args:
        error: what was raised.
        project: the project's folder.
    """
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(str(project))]
    place = f"{frames[-1].filename[len(str(project)) + 1 :]}, line {frames[-1].lineno}" if frames else "the pipeline"
    line = f" ({frames[-1].line})" if frames and frames[-1].line else ""
    return Error(
        f"{place} raised {type(error).__name__}: {error}{line}.",
        about="pipeline",
        hint="The whole traceback is in the run's log: `interlock track logs RUN`; `interlock track runs` lists runs.",
    )
