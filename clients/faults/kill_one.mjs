// Kills the primary with SIGKILL under load and starts it again, several times.
//
// The load is signed beforehand: each sender has a row of transfers and sends the next one when the last has a receipt.
// A transfer that fails at one endpoint is sent again, the same bytes, at the next. What must hold:
// - service: a transfer first sent after the kill has a receipt in less than 3 s;
// - no receipt ever shown disappears or changes, and each transfer happens exactly once;
// - the killed node, started again, reaches the height that the others had then;
// - at the end all nodes have the same block hash and state root at the same height.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync } from 'node:fs';
import { request } from 'node:https';
import { dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { HDNodeWallet, Wallet, keccak256, parseEther, parseUnits } from 'ethers';
import { launch } from '../launch.mjs';
import { ACCOUNT, CHAIN_ID, MNEMONIC } from '../network.mjs';

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
const CALL_MS = 2_000;
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
  const load = await preparedLoad(urls, Number(options.senders), rounds * TRANSFERS_PER_SENDER_AND_ROUND);
  const running = load.run();
  try {
    for (let round = 1; round <= rounds; round += 1) {
      await pause(STEADY_MS);
      const victim = ready.nodes[options.victim ?? await primary(ready)];
      await oneRound(round, victim, urls, load, restarted);
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

/** The index of the primary, from any node that answers. */
async function primary(ready) {
  const ca = readFileSync(ready.service_certificate);
  for (const { api } of ready.nodes) {
    const network = await secured(`${api}/node/network`, ca).catch(() => undefined);
    if (network === undefined) continue;
    const states = await Promise.all(ready.nodes.map((node) => secured(`${node.api}/node/state`, ca).catch(() => ({}))));
    const index = states.findIndex(({ node_id: id }) => id !== undefined && id === network.primary_id);
    if (index >= 0) return index;
  }
  throw new Error('no node names a primary');
}

/** Senders with money and signed transfers, each sender's to a receiver of its own, one wei each. */
async function preparedLoad(urls, senders, transfers) {
  const rich = HDNodeWallet.fromPhrase(MNEMONIC, '', `m/44'/60'/0'/0/${ACCOUNT.faults}`);
  const nonce = Number(await call(urls[0], 'eth_getTransactionCount', [rich.address, 'pending']));
  const fees = { type: 2, chainId: CHAIN_ID, gasLimit: 21_000n, maxFeePerGas: parseUnits('1000', 'gwei'), maxPriorityFeePerGas: 1n };
  const rows = [];
  for (let i = 0; i < senders; i += 1) {
    const wallet = Wallet.createRandom();
    const receiver = Wallet.createRandom().address;
    const sign = (each) => wallet.signTransaction({ ...fees, nonce: each, to: receiver, value: 1n });
    const value = parseEther('0.1') * BigInt(transfers);
    const funding = await rich.signTransaction({ ...fees, nonce: nonce + i, to: wallet.address, value });
    rows.push({ wallet, receiver, sign, signed: [], done: 0, funding: await call(urls[0], 'eth_sendRawTransaction', [funding]) });
  }
  for (const row of rows) {
    await until(() => call(urls[0], 'eth_getTransactionReceipt', [row.funding]), REJOIN_MS, 'the senders got no money');
    for (let i = 0; i < transfers; i += 1) row.signed.push(await row.sign(i));
  }
  return new Load(urls, rows);
}

class Load {
  constructor(urls, rows) {
    Object.assign(this, { urls, rows, stopped: false, sentAgain: 0, waiters: [] });
    /** Every receipt that any endpoint has shown: hash to {blockHash, blockNumber, transactionIndex, at}. */
    this.shown = new Map();
  }

  async run() {
    await Promise.all(this.rows.map((row, i) => this.#send(row, i)));
  }

  stop() {
    this.stopped = true;
  }

  /** The time at which the receipt of a transfer was first seen that was first sent after `time`. */
  firstReceiptOfATransferSentAfter(time) {
    const seen = new Promise((resolve) => { this.waiters.push({ time, resolve }); });
    const late = pause(REJOIN_MS, undefined, { ref: false }).then(() => assert.fail(`no service for ${REJOIN_MS} ms`));
    return Promise.race([seen, late]);
  }

  async #send(row, first) {
    let endpoint = first;
    while (!this.stopped) {
      // Beyond those signed beforehand, if a node takes long to come back.
      const raw = row.signed[row.done] ?? await row.sign(row.done);
      const sent = performance.now();
      let receipt;
      for (let tries = 0; receipt === undefined; tries += 1) {
        receipt = await this.#try(this.urls[endpoint % this.urls.length], raw);
        if (receipt !== undefined) break;
        endpoint += 1;
        this.sentAgain += 1;
        assert.ok(performance.now() - sent < REJOIN_MS, 'a transfer found no endpoint that took it');
      }
      row.done += 1;
      this.#saw(receipt, sent);
    }
  }

  /** Sends and waits for the receipt at one endpoint; undefined if that endpoint does not give one soon. */
  async #try(url, raw) {
    try {
      const hash = await call(url, 'eth_sendRawTransaction', [raw]).catch((error) => {
        // An endpoint that took it before says so in one of these ways.
        if (/already known|already imported|nonce too low/i.test(error.message)) return undefined;
        throw error;
      }) ?? keccak256(raw);
      for (const deadline = performance.now() + CALL_MS; performance.now() < deadline;) {
        const receipt = await call(url, 'eth_getTransactionReceipt', [hash]);
        if (receipt !== null) return receipt;
        await pause(20);
      }
    } catch {
      await pause(20);
    }
    return undefined;
  }

  #saw({ transactionHash: hash, blockHash, blockNumber, transactionIndex, status }, sent) {
    assert.equal(status, '0x1');
    const at = performance.now();
    this.shown.set(hash, { blockHash, blockNumber, transactionIndex, at });
    this.waiters = this.waiters.filter(({ time, resolve }) => {
      if (sent <= time) return true;
      resolve(at);
      return false;
    });
  }
}

/** Every receipt shown before `time` is at every endpoint, and says the same. */
async function allReceiptsStand(urls, load, time = Infinity) {
  const hashes = [...load.shown].filter(([, { at }]) => at < time).map(([hash]) => hash);
  for (const url of urls) {
    for (let i = 0; i < hashes.length; i += 100) {
      const part = hashes.slice(i, i + 100);
      const receipts = await batch(url, part.map((hash) => ['eth_getTransactionReceipt', [hash]]));
      part.forEach((hash, j) => {
        const { at, ...expected } = load.shown.get(hash);
        assert.ok(receipts[j], `${url} has lost the receipt of ${hash}`);
        const { blockHash, blockNumber, transactionIndex } = receipts[j];
        assert.deepEqual({ blockHash, blockNumber, transactionIndex }, expected, `${url} changed the receipt of ${hash}`);
      });
    }
  }
}

/** Each receiver has one wei for each of its sender's transfers that has a receipt. */
async function exactlyOnce(urls, load) {
  for (const url of urls) {
    for (const { receiver, wallet, done } of load.rows) {
      assert.equal(Number(await call(url, 'eth_getBalance', [receiver, 'latest'])), done, `${url}: transfers of ${wallet.address}`);
      assert.equal(Number(await call(url, 'eth_getTransactionCount', [wallet.address, 'latest'])), done);
    }
  }
}

async function sameState(urls) {
  const lowest = Math.min(...await Promise.all(urls.map(height)));
  for (const number of [lowest, Math.floor(lowest / 2)]) {
    const blocks = await Promise.all(urls.map((url) => call(url, 'eth_getBlockByNumber', [`0x${number.toString(16)}`, false])));
    for (const block of blocks) assert.deepEqual(block, blocks[0], `block ${number}`);
    assert.match(blocks[0].stateRoot, /^0x[0-9a-f]{64}$/);
  }
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

async function height(url) {
  return Number(await call(url, 'eth_blockNumber', []));
}

async function call(url, method, params) {
  const [result] = await batch(url, [[method, params]]);
  return result;
}

async function batch(url, calls) {
  const body = JSON.stringify(calls.map(([method, params], id) => ({ jsonrpc: '2.0', id, method, params })));
  const response = await fetch(url, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body, signal: AbortSignal.timeout(CALL_MS),
  });
  const answers = await response.json();
  return calls.map((_, id) => {
    const answer = answers.find((each) => each.id === id);
    if (answer.error) throw new Error(answer.error.message);
    return answer.result;
  });
}

function secured(url, ca) {
  return new Promise((resolve, reject) => {
    const asked = request(url, { ca, timeout: CALL_MS }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text) => { body += text; }).on('end', () => {
        if (response.statusCode === 200) resolve(JSON.parse(body));
        else reject(new Error(`${url}: ${response.statusCode}`));
      });
    });
    asked.on('timeout', () => asked.destroy(new Error(`${url}: no answer`)));
    asked.on('error', reject).end();
  });
}

/** Asks until the answer is neither false nor null; an error counts as no. */
async function until(asked, limitMs, complaint) {
  for (const deadline = performance.now() + limitMs; performance.now() < deadline; await pause(20)) {
    if (await asked().catch(() => false)) return;
  }
  assert.fail(`${complaint} in ${limitMs} ms`);
}

await main().catch((error) => {
  console.error(`FAILED: ${error.message}`);
  process.exitCode = 1;
});
