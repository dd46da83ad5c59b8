// The network under test: where its endpoints are, and the development accounts everybody knows.
//
// Every client has an account and a home endpoint of its own, so that all clients may run at once, repeatedly,
// on one chain, and all endpoints take submissions. Receivers are random addresses for the same reason.

import { randomBytes } from 'node:crypto';

/** HTTP endpoints of the nodes; WebSocket is served on the same ports. */
export const URLS = (process.env.COCO_ETH_URLS
  ?? 'http://127.0.0.1:8545,http://127.0.0.1:8555,http://127.0.0.1:8565').split(',').map((url) => url.trim()).filter(Boolean);

export const CHAIN_ID = Number(process.env.COCO_CHAIN_ID ?? 31337);
export const MNEMONIC = 'test test test test test test test test test test test junk';
export const ACCOUNT = { ethers: 1, viem: 2, web3js: 3, web3py: 4, hardhat: 5, cast: 6, faults: 7 };

/** A transaction that was refused: -32000 as geth and Coco say, -32003 as anvil says. */
export const REFUSED = [-32000, -32003];
export const UNKNOWN_METHOD = -32601;

/** How long anything may take to be committed and to reach every endpoint. */
export const WAIT_MS = 15_000;

/** The limit for one whole check, so that a silent network fails checks instead of hanging them. */
export const CASE = { timeout: 60_000 };

export const UNKNOWN_HASH = `0x${'5e'.repeat(32)}`;

/** The endpoint where `client` sends, an index into `URLS`. */
export function home(client) {
  return (ACCOUNT[client] - 1) % URLS.length;
}

/** An endpoint other than the home of `client`, if there is one. */
export function elsewhere(client) {
  return (home(client) + 1) % URLS.length;
}

export function webSocket(url) {
  return url.replace(/^http/, 'ws');
}

/** A receiver nobody has used before; all lower case. */
export function freshAddress() {
  return `0x${randomBytes(20).toString('hex')}`;
}

/** `promise`, or an error that says what was missing after `WAIT_MS`. */
export function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no ${what} after ${WAIT_MS} ms`)), WAIT_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** One JSON-RPC call without any client library; resolves to the whole answer, `result` or `error`. */
export async function call(url, method, params = []) {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }),
    signal: AbortSignal.timeout(WAIT_MS),
  });
  return response.json();
}
