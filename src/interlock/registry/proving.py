"""Operations that prove and check what the files of versions are."""

from __future__ import annotations

from interlock.core.operations import Permission, operation
from interlock.registry.openssf import ModelSignature, check_version, sign_version
from interlock.registry.parts import Part
from interlock.registry.reading import version_of
from interlock.registry.signatures import Signed, Verified, exported, verified
from interlock.registry.verify import SeenFile
from interlock.registry.vouching import Vouched, vouched


class Proving(Part):
    """That files are what was registered."""

    @operation(Permission.REGISTRY_READ)
    def verify(self, version: str, seen: list[SeenFile] | None = None) -> Verified:
        """Check a version's signature and its files, each changed, missing and extra one by name.

        Args:
            version: the version.
            seen: files as somebody saw them elsewhere, path and digest; those that are kept here when left out.

        Raises:
            Invalid: its files rest outside.
        """
        return verified(self._store, version_of(self._store.database, version), seen)

    @operation(Permission.REGISTRY_READ)
    def signature(self, version: str) -> Signed:
        """Show what proves a version's files to somebody else: signed note, key and manifest.

        Args:
            version: the version.

        Raises:
            NotFound: it was registered before versions were signed.
        """
        return exported(self._store, version_of(self._store.database, version))

    @operation(Permission.REGISTRY_READ)
    def approval_note(self, version: str) -> Vouched:
        """Show what proves to somebody else that a version is approved: a signed note over its files' digest.

        Args:
            version: the version.

        Raises:
            GateClosed: it is not approved.
        """
        return vouched(self._store, version_of(self._store.database, version))

    @operation(Permission.REGISTRY_WRITE, emits=("model_version.signed",))
    def sign(self, version: str) -> ModelSignature:
        """Sign a version's files so that OpenSSF's model-signing verifies them; `interlock models sign` writes files.

        Args:
            version: the version.

        Raises:
            MissingExtra: the extra `signing` is not installed.
        """
        return sign_version(self._store, version_of(self._store.database, version))

    @operation(Permission.REGISTRY_READ)
    def check_signature(self, version: str, signature: str, key: str) -> Verified:
        """Check that a signature of OpenSSF's model-signing holds for a version's files as they rest here.

        Args:
            version: the version.
            signature: the text of its model.sig.
            key: the public key that you trust, as PEM.

        Raises:
            Invalid: it is no such signature, or not by this key.
        """
        return check_version(self._store, version_of(self._store.database, version), signature, key)
