from __future__ import annotations

import msgspec
import pytest

from interlock.core.operations import Permission, argument_helps, operation, operations


class Shop:
    """A shop."""

    name = "shop"

    @operation(Permission.DATA_WRITE, emits=("dataset_version.created",))
    def sell(self, what: str, count: int = 1) -> dict[str, int]:
        """Sell something.

        More about it.

        Args:
            what: the thing, which
                has a long description.
            count: how many.

        Raises:
            Invalid: never.
        """
        return {what: count}

    @operation(Permission.DATA_READ)
    def look(self) -> list[str]:
        """Look around."""
        return []

    def helper(self) -> None:
        """Not an operation."""


def test_an_operation_is_described_from_its_method_alone() -> None:
    found = operations(Shop)
    assert list(found) == ["sell", "look"]
    sell = found["sell"]
    assert (sell.service, sell.permission, sell.emits) == (
        "shop",
        Permission.DATA_WRITE,
        ("dataset_version.created",),
    )
    assert sell.summary == "Sell something."
    what, count = sell.parameters
    assert what.required
    assert what.type is str
    assert what.help == "the thing, which has a long description."
    assert (count.required, count.default) == (False, 1)
    assert sell.returns == dict[str, int]


def test_a_service_may_be_of_parts() -> None:
    class Front:
        @operation(Permission.DATA_READ)
        def look(self) -> int:
            """Look."""
            return 1

        @operation(Permission.DATA_READ)
        def both(self) -> int:
            """Not this one."""
            return 1

    class Whole(Front):
        name = "whole"

        @operation(Permission.TRACK_READ)
        def both(self) -> str:
            """This one."""
            return ""

    found = operations(Whole)
    assert list(found) == ["both", "look"]
    assert (found["both"].summary, found["both"].permission) == ("This one.", Permission.TRACK_READ)
    assert {one.service for one in found.values()} == {"whole"}


def test_an_operation_without_a_permission_cannot_be_declared() -> None:
    with pytest.raises(TypeError):
        operation()  # type: ignore[call-arg]


def test_writing_without_an_event_or_reading_with_one_cannot_be_declared() -> None:
    with pytest.raises(TypeError, match="must emit"):
        operation(Permission.DATA_WRITE)
    with pytest.raises(TypeError, match="emits no"):
        operation(Permission.DATA_READ, emits=("x.y",))


def test_an_argument_without_type_or_words_is_refused() -> None:
    class Bad:
        name = "bad"

        @operation(Permission.DATA_READ)
        def untold(self, x: int) -> int:
            """Return x."""
            return x

    with pytest.raises(TypeError, match="'x' lacks"):
        operations(Bad)


def test_argument_helps_end_with_their_section() -> None:
    assert argument_helps("T.\n\nArgs:\n    a: one.\n\nReturns:\n    b: no.") == {"a": "one."}


def test_parameters_are_plain_records() -> None:
    assert msgspec.structs.fields(type(operations(Shop)["sell"].parameters[0]))
