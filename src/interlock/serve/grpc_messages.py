"""The message classes of `oip.proto`, made when gRPC is switched on.

They live in a pool of their own. Protocol Buffers keep one register of names a process, and both tritonclient and
kserve put `inference.ModelInferRequest` there when they are imported: whoever comes second fails. Ours never asks.
"""

from __future__ import annotations

import functools
from importlib.resources import files
from typing import Any, Final

from interlock.core.errors import MissingExtra

SERVICE: Final = "inference.GRPCInferenceService"


class Messages:
    """The messages of the protocol: `messages["ModelInferRequest"]` is a class.

    Raises:
        MissingExtra: protobuf is not installed.
    """

    def __init__(self) -> None:
        try:
            from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
        except ImportError:
            raise MissingExtra.named("grpc", "google.protobuf") from None
        found = descriptor_pb2.FileDescriptorSet.FromString((files(__package__) / "oip.binpb").read_bytes())
        pool = descriptor_pool.DescriptorPool()
        for file in found.file:
            pool.Add(file)
        self.service = pool.FindServiceByName(SERVICE)
        self._classes: dict[str, Any] = {
            message.name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{file.package}.{message.name}"))
            for file in found.file
            for message in file.message_type
        }

    def __getitem__(self, name: str) -> Any:
        """Return a class by the name of its message."""
        return self._classes[name]


@functools.cache
def messages() -> Messages:
    """Return the messages; they are made once a process.

    Raises:
        MissingExtra: protobuf is not installed.
    """
    return Messages()
