// Kills the primary with SIGKILL under load and starts it again, several times. CI runs a short form of it, `faults.test.mjs`; this
// one runs against any network, for as long as one likes. What must hold:
// - service: a transfer first sent after the kill has a receipt in less than 3 s;
// - no receipt ever shown disappears or changes, and each transfer happens exactly once;
// - the killed node, started again, reaches the height that the others had then;
// - at the end all nodes have the same block hash and state root at the same height.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { launch } from '../launch.mjs';
import { allReceiptsStand, exactlyOnce, preparedLoad, sameState } from './load.mjs';
import { height, primary, until } from './rpc.mjs';

const HELP = `node faults/kill_one.mjs [options]
  --ready FILE        the JSON line of a running network
  --network COMMAND   or the command that starts one and prints that line
  --restart COMMAND   starts a node again; {config} is its configuration file
                      (default: target/release/coco node start --config {config})
  --victim N          kill this node, not whoever is primary
  --rounds N          kills (default 3)
  --senders N         (default 20)
  --within MS         longest time without service (default 3000)
`;
const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const REJOIN_MS = 60_000;
const STEADY_MS = 3_000;
const TRANSFERS_PER_SENDER_AND_ROUND = 100;

const { values: options } = parseArgs({
  options: {
    ready: { type: 'string' },
    network: { type: 'string' },
    restart: { type: 'string', default: `'${ROOT}/target/release/coco' node start --config {config}` },
    victim: { type: 'string' },
    rounds: { type: 'string', default: '3' },
    senders: { type: 'string', default: '20' },
    within: { type: 'string', default: '3000' },
    help: { type: 'boolean', default: false },
  },
});

async function main() {
  if (options.help || (options.ready === undefined) === (options.network === undefined)) return process.stdout.write(HELP);
  const logs = join(ROOT, 'clients', 'build', 'logs');
  mkdirSync(logs, { recursive: true });
  const network = options.network
    ? await launch(options.network, { log: join(logs, 'kill_one.log'), deadlineMs: 90_000 })
    : { ready: JSON.parse(readFileSync(options.ready, 'utf8')), stop: async () => {} };
  const restarted = new Map();
  try {
    await kill(network.ready, restarted);
  } finally {
    await Promise.all([...restarted.values()].map(end));
    await network.stop();
  }
}

async function kill(ready, restarted) {
  const rounds = Number(options.rounds);
  const urls = ready.nodes.map(({ ethereum }) => ethereum);
  const load = await preparedLoad(urls, { senders: Number(options.senders), signed: rounds * TRANSFERS_PER_SENDER_AND_ROUND });
  const running = load.run();
  try {
    for (let round = 1; round <= rounds; round += 1) {
      await pause(STEADY_MS);
      const leads = options.victim ?? await primary(ready.nodes, readFileSync(ready.service_certificate));
      await oneRound(round, ready.nodes[leads], urls, load, restarted);
    }
    await pause(STEADY_MS);
  } finally {
    load.stop();
    await running;
  }
  await allReceiptsStand(urls, load);
  await exactlyOnce(urls, load);
  await sameState(urls);
  console.log(`passed: ${load.shown.size} receipts shown, none lost; ${load.sentAgain} transfers sent again; state equal at ${urls.length} nodes`);
}

async function oneRound(round, victim, urls, load, restarted) {
  const survivors = urls.filter((url) => url !== victim.ethereum);
  const killed = performance.now();
  process.kill(restarted.get(victim.node)?.pid ?? victim.pid, 'SIGKILL');
  const outage = await load.firstReceiptOfATransferSentAfter(killed) - killed;
  console.log(`round ${round}: killed node ${victim.node}; service after ${outage.toFixed(0)} ms`);
  assert.ok(outage < Number(options.within), `no service for ${outage.toFixed(0)} ms`);
  await allReceiptsStand(survivors, load, killed);

  const reached = Math.max(...await Promise.all(survivors.map(height)));
  const starting = performance.now();
  restarted.set(victim.node, start(victim));
  await until(async () => await height(victim.ethereum) >= reached, REJOIN_MS, `node ${victim.node} did not reach block ${reached}`);
  console.log(`round ${round}: node ${victim.node} is back, at block ${reached} after ${(performance.now() - starting).toFixed(0)} ms`);
}

function start({ config }) {
  // No shell remains, so the process id is the node's.
  const command = `exec ${options.restart.replaceAll('{config}', `'${config}'`)}`;
  return spawn('sh', ['-c', command], { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] });
}

async function end(child) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  await once(child, 'exit');
}

await main().catch((error) => {
  console.error(`FAILED: ${error.message}`);
  process.exitCode = 1;
});
