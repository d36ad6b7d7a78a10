"""Chat completions, streamed."""

import asyncio

import openai
import pytest

from receipt import assert_receipt_says, exact, nanos_of

HELLO = [{"role": "user", "content": "hello there"}]


def events(raw, **fields):
    """The `data:` lines of a streamed completion, as text, and its request id."""
    body = {"model": "sim/lorem", "messages": HELLO, "stream": True, **fields}
    with raw.stream("POST", "chat/completions", json=body) as reply:
        assert reply.status_code == 200
        assert reply.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in reply.iter_lines() if line.startswith("data:")]
        return [line.removeprefix("data:").strip() for line in lines], reply.headers["x-request-id"]


def test_a_stream_without_include_usage_has_no_usage_chunk(client):
    chunks = list(client.chat.completions.create(model="sim/lorem", messages=HELLO, stream=True))
    assert len(chunks) > 2
    assert all(chunk.choices for chunk in chunks)
    assert all(chunk.usage is None for chunk in chunks)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_stream_with_include_usage_ends_with_one_usage_chunk(client):
    chunks = list(
        client.chat.completions.create(
            model="sim/lorem", messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
    )
    *earlier, last = chunks
    assert last.choices == []
    assert last.usage.total_tokens == last.usage.prompt_tokens + last.usage.completion_tokens
    assert last.usage.completion_tokens > 0
    assert all(chunk.choices and chunk.usage is None for chunk in earlier)


def test_the_wire_form_of_a_stream_is_that_of_the_protocol(raw):
    plain, _ = events(raw)
    assert plain[-1] == "[DONE]"
    assert plain.count("[DONE]") == 1
    assert all(not exact(event).get("usage") for event in plain[:-1])

    asked, request_id = events(raw, stream_options={"include_usage": True})
    assert asked[-1] == "[DONE]"
    *earlier, final = [exact(event) for event in asked[:-1]]
    assert final["choices"] == []
    assert all(event.get("usage") is None for event in earlier)
    assert_receipt_says(raw, request_id, nanos_of(final["usage"]))


def test_a_stream_that_did_not_ask_for_usage_is_charged_the_same(raw):
    asked, first = events(raw, stream_options={"include_usage": True}, seed=7)
    _, second = events(raw, seed=7)
    nanos = nanos_of(exact(asked[-2])["usage"])
    assert nanos > 0
    assert_receipt_says(raw, first, nanos)
    assert_receipt_says(raw, second, nanos)


def test_a_stream_without_usage_from_upstream_is_charged_all_the_same(raw):
    asked, request_id = events(raw, model="sim/no-usage", stream_options={"include_usage": True})
    nanos = nanos_of(exact(asked[-2])["usage"])
    assert nanos > 0
    assert_receipt_says(raw, request_id, nanos)


def test_a_stream_cut_by_the_upstream_does_not_end_as_if_whole(client):
    """Text came, then the protocol's error or the end of the connection: never a finish reason."""
    stream = client.chat.completions.create(model="sim/cut", messages=HELLO, stream=True)
    text, reasons = "", []
    try:
        for chunk in stream:
            for choice in chunk.choices:
                text += choice.delta.content or ""
                reasons.append(choice.finish_reason)
    except openai.APIError:
        pass
    except Exception as broken:  # the connection itself; its class is the HTTP library's
        assert type(broken).__module__.startswith("httpx"), broken
    assert text
    assert "stop" not in reasons


def test_a_stream_can_be_left_early_and_the_next_call_is_answered(client):
    with client.chat.completions.create(model="sim/lorem", messages=HELLO, stream=True) as stream:
        next(iter(stream))
    assert client.chat.completions.create(model="sim/echo", messages=HELLO).choices


def test_the_async_client_streams(base_url, api_key):
    async def read():
        async with openai.AsyncOpenAI(base_url=base_url, api_key=api_key, timeout=30) as client:
            stream = await client.chat.completions.create(
                model="sim/lorem", messages=HELLO, stream=True, stream_options={"include_usage": True}
            )
            return [chunk async for chunk in stream]

    chunks = asyncio.run(read())
    assert chunks[-1].usage.completion_tokens > 0
    assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


@pytest.mark.parametrize("include_usage", [False, True])
def test_the_stream_helper_collects_a_completion(client, include_usage):
    options = {"stream_options": {"include_usage": True}} if include_usage else {}
    with client.chat.completions.stream(model="sim/lorem", messages=HELLO, **options) as stream:
        completion = stream.get_final_completion()
    assert completion.choices[0].message.content
    assert (completion.usage is not None) == include_usage
