"""The secrets of webhooks at rest: sealed with a key that lies outside the database, bound to their webhook.

Whoever has a copy of the database alone, such as a dump, cannot sign. Whoever has the whole folder can: no server that
signs by itself can do better without a key store outside.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
    crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
)
from nacl.exceptions import CryptoError

from interlock.core.errors import Corrupt
from interlock.store.keyfile import secret_key

if TYPE_CHECKING:
    from interlock.store import Store

_FILE: Final = "webhooks.key"
_NONCE: Final = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES


def seal(store: Store, webhook: str, secret: str) -> bytes:
    """Return a webhook's secret as it is kept."""
    nonce = os.urandom(_NONCE)
    key = secret_key(store.root / "keys" / _FILE)
    return nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(secret.encode(), webhook.encode(), nonce, key)


def unseal(store: Store, webhook: str, sealed: bytes) -> bytes:
    """Return the secret that was sealed for a webhook.

    Raises:
        Corrupt: it was sealed with another key or for another webhook.
    """
    key = secret_key(store.root / "keys" / _FILE)
    try:
        return crypto_aead_xchacha20poly1305_ietf_decrypt(sealed[_NONCE:], webhook.encode(), sealed[:_NONCE], key)
    except (CryptoError, ValueError):
        raise Corrupt(
            f"The secret of webhook {webhook} cannot be opened: {_FILE} is not the key that sealed it.",
            about="webhook",
            hint=f"Put {_FILE} back from a backup, or give the webhook a new secret.",
        ) from None
