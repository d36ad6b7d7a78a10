// Refusals reach the program as the SDK's own errors, and are not retried in vain.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';
import { emptyKey, hello, open, post } from './server.mjs';

/** Makes a call that must be refused once, and answers with the error. */
async function refused({ client, attempts }, fields = {}) {
  let error;
  try {
    await client.chat.completions.create({ model: 'sim/echo', messages: hello, ...fields });
  } catch (caught) {
    error = caught;
  }
  assert.ok(error instanceof OpenAI.APIError, `the call was not refused: ${error}`);
  assert.equal(attempts.length, 1, 'a refusal is not retried');
  for (const key of ['message', 'type', 'param', 'code']) assert.ok(key in error.error, key);
  assert.ok(error.requestID);
  return error;
}

test('a bad key is an authentication error', async () => {
  const error = await refused(open({ apiKey: 'sk-not-a-key' }));
  assert.ok(error instanceof OpenAI.AuthenticationError);
  assert.equal(error.status, 401);
  assert.equal(error.code, 'invalid_api_key');
});

test('an unknown model is not found', async () => {
  const error = await refused(open(), { model: 'no/such-model' });
  assert.ok(error instanceof OpenAI.NotFoundError);
  assert.equal(error.code, 'model_not_found');
});

for (const stream of [false, true]) {
  test(`an account without funds is refused once (stream: ${stream})`, async () => {
    const error = await refused(open({ apiKey: emptyKey, maxRetries: 2 }), { stream });
    assert.equal(error.status, 402);
    assert.equal(error.code, 'insufficient_quota');
    assert.equal(error.headers.get('x-should-retry'), 'false');
  });
}

test('a body of twenty megabytes and more is too large', async () => {
  const error = await refused(open(), { messages: [{ role: 'user', content: 'x'.repeat(21 * 1024 * 1024) }] });
  assert.equal(error.status, 413);
});

for (const fields of [{ messages: 'not a list' }, { max_tokens: -1 }, { max_tokens: 'many' }, { model: 7 }]) {
  test(`a wrong field is a bad request: ${JSON.stringify(fields)}`, async () => {
    const error = await refused(open(), fields);
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.equal(error.type, 'invalid_request_error');
  });
}

for (const body of ['', '{', '[]', '"text"', new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])]) {
  test(`a body that is no JSON object is a bad request: ${body}`, async () => {
    const reply = await post('chat/completions', body);
    assert.equal(reply.status, 400);
    const { error } = await reply.json();
    for (const key of ['message', 'type', 'param', 'code']) assert.ok(key in error, key);
  });
}
