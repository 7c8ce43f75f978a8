"""Digests of predictions: what the ledger keeps of a window, so that an answer that is changed later is noticed."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from interlock.store.predictions import Prediction

# Inputs by name: what became Parquet gives them back in another order.
_encoder = msgspec.msgpack.Encoder(order="sorted")


def digest_predictions(rows: Iterable[Prediction]) -> str:
    """Return the digest of predictions with all that they say; their order does not matter.

    It is the SHA-256 over the SHA-256 of each row's MessagePack (fields and inputs by name), the rows by id.

    Args:
        rows: the predictions.

    Cost: about 2 us a row; memory for ids and digests only.
    """
    found = sorted((row.id, hashlib.sha256(_encoder.encode(row)).digest()) for row in rows)
    total = hashlib.sha256()
    for _, part in found:
        total.update(part)
    return total.hexdigest()
