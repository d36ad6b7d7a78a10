"""Compares what Tollgate says that random usages cost with what two independent calculations say.

    oracle.py ask [--seed N] ASKED USAGES      write the usages for `tollgate quote`, and beside them
                                               what was asked, with the answers of the oracles
    oracle.py judge [--seed N] ASKED CHARGES   compare those with the charges, and judge
    oracle.py record ASKED CHARGES RECORDED    keep some hundred models for the tests

Our figure is the sum of the lines of a charge, which is unrounded. Equal is equal to one part in
10^12, in decimal arithmetic. What differs must be in `reviewed.json`, with the reason and the source
of our figure; what is listed must differ, for exactly as many models as the list says. The last line
is the verdict in JSON.
"""

import argparse
import collections
import decimal
import fnmatch
import json
import pathlib
import random
import sys
from decimal import Decimal

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
SEED = 20261123
NEAR = Decimal("1e-12")
# Amounts have up to 27 places; none of a sum may be lost.
decimal.getcontext().prec = 60
# What `tollgate quote` reads of a question.
USAGE = ("model", "usage", "service_tier", "at", "attributes")
ORACLES = ("litellm", "genai-prices")
VERSIONS = {"litellm": "1.109.1", "genai-prices": "0.2.3"}
# Fewer models compared are no proof.
LEAST_MODELS = {"litellm": 3400, "genai-prices": 400}
RECORDED_MODELS = 300


def catalogue():
    lines = (ROOT / "data/catalogue.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines[1:]]


def ask(options):
    import oracles
    import usages

    others = [oracles.LiteLLM(), oracles.GenaiPrices()]
    with open(options.asked, "w") as asked, open(options.usages, "w") as used:
        for question in usages.of_catalogue(catalogue(), options.seed):
            used.write(json.dumps({k: question[k] for k in USAGE if k in question}) + "\n")
            for oracle in others:
                question[oracle.name] = oracle.price(question)
            asked.write(json.dumps(question) + "\n")
    return 0


def figure(question, charge):
    """What a charge comes to before it is rounded: the sum of its lines; or the words of an error."""
    if "error" in charge:
        return f"error: {charge['error']}"
    exact = sum((Decimal(line["amount"]) for line in charge["lines"]), Decimal(0))
    stated = Decimal(charge.get("unrounded", charge["amount"]))
    if (charge["model"], charge["currency"], stated) != (question["model"], "USD", exact):
        raise SystemExit(f"the charge {charge} is no answer to {question}")
    return exact


def answered(options):
    """Each question with our figure: a decimal, or the words of an error."""
    with open(options.asked) as asked, open(options.charges) as charged:
        for question, charge in zip(asked, charged, strict=True):
            question = json.loads(question)
            yield question, figure(question, json.loads(charge))


def equal(ours, theirs):
    if isinstance(ours, str):
        return False
    theirs = Decimal(theirs)
    return abs(ours - theirs) <= NEAR * max(abs(ours), abs(theirs))


def fits(entry, oracle, question, providers):
    model, case = question["model"], question["case"]
    return (
        entry["oracle"] == oracle
        and any(fnmatch.fnmatchcase(model, pattern) for pattern in entry["models"])
        and any(fnmatch.fnmatchcase(case, pattern) for pattern in entry["cases"])
        and providers.get(model, "") in entry.get("providers", [providers.get(model, "")])
    )


def judge(options):
    reviewed = json.loads((HERE / "reviewed.json").read_text())
    providers = {line["model"]: line["provider"] for line in catalogue()}
    differing = [set() for _ in reviewed]
    unlisted, verdict = [], {}
    compared = {oracle: {"models": set(), "usages": 0, "equal": 0, "listed": 0} for oracle in ORACLES}
    unpriced = collections.defaultdict(set)
    for question, ours in answered(options):
        for oracle in ORACLES:
            theirs = question[oracle]
            if theirs is None:
                unpriced[oracle].add(question["model"])
                continue
            count = compared[oracle]
            count["models"].add(question["model"])
            count["usages"] += 1
            if equal(ours, theirs):
                count["equal"] += 1
                continue
            matching = (
                at for at, entry in enumerate(reviewed) if fits(entry, oracle, question, providers)
            )
            at = next(matching, None)
            if at is None:
                unlisted.append((oracle, question, ours))
            else:
                count["listed"] += 1
                differing[at].add(question["model"])
    for oracle, question, ours in unlisted[:20]:
        used = json.dumps(question["usage"])
        print(f"{question['model']}, {question['case']}: {ours} here, {question[oracle]} by {oracle}: {used}", file=sys.stderr)
    stale = []
    for entry, models in zip(reviewed, differing):
        stated = entry["differing"]
        if not models or (options.seed == SEED and len(models) != stated):
            stale.append(entry)
            print(
                f"listed for {stated} models, but {len(models)} differ: {entry['reason']}",
                file=sys.stderr,
            )
    few = [oracle for oracle in ORACLES if len(compared[oracle]["models"]) < LEAST_MODELS[oracle]]
    for oracle in few:
        print(f"{oracle} prices fewer than {LEAST_MODELS[oracle]} models: a proof of too little", file=sys.stderr)
    failed = bool(unlisted or stale or few)
    verdict = {
        "oracle": "prices",
        "seed": options.seed,
        **{
            oracle: {**count, "models": len(count["models"]), "not_priced_there": len(unpriced[oracle] - count["models"])}
            for oracle, count in compared.items()
        },
        "reviewed": len(reviewed),
        "not_listed": len(unlisted),
        "no_longer_differing": len(stale),
        "verdict": "fail" if failed else "pass",
    }
    print(json.dumps(verdict))
    return 1 if failed else 0


def record(options):
    kept = collections.defaultdict(list)
    for question, ours in answered(options):
        if question["litellm"] is not None and equal(ours, question["litellm"]):
            theirs = question["genai-prices"]
            if theirs is None or not equal(ours, theirs):
                question.pop("genai-prices")
            kept[question["model"]].append(question)
    # Every model with a condition or a threshold, some that both know, and others at random.
    rng = random.Random(SEED)
    models = rng.sample(sorted(kept), len(kept))
    models.sort(key=lambda model: -len({q["case"] for q in kept[model]}))
    third = RECORDED_MODELS // 3
    chosen = models[:third]
    both = [model for model in models[third:] if any("genai-prices" in q for q in kept[model])]
    chosen += rng.sample(both, third)
    chosen += rng.sample([model for model in models if model not in chosen], third)
    chosen.sort()
    with open(options.recorded, "w") as out:
        provenance = {"asked": "tests/oracle/oracle.py", "seed": SEED, **VERSIONS}
        out.write(json.dumps(provenance, separators=(",", ":")) + "\n")
        for model in chosen:
            for question in rng.sample(kept[model], min(6, len(kept[model]))):
                out.write(json.dumps(question, separators=(",", ":")) + "\n")
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    for do, files in (
        (ask, ("asked", "usages")),
        (judge, ("asked", "charges")),
        (record, ("asked", "charges", "recorded")),
    ):
        command = commands.add_parser(do.__name__)
        command.set_defaults(do=do)
        if do is not record:
            command.add_argument("--seed", type=int, default=SEED)
        for file in files:
            command.add_argument(file)
    options = parser.parse_args()
    sys.exit(options.do(options))


if __name__ == "__main__":
    main()
