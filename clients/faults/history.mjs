// Records what clients saw, for `coco-sim history`: one line of JSON an operation. Times are microseconds of this process's clock.
//
// Two kinds of clients. Ethereum's have no read that is sure to see all that was committed before (`latest` at a backup may be a moment old), so theirs
// are transactions to small contracts, each a counter that logs its total: the receipt says where in the one order the transaction came. One
// that adds nothing is a read. Any endpoint may take it, and any may show the receipt.
//
// The others write and read registers of an application in JavaScript, whose reads are linearizable at every node (`forwarding_required`).

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createWriteStream, existsSync } from 'node:fs';
import { once } from 'node:events';
import { Agent } from 'node:https';
import { dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { HDNodeWallet, Wallet, getCreateAddress, keccak256, parseEther, parseUnits } from 'ethers';
import { ACCOUNT, CHAIN_ID, MNEMONIC } from '../network.mjs';
import { call, https, until } from './rpc.mjs';

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const WAIT_MS = 60_000;
const POLL_MS = 40;
/**
 * No primary, an outcome that is not known, the same write still under way, too much to do: whoever is told so asks again. A node that was started
 * again may be where there was no application yet.
 */
const isForNow = ({ status, body }) => [404, 503, 504].includes(status) || /IdempotencyKeyInUse|TooManyPendingTransactions/.test(body);
/** Adds the number that it is given to its first slot, and logs and keeps the total. */
const RUNTIME = '600035600054018060005560005260206000a000';
const CREATION = `0x73${RUNTIME}6000526014600cf3`;
const amount = (number) => `0x${number.toString(16).padStart(64, '0')}`;

const endpoint = (js_function, mode) => (
  { js_module: 'registers.js', js_function, mode, forwarding_required: 'always', authn_policies: ['no_auth'], openapi: {} }
);

/** What the members install: `coco gov propose set-js-app --bundle`. */
export const REGISTERS = {
  metadata: { endpoints: { '/registers/{name}': { put: endpoint('write', 'readwrite'), get: endpoint('read', 'readonly') } } },
  modules: [{
    name: 'registers.js',
    module: `
      const registers = ccf.kv['public:registers'];
      const key = ({ params }) => ccf.strToBuf(params.name);
      export function write(request) {
        registers.set(key(request), ccf.strToBuf(request.body.text()));
        return { statusCode: 200, body: {} };
      }
      export function read(request) {
        const value = registers.get(key(request));
        return { body: { value: value === undefined ? null : ccf.bufToStr(value) } };
      }`,
  }],
};

export class History {
  constructor(file) {
    this.file = file;
    this.stream = createWriteStream(file);
    this.count = 0;
  }

  static now() {
    return Math.round(performance.now() * 1000);
  }

  record(operation) {
    this.count += 1;
    this.stream.write(`${JSON.stringify(operation)}\n`);
  }

  async close() {
    this.stream.end();
    await once(this.stream, 'close');
  }

  /** Whether one order explains it, by the checker. */
  async judge() {
    const program = checker();
    assert.ok(program, 'coco-sim is not built: cargo build --release -p coco-sim');
    const { code, out } = await new Promise((resolve) => {
      execFile(program, ['history', this.file], (failure, out) => resolve({ code: failure?.code ?? 0, out }));
    });
    assert.equal(code, 0, out);
    return out.trim();
  }
}

/** The checker's executable, whichever build is there. */
export function checker() {
  const built = ['release', 'debug'].map((kind) => join(ROOT, 'target', kind, 'coco-sim'));
  return [process.env.COCO_SIM, ...built].find((program) => program && existsSync(program));
}

/** Clients that count at counters and read them, until stopped. */
export class Counting {
  static async prepared(urls, history, { clients = 4, counters = 3 } = {}) {
    const rich = HDNodeWallet.fromPhrase(MNEMONIC, '', `m/44'/60'/0'/0/${ACCOUNT.faults}`);
    const fees = { type: 2, chainId: CHAIN_ID, maxFeePerGas: parseUnits('1000', 'gwei'), maxPriorityFeePerGas: 1n };
    let nonce = Number(await call(urls[0], 'eth_getTransactionCount', [rich.address, 'pending']));
    const addresses = [];
    let last;
    for (let i = 0; i < counters; i += 1, nonce += 1) {
      addresses.push(getCreateAddress({ from: rich.address, nonce }));
      last = await call(urls[0], 'eth_sendRawTransaction', [await rich.signTransaction({ ...fees, nonce, gasLimit: 200_000n, data: CREATION })]);
    }
    const wallets = Array.from({ length: clients }, () => Wallet.createRandom());
    for (const wallet of wallets) {
      last = await call(urls[0], 'eth_sendRawTransaction', [await rich.signTransaction({ ...fees, nonce, gasLimit: 21_000n, to: wallet.address, value: parseEther('100') })]);
      nonce += 1;
    }
    await until(() => call(urls[0], 'eth_getTransactionReceipt', [last]), WAIT_MS, 'the counters were not made');
    return Object.assign(new Counting(), { urls, history, addresses, wallets, fees, stopped: false });
  }

  stop() {
    this.stopped = true;
  }

  async run() {
    await Promise.all(this.wallets.map((wallet, client) => this.#count(wallet, client)));
  }

  async #count(wallet, client) {
    for (let nonce = 0; !this.stopped; nonce += 1) {
      const to = this.addresses[Math.floor(Math.random() * this.addresses.length)];
      const added = Math.floor(Math.random() * 2);
      const raw = await wallet.signTransaction({ ...this.fees, nonce, gasLimit: 100_000n, to, data: amount(added) });
      const hash = keccak256(raw);
      const called = History.now();
      const receipt = await this.#receiptOf(raw, hash, client);
      const returned = receipt && History.now();
      const total = receipt && Number(BigInt(receipt.logs[0].data));
      if (added > 0) this.history.record({ client, key: to, call: called, return: returned ?? null, do: { add: { amount: added, total: total ?? null } } });
      else if (receipt) this.history.record({ client, key: to, call: called, return: returned, do: { total } });
      this.history.record({ client, key: 'blocks', call: called, return: returned ?? null, do: { insert: hash } });
      if (receipt === undefined) return;
    }
  }

  /** Sent here and there until somebody shows a receipt; undefined if told to stop before. */
  async #receiptOf(raw, hash, client) {
    const began = performance.now();
    for (let attempt = client; ; attempt += 1) {
      const url = this.urls[attempt % this.urls.length];
      await call(url, 'eth_sendRawTransaction', [raw]).catch(() => {});
      for (let asked = 0; asked < 25; asked += 1) {
        const receipt = await call(url, 'eth_getTransactionReceipt', [hash]).catch(() => null);
        if (receipt) {
          assert.equal(receipt.status, '0x1');
          return receipt;
        }
        if (this.stopped && performance.now() - began > WAIT_MS) return undefined;
        await pause(POLL_MS);
      }
    }
  }

  /** What a node's blocks hold of these clients' transactions, as one read of a set. */
  async readBlocks(url) {
    const called = History.now();
    const height = Number(await call(url, 'eth_blockNumber', []));
    const own = new Set(this.wallets.map(({ address }) => address.toLowerCase()));
    const seen = [];
    for (let number = 1; number <= height; number += 1) {
      const block = await call(url, 'eth_getBlockByNumber', [`0x${number.toString(16)}`, true]);
      seen.push(...block.transactions.filter(({ from }) => own.has(from.toLowerCase())).map(({ hash }) => hash));
    }
    this.history.record({ client: 1_000, key: 'blocks', call: called, return: History.now(), do: { set: seen } });
    return seen.length;
  }
}

/** Clients that write and read registers, until stopped. */
export class Registering {
  constructor(urls, ca, history, { clients = 4, registers = 3 } = {}) {
    Object.assign(this, { urls, ca, history, clients, registers, answered: 0, stopped: false });
    this.agent = new Agent({ keepAlive: true });
  }

  stop() {
    this.stopped = true;
  }

  async run() {
    await Promise.all(Array.from({ length: this.clients }, (_, index) => this.#use(2_000 + index, index)));
    this.agent.destroy();
    assert.ok(this.answered > 0, 'no node answered at a register');
  }

  async #use(client, endpoint) {
    for (let number = 0; !this.stopped; number += 1) {
      const key = `register${Math.floor(Math.random() * this.registers)}`;
      if (Math.random() < 0.3) await this.#write(client, endpoint + number, key, `${client}.${number}`);
      else await this.#read(client, endpoint + number, key);
      await pause(POLL_MS);
    }
  }

  /** Sent here and there, as the same request, until somebody says that it was done. */
  async #write(client, endpoint, key, value) {
    const headers = { 'idempotency-key': `${process.pid}.${value}` };
    const called = History.now();
    const began = performance.now();
    const patient = () => !this.stopped || performance.now() - began < WAIT_MS;
    let done;
    for (let attempt = endpoint; !done && patient(); attempt += 1) done = await this.#ask('PUT', attempt, key, { headers, body: value });
    this.history.record({ client, key, call: called, return: done ? History.now() : null, do: { write: value } });
  }

  /** Of a read without an answer there is nothing to say. */
  async #read(client, endpoint, key) {
    const called = History.now();
    const answer = await this.#ask('GET', endpoint, key, {});
    if (answer) this.history.record({ client, key, call: called, return: History.now(), do: { read: JSON.parse(answer.body).value } });
  }

  /** What the endpoint answers; undefined if it does not, or refuses for now. */
  async #ask(method, endpoint, key, request) {
    const url = `${this.urls[endpoint % this.urls.length]}/app/registers/${key}`;
    const answer = await https(method, url, { ca: this.ca, agent: this.agent, ...request }).catch(() => undefined);
    if (answer?.status === 200) {
      this.answered += 1;
      return answer;
    }
    assert.ok(answer === undefined || isForNow(answer), `${answer?.status} ${answer?.body}`);
    await pause(POLL_MS);
    return undefined;
  }
}
