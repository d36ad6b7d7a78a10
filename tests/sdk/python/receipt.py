"""Exact figures: a charge as the answer, its receipt and the stream state it."""

import json
from decimal import Decimal

import httpx2 as httpx

NANOS = Decimal(10) ** 9


def exact(text: str) -> dict:
    """JSON with every number as the decimal that stands there."""
    return json.loads(text, parse_float=Decimal)


def nanos_of(usage: dict) -> int:
    """The cost of a usage block, after checking that its two forms are one figure."""
    assert not isinstance(usage["cost"], (str, bool)), "usage.cost is a JSON number"
    assert isinstance(usage["cost_nanos"], int) and not isinstance(usage["cost_nanos"], bool)
    assert Decimal(usage["cost"]) * NANOS == usage["cost_nanos"]
    return usage["cost_nanos"]


def receipt(raw: httpx.Client, request_id: str) -> dict:
    """The receipt of a call."""
    reply = raw.get("generation", params={"id": request_id})
    assert reply.status_code == 200, reply.text
    return exact(reply.text)["data"]


def assert_receipt_says(raw: httpx.Client, request_id: str, nanos: int) -> None:
    total = Decimal(str(receipt(raw, request_id)["total_cost"]))
    assert total * NANOS == nanos, f"receipt {total}, answer {nanos} nanos"
