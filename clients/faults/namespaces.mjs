// Three or five nodes, each in a network namespace of its own, on wires that lose, delay and cut packets (`wires.py`); processes that are killed,
// paused, starved of disk and slowed down, one or several at a time, but never a majority for good. By chance, for as long as one likes:
// three minutes in CI, thirty in the nightly run.
//
// What must hold:
// - a transfer first sent after a fault that leaves a majority has a receipt within 3 s (COCO_NO_SERVICE_MS on a busy machine), however long the
//   fault lasts; and so has one first sent after the fault is over;
// - no receipt ever shown disappears or changes, each transfer happens exactly once, all nodes agree at the end;
// - one order explains what clients of several endpoints read and wrote, and blocks hold every acknowledged transaction once;
// - every ledger verifies.
//
// With --wan nothing is broken: the nodes are 100 ms apart there and back, and it says what a primary and a backup carry then, how long a transfer takes,
// and how long the network is without service when its primary is killed at the end. No node may campaign before.
//
// Needs Linux, root, /dev/net/tun, python3, and a C compiler for the slow disk. Without namespaces it says so and ends with code 77.

import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { appendFileSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Counting, History, REGISTERS, Registering } from './history.mjs';
import { allReceiptsStand, exactlyOnce, preparedLoad, sameState } from './load.mjs';
import { Network, coco } from './processes.mjs';
import { height, until } from './rpc.mjs';

const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = dirname(dirname(HERE));
const COCO = process.env.COCO_PROGRAM ?? join(ROOT, 'target', 'release', 'coco');
const LOGS = join(ROOT, 'clients', 'build', 'logs');
const NO_SERVICE_MS = Number(process.env.COCO_NO_SERVICE_MS ?? 3_000);
const READY_MS = 60_000;
const SWAPPED_MS = 120_000;
const PORT = { api: 8000, peers: 8100, admin: 9464, ethereum: 8545 };
/** What a node's disk has at first, and what its ledger may add to that. */
const DISK_MIB = 256;
const DISK_MIB_S = 1;
/** Between nodes that are far apart: milliseconds each way, and what is lost. Clients are near. */
const FAR = { delay: [48, 52], loss: 0.001, near: true };
/** Refused is not failed: the exit code that says so. */
const NOT_HERE = 77;

const { values: options } = parseArgs({
  options: {
    nodes: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '180' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    only: { type: 'string' },
    wan: { type: 'boolean', default: false },
    /** Of `[timing]`: election timeout, heartbeat and batch interval, milliseconds. */
    timing: { type: 'string', default: '1000,100,5' },
  },
});

/** SplitMix32: the faults of a seed are the same again; what processes make of them is not. */
function generator(seed) {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x9e3779b9) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return ((z ^ (z >>> 15)) >>> 0) % below;
  };
}

class Wires {
  static async laid(prefix, count) {
    const child = spawn('python3', [join(HERE, 'wires.py'), prefix, String(count)], { stdio: ['pipe', 'pipe', 'inherit'] });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const { value } = await lines.next();
    if (value !== 'ready') throw new Error('the wires could not be laid');
    return Object.assign(new Wires(), { child, lines });
  }

  async set(command) {
    this.child.stdin.write(`${JSON.stringify(command)}\n`);
    return JSON.parse((await this.lines.next()).value);
  }

  async remove() {
    this.child.stdin.end();
    await once(this.child, 'exit');
  }
}

class Node {
  constructor(run, index) {
    Object.assign(this, { run, index, name: `${run.prefix}${index}`, ip: `10.77.0.${index + 1}`, life: 0 });
    this.folder = join(run.folder, `disk${index}`);
    this.data = join(this.folder, 'data');
    this.config = join(run.folder, `node${index}.toml`);
    this.slow = join(run.folder, `slow${index}`);
    this.log = join(LOGS, `namespaces-node${index}.log`);
    this.ethereum = `http://${this.ip}:${PORT.ethereum}`;
    this.api = `https://${this.ip}:${PORT.api}`;
    this.admin = `http://${this.ip}:${PORT.admin}`;
    rmSync(this.log, { force: true });
    writeFileSync(this.slow, '0');
    mkdirSync(this.folder);
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_MIB + DISK_MIB_S * Number(options.seconds)}m`, 'none', this.folder]);
  }

  /** As `coco dev` writes it, with the namespace's address and this way to start. */
  configure(text, start) {
    const listen = Object.entries(PORT).filter(([name]) => name !== 'ethereum').map(([name, port]) => `${name} = "${this.ip}:${port}"`);
    const section = `[listen]\n${listen.join('\n')}\n\n[listen.ledgers]\nethereum = "${this.ip}:${PORT.ethereum}"\n\n`;
    const [election, heartbeat, batch] = options.timing.split(',');
    const timing = `[timing]\nelection_timeout_ms = ${election}\nheartbeat_ms = ${heartbeat}\nbatch_interval_ms = ${batch}\n`;
    writeFileSync(this.config, text
      .replace(/^index = .*$/m, `index = ${this.index}`)
      .replace(/^data = .*$/m, `data = "${this.data}"`)
      .replace(/\[listen\][^]*?(?=\[start\])/, section)
      .replace(/\[start\][^]*?(?=\n\[)/, start)
      .replace(/\[timing\][^]*?(?=\n\[)/, timing));
  }

  start() {
    const env = { ...process.env, NO_COLOR: '1', LD_PRELOAD: this.run.slowSync, SLOW_SYNC: this.slow };
    const child = spawn('ip', ['netns', 'exec', this.name, COCO, 'node', 'start', '--config', this.config], { stdio: ['ignore', 'ignore', 'pipe'], env });
    child.stderr.on('data', (text) => appendFileSync(this.log, text));
    this.child = child;
    this.life += 1;
    this.ended = once(child, 'close');
    this.gone = false;
    this.ended.then(() => { if (this.child === child) this.gone = true; });
  }

  get runs() {
    return this.child !== undefined && !this.gone;
  }

  signal(name) {
    if (this.runs) this.child.kill(name);
  }

  async metric(name) {
    const text = await (await fetch(`${this.admin}/metrics`)).text();
    return Number(text.match(new RegExp(`^${name} (.*)$`, 'm'))[1]);
  }

  async isReady(limit = READY_MS) {
    await until(async () => (await fetch(`${this.admin}/readyz`, { signal: AbortSignal.timeout(2_000) })).ok, limit, `node ${this.index} was not ready`);
  }
}

class Run {
  static async begun() {
    const run = new Run();
    Object.assign(run, { count: Number(options.nodes), below: generator(Number(options.seed)), injected: new Map(), outages: { during: [], after: [] } });
    run.prefix = `coco${process.pid % 10_000}n`;
    run.folder = mkdtempSync(join(tmpdir(), 'coco-namespaces-'));
    mkdirSync(LOGS, { recursive: true });
    run.slowSync = join(run.folder, 'slow_sync.so');
    execFileSync('cc', ['-shared', '-fPIC', '-O1', '-o', run.slowSync, join(HERE, 'slow_sync.c'), '-ldl']);
    run.wires = await Wires.laid(run.prefix, run.count);
    run.nodes = Array.from({ length: run.count }, (_, index) => new Node(run, index));
    return run;
  }

  /** The members' keys and the genesis come from `coco dev`; the network itself begins in the namespaces. */
  async found() {
    const dev = await Network.start('namespaces-genesis', { nodes: 1 });
    const text = readFileSync(dev.nodes[0].facts.config, 'utf8');
    const genesis = JSON.parse(readFileSync(join(dev.state, 'genesis.json'), 'utf8'));
    writeFileSync(join(this.folder, 'genesis.json'), JSON.stringify({ ...genesis, opens_at_once: true, recovery_threshold: 1 }));
    for (const file of readdirSync(dev.state).filter((name) => name.startsWith('member'))) copyFileSync(join(dev.state, file), join(this.folder, file));
    await dev.remove();
    const [first, ...others] = this.nodes;
    first.configure(text.replace(/^genesis = .*$/m, ''), `[start]\nhow = "new"\ngenesis = "${join(this.folder, 'genesis.json')}"\n`);
    first.start();
    await first.isReady();
    this.certificate = join(first.data, 'service_certificate.pem');
    this.ca = readFileSync(this.certificate);
    for (const node of others) {
      const targets = this.nodes.slice(0, node.index).map(({ ip }) => `"${ip}:${PORT.api}"`).join(', ');
      node.configure(text, `[start]\nhow = "join"\ntargets = [${targets}]\nservice_certificate = "${this.certificate}"\n`);
      node.start();
      await node.isReady();
    }
  }

  /** The members vote for an application in JavaScript. */
  async install(bundle) {
    const file = join(this.folder, 'bundle.json');
    writeFileSync(file, JSON.stringify(bundle));
    const gov = async (member, ...command) => {
      const [cert, key] = ['cert', 'privk'].map((kind) => join(this.folder, `member${member}_${kind}.pem`));
      const { code, out, error } = await coco('gov', ...command, '--api', this.nodes[0].api, '--service', this.certificate, '--cert', cert, '--key', key, '--output', 'json');
      assert.equal(code, 0, error);
      return out;
    };
    for (const member of [0, 1]) await gov(member, 'ack');
    const { proposalId } = JSON.parse(await gov(0, 'propose', 'set-js-app', '--bundle', file));
    for (const member of [0, 1]) await gov(member, 'vote', proposalId, '--yes');
  }

  any() {
    return this.nodes[this.below(this.count)];
  }

  /** What is down, cut off or paused must leave a majority. */
  some() {
    const most = Math.ceil(this.count / 2) - 1;
    return this.shuffled().slice(0, 1 + this.below(most));
  }

  shuffled() {
    return this.nodes.map((node) => [this.below(1_000), node]).sort(([a], [b]) => a - b).map(([, node]) => node);
  }

  async calm() {
    await this.wires.set({ cut: [], ...(options.wan ? FAR : { loss: 0, delay: [0, 0] }) });
  }

  async remove() {
    for (const node of this.nodes) node.signal('SIGKILL');
    await Promise.all(this.nodes.filter(({ child }) => child).map(({ ended }) => ended));
    for (const node of this.nodes) spawnSync('umount', ['-l', node.folder]);
    await this.wires.remove();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/**
 * Each makes trouble for a while, and takes it back; what it returns was hurt and must come back. Where a majority is left it calls `harmed` once
 * the harm is done: from then on service is timed. The promise that this returns resolves once there is service.
 */
const FAULTS = {
  async partition(run, harmed) {
    const apart = run.some();
    const cut = run.nodes.flatMap((one) => run.nodes.filter((other) => apart.includes(one) !== apart.includes(other)).map((other) => [one.index, other.index]));
    await run.wires.set({ cut });
    harmed();
    await pause(2_000 + run.below(6_000));
    await run.calm();
    return [];
  },
  /** One that was cut off is back, and at once another goes: what is left is a majority only if those two find each other. */
  async cut_then_kill(run, harmed) {
    const [apart, ...others] = run.shuffled();
    await run.wires.set({ cut: others.flatMap(({ index }) => [[apart.index, index], [index, apart.index]]) });
    // From the kill on there may be no majority until the wires are whole again.
    await Promise.all([harmed(), pause(2_000 + run.below(6_000))]);
    const victim = others[0];
    victim.signal('SIGKILL');
    await victim.ended;
    await run.calm();
    victim.start();
    return [victim];
  },
  async one_way_cut(run, harmed) {
    const [victim] = run.some();
    const mute = run.below(2) === 0;
    await run.wires.set({ cut: run.nodes.filter((node) => node !== victim).map(({ index }) => (mute ? [victim.index, index] : [index, victim.index])) });
    harmed();
    await pause(2_000 + run.below(5_000));
    await run.calm();
    return [];
  },
  async loss(run, harmed) {
    await run.wires.set({ loss: 0.01 + run.below(6) / 100 });
    harmed();
    await pause(3_000 + run.below(5_000));
    await run.calm();
    return [];
  },
  async delay(run, harmed) {
    const least = run.below(60);
    await run.wires.set({ delay: [least, least + run.below(60)] });
    harmed();
    await pause(3_000 + run.below(5_000));
    await run.calm();
    return [];
  },
  async kill(run, harmed) {
    const victims = run.some();
    victims.forEach((node) => node.signal('SIGKILL'));
    await Promise.all(victims.map(({ ended }) => ended));
    harmed();
    await pause(run.below(3_000));
    victims.forEach((node) => node.start());
    return victims;
  },
  async kill_all(run) {
    run.nodes.forEach((node) => node.signal('SIGKILL'));
    await Promise.all(run.nodes.map(({ ended }) => ended));
    run.nodes.forEach((node) => node.start());
    return run.nodes;
  },
  async pause(run, harmed) {
    const victims = run.some();
    victims.forEach((node) => node.signal('SIGSTOP'));
    harmed();
    await pause(500 + run.below(5_000));
    victims.forEach((node) => node.signal('SIGCONT'));
    return [];
  },
  async full_disk(run, harmed) {
    const [victim] = run.some();
    const filler = join(victim.folder, 'filler');
    const { bavail, bsize } = statfsSync(victim.folder);
    const kib = Math.max(1, Math.floor((bavail * bsize) / 1024) - run.below(200));
    // The node may take the last of it first: then the disk is as full as it was to be.
    await once(spawn('dd', ['if=/dev/zero', `of=${filler}`, 'bs=64K', 'iflag=count_bytes', `count=${kib}K`], { stdio: 'ignore' }), 'close');
    harmed();
    const ended = await Promise.race([victim.ended.then(() => true), pause(15_000, false)]);
    rmSync(filler);
    if (ended) victim.start();
    return ended ? [victim] : [];
  },
  async slow_disk(run, harmed) {
    const victims = run.some();
    victims.forEach((node) => writeFileSync(node.slow, String(20 + run.below(400))));
    harmed();
    await pause(3_000 + run.below(4_000));
    victims.forEach((node) => writeFileSync(node.slow, '0'));
    return [];
  },
};

async function main() {
  let run;
  try {
    run = await Run.begun();
  } catch (error) {
    console.log(`not run: no network namespaces on this machine: ${error.message.split('\n')[0]}`);
    process.exitCode = NOT_HERE;
    return;
  }
  const told = new Promise((_, reject) => { process.once('SIGTERM', () => reject(new Error('told to end before it was done'))); });
  try {
    await Promise.race([run.found().then(() => (options.wan ? far(run) : wild(run))), told]);
  } finally {
    await run.remove();
  }
}

async function wild(run) {
  const urls = run.nodes.map(({ ethereum }) => ethereum);
  const history = new History(join(LOGS, 'namespaces.history'));
  const load = await preparedLoad(urls, { senders: 6, signed: 20, atOnce: 5 });
  const counting = await Counting.prepared(urls, history);
  await run.install(REGISTERS);
  const registering = new Registering(run.nodes.map(({ api }) => api), run.ca, history);
  const clients = [load, counting, registering];
  const running = clients.map((each) => each.run());
  running.forEach((each) => each.catch(() => {}));
  const names = options.only?.split(',') ?? Object.keys(FAULTS);
  const until = performance.now() + Number(options.seconds) * 1000;
  console.log(`${run.count} nodes, seed ${options.seed}`);
  while (performance.now() < until) {
    const name = names[run.below(names.length)];
    run.injected.set(name, (run.injected.get(name) ?? 0) + 1);
    let during;
    const hurt = await FAULTS[name](run, () => {
      during = serviceFrom(load, performance.now());
      return during;
    });
    const healed = performance.now();
    const [harm, outage] = await Promise.all([during, serviceFrom(load, healed)]);
    if (during) run.outages.during.push(harm);
    run.outages.after.push(outage);
    console.log(`${name}: service ${during ? `${harm.toFixed(0)} ms from its beginning, ` : ''}${outage.toFixed(0)} ms after`);
    assert.ok(!during || harm < NO_SERVICE_MS, `no service for ${harm?.toFixed(0)} ms from the beginning of ${name}`);
    // When all are down there is no majority until they have found one another.
    const allowed = NO_SERVICE_MS + (hurt.length === run.count ? 10_000 : 0);
    assert.ok(outage < allowed, `no service for ${outage.toFixed(0)} ms after ${name}`);
    for (const node of hurt) await comesBack(run, node);
    if (hurt.length > 0) console.log(`  back after ${(performance.now() - healed).toFixed(0)} ms: ${hurt.map(({ index }) => index).join(', ')}`);
    await pause(500 + run.below(1_500));
  }
  clients.forEach((each) => each.stop());
  await Promise.all(running);
  console.log('the load has ended');
  await allIsWell(run, urls, load, counting, history);
}

/** Milliseconds from `time` until the receipt of a transfer was seen that was first sent after it. */
function serviceFrom(load, time) {
  const waited = load.firstReceiptOfATransferSentAfter(time).then((seen) => seen - time);
  // Whoever waits for it is told; the fault goes on meanwhile.
  waited.catch(() => {});
  return waited;
}

/** Nodes that are far from each other, and otherwise well. */
async function far(run) {
  await run.calm();
  const urls = run.nodes.map(({ ethereum }) => ethereum);
  const roles = await Promise.all(run.nodes.map((node) => node.metric('coco_is_primary')));
  const [primary, backup] = [1, 0].map((role) => run.nodes[roles.indexOf(role)]);
  const view = await primary.metric('coco_view');
  console.log(`${run.count} nodes, ${FAR.delay.join('-')} ms each way, timing ${options.timing}`);
  for (const [where, node] of [['primary', primary], ['backup', backup]]) {
    for (const how of [['--single', '--transactions', '100'], ['--transactions', '30000']]) {
      const measured = spawnSync(COCO, ['bench', 'ethereum', '--url', node.ethereum, ...how], { encoding: 'utf8' });
      assert.equal(measured.status, 0, measured.stderr);
      console.log(`at the ${where}, ${how[0] === '--single' ? 'one after the other' : 'all at once'}:${measured.stdout.replace(/^.*$/m, '').trimEnd()}`);
    }
  }
  const load = await preparedLoad(urls, { senders: 6, signed: 20, atOnce: 5 });
  const running = load.run();
  running.catch(() => {});
  for (const until = performance.now() + Number(options.seconds) * 1000; performance.now() < until; await pause(5_000)) {
    const views = await Promise.all(run.nodes.map((node) => node.metric('coco_view')));
    assert.ok(views.every((each) => each === view), `a node campaigned: views ${views}, and before ${view}`);
  }
  console.log(`view ${view} for ${options.seconds} s under load, ${load.shown.size} receipts`);
  const killed = performance.now();
  primary.signal('SIGKILL');
  const outage = await load.firstReceiptOfATransferSentAfter(killed) - killed;
  console.log(`primary killed: service ${outage.toFixed(0)} ms after`);
  assert.ok(outage < 3 * Number(options.timing.split(',')[0]) + NO_SERVICE_MS, 'it took too long');
  load.stop();
  await running;
  const receipts = await allReceiptsStand(urls.filter((url) => url !== primary.ethereum), load);
  console.log(`passed: ${receipts} receipts stand, none lost`);
}

/** A node that was started again has what the others had; one that the network meanwhile gave up joins afresh. */
async function comesBack(run, node) {
  const others = run.nodes.filter((other) => other !== node && other.runs);
  const reached = Math.max(...await Promise.all(others.map(({ ethereum }) => height(ethereum).catch(() => 0))));
  await until(async () => {
    assert.ok(node.runs, `node ${node.index} ended: ${readFileSync(node.log, 'utf8').slice(-600)}`);
    return await height(node.ethereum) >= reached;
  }, SWAPPED_MS, `node ${node.index} did not reach block ${reached}`);
}

async function allIsWell(run, urls, load, counting, history) {
  const receipts = await allReceiptsStand(urls, load);
  await exactlyOnce(urls, load);
  const common = await sameState(urls);
  for (const url of urls) await counting.readBlocks(url);
  await history.close();
  console.log(`${receipts} receipts stand, every transfer happened once`);
  const judged = await history.judge();
  const { carried, lost, cut } = await run.wires.set({});
  for (const node of run.nodes) node.signal('SIGTERM');
  await Promise.all(run.nodes.map(({ ended }) => ended));
  for (const node of run.nodes) {
    const { code, error } = await coco('ledger', 'verify', join(node.data, 'ledger'), '--service', run.certificate);
    assert.equal(code, 0, `node ${node.index}: ${error}`);
  }
  const faults = [...run.injected].map(([name, count]) => `${name} ${count}`).join(', ');
  console.log(`faults: ${faults}; packets carried ${carried}, lost ${lost}, cut ${cut}`);
  const longest = (outages) => Math.max(0, ...outages).toFixed(0);
  console.log(`longest without service: ${longest(run.outages.during)} ms from a fault's beginning, ${longest(run.outages.after)} ms after one`);
  console.log(`${load.sentAgain} transfers sent again`);
  console.log(judged);
  console.log(`passed: ${receipts} receipts stand at ${run.count} nodes, none lost; state equal at block ${common}; every ledger verifies`);
}

await main().catch((error) => {
  console.error(`FAILED: ${error.message}`);
  // The clients would go on asking nodes that are no more.
  process.exit(1);
});
