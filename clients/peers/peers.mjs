// Coco beside the other servers that a developer may have: anvil, ganache, hardhat's node. The same load generator (`coco bench ethereum`)
// asks each of them for plain transfers, one server at a time; a table comes out. Its last line is what the machine could do at most: the
// recovery of senders from signatures alone, on all cores, without a server.
//
//     node clients/peers/peers.mjs [COCO]        COCO: the command, target/release/coco unless named
//
// ganache is fetched by npx at the version below; anvil and hardhat are those of clients/package.json. A server that cannot be started is
// left out and said so. Not run in CI: a figure needs a machine that does nothing else.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { MNEMONIC } from '../network.mjs';

const HERE = dirname(fileURLToPath(import.meta.url));
const CLIENTS = join(HERE, '..');
const COCO = process.argv[2] ?? join(CLIENTS, '..', 'target', 'release', 'coco');
const GANACHE = process.env.GANACHE ?? 'npx --yes ganache@7.9.2';
const PORT = 38545;
const GAS_LIMIT = 3_000_000_000;
const STARTS_MS = 90_000;
const STATE = mkdtempSync(join(tmpdir(), 'coco-peers-'));

const ports = [`--port ${PORT}`, '--sawtooth-port 34004', '--sawtooth-rest-port 38008', '--api-port 38000', '--peers-port 38100', '--admin-port 39464'];
const coco = (nodes) => `'${COCO}' dev --nodes ${nodes} --gas-limit ${GAS_LIMIT} --base-fee 1000000000 --json --state '${STATE}/${nodes}' ${ports.join(' ')}`;
const npm = (name) => join(CLIENTS, 'node_modules', '.bin', name);

const SERVERS = [
  { name: 'Coco, three nodes on disk', transactions: 100_000, command: coco(3) },
  { name: 'Coco, one node on disk', transactions: 100_000, command: coco(1) },
  { name: 'anvil, in memory', transactions: 50_000, command: `'${process.env.ANVIL ?? npm('anvil')}' --silent --block-time 1 --gas-limit ${GAS_LIMIT} --port ${PORT}` },
  {
    name: 'ganache, in memory',
    transactions: 3_000,
    command: `${GANACHE} --logging.quiet --chain.chainId 31337 --wallet.mnemonic '${MNEMONIC}' --wallet.defaultBalance 10000 `
      + `--miner.blockTime 1 --miner.blockGasLimit ${GAS_LIMIT} --server.port ${PORT}`,
  },
  { name: "hardhat's node, in memory", transactions: 3_000, command: `'${npm('hardhat')}' --config '${join(HERE, 'hardhat.config.cjs')}' node --port ${PORT}` },
];

const url = `http://127.0.0.1:${PORT}`;

async function answers() {
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'eth_blockNumber', params: [] });
  const response = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body, signal: AbortSignal.timeout(1_000) });
  return 'result' in await response.json();
}

/** Coco says with one line that it is ready; others are once they answer. */
async function started(child, says) {
  if (says) {
    const late = new Promise((resolve) => { setTimeout(resolve, STARTS_MS, false).unref(); });
    return Promise.race([once(child.stdout, 'data').then(() => true), once(child, 'exit').then(() => false), late]);
  }
  for (const end = Date.now() + STARTS_MS; Date.now() < end;) {
    if (child.exitCode !== null) return false;
    if (await answers().catch(() => false)) return true;
    await new Promise((resolve) => { setTimeout(resolve, 250); });
  }
  return false;
}

async function measured({ name, command, transactions }) {
  const child = spawn('sh', ['-c', `exec ${command}`], { cwd: CLIENTS, stdio: ['ignore', 'pipe', 'ignore'], detached: true });
  const ended = once(child, 'exit');
  try {
    child.stdout.resume();
    if (!await started(child, name.startsWith('Coco'))) return `| ${name} | not started | |`;
    const bench = ['bench', 'ethereum', '--url', url, '--transactions', String(transactions), '--output', 'json'];
    const { stdout, stderr, status } = spawnSync(COCO, bench, { encoding: 'utf8', maxBuffer: 1 << 24 });
    if (status !== 0) return `| ${name} | failed: ${stderr.trim().split('\n').at(-1)} | |`;
    const [{ client, runs: [run] }] = JSON.parse(stdout).servers;
    const version = client.split('/').slice(0, 2).join(' ');
    return `| ${name} (${version}) | ${Math.round(run.transactions_per_second).toLocaleString('en')}/s | ${Math.round(run.latency.p50_ms)} ms |`;
  } finally {
    if (child.exitCode === null) process.kill(-child.pid, 'SIGTERM');
    await ended;
  }
}

if (!existsSync(COCO)) throw new Error(`${COCO} is not there: cargo build --release`);
console.log('| server | plain transfers, batches of 100 on 4 connections | send to receipt p50 |\n|---|---|---|');
const only = process.env.ONLY?.split(',');
for (const server of SERVERS.filter(({ name }) => only?.some((part) => name.includes(part)) ?? true)) console.log(await measured(server));
const limit = spawnSync(COCO, ['bench', 'recovery', '--output', 'json'], { encoding: 'utf8' });
if (limit.status === 0) {
  const { recoveries_per_second: rate, threads } = JSON.parse(limit.stdout);
  console.log(`| signature recovery alone, ${threads} threads | ${Math.round(rate).toLocaleString('en')}/s | |`);
}
rmSync(STATE, { recursive: true, force: true });
