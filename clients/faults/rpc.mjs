// Asking nodes, and waiting for an answer with a deadline: JSON-RPC in batches, HTTPS under the service's certificate.

import assert from 'node:assert/strict';
import { request } from 'node:https';
import { setTimeout as pause } from 'node:timers/promises';

const CALL_MS = 2_000;
const BATCH_CALLS = 100;

/** The result of one call; throws what the node says against it. */
export async function call(url, method, params) {
  const [{ result, error }] = await answers(url, [[method, params]]);
  if (error) throw new Error(error.message);
  return result;
}

/** `{result}` or `{error}` of each call, asked as one batch. */
export async function answers(url, calls) {
  const body = JSON.stringify(calls.map(([method, params], id) => ({ jsonrpc: '2.0', id, method, params })));
  const response = await fetch(url, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body, signal: AbortSignal.timeout(CALL_MS),
  });
  const found = await response.json();
  return calls.map((_, id) => found.find((each) => each.id === id) ?? { error: { message: 'no answer to this call' } });
}

/** The results of any number of calls of one method; none may fail. */
export async function results(url, method, parameters) {
  const found = [];
  for (let at = 0; at < parameters.length; at += BATCH_CALLS) {
    const part = await answers(url, parameters.slice(at, at + BATCH_CALLS).map((each) => [method, each]));
    for (const { result, error } of part) {
      if (error) throw new Error(error.message);
      found.push(result);
    }
  }
  return found;
}

export async function height(url) {
  return Number(await call(url, 'eth_blockNumber', []));
}

/** GET over HTTPS, trusting `ca` alone. */
export async function secured(url, ca) {
  const { status, body } = await https('GET', url, { ca });
  if (status !== 200) throw new Error(`${url}: ${status}`);
  return JSON.parse(body);
}

/** One request over HTTPS, trusting `ca` alone; `{status, headers, body}`. */
export function https(method, url, { ca, headers, body, agent = false }) {
  return new Promise((resolve, reject) => {
    const asked = request(url, { method, ca, headers, timeout: CALL_MS, agent }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (more) => { text += more; }).on('end', () => resolve({ status: response.statusCode, headers: response.headers, body: text }));
      response.on('error', reject);
    });
    asked.on('timeout', () => asked.destroy(new Error(`${url}: no answer`)));
    asked.on('error', reject).end(body);
  });
}

/** The index in `nodes` of the primary, from any node that answers. */
export async function primary(nodes, ca) {
  for (const { api } of nodes) {
    const network = await secured(`${api}/node/network`, ca).catch(() => undefined);
    if (network === undefined) continue;
    const states = await Promise.all(nodes.map((node) => secured(`${node.api}/node/state`, ca).catch(() => ({}))));
    const index = states.findIndex(({ node_id: id }) => id !== undefined && id === network.primary_id);
    if (index >= 0) return index;
  }
  throw new Error('no node names a primary');
}

/** Asks until the answer is neither false nor null, and gives it; an error counts as no. */
export async function until(asked, limitMs, complaint) {
  for (const deadline = performance.now() + limitMs; performance.now() < deadline; await pause(20)) {
    const answer = await Promise.resolve().then(asked).catch(() => false);
    if (answer) return answer;
  }
  return assert.fail(`${complaint} in ${limitMs} ms`);
}
