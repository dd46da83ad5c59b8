// Old chunks leave nodes' folders for an archive: the nodes go on and say what they do not hold, the archive proves what was taken out, others fetch it from
// nodes that have it, or from a node that reads the archive; and it comes back.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { allReceiptsStand, level, preparedLoad } from './load.mjs';
import { Network, coco } from './processes.mjs';
import { until } from './rpc.mjs';

const CASE = { timeout: 120_000 };
const SETTLES_MS = 60_000;
const SNAPSHOT_BYTES = 1;
const ROUNDS_MAX = 20;
const STEADY_RECEIPTS = 100;

let network;
let load;
let running;
let archive;
/** A transaction of the first chunk that has a receipt. */
let old;
const urls = [];

before(async () => {
  network = await Network.start('retention');
  archive = join(network.folder, 'archive');
  for (const node of network.nodes) {
    node.signal('SIGTERM');
    await node.end();
    node.rewrite((text) => text.replace(/^snapshot_bytes = .*$/m, `snapshot_bytes = ${SNAPSHOT_BYTES}`));
    node.start();
    await node.isReady();
    urls.push(node.ethereum);
  }
  load = await preparedLoad(urls, { senders: 4, signed: 20, atOnce: 5 });
  running = load.run();
  running.catch(() => {});
});

after(async () => {
  load?.stop();
  await network?.remove();
});

test('a node without two snapshots, or whose chunks no archive has, keeps all of them', CASE, async () => {
  const [node] = network.nodes;
  const refused = await prune(node);
  assert.equal(refused.code, 1);
  assert.match(refused.error, /archive/);
  for (let round = 0; !network.nodes.every((each) => removable(each).length >= 2); round += 1) {
    assert.ok(round < ROUNDS_MAX, 'no old chunks');
    await load.hasShownMore(STEADY_RECEIPTS);
    await chunkEnds();
  }
  await archived(node);
  old = await oldTransaction(node);
});

test('a node whose old chunks were taken out goes on, restarts, and says what it does not hold', CASE, async (t) => {
  const node = network.nodes[1];
  const [before, leaving] = [bytes(node), removable(node)];
  const dry = await prune(node, '--dry-run');
  assert.deepEqual(JSON.parse(dry.out || assert.fail(dry.error)).removed.map(({ file }) => file), leaving);
  assert.deepEqual(removable(node), leaving);
  await pruned(node);
  t.diagnostic(`${before} bytes of ledger before, ${bytes(node)} after`);
  await load.hasShownMore(STEADY_RECEIPTS);
  await restarted(node);
  const answer = await receipt(node, old);
  assert.equal(answer.status, 404);
  assert.match(answer.body, /TransactionNotHeld/);
  assert.equal((await receipt(network.nodes[0], old)).status, 200);
  assert.equal(await node.metric('coco_ledger_whole'), 0);
  await load.hasShownMore(STEADY_RECEIPTS);
  // Blocks and receipts of Ethereum are in its history.
  await allReceiptsStand(urls, load, performance.now());
  const verified = await coco('ledger', 'verify', node.facts.ledger, '--service', network.certificate, '--torn-tail');
  assert.equal(verified.code, 0, verified.error);
});

test('a node that joins fetches the old chunks from those that have them', CASE, async () => {
  const joiner = await network.join(3, (text) => text.replace(/^role = .*$/m, 'role = "reader"'));
  joiner.start();
  await joiner.isReady();
  await isWhole(joiner);
  assert.equal((await receipt(joiner, old)).status, 200);
  assert.equal(await joiner.stop(), 0, joiner.said.slice(-1_000));
});

test('with the archive beside its folder a node serves all again, also to a node that joins', CASE, async () => {
  const node = network.nodes[1];
  for (const other of [network.nodes[0], network.nodes[2]]) await pruned(other);
  for (const other of [network.nodes[0], network.nodes[2]]) await restarted(other);
  assert.equal((await receipt(network.nodes[2], old)).status, 404);
  node.rewrite((text) => `read_only_ledger_directories = ["${archive}"]\n${text}`);
  await restarted(node);
  assert.equal((await receipt(node, old)).status, 200);
  assert.equal(await node.metric('coco_ledger_whole'), 1);
  const joiner = await network.join(4, (text) => text.replace(/^role = .*$/m, 'role = "reader"'));
  joiner.start();
  await joiner.isReady();
  await isWhole(joiner);
  assert.equal((await receipt(joiner, old)).status, 200);
  assert.equal(await joiner.stop(), 0, joiner.said.slice(-1_000));
});

test('what was taken out is copied back from the archive', CASE, async () => {
  const [node] = network.nodes;
  node.signal('SIGTERM');
  await node.end();
  const restored = await coco('ledger', 'restore', archive, '--to', node.facts.ledger, '--service', network.certificate, '--output', 'json');
  const { copied, begins_behind: behind } = JSON.parse(restored.out || assert.fail(restored.error));
  assert.ok(copied > 0 && behind === null, restored.out);
  node.start();
  await node.isReady();
  assert.equal((await receipt(node, old)).status, 200);
  assert.equal(await node.metric('coco_ledger_whole'), 1);
});

test('an archive that lost or changed a chunk is found out, and nothing more is removed on its word', CASE, async () => {
  const node = network.nodes[2];
  const chunk = join(archive, readdirSync(archive).filter((name) => name.endsWith('.committed')).at(0));
  const whole = readFileSync(chunk);
  const changed = Buffer.from(whole);
  changed[whole.length >> 1] ^= 1;
  writeFileSync(chunk, changed);
  for (const refused of [await prune(node), await archiving(node)]) assert.equal(refused.code, 1, refused.out);
  writeFileSync(chunk, whole);
  await archived(node);
  load.stop();
  await running;
  await level(urls);
  await allReceiptsStand(urls, load);
});

/** The members end the chunk, and each node takes a snapshot there if the ledger has grown by more than that weighs. */
async function chunkEnds() {
  const [asked] = network.nodes;
  const proposed = await network.gov(0, asked, 'propose', 'end-chunk');
  const { proposalId: proposal } = JSON.parse(proposed.out || assert.fail(proposed.error));
  for (const member of [0, 1]) {
    const voted = await network.gov(member, asked, 'vote', proposal, '--yes');
    assert.equal(voted.code, 0, voted.error);
  }
}

/** Complete chunks that lie before the older of the node's two newest snapshots. */
function removable(node) {
  const places = readdirSync(join(node.data, 'snapshots'))
    .map((name) => Number(/^snapshot_(\d+)$/.exec(name)?.[1] ?? NaN)).filter((place) => !Number.isNaN(place)).sort((a, b) => b - a);
  if (places.length < 2) return [];
  const chunks = readdirSync(node.facts.ledger).map((name) => /^ledger_(\d+)-(\d+)\.committed$/.exec(name)).filter((found) => found);
  return chunks.filter(([, , last]) => Number(last) <= places[1]).sort((a, b) => a[1] - b[1]).map(([name]) => name);
}

function bytes(node) {
  return readdirSync(node.facts.ledger).reduce((sum, name) => sum + statSync(join(node.facts.ledger, name)).size, 0);
}

function prune(node, ...more) {
  return coco('ledger', 'prune', node.facts.ledger, '--archive', archive, '--service', network.certificate, '--output', 'json', ...more);
}

function archiving(node) {
  return coco('ledger', 'archive', node.facts.ledger, '--to', archive, '--service', network.certificate);
}

async function archived(node) {
  const done = await archiving(node);
  assert.equal(done.code, 0, done.error);
}

/** Brings the archive up to date, and removes what it has then. */
async function pruned(node) {
  await archived(node);
  const leaving = removable(node);
  assert.ok(leaving.length > 0);
  const done = await prune(node);
  const { removed } = JSON.parse(done.out || assert.fail(done.error));
  assert.ok(removed.length >= leaving.length);
  const left = readdirSync(node.facts.ledger);
  assert.ok(removed.every(({ file }) => !left.includes(file)));
}

async function restarted(node) {
  node.signal('SIGTERM');
  await node.end();
  node.start();
  await node.isReady();
  await level(urls);
}

async function isWhole(node) {
  await until(async () => await node.metric('coco_ledger_whole') === 1, SETTLES_MS, `node ${node.index} did not get the ledger's beginning`)
    .catch((error) => assert.fail(`${error.message}: ${node.said.slice(-2_000)}`));
}

async function oldTransaction(node) {
  const [first] = removable(node);
  const shown = await coco('ledger', 'show', node.facts.ledger, '--output', 'json', '--to', '20');
  assert.equal(shown.code, 0, shown.error);
  const ids = [...shown.out.matchAll(/"(?:txid|transaction_id|id)":"(\d+\.\d+)"/g)].map(([, id]) => id);
  for (const id of ids) if ((await receipt(node, id)).status === 200) return id;
  return assert.fail(`no receipt of a transaction of ${first}: ${shown.out.slice(0, 500)}`);
}

/** `{status, body}` of asking for a receipt. */
function receipt(node, id) {
  return new Promise((resolve, reject) => {
    request(`${node.api}/node/receipt?transaction_id=${id}`, { ca: network.ca, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text) => { body += text; }).on('end', () => resolve({ status: response.statusCode, body }));
    }).on('error', reject).end();
  });
}
