// Ports that nothing listens at now, for networks that must not meet any other on this machine.

import { once } from 'node:events';
import { createServer } from 'node:net';

/** Below those that Linux gives to outgoing connections. */
const [LOWEST, HIGHEST] = [15_000, 32_000];
const ATTEMPTS = 50;

/** The first of `count` ports in a row that are free on every address. */
export async function freePorts(count) {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const first = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST - count));
    if (await areFree(first, count)) return first;
  }
  throw new Error(`no ${count} free ports in a row between ${LOWEST} and ${HIGHEST}`);
}

async function areFree(first, count) {
  for (let port = first; port < first + count; port += 1) {
    const server = createServer();
    try {
      server.listen(port, '0.0.0.0');
      await once(server, 'listening');
    } catch {
      return false;
    } finally {
      server.close();
    }
  }
  return true;
}
