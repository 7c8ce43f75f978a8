"""What a client raises when a server says no."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from mlflow.exceptions import MlflowException


@contextlib.contextmanager
def raises(*codes_and_words: str) -> Iterator[None]:
    """Expect an MlflowException.

    Args:
        codes_and_words: names in capitals are the error codes that will do; other texts must stand in the message.
    """
    codes = {text for text in codes_and_words if text.isupper()}
    words = [text for text in codes_and_words if not text.isupper()]
    try:
        yield
    except MlflowException as error:
        assert error.error_code in codes, f"{error.error_code}: {error.message[:300]}"
        assert [word for word in words if word not in error.message] == [], error.message[:300]
    else:
        raise AssertionError(f"nothing was raised; wanted {sorted(codes)}")
