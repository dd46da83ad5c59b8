// One network under load, from its first node to its end, while its processes are killed, moved, filled up, retired and stopped.
// What `coco_sim` proves of the machines by seed is looked at here with real processes, disks and sockets.
//
// The checks build on one another: each leaves the network to the next, and the load goes on through all of them.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { keccak256 } from 'ethers';
import { allReceiptsStand, exactlyOnce, level, preparedLoad, sameState } from './load.mjs';
import { Network, coco } from './processes.mjs';
import { answers, call, height, primary, secured, until } from './rpc.mjs';

const CASE = { timeout: 60_000 };
/** What a machine with nothing else to do must keep. */
const NO_SERVICE_MS = Number(process.env.COCO_NO_SERVICE_MS ?? 3_000);
const SETTLES_MS = 20_000;
const STEADY_RECEIPTS = 200;
const FLIPPED_BYTES = 20;
/** A last signature with the certificate of its node takes less. */
const SIGNATURE_BYTES = 4_096;
/** What a nearly full disk has left. */
const ROOM_KIB = 512;

let network;
let load;
let running;
let retired;
/** The nodes that should be up, and the endpoints that the load uses: the same list for good, its content changes. */
const up = [];
const urls = [];

before(async () => {
  network = await Network.start('faults');
  enlist(network.nodes);
  load = await preparedLoad(urls, { senders: 8, signed: 20, atOnce: 5 });
  running = load.run();
  // A load that fails is told of when it is waited for.
  running.catch(() => {});
});

after(async () => {
  load?.stop();
  await network?.remove();
});

for (const round of ['once', 'and once more']) {
  test(`kill -9 of all three nodes at once, ${round}: coco dev --state brings every receipt back`, CASE, async (t) => {
    await load.hasShownMore(STEADY_RECEIPTS);
    const killed = performance.now();
    await network.killAll();
    await network.dev();
    enlist(network.nodes);
    await load.firstReceiptOfATransferSentAfter(performance.now());
    const count = await allReceiptsStand(urls, load, killed);
    assert.ok(count >= STEADY_RECEIPTS);
    t.diagnostic(`${count} receipts stand; in service ${(performance.now() - killed).toFixed(0)} ms after the kill`);
    await sameState(urls);
  });
}

for (const [what, chosen] of [['the primary', (leads) => leads], ['a backup', (leads) => (leads + 1) % 3]]) {
  test(`kill -9 of ${what}: service in less than 3 s, nothing lost, it rejoins when started again`, CASE, async (t) => {
    await load.hasShownMore(STEADY_RECEIPTS);
    const victim = up[chosen(await primary(up, network.ca))];
    const others = up.filter((node) => node !== victim);
    const killed = performance.now();
    victim.signal('SIGKILL');
    const outage = await load.firstReceiptOfATransferSentAfter(killed) - killed;
    t.diagnostic(`node ${victim.index} killed; service after ${outage.toFixed(0)} ms`);
    await allReceiptsStand(others.map(({ ethereum }) => ethereum), load, killed);
    await victim.isGone();
    victim.start();
    await caughtUp(victim, others);
    await sameState(urls);
    assert.ok(outage < NO_SERVICE_MS, `no service for ${outage.toFixed(0)} ms`);
  });
}

test('what was acknowledged and waits for its turn outlives the primary that had it', CASE, async () => {
  const leads = await primary(up, network.ca);
  const [victim, backup] = [up[leads], up[(leads + 1) % 3]];
  const others = up.filter((node) => node !== victim);
  // Behind a gap: nothing of it can be in a block before the primary ends.
  const { rows } = await preparedLoad([victim.ethereum], { senders: 2, signed: 3 });
  const told = [];
  for (const [node, row] of [[victim, rows[0]], [backup, rows[1]]]) {
    for (const raw of row.signed.slice(1)) told.push(await call(node.ethereum, 'eth_sendRawTransaction', [raw]));
  }
  victim.signal('SIGKILL');
  const first = await until(async () => {
    const answered = await answers(backup.ethereum, rows.map((row) => ['eth_sendRawTransaction', [row.signed[0]]]));
    const taken = answered.every(({ result, error }) => result || /already known|nonce too low/i.test(error?.message ?? ''));
    return taken && rows.map((row) => keccak256(row.signed[0]));
  }, SETTLES_MS, 'nobody took the transaction that closes the gap');
  for (const hash of [...first, ...told]) {
    await until(() => call(backup.ethereum, 'eth_getTransactionReceipt', [hash]), SETTLES_MS, `${hash} is gone`);
  }
  await victim.isGone();
  victim.start();
  await caughtUp(victim, others);
});

test('a reader is added, serves reads, forwards writes and is not counted', CASE, async () => {
  const reader = await network.join(3, (text) => text.replace(/^role = .*$/m, 'role = "reader"'));
  const started = performance.now();
  reader.start();
  await caughtUp(reader, up);
  enlist([...up, reader]);
  const leads = up[await primary(up, network.ca)];
  assert.equal(await leads.metric('coco_voters'), 3);
  const [row] = load.rows;
  assert.ok(BigInt(await call(reader.ethereum, 'eth_getBalance', [row.receiver, 'latest'])) > 0n);
  await allReceiptsStand([reader.ethereum], load, started);
  await entersAt(reader);
});

test('a primary that is stopped hands over, and comes back at other addresses', CASE, async (t) => {
  const moved = up[await primary(up, network.ca)];
  const others = up.filter((node) => node !== moved);
  const id = await moved.id();
  const told = performance.now();
  moved.signal('SIGTERM');
  const outage = await load.firstReceiptOfATransferSentAfter(told) - told;
  t.diagnostic(`node ${moved.index} told to stop; service after ${outage.toFixed(0)} ms`);
  assert.ok([0, undefined].includes(await moved.end()), 'its exit code');

  moved.move('127.0.0.2');
  moved.start();
  await caughtUp(moved, others);
  // In other names too: what it is reached by now is in the certificate that it answers with.
  assert.notEqual(await moved.id(), id);
  for (const node of up) {
    await until(async () => {
      const { nodes } = await secured(`${node.api}/node/network/nodes`, network.ca);
      const there = nodes.filter(({ index, status }) => index === moved.index && status === 'Trusted');
      return there.length === 1 && `https://${there[0].published_address}` === moved.api;
    }, SETTLES_MS, `node ${node.index} did not learn the new address`);
  }
  enlist(up);
  await entersAt(moved);
  assert.ok(outage < NO_SERVICE_MS, `no service for ${outage.toFixed(0)} ms`);
});

test('a voter whose disk is full ends and says so, the others go on, and it comes back when there is room', CASE, async (t) => {
  const leads = await primary(up, network.ca);
  const victim = up.find((node, i) => i !== leads && node.index < 3 && !node.api.includes('127.0.0.2'));
  const others = up.filter((node) => node !== victim);
  await victim.stop();
  const { how, within } = littleRoom(victim);
  t.diagnostic(how);
  victim.start(within);
  assert.equal(await victim.end(), 1, victim.said.slice(-1_000));
  const last = victim.said.trimEnd().split('\n').at(-1);
  t.diagnostic(last);
  assert.match(last, /^error: .*(No space left on device|File too large)/);
  await load.firstReceiptOfATransferSentAfter(performance.now());
  victim.start();
  await caughtUp(victim, others);
  await sameState(urls);
});

test('a node is removed by vote, and the rest goes on', CASE, async (t) => {
  const leads = up[await primary(up, network.ca)];
  retired = leads.api.includes('127.0.0.2') ? up.find((node) => node !== leads && node.index < 3) : leads;
  t.diagnostic(`node ${retired.index}${retired === leads ? ', the primary' : ''}`);
  const asked = up.find((node) => node !== retired);
  const proposed = await network.gov(0, asked, 'propose', 'remove-node', await retired.id());
  const { proposalId: proposal } = JSON.parse(proposed.out || assert.fail(proposed.error));
  for (const member of [0, 1]) {
    const voted = await network.gov(member, asked, 'vote', proposal, '--yes');
    assert.equal(voted.code, 0, voted.error);
  }
  const decided = performance.now();
  enlist(up.filter((node) => node !== retired));
  const outage = await load.firstReceiptOfATransferSentAfter(decided) - decided;
  t.diagnostic(`service ${outage.toFixed(0)} ms after the vote`);
  await until(async () => await up[await primary(up, network.ca)].metric('coco_voters') === 2, SETTLES_MS, 'there were not 2 voters');
  const { nodes } = await secured(`${asked.api}/node/network/nodes`, network.ca);
  assert.ok(!nodes.some(({ index, status }) => index === retired.index && status === 'Trusted'), 'it is trusted no more');
  assert.ok(outage < NO_SERVICE_MS, `no service for ${outage.toFixed(0)} ms`);
});

test('with one of two voters gone a reader does not make a majority, and reads go on', CASE, async (t) => {
  const reader = up.find(({ index }) => index === 3);
  const [victim, survivor] = up.filter((node) => node !== reader);
  const killed = performance.now();
  victim.signal('SIGKILL');
  let served = false;
  const service = load.firstReceiptOfATransferSentAfter(killed).then(() => { served = true; });
  await until(async () => (await fetch(`${survivor.facts.admin}/readyz`)).status === 503, SETTLES_MS, 'the survivor was still ready');
  for (const node of [survivor, reader]) {
    await until(async () => {
      const [{ error }] = await answers(node.ethereum, [['eth_sendRawTransaction', [await load.rows[0].sign(load.rows[0].done)]]]);
      return /primary/i.test(error?.message ?? '');
    }, SETTLES_MS, `node ${node.index} did not refuse a write`);
    assert.ok(await height(node.ethereum) > 0);
  }
  assert.equal(served, false, 'nothing is committed without a majority of the voters');
  await allReceiptsStand([survivor.ethereum, reader.ethereum], load);
  await victim.isGone();
  victim.start();
  const started = performance.now();
  await Promise.all([service, victim.isReady()]);
  t.diagnostic(`in service ${(performance.now() - started).toFixed(0)} ms after the other voter was started`);
  await sameState(urls);
});

test('coco network stop ends every node cleanly, and they start again with all receipts', CASE, async (t) => {
  const { code, out, error } = await coco(
    'network', 'stop', '--api', up[0].api, '--service', network.certificate, ...network.member(0), '--output', 'json');
  assert.equal(code, 0, error);
  assert.deepEqual(JSON.parse(out), { stopping: up.map(({ index }) => index).sort(), silent: [] });
  for (const node of up) assert.equal(await node.end(), 0, node.said.slice(-1_000));
  const stopped = performance.now();
  for (const node of up) node.start();
  await Promise.all(up.map((node) => node.isReady()));
  t.diagnostic(`ready ${(performance.now() - stopped).toFixed(0)} ms after they were started`);
  await load.firstReceiptOfATransferSentAfter(stopped);
  t.diagnostic(`in service ${(performance.now() - stopped).toFixed(0)} ms after`);
  await allReceiptsStand(urls, load, stopped);
});

test('the node that was removed by vote has ended, said so, and stays out', CASE, async () => {
  // It lingers for a while, as the voters that stay may need its vote to hear that it is out.
  assert.ok([1, undefined].includes(await retired.end()), 'its exit code');
  assert.match(retired.log(), /^error: the network removed this node$/m);
  retired.start();
  assert.equal(await retired.end(), 1);
  assert.match(retired.said, /retired it: to take part again, let it join with an empty folder/);
});

test('each transfer happened once, all nodes agree, and all end well when told to', CASE, async (t) => {
  load.stop();
  await running;
  await allReceiptsStand(urls, load);
  await exactlyOnce(urls, load);
  const common = await sameState(urls);
  t.diagnostic(`${load.shown.size} receipts, ${load.sentAgain} transfers sent again, state equal at block ${common}`);
  for (const node of up) assert.equal(await node.stop(), 0, node.said.slice(-1_000));
});

// A thousand places of a smaller ledger: crates/ledger/tests/verify.rs.
test('every ledger verifies, the retired one too, and a flipped byte is named', CASE, async (t) => {
  const folders = [0, 1, 2].map((index) => join(network.state, `node${index}`, 'ledger'));
  for (const folder of [...folders, join(network.folder, 'node3', 'ledger')]) {
    const { code, out, error } = await coco('ledger', 'verify', folder, '--service', network.certificate);
    assert.equal(code, 0, `${folder}: ${error}`);
    t.diagnostic(`${folder}: ${out.split('\n')[0]}`);
  }
  const copy = join(network.folder, 'copy');
  cpSync(up[0].facts.ledger, copy, { recursive: true });
  const files = readdirSync(copy).filter((name) => name.startsWith('ledger_'));
  for (let i = 0; i < FLIPPED_BYTES; i += 1) {
    const file = files[Math.floor(Math.random() * files.length)];
    const path = join(copy, file);
    const bytes = readFileSync(path);
    // Up to the last signature: what is in it is for the next one to cover.
    const place = Math.floor(Math.random() * (bytes.length - SIGNATURE_BYTES));
    bytes[place] ^= 1 << (i % 8);
    writeFileSync(path, bytes);
    const { code, error } = await coco('ledger', 'verify', copy, '--service', network.certificate);
    assert.equal(code, 1, `byte ${place} of ${file}`);
    assert.ok(error.includes(file), `byte ${place} of ${file}: ${error}`);
    bytes[place] ^= 1 << (i % 8);
    writeFileSync(path, bytes);
  }
});

/** These nodes are up, and the load uses them. */
function enlist(nodes) {
  up.splice(0, up.length, ...nodes);
  urls.splice(0, urls.length, ...nodes.map(({ ethereum }) => ethereum));
}

/** A node that was started is ready, and has what the others had. */
async function caughtUp(node, others) {
  await node.isReady();
  await level([node, ...others].map(({ ethereum }) => ethereum));
}

/** A transfer sent at this node has its receipt at every node. */
async function entersAt(node) {
  const alone = await preparedLoad([node.ethereum], { senders: 1, signed: 1 });
  const hash = await call(node.ethereum, 'eth_sendRawTransaction', alone.rows[0].signed);
  for (const url of urls) await until(() => call(url, 'eth_getTransactionReceipt', [hash]), SETTLES_MS, `${url}: no receipt`);
}

/** Leaves a node little more room than it needs now: on a file system of its own where one may be mounted, else for each file. */
function littleRoom(node) {
  const { data } = node;
  const kib = Number(execFileSync('du', ['-sk', data], { encoding: 'utf8' }).split('\t')[0]) + ROOM_KIB;
  const small = `${data}.small`;
  mkdirSync(small);
  const mount = `mount -t tmpfs -o size=${kib}k none '${small}'`;
  const copy = (from, to) => `cp -a --sparse=always '${from}/.' '${to}'`;
  try {
    execFileSync('unshare', ['-rm', 'sh', '-c', mount], { stdio: 'ignore' });
  } catch {
    const open = readdirSync(node.facts.ledger).find((name) => /^ledger_\d+$/.test(name));
    const blocks = Math.ceil(statSync(join(node.facts.ledger, open)).size / 512);
    return { how: `files of at most ${blocks} blocks`, within: (command) => `trap '' XFSZ; ulimit -f ${blocks}; exec ${command}` };
  }
  // The file system goes with the shell that mounted it: what the node has written by then is put back.
  const within = (command) => `exec unshare -rm sh -c ${quoted([
    `${mount} && ${copy(data, small)} && mount --bind '${small}' '${data}' || exit 99`,
    `${command}; code=$?`,
    `umount '${data}' && find '${data}' -mindepth 1 -delete && ${copy(small, data)} || exit 99`,
    'exit $code',
  ].join('\n'))}`;
  return { how: `a disk of ${kib} KiB`, within };
}

function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
