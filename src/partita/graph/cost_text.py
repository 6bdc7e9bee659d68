"""The short text form of a Profile: a head, and one line for each stage, codec and measured sum.

profile resnet18 digest=sha256:... source=measured taken=2026-01-01
device pi4 processor="Cortex-A72" threads=4 runtime="torch 2.6" memory=4000000000
stage conv1 params=9408 | forward 1=0.002~0.0001x20, 8=0.011~0.0003x20 | backward 1=... | peak 1=4096 | energy 1=0.2 "RAPL" measured
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from .cost import CodecCost, Device, Energy, Profile, StageCost, Timing
from .text import Scanner, quote, read_lines


def _print_timings(rows: Mapping[int, Timing]) -> str:
    return ", ".join(f"{batch}={t.median!r}~{t.spread!r}x{t.runs}" for batch, t in rows.items())


def _print_stage(word: str, cost: StageCost) -> str:
    parts = [
        f"{word} {quote(cost.name)} params={cost.param_bytes}",
        f"forward {_print_timings(cost.forward)}",
    ]
    if cost.backward:
        parts.append(f"backward {_print_timings(cost.backward)}")
    if cost.peak_bytes:
        parts.append("peak " + ", ".join(f"{batch}={size}" for batch, size in cost.peak_bytes.items()))
    if cost.energy:
        energies = (
            f"{batch}={e.joules!r} {json.dumps(e.source, ensure_ascii=False)} {'measured' if e.measured else 'modelled'}"
            for batch, e in cost.energy.items()
        )
        parts.append("energy " + ", ".join(energies))
    return " | ".join(parts)


def print_profile(profile: Profile) -> str:
    """The profile as a block of lines."""
    device = profile.device
    lines = [
        f"profile {quote(profile.model)} digest={json.dumps(profile.digest)} "
        f"source={json.dumps(profile.source, ensure_ascii=False)} taken={json.dumps(profile.taken)}",
        f"device {quote(device.name)} processor={json.dumps(device.processor, ensure_ascii=False)} "
        f"threads={device.threads} runtime={json.dumps(device.runtime, ensure_ascii=False)} memory={device.memory_bytes}",
        *(_print_stage("stage", cost) for cost in profile.stages),
        _print_stage("whole", profile.whole),
        *(f"codec {quote(name)} {cost.encode!r} {cost.decode!r}" for name, cost in profile.codecs.items()),
    ]
    for word, rows in (("before", profile.before), ("after", profile.after)):
        lines += [f"{word} {batch} {', '.join(map(repr, row))}" for batch, row in rows.items()]
    return "\n".join(lines) + "\n"


def _field(scanner: Scanner, name: str) -> str:
    scanner.expect(name)
    scanner.expect("=")
    return scanner.name()


def _count(scanner: Scanner, name: str) -> int:
    scanner.expect(name)
    scanner.expect("=")
    return scanner.whole()


def _read_timings(scanner: Scanner) -> dict[int, Timing]:
    rows: dict[int, Timing] = {}
    while not rows or scanner.accept(","):
        batch = scanner.whole()
        scanner.expect("=")
        text = scanner.name()
        median, _, rest = text.partition("~")
        spread, _, runs = rest.partition("x")
        try:
            rows[batch] = Timing(float(median), float(spread), int(runs))
        except ValueError:
            raise scanner.error(f"{text!r} is not median~spreadxruns") from None
    return rows


def _read_stage(text: str) -> StageCost:
    scanner = Scanner(text, "profile")
    name = scanner.name()
    params = _count(scanner, "params")
    rows: dict[str, dict[int, Timing]] = {"forward": {}, "backward": {}}
    peaks: dict[int, int] = {}
    energies: dict[int, Energy] = {}
    while scanner.accept("|"):
        word = scanner.name()
        match word:
            case "forward" | "backward":
                rows[word] = _read_timings(scanner)
            case "peak":
                while not peaks or scanner.accept(","):
                    batch = scanner.whole()
                    scanner.expect("=")
                    peaks[batch] = scanner.whole()
            case "energy":
                while not energies or scanner.accept(","):
                    batch = scanner.whole()
                    scanner.expect("=")
                    joules, source = scanner.number(), scanner.name()
                    energies[batch] = Energy(joules, source, scanner.name() == "measured")
            case _:
                raise scanner.error(f"{word!r} is not a cost")
    scanner.done()
    return StageCost(name, rows["forward"], rows["backward"], params, peaks, energies)


def _read_device(scanner: Scanner) -> Device:
    name = scanner.name()
    processor = _field(scanner, "processor")
    threads = _count(scanner, "threads")
    runtime = _field(scanner, "runtime")
    return Device(name, processor, threads, runtime, _count(scanner, "memory"))


def parse_profile(text: str) -> Profile:
    """The profile that `print_profile` printed."""
    lines = read_lines(text, "profile")
    head = Scanner(lines[0][1], "profile")
    model, digest = head.name(), _field(head, "digest")
    source, taken = _field(head, "source"), _field(head, "taken")
    device = Device("")
    stages: list[StageCost] = []
    whole = StageCost("", {})
    codecs: dict[str, CodecCost] = {}
    sums: dict[str, dict[int, tuple[float, ...]]] = {"before": {}, "after": {}}
    for word, rest in lines[1:]:
        scanner = Scanner(rest, "profile")
        match word:
            case "device":
                device = _read_device(scanner)
            case "stage":
                stages.append(_read_stage(rest))
            case "whole":
                whole = _read_stage(rest)
            case "codec":
                name = scanner.name()
                codecs[name] = CodecCost(scanner.number(), scanner.number())
            case "before" | "after":
                batch = scanner.whole()
                sums[word][batch] = scanner.numbers()
            case _:
                raise scanner.error(f"{word!r} begins no line of a profile")
    return Profile(
        model, digest, device, tuple(stages), whole, codecs, sums["before"], sums["after"], source, taken
    )
