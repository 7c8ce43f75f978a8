"""NVIDIA GPUs through their driver's own library (NVML), where it is present. No package is needed.

Source of names and structures: the NVML API reference, docs.nvidia.com/deploy/nvml-api.
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
        with contextlib.suppress(OSError, AttributeError):
            library = ctypes.CDLL(_LIBRARY)
            if library.nvmlInit_v2() == 0:
                self._library = library
                self._handles = self._found()

    def names(self) -> tuple[str, ...]:
        """Return what each is, such as `NVIDIA H100 80GB HBM3`."""
        found = []
        for handle in self._handles:
            name = ctypes.create_string_buffer(_NAME_BYTES)
            if self._library.nvmlDeviceGetName(handle, name, _NAME_BYTES) == 0:
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
            if self._library.nvmlDeviceGetUtilizationRates(handle, ctypes.byref(used)) == 0:
                found[f"{name}_share"] = used.gpu / 100
            memory = _Memory()
            if self._library.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)) == 0:
                found[f"{name}_memory_bytes"] = float(memory.used)
                found[f"{name}_memory_share"] = memory.used / memory.total if memory.total else 0.0
            milliwatts = ctypes.c_uint()
            if self._library.nvmlDeviceGetPowerUsage(handle, ctypes.byref(milliwatts)) == 0:
                found[f"{name}_power_w"] = milliwatts.value / 1000
            degrees = ctypes.c_uint()
            if self._library.nvmlDeviceGetTemperature(handle, _TEMPERATURE_OF_GPU, ctypes.byref(degrees)) == 0:
                found[f"{name}_temperature_c"] = float(degrees.value)
        return found

    def close(self) -> None:
        """Let go of the driver."""
        if self._library is not None:
            self._library.nvmlShutdown()
            self._library, self._handles = None, []

    def _found(self) -> list[ctypes.c_void_p]:
        count = ctypes.c_uint()
        if self._library.nvmlDeviceGetCount_v2(ctypes.byref(count)) != 0:
            return []
        handles = []
        for number in range(count.value):
            handle = ctypes.c_void_p()
            if self._library.nvmlDeviceGetHandleByIndex_v2(number, ctypes.byref(handle)) == 0:
                handles.append(handle)
        return handles
