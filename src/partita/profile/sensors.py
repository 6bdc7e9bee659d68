"""The energy sensors of a machine: RAPL, NVIDIA, Jetson INA3221, battery.

Rules: sensors are found, never configured, under a root folder that stands in for `/` in tests; a sensor that
exists and cannot be read is reported with the reason and the way out; one that is not there is reported too.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from .energy import CounterMeter, Meter, PowerMeter

# These rails feed all the others of their board (Jetson TX2 and Orin Nano; Nano), so that a sum would count twice.
_TOTAL_RAILS: Final = ("VDD_IN", "POM_5V_IN", "5V_IN")
_READABLE: Final = "let this user read it: sudo chmod a+r {path}"


@dataclass(frozen=True, slots=True)
class Sighting:
    """A kind of sensor, and its meter or the reason why there is none."""

    kind: str
    meter: Meter | None
    reason: str = ""


def survey_meters(root: str | Path = "/") -> tuple[Sighting, ...]:
    """Every kind of sensor, best first, with a meter or the reason why not: what `partita doctor` shows."""
    base = Path(root)
    return (find_jetson(base), find_rapl(base), find_nvidia(base), find_battery(base))


def find_meters(root: str | Path = "/") -> tuple[Meter, ...]:
    """The meters of this machine, best first; empty where there are none."""
    return tuple(sighting.meter for sighting in survey_meters(root) if sighting.meter is not None)


def find_rapl(root: Path) -> Sighting:
    """The counters of Intel and AMD processors: every package, and the memory where it has a counter of its own."""
    # Core and uncore zones lie inside their package, and psys around it: only packages and dram add up.
    zones = [
        zone
        for zone in sorted((root / "sys/class/powercap").glob("intel-rapl:*"))
        if _text(zone / "name").startswith(("package", "dram"))
    ]
    if not zones:
        return Sighting("RAPL", None, "this kernel or processor has no /sys/class/powercap/intel-rapl")
    for zone in zones:
        if _number(zone / "energy_uj") is None:
            path = f"/{(zone / 'energy_uj').relative_to(root)}"
            return Sighting("RAPL", None, f"{path} cannot be read: {_READABLE.format(path=path)}")
    names = " + ".join(_text(zone / "name") for zone in zones)
    return Sighting(
        "RAPL",
        CounterMeter(
            f"RAPL {names}",
            tuple(partial(_scaled, zone / "energy_uj", 1e-6) for zone in zones),
            tuple(_scaled(zone / "max_energy_range_uj", 1e-6) or 0.0 for zone in zones),
        ),
    )


def find_jetson(root: Path) -> Sighting:
    """The INA3221 rails of Jetson boards, by hwmon or the older iio paths: the input rail, else the sum of all."""
    rails = _hwmon_rails(root) or _iio_rails(root)
    if not rails:
        return Sighting("Jetson INA3221", None, "no INA3221 sensor in /sys/class/hwmon or /sys/bus/i2c")
    total = [name for name in _TOTAL_RAILS if name in rails]
    return Sighting("Jetson INA3221", rail_meter(rails, tuple(total[:1]) or tuple(rails)))


def rail_meter(rails: dict[str, Callable[[], float | None]], names: tuple[str, ...]) -> PowerMeter:
    """A meter over the named rails together."""
    return PowerMeter("INA3221 " + " + ".join(names), partial(_together, [rails[name] for name in names]))


def _together(readings: list[Callable[[], float | None]]) -> float | None:
    watts = [read() for read in readings]
    return None if None in watts else sum(value for value in watts if value is not None)


def _hwmon_rails(root: Path) -> dict[str, Callable[[], float | None]]:
    rails: dict[str, Callable[[], float | None]] = {}
    for chip in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        if _text(chip / "name") != "ina3221":
            continue
        for label in sorted(chip.glob("in[0-9]*_label")):
            number = label.name.removeprefix("in").removesuffix("_label")
            volts, amperes = chip / f"in{number}_input", chip / f"curr{number}_input"
            # The chip has a further label for the sum of its shunts, which carries no current of its own.
            if _number(volts) is not None and _number(amperes) is not None:
                rails[_text(label)] = partial(_product, volts, amperes)
    return rails


def _iio_rails(root: Path) -> dict[str, Callable[[], float | None]]:
    rails: dict[str, Callable[[], float | None]] = {}
    for label in sorted((root / "sys/bus/i2c/drivers/ina3221x").glob("*/iio:device*/rail_name_*")):
        power = label.with_name(f"in_power{label.name.removeprefix('rail_name_')}_input")
        if _number(power) is not None:
            rails[_text(label)] = partial(_scaled, power, 1e-3)
    return rails


def find_battery(root: Path) -> Sighting:
    """The battery while it discharges: the power of the whole machine, screen and radio too."""
    for supply in sorted((root / "sys/class/power_supply").glob("*")):
        if _text(supply / "type") != "Battery":
            continue
        watts = partial(_battery_watts, supply)
        if watts() is not None:
            return Sighting("battery", PowerMeter(f"battery {supply.name}, whole machine", watts))
        status = _text(supply / "status") or "unknown"
        return Sighting("battery", None, f"{supply.name} is {status.lower()}: unplug the charger")
    return Sighting("battery", None, "no battery in /sys/class/power_supply")


def _battery_watts(supply: Path) -> float | None:
    if _text(supply / "status") != "Discharging":
        return None
    if (supply / "power_now").exists():
        value = _scaled(supply / "power_now", 1e-6)
        return None if value is None else abs(value)
    volts, amperes = _scaled(supply / "voltage_now", 1e-6), _scaled(supply / "current_now", 1e-6)
    return None if volts is None or amperes is None else abs(volts * amperes)


def find_nvidia(root: Path, library: Any = None) -> Sighting:
    """NVIDIA cards together, through nvidia-ml-py: the energy counter, or the power on cards older than Volta."""
    if library is None:
        if not (root / "proc/driver/nvidia").exists():
            return Sighting("NVIDIA", None, "no NVIDIA driver is loaded")
        try:
            library = importlib.import_module("pynvml")
        except ImportError:
            return Sighting("NVIDIA", None, "the card has a meter: pip install nvidia-ml-py")
    try:
        library.nvmlInit()
        cards = [library.nvmlDeviceGetHandleByIndex(i) for i in range(library.nvmlDeviceGetCount())]
        name = f"NVML, {len(cards)} card{'s'[: len(cards) != 1]}"
        counters = tuple(partial(_nvml, library.nvmlDeviceGetTotalEnergyConsumption, card) for card in cards)
        if not cards:
            return Sighting("NVIDIA", None, "the driver is loaded and sees no card")
        if all(read() is not None for read in counters):
            return Sighting("NVIDIA", CounterMeter(name, counters, (0.0,) * len(cards)))
        powers: list[Callable[[], float | None]] = [
            partial(_nvml, library.nvmlDeviceGetPowerUsage, card) for card in cards
        ]
        if _together(powers) is None:
            return Sighting("NVIDIA", None, "the card tells neither energy nor power")
        return Sighting("NVIDIA", PowerMeter(name, partial(_together, powers)))
    except library.NVMLError as error:
        return Sighting("NVIDIA", None, f"the driver does not answer: {error}")


def _nvml(call: Callable[[Any], int], card: Any) -> float | None:
    """Joules or watts: NVML counts in thousandths of both."""
    try:
        return call(card) / 1e3
    except Exception:  # NVMLError of a library that may not be installed: no answer is an answer here
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return ""


def _number(path: Path) -> float | None:
    try:
        return float(_text(path))
    except ValueError:
        return None


def _scaled(path: Path, factor: float) -> float | None:
    value = _number(path)
    return None if value is None else value * factor


def _product(volts: Path, amperes: Path) -> float | None:
    """Watts from millivolts and milliamperes."""
    left, right = _scaled(volts, 1e-3), _scaled(amperes, 1e-3)
    return None if left is None or right is None else left * right
