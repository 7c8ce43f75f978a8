"""Our own client: runs that record themselves, through an outbox on disk that loses nothing.

    with interlock.run("churn", params={"lr": 0.1}) as run:
        run.metrics(loss=0.3, step=1)

Import `interlock`, whose `run` and `autolog` are the doors to this.
"""

from __future__ import annotations
