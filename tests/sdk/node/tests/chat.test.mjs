// Chat completions, streamed and not.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';
import { assertReceiptSays, costOf, hello, open, post } from './server.mjs';

test('a completion is answered and metered', async () => {
  const completion = await open().client.chat.completions.create({ model: 'sim/echo', messages: hello });
  assert.match(completion.choices[0].message.content, /hello there/);
  assert.equal(completion.choices[0].finish_reason, 'stop');
  const { prompt_tokens, completion_tokens, total_tokens, cost, cost_nanos } = completion.usage;
  assert.ok(prompt_tokens > 0 && completion_tokens > 0);
  assert.equal(total_tokens, prompt_tokens + completion_tokens);
  assert.equal(typeof cost, 'number');
  assert.ok(Number.isSafeInteger(cost_nanos) && cost_nanos > 0);
});

test('the cost in the body is the cost on the receipt', async () => {
  const reply = await open().client.chat.completions.create({ model: 'sim/echo', messages: hello }).asResponse();
  await assertReceiptSays(reply.headers.get('x-request-id'), costOf(await reply.text()));
});

test('the request id is in headers and on the object', async () => {
  const { data, response, request_id } = await open()
    .client.chat.completions.create({ model: 'sim/echo', messages: hello })
    .withResponse();
  assert.ok(request_id);
  assert.equal(response.headers.get('x-request-id'), request_id);
  assert.equal(data._request_id, request_id);
});

test('a stream without include_usage has no usage chunk', async () => {
  const stream = await open().client.chat.completions.create({ model: 'sim/lorem', messages: hello, stream: true });
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  assert.ok(chunks.length > 2);
  assert.ok(chunks.every((chunk) => chunk.choices.length > 0 && chunk.usage == null));
  assert.equal(chunks.at(-1).choices[0].finish_reason, 'stop');
});

test('a stream with include_usage ends with one usage chunk', async () => {
  const stream = await open().client.chat.completions.create({
    model: 'sim/lorem',
    messages: hello,
    stream: true,
    stream_options: { include_usage: true },
  });
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  const last = chunks.pop();
  assert.deepEqual(last.choices, []);
  assert.ok(last.usage.completion_tokens > 0);
  assert.ok(Number.isSafeInteger(last.usage.cost_nanos));
  assert.ok(chunks.every((chunk) => chunk.choices.length > 0 && chunk.usage == null));
});

test('the last usage of a stream is its receipt', async () => {
  const reply = await post('chat/completions', {
    model: 'sim/lorem',
    messages: hello,
    stream: true,
    stream_options: { include_usage: true },
  });
  assert.match(reply.headers.get('content-type'), /^text\/event-stream/);
  const events = (await reply.text()).split('\n').filter((line) => line.startsWith('data:'));
  assert.equal(events.at(-1).slice(5).trim(), '[DONE]');
  await assertReceiptSays(reply.headers.get('x-request-id'), costOf(events.at(-2)));
});

test('a stream cut by the upstream does not end as if whole', async () => {
  const stream = await open().client.chat.completions.create({ model: 'sim/cut', messages: hello, stream: true });
  let text = '';
  const reasons = [];
  try {
    for await (const chunk of stream) {
      for (const choice of chunk.choices) {
        text += choice.delta.content ?? '';
        reasons.push(choice.finish_reason);
      }
    }
  } catch (error) {
    assert.ok(error instanceof OpenAI.APIError || error instanceof TypeError, String(error));
  }
  assert.ok(text.length > 0);
  assert.ok(!reasons.includes('stop'));
});

test('a stream can be left early and the next call is answered', async () => {
  const { client } = open();
  const stream = await client.chat.completions.create({ model: 'sim/lorem', messages: hello, stream: true });
  for await (const _ of stream) break;
  const next = await client.chat.completions.create({ model: 'sim/echo', messages: hello });
  assert.equal(next.choices.length, 1);
});

test('concurrent calls are all answered', async () => {
  const { client } = open();
  const made = await Promise.all(
    Array.from({ length: 10 }, (_, n) =>
      client.chat.completions.create({ model: 'sim/echo', messages: [{ role: 'user', content: `number ${n}` }] }),
    ),
  );
  assert.equal(new Set(made.map((completion) => completion._request_id)).size, 10);
  made.forEach((completion, n) => assert.ok(completion.choices[0].message.content.includes(`number ${n}`)));
});
