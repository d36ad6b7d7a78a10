// Embeddings, and the catalogue with its prices.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';
import { assertReceiptSays, costOf, open } from './server.mjs';

test('embeddings are decoded from base64 by default and equal those sent as floats', async () => {
  const { client } = open();
  const input = ['first', 'second'];
  const decoded = await client.embeddings.create({ model: 'sim/embedding', input });
  const floats = await client.embeddings.create({ model: 'sim/embedding', input, encoding_format: 'float' });
  assert.deepEqual(decoded.data.map((item) => item.index), [0, 1]);
  for (const [at, item] of decoded.data.entries()) {
    const other = floats.data[at].embedding;
    assert.ok(item.embedding.length > 0);
    assert.equal(item.embedding.length, other.length);
    item.embedding.forEach((value, n) => assert.ok(Math.abs(value - other[n]) < 1e-6));
  }
  assert.ok(decoded.usage.prompt_tokens > 0);
});

test('an embedding costs what its receipt says', async () => {
  const reply = await open()
    .client.embeddings.create({ model: 'sim/embedding', input: 'one text', encoding_format: 'float' })
    .asResponse();
  await assertReceiptSays(reply.headers.get('x-request-id'), costOf(await reply.text()));
});

test('models are listed and retrieved with prices', async () => {
  const { client } = open();
  const models = new Map();
  for await (const model of client.models.list()) models.set(model.id, model);
  for (const id of ['sim/echo', 'sim/lorem', 'sim/embedding', 'sim/cut', 'sim/no-usage']) {
    assert.ok(models.has(id), id);
  }
  const one = await client.models.retrieve('sim/echo');
  assert.equal(one.id, 'sim/echo');
  for (const model of [one, models.get('sim/echo')]) {
    assert.equal(typeof model.pricing.prompt, 'string');
    assert.ok(Number(model.pricing.prompt) > 0 && Number(model.pricing.completion) > 0);
  }
});

test('an unknown model is not retrieved', async () => {
  await assert.rejects(open().client.models.retrieve('no/such-model'), (error) => {
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.equal(error.code, 'model_not_found');
    return true;
  });
});
