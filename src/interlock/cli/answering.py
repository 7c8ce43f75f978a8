"""How a server answers, as flags of `interlock serve`: what `[deployment.NAME.serving]` says of a deployment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interlock.core.bundles import Serving


def answering() -> list[click.Parameter]:
    """Return the flags; durability, originals and requests at once have their own."""
    return [
        click.Option(
            ["--garbage"],
            type=click.Choice(["block", "flag"]),
            help="What becomes of a score that is no probability: no answer [default], or one with a warning.",
        ),
        click.Option(
            ["--out-of-range"],
            type=click.Choice(["flag", "block", "ignore"]),
            help="What becomes of rows unlike all that training saw: a warning [default], no answer, or neither.",
        ),
        click.Option(["--stale-after"], metavar="AGE", help="Warn when the version is so old, such as '90 days'."),
        click.Option(["--batch-rows"], type=click.IntRange(1), help="Rows that go through a slow model at once."),
    ]


def serving_of(words: Mapping[str, Any]) -> Serving:
    """Return what the flags say.

    Args:
        words: what click found.

    Raises:
        Invalid: the age is no period.
    """
    from interlock.core.bundles import Serving
    from interlock.core.periods import parse_period

    age = words["stale_after"]
    return Serving(
        garbage=words["garbage"],
        out_of_range=words["out_of_range"],
        stale_after_s=parse_period(age).about_s if age else None,
        batch_rows=words["batch_rows"],
    )
