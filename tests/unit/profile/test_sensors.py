"""Sensors found in made-up system folders."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from partita.profile import find_meters, survey_meters
from partita.profile.sensors import find_battery, find_jetson, find_nvidia, find_rapl


@pytest.fixture
def tree(tmp_path):
    """Writes files under a made-up root and gives the root."""

    def write(files: dict[str, object]) -> Path:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
        return tmp_path

    return write


POWERCAP = "sys/class/powercap/"
RAPL = {
    POWERCAP + "intel-rapl:0/name": "package-0",
    POWERCAP + "intel-rapl:0/energy_uj": 90_000_000,
    POWERCAP + "intel-rapl:0/max_energy_range_uj": 100_000_000,
    POWERCAP + "intel-rapl:0:0/name": "core",
    POWERCAP + "intel-rapl:0:0/energy_uj": 5_000_000,
    POWERCAP + "intel-rapl:0:1/name": "dram",
    POWERCAP + "intel-rapl:0:1/energy_uj": 1_000_000,
    POWERCAP + "intel-rapl:1/name": "psys",
    POWERCAP + "intel-rapl:1/energy_uj": 7_000_000,
}


def test_rapl_adds_packages_and_memory_only(tree):
    """Cores lie inside their package and psys around it: neither is counted twice."""
    meter = find_rapl(tree(RAPL)).meter
    meter.start()
    tree({POWERCAP + "intel-rapl:0/energy_uj": 93_000_000, POWERCAP + "intel-rapl:0:1/energy_uj": 1_500_000})

    spent = meter.stop()

    assert spent.joules == pytest.approx(3.5)
    assert (spent.source, spent.measured) == ("RAPL package-0 + dram", True)


def test_rapl_that_turned_over_is_corrected(tree):
    """From 90 J over the turn at 100 J to 2 J are 12 J."""
    meter = find_rapl(tree(RAPL)).meter
    meter.start()
    tree({POWERCAP + "intel-rapl:0/energy_uj": 2_000_000})

    assert meter.stop().joules == pytest.approx(12.0)


def test_rapl_that_may_not_be_read_says_how_to_change_that(tree):
    """Kernels since 2020 let only root read it: a folder in the file's place stands for that."""
    root = tree({POWERCAP + "intel-rapl:0/name": "package-0"})
    (root / POWERCAP / "intel-rapl:0/energy_uj").mkdir()

    found = find_rapl(root)

    assert found.meter is None
    assert "sudo chmod a+r /sys/class/powercap/intel-rapl:0/energy_uj" in found.reason


def hwmon(rails, first=1):
    """An INA3221 by hwmon: millivolts and milliamperes for each rail."""
    base = "sys/class/hwmon/hwmon3/"
    files = {
        base + "name": "ina3221",
        base + "in7_label": "sum of shunt voltages",
        "sys/class/hwmon/hwmon0/name": "cpu",
    }
    for at, (name, milliamperes) in enumerate(rails.items(), first):
        files |= {
            f"{base}in{at}_label": name,
            f"{base}in{at}_input": 5000,
            f"{base}curr{at}_input": milliamperes,
        }
    return files


@pytest.mark.parametrize(
    ("rails", "source", "watts"),
    [
        ({"VDD_IN": 2000, "VDD_CPU_GPU_CV": 800, "VDD_SOC": 300}, "INA3221 VDD_IN", 10.0),
        ({"GPU": 800, "CPU": 200}, "INA3221 GPU + CPU", 5.0),
    ],
)
def test_jetson_rails_are_not_counted_twice(tree, rails, source, watts):
    """The input rail feeds the others; where there is none they are added."""
    meter = find_jetson(tree(hwmon(rails))).meter

    assert meter.source == source
    assert meter._watts() == pytest.approx(watts)


def test_the_older_jetson_paths_are_known(tree):
    """The TX2 of its day had an iio device with milliwatts."""
    base = "sys/bus/i2c/drivers/ina3221x/0-0041/iio:device1/"
    root = tree(
        {
            base + "rail_name_0": "VDD_IN",
            base + "in_power0_input": 4500,
            base + "rail_name_1": "VDD_SYS_GPU",
            base + "in_power1_input": 900,
            base + "rail_name_2": "NC",
        }
    )

    meter = find_jetson(root).meter

    assert (meter.source, meter._watts()) == ("INA3221 VDD_IN", 4.5)


def test_a_rail_that_falls_silent_gives_no_power(tree):
    """Half a sum is not a sum."""
    root = tree(hwmon({"GPU": 800, "CPU": 200}))
    meter = find_jetson(root).meter
    (root / "sys/class/hwmon/hwmon3/in2_input").unlink()

    assert meter._watts() is None


def battery(**values):
    return {
        f"sys/class/power_supply/BAT0/{name}": value for name, value in {"type": "Battery", **values}.items()
    }


@pytest.mark.parametrize(
    "values",
    [
        {"power_now": 7_500_000},
        {"power_now": -7_500_000},
        {"voltage_now": 15_000_000, "current_now": 500_000},
    ],
)
def test_a_discharging_battery_tells_the_power_of_the_machine(tree, values):
    """Microwatts with either sign, or microvolts and microamperes: 7.5 W."""
    root = tree({"sys/class/power_supply/AC/type": "Mains", **battery(status="Discharging", **values)})

    assert find_battery(root).meter._watts() == pytest.approx(7.5)


def test_a_battery_that_charges_measures_nothing(tree):
    """On the charger its power says nothing about the work."""
    found = find_battery(tree(battery(status="Charging", power_now=1)))

    assert (found.meter, found.reason) == (None, "BAT0 is charging: unplug the charger")


@pytest.mark.parametrize("values", [{}, {"power_now": "?"}])
def test_a_battery_without_a_reading_measures_nothing(tree, values):
    """A battery that discharges and does not say how fast is no meter."""
    assert find_battery(tree(battery(status="Discharging", **values))).meter is None


class Cards:
    """What nvidia-ml-py offers, with one made-up card."""

    NVMLError = LookupError

    def __init__(self, *, cards=1, energy=(1000, 3500), power=None, driver=True):
        self.cards, self.energy, self.power, self.driver = cards, list(energy), power, driver

    def nvmlInit(self):
        if not self.driver:
            raise LookupError("driver not loaded")

    def nvmlDeviceGetCount(self):
        return self.cards

    def nvmlDeviceGetHandleByIndex(self, index):
        return index

    def nvmlDeviceGetTotalEnergyConsumption(self, card):
        if not self.energy:
            raise LookupError("not supported")
        return self.energy.pop(0)

    def nvmlDeviceGetPowerUsage(self, card):
        if self.power is None:
            raise LookupError("not supported")
        return self.power


def test_a_card_with_an_energy_counter_is_read_twice(tmp_path):
    """Millijoules between start and stop; the first reading only asks whether there is a counter."""
    meter = find_nvidia(tmp_path, Cards(energy=(500, 1000, 3500))).meter
    meter.start()

    spent = meter.stop()

    assert (spent.joules, spent.source, spent.measured) == (2.5, "NVML, 1 card", True)


def test_an_older_card_tells_its_power(tmp_path):
    """Milliwatts of all cards together."""
    meter = find_nvidia(tmp_path, Cards(cards=2, energy=(), power=60_000)).meter

    assert (meter.source, meter._watts()) == ("NVML, 2 cards", 120.0)


@pytest.mark.parametrize(
    ("library", "reason"),
    [
        (Cards(energy=()), "neither energy nor power"),
        (Cards(cards=0), "sees no card"),
        (Cards(driver=False), "driver not loaded"),
    ],
)
def test_a_card_without_a_meter_is_reported(tmp_path, library, reason):
    """Each way to have no answer has its own sentence."""
    found = find_nvidia(tmp_path, library)

    assert found.meter is None
    assert reason in found.reason


@pytest.mark.parametrize("installed", [True, False])
def test_the_library_is_asked_only_where_a_driver_is_loaded(tree, monkeypatch, installed):
    """With a driver and no library the reason names what to install."""
    root = tree({"proc/driver/nvidia/version": "x"})
    module = SimpleNamespace(
        **{n: getattr(Cards(energy=(1,)), n) for n in dir(Cards) if n.startswith("nvml")}
    )
    module.NVMLError = LookupError
    monkeypatch.setitem(__import__("sys").modules, "pynvml", module if installed else None)

    found = find_nvidia(root)

    assert (found.meter is not None) is installed
    assert installed or "pip install nvidia-ml-py" in found.reason


def test_a_machine_without_sensors_has_no_meter_and_four_reasons(tmp_path):
    """Nothing is invented: each kind of sensor says why it is not there."""
    assert find_meters(tmp_path) == ()
    assert [bool(sighting.reason) for sighting in survey_meters(tmp_path)] == [True] * 4


def test_the_best_meter_comes_first(tree):
    """A board's own sensors go before those of the processor and the battery."""
    root = tree({**RAPL, **hwmon({"VDD_IN": 100}), **battery(status="Discharging", power_now=1)})

    assert [meter.source for meter in find_meters(str(root))] == [
        "INA3221 VDD_IN", "RAPL package-0 + dram", "battery BAT0, whole machine",
    ]  # fmt: skip
