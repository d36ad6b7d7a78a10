"""Refusals reach the program as the SDK's own exceptions, and are not retried in vain."""

import openai
import pytest

HELLO = [{"role": "user", "content": "hello there"}]


def create(client, **fields):
    return client.chat.completions.create(**{"model": "sim/echo", "messages": HELLO, **fields})


def assert_openai_error(error: openai.APIStatusError) -> None:
    """The body has all four keys, and the request can be named to the operator."""
    assert {"message", "type", "param", "code"} <= error.body.keys()
    assert error.body["message"]
    assert error.response.headers["x-request-id"]


@pytest.mark.parametrize("key", ["sk-not-a-key", "sk-" + "0" * 60, "x"])
def test_a_bad_key_is_an_authentication_error(client, attempts, key):
    with pytest.raises(openai.AuthenticationError) as refused:
        create(client.with_options(api_key=key))
    assert refused.value.status_code == 401
    assert refused.value.code == "invalid_api_key"
    assert key not in str(refused.value.body) or key == "x"
    assert_openai_error(refused.value)
    assert len(attempts.requests) == 1


def test_an_unknown_model_is_not_found(client, attempts):
    with pytest.raises(openai.NotFoundError) as refused:
        create(client, model="no/such-model")
    assert refused.value.status_code == 404
    assert refused.value.code == "model_not_found"
    assert_openai_error(refused.value)
    assert len(attempts.requests) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_an_account_without_funds_is_refused_once(client, attempts, empty_key, stream):
    with pytest.raises(openai.APIStatusError) as refused:
        create(client.with_options(api_key=empty_key, max_retries=2), stream=stream)
    assert refused.value.status_code == 402
    assert refused.value.code == "insufficient_quota"
    assert refused.value.type == "insufficient_quota"
    assert refused.value.response.headers["x-should-retry"] == "false"
    assert_openai_error(refused.value)
    assert len(attempts.requests) == 1, "a refusal for want of funds is not worth a retry"


def test_a_body_of_twenty_megabytes_and_more_is_too_large(client, attempts):
    with pytest.raises(openai.APIStatusError) as refused:
        create(client, messages=[{"role": "user", "content": "x" * (21 * 1024 * 1024)}])
    assert refused.value.status_code == 413
    assert_openai_error(refused.value)
    assert len(attempts.requests) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": "not a list"},
        {"messages": []},
        {"max_tokens": -1},
        {"max_tokens": "many"},
        {"model": 7},
        {"stream": "yes"},
        {"n": 0},
    ],
    ids=lambda fields: next(iter(fields.items())).__repr__(),
)
def test_a_wrong_field_is_a_bad_request(client, attempts, fields):
    with pytest.raises(openai.BadRequestError) as refused:
        # extra_body goes out as it is; the SDK's own arguments would be turned into something valid.
        client.chat.completions.create(model="sim/echo", messages=HELLO, extra_body=fields)
    assert refused.value.status_code == 400
    assert refused.value.type == "invalid_request_error"
    assert_openai_error(refused.value)
    assert len(attempts.requests) == 1


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"model":"sim/echo"', b"[]", b'"text"', b'{"model":"sim/\xff","messages":[]}'],
)
def test_a_body_that_is_no_json_object_is_a_bad_request(raw, body):
    reply = raw.post("chat/completions", content=body, headers={"content-type": "application/json"})
    assert reply.status_code == 400
    assert {"message", "type", "param", "code"} <= reply.json()["error"].keys()


def test_a_call_without_a_key_is_unauthorized(raw):
    del raw.headers["authorization"]
    reply = raw.post("chat/completions", json={"model": "sim/echo", "messages": HELLO})
    assert reply.status_code == 401
    assert reply.json()["error"]["type"] == "invalid_request_error"


def test_an_unknown_path_is_answered_in_the_dialect(raw):
    reply = raw.post("no/such/endpoint", json={})
    assert reply.status_code == 404
    assert reply.json()["error"]["message"]


def test_a_refused_call_costs_nothing(client, raw):
    before = raw.get("credits").json()["data"]["total_usage"]
    with pytest.raises(openai.NotFoundError):
        create(client, model="no/such-model")
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="sim/echo", messages=HELLO, extra_body={"max_tokens": -1})
    assert raw.get("credits").json()["data"]["total_usage"] == before
