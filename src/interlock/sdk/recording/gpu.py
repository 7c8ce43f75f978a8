"""NVIDIA GPUs through their driver's own library (NVML), where it is present. No package is needed.

Source of names and structures: the NVML API reference, docs.nvidia.com/deploy/nvml-api; they are those that the
package nvidia-ml-py calls (compared with its version 13.615).
"""

from __future__ import annotations

import contextlib
import ctypes
from typing import Any, Final

_LIBRARY: Final = "libnvidia-ml.so.1"
_NAME_BYTES: Final = 96
_TEMPERATURE_OF_GPU: Final = 0


class _Utilization(ctypes.Structure):
    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


class Gpus:
    """The GPUs of this machine; none where there is no driver."""

    def __init__(self) -> None:
        self._handles: list[ctypes.c_void_p] = []
        self._library: Any = None
        with contextlib.suppress(OSError):
            self._library = ctypes.CDLL(_LIBRARY)
            if self._tells("nvmlInit_v2"):
                self._handles = self._found()
            else:
                self._library = None

    def names(self) -> tuple[str, ...]:
        """Return what each is, such as `NVIDIA H100 80GB HBM3`."""
        found = []
        for handle in self._handles:
            name = ctypes.create_string_buffer(_NAME_BYTES)
            if self._tells("nvmlDeviceGetName", handle, name, ctypes.c_uint(_NAME_BYTES)):
                found.append(name.value.decode("utf-8", "replace"))
        return tuple(found)

    def sample(self) -> dict[str, float]:
        """Return what each does now: shares 0-1, bytes, watts, degrees Celsius; what it does not tell is left out.

        Cost: some milliseconds a GPU.
        """
        found: dict[str, float] = {}
        for number, handle in enumerate(self._handles):
            name = f"system/gpu{number}"
            used = _Utilization()
            if self._tells("nvmlDeviceGetUtilizationRates", handle, ctypes.byref(used)):
                found[f"{name}_share"] = used.gpu / 100
            memory = _Memory()
            if self._tells("nvmlDeviceGetMemoryInfo", handle, ctypes.byref(memory)):
                found[f"{name}_memory_bytes"] = float(memory.used)
                found[f"{name}_memory_share"] = memory.used / memory.total if memory.total else 0.0
            milliwatts = ctypes.c_uint()
            if self._tells("nvmlDeviceGetPowerUsage", handle, ctypes.byref(milliwatts)):
                found[f"{name}_power_w"] = milliwatts.value / 1000
            degrees = ctypes.c_uint()
            sensor = ctypes.c_uint(_TEMPERATURE_OF_GPU)
            if self._tells("nvmlDeviceGetTemperature", handle, sensor, ctypes.byref(degrees)):
                found[f"{name}_temperature_c"] = float(degrees.value)
        return found

    def close(self) -> None:
        """Let go of the driver."""
        if self._library is not None:
            self._tells("nvmlShutdown")
            self._library, self._handles = None, []

    def _tells(self, function: str, *arguments: Any) -> bool:
        """Return whether a function of the library is there and did what it is for."""
        called = getattr(self._library, function, None)  # old drivers lack new names, new ones may drop old names
        return called is not None and called(*arguments) == 0

    def _found(self) -> list[ctypes.c_void_p]:
        count = ctypes.c_uint()
        if not self._tells("nvmlDeviceGetCount_v2", ctypes.byref(count)):
            return []
        handles = []
        for number in range(count.value):
            handle = ctypes.c_void_p()
            if self._tells("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(number), ctypes.byref(handle)):
                handles.append(handle)
        return handles
