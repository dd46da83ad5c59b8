// The network under test: where its endpoints are, and the development accounts everybody knows.
//
// Every client has an account and a home endpoint of its own, so that all clients may run at once, repeatedly,
// on one chain, and all endpoints take submissions. Receivers are random addresses for the same reason.

import { randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';

// The constants are JSON so that the clients in other languages read the same ones.
const defaults = createRequire(import.meta.url)('./network.json');

/** HTTP endpoints of the nodes; WebSocket is served on the same ports. */
export const URLS = process.env.COCO_ETH_URLS?.split(',') ?? defaults.urls;

export const CHAIN_ID = Number(process.env.COCO_CHAIN_ID ?? defaults.chain_id);
export const MNEMONIC = defaults.mnemonic;
export const ACCOUNT = defaults.account;

/** A transaction that was refused: -32000 as geth and Coco say, -32003 as anvil says. */
export const REFUSED = defaults.refused;
export const UNKNOWN_METHOD = defaults.unknown_method;

/** How long anything may take to be committed and to reach every endpoint. */
export const WAIT_MS = Number(process.env.COCO_WAIT_MS ?? defaults.wait_ms);

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
