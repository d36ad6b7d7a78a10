// The server's coordinates, clients that count their attempts, and exact figures.

import assert from 'node:assert/strict';
import OpenAI from 'openai';

function setting(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set; run ./just sdk`);
  return value;
}

export const baseURL = setting('TOLLGATE_BASE_URL');
export const apiKey = setting('TOLLGATE_API_KEY');
export const emptyKey = setting('TOLLGATE_EMPTY_KEY');
export const hello = [{ role: 'user', content: 'hello there' }];

/** A client and the list of requests it has sent. */
export function open(options = {}) {
  const attempts = [];
  const client = new OpenAI({
    baseURL,
    apiKey,
    timeout: 30_000,
    fetch: (url, init) => {
      attempts.push(String(url));
      return fetch(url, init);
    },
    ...options,
  });
  return { client, attempts };
}

/** A call as the wire shows it. */
export function post(path, body, headers = {}) {
  return fetch(`${baseURL}/${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body),
  });
}

/** The nanos of a decimal text, without a float. */
export function nanosOf(decimal) {
  const found = /^(\d+)(?:\.(\d{1,9})0*)?(?:[eE]([+-]?\d+))?$/.exec(decimal);
  assert.ok(found, `${decimal} is a decimal with at most nine places`);
  assert.equal(found[3], undefined, `${decimal} is written out`);
  return BigInt(found[1]) * 1_000_000_000n + BigInt((found[2] ?? '').padEnd(9, '0'));
}

/** The cost in a JSON text, after checking that its two forms are one figure. */
export function costOf(text) {
  const cost = /"cost"\s*:\s*([0-9.eE+-]+)/.exec(text);
  const nanos = /"cost_nanos"\s*:\s*(\d+)/.exec(text);
  assert.ok(cost && nanos, `cost and cost_nanos are numbers in ${text}`);
  assert.equal(nanosOf(cost[1]), BigInt(nanos[1]));
  return BigInt(nanos[1]);
}

/** Asserts that the receipt of a call states this charge. */
export async function assertReceiptSays(requestId, nanos) {
  const reply = await fetch(`${baseURL}/generation?id=${encodeURIComponent(requestId)}`, {
    headers: { authorization: `Bearer ${apiKey}` },
  });
  const text = await reply.text();
  assert.equal(reply.status, 200, text);
  const total = /"total_cost"\s*:\s*"?([0-9.eE+-]+)"?/.exec(text);
  assert.ok(total, `total_cost in ${text}`);
  assert.equal(nanosOf(total[1]), nanos);
}
