"""Embeddings, and the catalogue with its prices."""

from decimal import Decimal

import openai
import pytest

from receipt import assert_receipt_says, exact, nanos_of


def test_embeddings_are_decoded_from_base64_by_default(client):
    reply = client.embeddings.create(model="sim/embedding", input=["first", "second"])
    assert [item.index for item in reply.data] == [0, 1]
    assert all(isinstance(value, float) for item in reply.data for value in item.embedding)
    assert len(reply.data[0].embedding) == len(reply.data[1].embedding) > 0
    assert reply.usage.prompt_tokens > 0


def test_embeddings_as_floats_are_the_same_vector(client):
    as_base64 = client.embeddings.create(model="sim/embedding", input="one text")
    as_floats = client.embeddings.create(model="sim/embedding", input="one text", encoding_format="float")
    assert as_floats.data[0].embedding == pytest.approx(as_base64.data[0].embedding, abs=1e-6)


def test_an_embedding_costs_what_its_receipt_says(client, raw):
    reply = client.embeddings.with_raw_response.create(
        model="sim/embedding", input="one text", encoding_format="float"
    )
    nanos = nanos_of(exact(reply.text)["usage"])
    assert nanos > 0
    assert_receipt_says(raw, reply.headers["x-request-id"], nanos)


def test_models_are_listed_with_prices(client):
    models = {model.id: model for model in client.models.list()}
    assert {"sim/echo", "sim/lorem", "sim/embedding", "sim/cut", "sim/no-usage"} <= models.keys()
    pricing = models["sim/echo"].model_extra["pricing"]
    assert Decimal(pricing["prompt"]) > 0
    assert Decimal(pricing["completion"]) > 0
    assert all(isinstance(price, str) for price in (pricing["prompt"], pricing["completion"]))


def test_one_model_is_retrieved(client):
    model = client.models.retrieve("sim/echo")
    assert (model.id, model.object) == ("sim/echo", "model")
    assert Decimal(model.model_extra["pricing"]["prompt"]) > 0


def test_an_unknown_model_is_not_retrieved(client):
    with pytest.raises(openai.NotFoundError) as refused:
        client.models.retrieve("no/such-model")
    assert refused.value.code == "model_not_found"
