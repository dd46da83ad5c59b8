// A network that was started by an earlier build is upgraded node by node, under load: the members let the new measurement in, then each node is
// stopped and started again with the new executable. Nothing is lost, service goes on, what the earlier build wrote
// opens, and what both wrote is verified by both.
//
// COCO_PREVIOUS names the executable of the earlier build; without it, it is this one with a byte behind it: another measurement, the same formats.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { appendFileSync, chmodSync, copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { allReceiptsStand, exactlyOnce, level, preparedLoad, sameState } from './load.mjs';
import { COCO, Network, ran } from './processes.mjs';
import { primary } from './rpc.mjs';

const CASE = { timeout: 120_000 };
const NO_SERVICE_MS = Number(process.env.COCO_NO_SERVICE_MS ?? 3_000);
const STEADY_RECEIPTS = 100;

let folder;
let network;
let load;
let running;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'coco-previous-'));
  network = await Network.start('upgrade', { program: process.env.COCO_PREVIOUS ?? another(COCO) });
  load = await preparedLoad(network.nodes.map(({ ethereum }) => ethereum), { senders: 6, signed: 20, atOnce: 5 });
  running = load.run();
  running.catch(() => {});
});

after(async () => {
  load?.stop();
  await network?.remove();
  rmSync(folder, { recursive: true, force: true });
});

test('the members let the new executable in', CASE, async (t) => {
  await load.hasShownMore(STEADY_RECEIPTS);
  const measurement = createHash('sha256').update(readFileSync(COCO)).digest('hex');
  assert.notEqual(measurement, createHash('sha256').update(readFileSync(network.program)).digest('hex'));
  const [asked] = network.nodes;
  const proposed = await network.gov(0, asked, 'propose', 'add-virtual-measurement', measurement);
  const { proposalId: proposal } = JSON.parse(proposed.out || assert.fail(proposed.error));
  for (const member of [0, 1]) {
    const voted = await network.gov(member, asked, 'vote', proposal, '--yes');
    assert.equal(voted.code, 0, voted.error);
  }
  t.diagnostic(`measurement ${measurement}`);
});

for (const index of [0, 1, 2]) {
  test(`node ${index} is stopped and started again with the new executable, under load`, CASE, async (t) => {
    const node = network.nodes[index];
    const leads = await primary(network.nodes, network.ca) === index;
    const told = performance.now();
    node.signal('SIGTERM');
    const outage = await load.firstReceiptOfATransferSentAfter(told) - told;
    await node.end();
    node.program = COCO;
    node.start();
    await node.isReady();
    await level(network.nodes.map(({ ethereum }) => ethereum));
    const { version } = await (await fetch(`${node.facts.admin}/version`)).json();
    t.diagnostic(`${leads ? 'the primary; ' : ''}service ${outage.toFixed(0)} ms after it was told to stop; it runs ${version}`);
    await load.hasShownMore(STEADY_RECEIPTS);
    assert.ok(outage < NO_SERVICE_MS, `no service for ${outage.toFixed(0)} ms`);
  });
}

test('nothing was lost, all agree, and the ledgers verify, by the earlier build too if there is one', CASE, async (t) => {
  load.stop();
  await running;
  const urls = network.nodes.map(({ ethereum }) => ethereum);
  const count = await allReceiptsStand(urls, load);
  await exactlyOnce(urls, load);
  const common = await sameState(urls);
  for (const node of network.nodes) assert.equal(await node.stop(), 0, node.said.slice(-1_000));
  const builds = [COCO, process.env.COCO_PREVIOUS].filter((program) => program);
  for (const program of builds) {
    for (const { facts } of network.nodes) {
      const { code, error } = await ran(program, 'ledger', 'verify', facts.ledger, '--service', network.certificate);
      assert.equal(code, 0, `${facts.ledger} by ${program}: ${error}`);
    }
  }
  t.diagnostic(`${count} receipts stand; state equal at block ${common}; ledgers verified by ${builds.join(' and ')}`);
});

/** The same executable to whoever runs it, another to whoever measures it. */
function another(program) {
  const copy = join(folder, 'coco');
  copyFileSync(program, copy);
  appendFileSync(copy, '\n');
  chmodSync(copy, 0o755);
  return copy;
}
