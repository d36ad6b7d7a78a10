"""Chat completions, not streamed."""

import asyncio

import openai

from receipt import assert_receipt_says, exact, nanos_of, receipt

HELLO = [{"role": "user", "content": "hello there"}]


def test_a_completion_is_answered_and_metered(client):
    completion = client.chat.completions.create(model="sim/echo", messages=HELLO)
    assert completion.object == "chat.completion"
    assert completion.model == "sim/echo"
    assert completion.choices[0].message.role == "assistant"
    assert "hello there" in completion.choices[0].message.content
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage.prompt_tokens > 0
    assert completion.usage.completion_tokens > 0
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens


def test_the_cost_in_the_body_is_the_cost_on_the_receipt(client, raw):
    reply = client.chat.completions.with_raw_response.create(model="sim/echo", messages=HELLO)
    usage = exact(reply.text)["usage"]
    nanos = nanos_of(usage)
    assert nanos > 0
    assert_receipt_says(raw, reply.headers["x-request-id"], nanos)


def test_a_call_without_usage_from_upstream_is_charged_all_the_same(client, raw):
    reply = client.chat.completions.with_raw_response.create(model="sim/no-usage", messages=HELLO)
    nanos = nanos_of(exact(reply.text)["usage"])
    assert nanos > 0
    assert_receipt_says(raw, reply.headers["x-request-id"], nanos)


def test_the_request_id_is_in_headers_and_on_the_object(client, raw):
    reply = client.chat.completions.with_raw_response.create(model="sim/echo", messages=HELLO)
    assert reply.headers["x-request-id"]
    assert reply.request_id == reply.headers["x-request-id"]
    assert reply.parse()._request_id == reply.headers["x-request-id"]
    assert receipt(raw, reply.request_id)["model"] == "sim/echo"


def test_two_calls_have_two_ids(client):
    ids = {client.chat.completions.create(model="sim/echo", messages=HELLO)._request_id for _ in range(2)}
    assert len(ids) == 2


def test_a_lower_output_bound_is_kept(client):
    completion = client.chat.completions.create(model="sim/lorem", messages=HELLO, max_tokens=3)
    assert 0 < completion.usage.completion_tokens <= 3
    assert completion.choices[0].finish_reason == "length"


def test_concurrent_calls_of_the_async_client_are_all_answered(base_url, api_key):
    async def calls():
        async with openai.AsyncOpenAI(base_url=base_url, api_key=api_key, timeout=30) as client:
            made = [
                client.chat.completions.create(
                    model="sim/echo", messages=[{"role": "user", "content": f"number {n}"}]
                )
                for n in range(10)
            ]
            return await asyncio.gather(*made)

    completions = asyncio.run(calls())
    assert len({c._request_id for c in completions}) == 10
    for number, completion in enumerate(completions):
        assert f"number {number}" in completion.choices[0].message.content
