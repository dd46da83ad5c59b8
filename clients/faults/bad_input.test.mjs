// What hosts and clients do wrong, through the real sockets of a lone node: ports in use, wrong certificates, too many connections
// for the process's descriptors, slow clients, bodies without end. The node answers or closes, says why, and goes on serving.
//
// What needs no process is checked in Rust: crates/rpc/tests (listeners, channels), protocols/ethereum/src/rpc/tests/bad_input.rs.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { createServer, connect } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { preparedLoad } from './load.mjs';
import { Network, coco } from './processes.mjs';
import { call, secured, until } from './rpc.mjs';

const CASE = { timeout: 60_000 };
/** As many systems give a process, unless it asks for more. */
const DESCRIPTORS = 1024;
const IDLE_CONNECTIONS = 3_000;
const SLOW_CLIENTS = 200;
/** The node's own limit for a head is 10 s. */
const SLOW_CLOSED_MS = 20_000;
const LARGE_BODIES = 40;
const LARGE_BODY_BYTES = 32 << 20;
const MIB = 1 << 20;
/** What misbehaving clients may cost: a fraction of what they sent or could make the node hold. */
const GROWTH_MIB = 192;

let network;
let node;
let slow;

before(async () => {
  network = await Network.start('bad-input', { nodes: 1 });
  [node] = network.nodes;
  await node.stop();
  node.start((command) => `ulimit -Sn ${DESCRIPTORS}; exec ${command}`);
  await node.isReady();
  slow = await slowClients(port(node.ethereum));
});

after(() => network?.remove());

test('a node whose port is in use names it, before the network has heard of the node', CASE, async () => {
  const taken = createServer();
  taken.listen(0, '127.0.0.1');
  await once(taken, 'listening');
  const address = `127.0.0.1:${taken.address().port}`;
  try {
    for (const listener of ['api', 'peers', 'admin', 'ethereum']) {
      const joiner = await joinerOf(1, (text) => text, (text) => text.replace(new RegExp(`^${listener} = .*$`, 'm'), `${listener} = "${address}"`));
      joiner.start();
      assert.equal(await joiner.end(), 1, listener);
      assert.match(joiner.said, new RegExp(`^error: cannot listen on ${address}: Address already in use`, 'm'), listener);
    }
  } finally {
    taken.close();
  }
  assert.equal((await members()).length, 1, 'nobody was admitted');
});

test('a node with the certificate of another service says so at once and is not admitted', CASE, async () => {
  const other = join(network.state, 'member0_cert.pem');
  const joiner = await joinerOf(2, (text) => text.replace(/^service_certificate = .*$/m, `service_certificate = "${other}"`));
  joiner.start();
  assert.equal(await joiner.end(), 1);
  assert.match(joiner.said, /^error: not admitted to the network: .*: its certificate is not of the service that is expected here/m);
  assert.equal((await members()).length, 1, 'nobody was admitted');
});

test('a client that trusts another service is told so', CASE, async () => {
  const { code, out, error } = await coco('network', 'status', '--api', node.api, '--service', join(network.state, 'member0_cert.pem'));
  assert.equal(code, 1);
  assert.match(out, /certificate/);
  assert.match(error, /^error: 1 of 1 nodes gave no answer/);
});

test('thousands of idle connections, more than the process has descriptors for by default, and the node serves', CASE, async (t) => {
  const resident = await node.metric('process_resident_memory_bytes');
  const sockets = await Promise.all(Array.from({ length: IDLE_CONNECTIONS }, () => connected(port(node.ethereum))));
  try {
    await transferArrives();
    assert.equal((await members()).length, 1);
    const open = await node.metric('process_open_fds');
    const grown = (await node.metric('process_resident_memory_bytes') - resident) / MIB;
    t.diagnostic(`${open} descriptors open; ${grown.toFixed(0)} MiB more memory`);
    assert.ok(grown < GROWTH_MIB, `${grown} MiB more`);
  } finally {
    sockets.forEach((socket) => socket.destroy());
  }
});

test('bodies that are too large are refused with 413, and cost no memory', CASE, async (t) => {
  const resident = await node.metric('process_resident_memory_bytes');
  const statuses = await Promise.all(Array.from({ length: LARGE_BODIES }, () => sendsTooMuch(node.ethereum)));
  assert.deepEqual([...new Set(statuses)], [413]);
  await transferArrives();
  const grown = (await node.metric('process_resident_memory_bytes') - resident) / MIB;
  t.diagnostic(`${(LARGE_BODIES * LARGE_BODY_BYTES) / MIB} MiB offered; ${grown.toFixed(0)} MiB more memory`);
  assert.ok(grown < GROWTH_MIB, `${grown} MiB more`);
});

test('clients that send a byte now and then are closed, and the node serves meanwhile', CASE, async () => {
  await transferArrives();
  await until(() => slow.every((socket) => socket.closed), SLOW_CLOSED_MS, 'slow clients were not closed');
});

test('after all that the node stops cleanly, and its ledger verifies', CASE, async () => {
  assert.equal(await node.stop(), 0, node.said.slice(-1_000));
  const { code, error } = await coco('ledger', 'verify', node.facts.ledger, '--service', network.certificate);
  assert.equal(code, 0, error);
});

test('a node whose ledger was damaged names the file and does not start', CASE, async (t) => {
  const file = readdirSync(node.facts.ledger).find((name) => name.startsWith('ledger_'));
  const path = join(node.facts.ledger, file);
  const bytes = readFileSync(path);
  bytes[Math.floor(bytes.length / 2)] ^= 1;
  writeFileSync(path, bytes);
  node.start();
  assert.equal(await node.end(), 1);
  const last = node.said.trimEnd().split('\n').at(-1);
  t.diagnostic(last);
  assert.match(last, /^error: /);
  assert.ok(last.includes(file), last);
});

/** A reader that would join the node. `changed` has the last word about its configuration. */
async function joinerOf(index, changed, last = (text) => text) {
  const start = `[start]\nhow = "join"\ntargets = ["${node.api.slice('https://'.length)}"]\nservice_certificate = "${network.certificate}"\n\n`;
  const joins = (text) => changed(text.replace(/^role = .*$/m, 'role = "reader"').replace(/\[start\][^]*?(?=\[timing\])/, start));
  const joiner = await network.join(index, joins);
  joiner.rewrite(last);
  return joiner;
}

async function members() {
  const { nodes } = await secured(`${node.api}/node/network/nodes`, network.ca);
  return nodes;
}

async function transferArrives() {
  const load = await preparedLoad([node.ethereum], { senders: 1, signed: 1 });
  const hash = await call(node.ethereum, 'eth_sendRawTransaction', load.rows[0].signed);
  await until(() => call(node.ethereum, 'eth_getTransactionReceipt', [hash]), 10_000, 'no receipt');
}

/** Clients that begin a request and send one more byte of its head a second, for ever. */
async function slowClients(to) {
  const sockets = await Promise.all(Array.from({ length: SLOW_CLIENTS }, () => connected(to)));
  for (const socket of sockets) {
    socket.write('POST / HTTP/1.1\r\nhost: x\r\nx-slow: ');
    const more = setInterval(() => socket.write('x'), 1_000);
    socket.once('close', () => clearInterval(more));
  }
  return sockets;
}

async function connected(to) {
  const socket = connect(to, '127.0.0.1');
  socket.on('error', () => {});
  await once(socket, 'connect');
  // Or the end of the connection would not be seen.
  return socket.resume();
}

/** The status that an endless list gets. */
function sendsTooMuch(url) {
  return new Promise((resolve, reject) => {
    const sent = request(url, { method: 'POST', headers: { 'content-length': LARGE_BODY_BYTES } });
    sent.once('response', (response) => {
      resolve(response.statusCode);
      response.resume();
      sent.destroy();
    });
    sent.on('error', reject);
    const piece = Buffer.alloc(MIB, '[');
    let left = LARGE_BODY_BYTES;
    const more = () => {
      if (left === 0 || sent.destroyed) return;
      left -= MIB;
      sent.write(piece, more);
    };
    more();
  });
}

function port(url) {
  return Number(new URL(url).port);
}
