"""Random usages of the models in a catalogue: what a call consumed, in Tollgate's meters.

Only the catalogue's own line decides which cases a model gets, so that a case says by its name what
is tried: `cached` where the catalogue states a price of a cache read, `cached-unpriced` where it
does not, `long>200000` above a threshold, `at>200000` at exactly that size.
"""

import datetime
import random
import re

NAME = re.compile(r"([a-z0-9_]+)(?:@([a-z]+))?(?:(>=?)(\d+))?$")
CONVERSING = ("chat", "completion", "responses")
# A Monday and a Sunday, in and out of the hours that the catalogue knows.
INSTANTS = [
    "2026-11-23T02:30:00Z",
    "2026-11-23T05:00:00Z",
    "2026-11-23T23:30:00Z",
    "2026-11-20T17:00:00Z",
    "2026-11-22T02:30:00Z",
]
NOON = "2026-11-23T08:00:00Z"


class Sheet:
    """What a line of the catalogue prices."""

    def __init__(self, line):
        self.model, self.mode = line["model"], line["mode"]
        self.rates = [NAME.match(name).groups() for name in line["per_unit"]]
        self.conditions = list(line.get("when", {}))
        self.meters = {meter for meter, _, _, _ in self.rates}
        self.tiers = {tier for _, tier, _, _ in self.rates if tier}
        self.thresholds = sorted({int(size) for _, _, _, size in self.rates if size})

    def prices_text(self):
        """Whether prompt and answer have a price: models sold by time, piece or query have none."""
        answers = self.mode in CONVERSING
        meters = {meter for meter, tier, _, _ in self.rates if not tier}
        return "input" in meters and ("output" in meters or not answers)


def usage(rng, sheet, case, prompt=None):
    """Quantities for one case, with a prompt of so many tokens where its size matters."""
    parts = set(case.split("+"))
    prompt = prompt or rng.randint(1, 30_000)
    classes = ["input"]
    if "cached" in parts:
        classes.append("cache_read")
    if "written" in parts:
        classes.append("cache_write_5m")
    if "written-1h" in parts:
        classes.append("cache_write_1h")
    if "audio" in parts:
        classes.append("audio_input")
    shares = [rng.random() for _ in classes]
    quantities = [int(prompt * share / sum(shares)) for share in shares]
    quantities[0] += prompt - sum(quantities)
    used = dict(zip(classes, quantities))
    if sheet.mode in CONVERSING:
        used["output"] = rng.randint(1, 8_000)
        if "reasoning" in parts:
            used["reasoning"] = rng.randint(1, 20_000)
        if "audio-out" in parts:
            used["audio_output"] = rng.randint(1, 5_000)
    return {meter: quantity for meter, quantity in used.items() if quantity > 0}


def cases(rng, sheet):
    """(case, usage, circumstances) of a model."""

    def one(case, prompt=None, **circumstances):
        circumstances.setdefault("at", NOON)
        return case, usage(rng, sheet, case.split(" ")[0], prompt), circumstances

    def stated(part, meter):
        return part if meter in sheet.meters else f"{part}-unpriced"

    yield one("plain")
    if sheet.mode not in CONVERSING:
        for tier in sorted(sheet.tiers & {"batch"}):
            yield one(f"plain @{tier}", service_tier=tier)
        return
    classes = [
        ("cached", "cache_read"),
        ("written", "cache_write_5m"),
        ("written-1h", "cache_write_1h"),
        ("reasoning", "reasoning"),
        ("audio", "audio_input"),
        ("audio-out", "audio_output"),
    ]
    for part, meter in classes:
        case, used, circumstances = one(part)
        yield stated(part, meter), used, circumstances
    every = "+".join(part for part, meter in classes if meter in sheet.meters)
    every = f"{every}+reasoning" if every else "reasoning"
    text = "+".join(part for part in every.split("+") if not part.startswith("audio"))
    yield one(f"{every} (all)")
    for size in sheet.thresholds:
        for name, prompt in (("at", size), ("long", size + rng.randint(1, size))):
            yield one(f"{text} {name}>{size}", prompt)
    for tier in sorted(sheet.tiers & {"batch", "flex", "priority", "ultrafast", "balanced"}):
        yield one(f"plain @{tier}", service_tier=tier)
        for part, meter in classes[:4]:
            case, used, circumstances = one(part, service_tier=tier)
            named = meter in {m for m, t, _, _ in sheet.rates if t == tier}
            yield f"{part if named else part + '-unpriced'} @{tier}", used, circumstances
        for size in sheet.thresholds:
            yield one(f"plain @{tier} long>{size}", size + rng.randint(1, size), service_tier=tier)
    for condition in sheet.conditions:
        if condition.startswith("during "):
            for at in INSTANTS:
                yield one(f"{text} during", at=at)
            continue
        attributes = {}
        for part in condition.split(", "):
            name, value = re.split("!?=", part)
            attributes[name] = "europe-west1" if "!=" in part else value
        yield one(f"{text} [{condition}]", attributes=attributes)


def of_catalogue(lines, seed, modes=CONVERSING + ("embedding",)):
    """Every case of every model of these modes, the same for a seed."""
    for line in lines:
        sheet = Sheet(line)
        if sheet.mode not in modes or not sheet.prices_text():
            continue
        rng = random.Random(f"{seed}/{sheet.model}")
        for case, used, circumstances in cases(rng, sheet):
            yield {"model": sheet.model, "case": case, "usage": used, **circumstances}


def instant(ask):
    """When the call was made."""
    return datetime.datetime.fromisoformat(ask["at"].replace("Z", "+00:00"))
