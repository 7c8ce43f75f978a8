"""What /proc says, on this machine and on one that is written down here."""

from __future__ import annotations

import ctypes
import types
from pathlib import Path

import pytest

from interlock.sdk.recording import gpu
from interlock.sdk.recording import machine as module
from interlock.sdk.recording.gpu import Gpus
from interlock.sdk.recording.machine import Machine

BEFORE = {
    "stat": "cpu  100 0 100 800 0 0 0 0 50 0\ncpu0 1 2 3\n",
    "diskstats": "8 0 sda 1 0 1000 0 1 0 2000 0\n8 1 sda1 1 0 1000 0 1 0 2000 0\n7 0 loop0 1 0 9 0 1 0 9 0\n"
    "259 0 nvme0n1 1 0 0 0 1 0 0 0\n259 1 nvme0n1p1 1 0 500 0 1 0 500 0\n253 0 dm-0 1 0 77 0 1 0 77 0\n",
    "net/dev": "Inter-|\n face |bytes\n  lo: 5 0 0 0 0 0 0 0 5 0\neth0: 1000 0 0 0 0 0 0 0 100 0 0\n",
    "meminfo": "MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 250 kB\n",
    "self/statm": "9 3 1 1 0 1 0\n",
}
AFTER = {
    "stat": "cpu  200 0 150 850 0 0 0 0 90 0\n",
    "diskstats": "8 0 sda 1 0 1010 0 1 0 2020 0 0 0 0\n8 1 sda1 1 0 1010 0 1 0 2020 0 0 0 0\n",
    "net/dev": "Inter-|\n face |bytes\n  lo: 9999 0 0 0 0 0 0 0 9999 0\neth0: 1600 0 0 0 0 0 0 0 200 0 0\n",
}


def lay(proc: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (proc / name).parent.mkdir(parents=True, exist_ok=True)
        (proc / name).write_text(text)


def test_rates_and_shares_are_what_the_numbers_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    lay(tmp_path, BEFORE)
    machine = Machine(tmp_path)
    lay(tmp_path, AFTER)
    now[0] += 2
    found = machine.sample()
    assert found["system/cpu_share"] == 150 / 200
    assert found["system/disk_read_bytes_per_s"] == 10 * 512 / 2
    assert found["system/disk_written_bytes_per_s"] == 20 * 512 / 2
    assert found["system/network_received_bytes_per_s"] == 300
    assert found["system/network_sent_bytes_per_s"] == 50
    assert found["system/memory_used_share"] == 0.75
    assert found["system/process_memory_bytes"] % 3 == 0


def test_a_machine_without_proc_tells_what_it_can(tmp_path: Path) -> None:
    found = Machine(tmp_path / "nothing").sample()
    assert "system/disk_used_share" in found
    assert "system/cpu_share" not in found


def test_this_machine_tells_sane_figures() -> None:
    machine = Machine()
    sum(range(100_000))
    found = machine.sample()
    machine.close()
    for name in ("system/cpu_share", "system/memory_used_share", "system/disk_used_share"):
        assert 0 <= found.get(name, 0.5) <= 1
    assert found.get("system/process_memory_bytes", 1e7) > 1e6


def test_gpus_are_asked_only_where_they_are() -> None:
    gpus = Gpus()
    assert len(gpus.names()) == len({name.split("_")[0] for name in gpus.sample()})
    gpus.close()
    assert gpus.sample() == {}


class Memory(ctypes.Structure):
    """`nvmlMemory_t` of the NVML API reference."""

    _fields_ = (("total", ctypes.c_uint64), ("free", ctypes.c_uint64), ("used", ctypes.c_uint64))


def driver(*, lacks: str = "", fails: str = ""):
    """Return a library with the C functions of NVML, over two GPUs whose handles are 64-bit pointers."""
    handles = (0x7F00_0000_1000, 0x7F00_0000_2000)
    calls: list[str] = []
    held = []
    u32, void = ctypes.c_uint32, ctypes.c_void_p

    def export(name: str, *kinds):
        def mark(function):
            def called(*given):
                calls.append(name)
                if name == fails:
                    return 3  # NVML_ERROR_NOT_SUPPORTED
                function(*given)
                return 0

            if name != lacks:
                held.append(ctypes.CFUNCTYPE(ctypes.c_int, *kinds)(called))
                # By its address, as a library has it: callers say nothing of the kinds of their arguments.
                setattr(library, name, ctypes.CDLL(None)._FuncPtr(ctypes.cast(held[-1], ctypes.c_void_p).value))

        return mark

    library = types.SimpleNamespace(calls=calls, held=held)
    export("nvmlInit_v2")(lambda: None)
    export("nvmlShutdown")(lambda: None)
    export("nvmlDeviceGetCount_v2", ctypes.POINTER(u32))(lambda out: out.__setitem__(0, len(handles)))
    export("nvmlDeviceGetHandleByIndex_v2", u32, ctypes.POINTER(void))(lambda n, out: out.__setitem__(0, handles[n]))

    @export("nvmlDeviceGetName", void, void, u32)
    def name(handle, out, room):
        assert room == 96
        ctypes.memmove(out, b"NVIDIA H100 80GB HBM3\0", 22)

    @export("nvmlDeviceGetUtilizationRates", void, ctypes.POINTER(u32))
    def rates(handle, out):
        out[0], out[1] = 40 + handles.index(handle), 7

    @export("nvmlDeviceGetMemoryInfo", void, ctypes.POINTER(Memory))
    def memory(handle, out):
        out[0].total, out[0].free, out[0].used = 80 << 30, 60 << 30, 20 << 30

    export("nvmlDeviceGetPowerUsage", void, ctypes.POINTER(u32))(lambda handle, out: out.__setitem__(0, 350_500))

    @export("nvmlDeviceGetTemperature", void, u32, ctypes.POINTER(u32))
    def temperature(handle, sensor, out):
        assert sensor == 0
        out[0] = 61

    return library


def test_gpus_tell_what_the_driver_says(monkeypatch: pytest.MonkeyPatch) -> None:
    library = driver()
    monkeypatch.setattr(gpu.ctypes, "CDLL", lambda name: {"libnvidia-ml.so.1": library}[name])
    gpus = Gpus()
    assert gpus.names() == ("NVIDIA H100 80GB HBM3",) * 2
    found = gpus.sample()
    assert found["system/gpu1_share"] == 0.41
    assert {name: value for name, value in found.items() if "gpu0" in name} == {
        "system/gpu0_share": 0.4,
        "system/gpu0_memory_bytes": float(20 << 30),
        "system/gpu0_memory_share": 0.25,
        "system/gpu0_power_w": 350.5,
        "system/gpu0_temperature_c": 61.0,
    }
    gpus.close()
    gpus.close()
    assert library.calls.count("nvmlShutdown") == 1
    assert (gpus.names(), gpus.sample()) == ((), {})


@pytest.mark.parametrize("how", ["lacks", "fails"])
@pytest.mark.parametrize(
    ("function", "left"),
    [
        ("nvmlInit_v2", 0),
        ("nvmlDeviceGetCount_v2", 0),
        ("nvmlDeviceGetUtilizationRates", 8),
        ("nvmlDeviceGetMemoryInfo", 6),
        ("nvmlDeviceGetPowerUsage", 8),
        ("nvmlDeviceGetTemperature", 8),
    ],
)
def test_what_a_driver_does_not_tell_is_left_out(monkeypatch, how: str, function: str, left: int) -> None:
    library = driver(**{how: function})
    monkeypatch.setattr(gpu.ctypes, "CDLL", lambda name: library)
    machine = Machine()
    found = machine.sample()
    machine.close()
    assert len([name for name in found if "gpu" in name]) == left
    assert "system/disk_used_share" in found


def test_a_run_samples_every_ten_seconds(workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    import interlock
    from interlock.sdk.recording import lookout

    monkeypatch.setattr(lookout, "SAMPLE_S", 0.05)
    with interlock.run("exp", console=False) as run:
        while run.flush() and "system/memory_used_share" not in workspace.track.run(run.id).metrics:
            pass
    assert {"system/disk_used_share", "system/process_cpu_cores"} <= workspace.track.run(run.id).metrics.keys()
