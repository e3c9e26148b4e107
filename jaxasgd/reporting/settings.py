"""What made some numbers, in words: the spec.json, made.json and plan.json of a folder."""

from __future__ import annotations

from .blocks import Facts

NAMES = {
    "problem": "Problem",
    "times": "Seconds of a gradient",
    "num_workers": "Workers",
    "until": "Simulated seconds",
    "num_updates": "Updates",
    "sync_updates": "Updates of synchronous SGD",
    "noise_to_signal": "Noise to signal, q",
    "seeds": "Seeds",
    "reads": "Workers read",
    "wall_seconds": "Took",
    "minutes": "Took in all",
    "versions": "Versions",
    "machine": "Machine",
}
READS = {"after": "after their own gradient is applied", "before": "before their own gradient is applied"}
MACHINE = ("device", "devices", "cores", "x64", "platform")
ELSEWHERE = {"methods", "command", "schedules", "columns", "complete", "doubts", "advice", "call", "mean", "spread"}
ELSEWHERE |= {"rounds"}


def facts(spec) -> Facts:
    """The entries that are not shown elsewhere, the known ones first."""
    told = {key: value for key, value in spec.items() if key not in ELSEWHERE and not empty(value)}
    machine = machine_of({key: told.pop(key) for key in MACHINE if key in told})
    if machine:
        told["machine"] = machine
    if "wall_seconds" in told:
        told["wall_seconds"] = f"{words(told['wall_seconds'])} s"
    if "minutes" in told:
        told["minutes"] = f"{words(told['minutes'])} min"
    if "reads" in told:
        told["reads"] = READS.get(told["reads"], told["reads"])
    if isinstance(told.get("versions"), dict):
        told["versions"] = ", ".join(f"{name} {version}" for name, version in told["versions"].items())
    last = [key for key in ("wall_seconds", "minutes", "versions", "machine") if key in told]
    first = [key for key in NAMES if key in told and key not in last]
    order = first + [key for key in told if key not in first + last] + last
    return Facts([(NAMES.get(key, key.replace("_", " ").capitalize()), words(told[key])) for key in order])


def machine_of(told) -> str:
    """Device, cores and precision."""
    device = str(told.get("device", ""))
    kind, _, name = device.partition(": ")
    parts = [name or kind if name in ("", kind) else f"{name} ({kind})"] if device else []
    parts = [parts[0] + f" × {told['devices']}"] if parts and told.get("devices", 1) != 1 else parts
    parts += [f"{told['cores']} CPU cores"] if "cores" in told else []
    parts += [str(told["platform"])] if "platform" in told else []
    parts += ["float64 on" if told["x64"] else "float64 off"] if "x64" in told else []
    return ", ".join(parts)


def empty(value) -> bool:
    """None, or nothing but None."""
    if isinstance(value, dict):
        return all(empty(one) for one in value.values())
    return value is None


def words(value) -> str:
    """A value of a JSON file, in words.

    Example:
        >>> words({"name": "lognormal", "args": {"mean": [1.0, 1.0, 1.0], "sigma": 0.5}})
        'lognormal: mean = 3 × 1, sigma = 0.5'
        >>> words([0, 1, 2, 3]), words(True), words(None)
        ('0 to 3', 'yes', 'none')
    """
    if isinstance(value, dict):
        told = {key: one for key, one in value.items() if key not in ("name", "args")}
        told = (value["args"] if isinstance(value.get("args"), dict) else {}) | told
        pairs = [f"{key.replace('_', ' ')} = {inner(one)}" for key, one in told.items() if not empty(one)]
        return ": ".join(part for part in (str(value.get("name", "")), ", ".join(pairs)) if part)
    if isinstance(value, list):
        return listed(value)
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def inner(value) -> str:
    """In brackets where it has parts."""
    return f"({words(value)})" if isinstance(value, dict) else words(value)


def listed(values) -> str:
    """Many values in few words, where they are alike or in order."""
    whole = all(type(value) is int for value in values)
    if len(values) > 2 and whole and values == list(range(values[0], values[0] + len(values))):
        return f"{values[0]} to {values[-1]}"
    if len(values) > 2 and all(value == values[0] for value in values):
        return f"{len(values)} × {inner(values[0])}"
    told = [inner(value) for value in values]
    if len(told) > 32:
        return f"{', '.join(told[:8])}, …, {', '.join(told[-4:])} ({len(told)} in all)"
    return ", ".join(told) or "none"
