// Transfers by many senders at once, and what must hold of them whatever happened to the nodes meanwhile.
//
// Each sender has a row of transfers, one wei each to a receiver of its own, and sends the next few, as one JSON-RPC batch, when
// the last ones have receipts. What fails at one endpoint is sent again, the same bytes, at the next.

import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { HDNodeWallet, Wallet, keccak256, parseEther, parseUnits } from 'ethers';
import { ACCOUNT, CHAIN_ID, MNEMONIC } from '../network.mjs';
import { answers, call, height, results, until } from './rpc.mjs';

const PATIENCE_MS = 60_000;
const POLL_MS = 50;
/** How long one endpoint may take to show the receipts of what it was sent, before the next one is tried. */
const RECEIPTS_MS = 1_000;
/** What an endpoint says about a transfer that it, or another, took before. */
const TAKEN = /already known|already imported|nonce too low/i;

/** Senders with money and `signed` transfers each; a sender that runs out signs on. */
export async function preparedLoad(urls, { senders, signed, atOnce = 1 }) {
  const rich = HDNodeWallet.fromPhrase(MNEMONIC, '', `m/44'/60'/0'/0/${ACCOUNT.faults}`);
  const nonce = Number(await call(urls[0], 'eth_getTransactionCount', [rich.address, 'pending']));
  const fees = { type: 2, chainId: CHAIN_ID, gasLimit: 21_000n, maxFeePerGas: parseUnits('1000', 'gwei'), maxPriorityFeePerGas: 1n };
  const rows = [];
  for (let i = 0; i < senders; i += 1) {
    const wallet = Wallet.createRandom();
    const receiver = Wallet.createRandom().address;
    const sign = (each) => wallet.signTransaction({ ...fees, nonce: each, to: receiver, value: 1n });
    const funding = await rich.signTransaction({ ...fees, nonce: nonce + i, to: wallet.address, value: parseEther('100') });
    rows.push({ wallet, receiver, sign, signed: [], done: 0, funding: await call(urls[0], 'eth_sendRawTransaction', [funding]) });
  }
  for (const row of rows) {
    await until(() => call(urls[0], 'eth_getTransactionReceipt', [row.funding]), PATIENCE_MS, 'the senders got no money');
    for (let i = 0; i < signed; i += 1) row.signed.push(await row.sign(i));
  }
  return new Load(urls, rows, atOnce);
}

class Load {
  constructor(urls, rows, atOnce) {
    Object.assign(this, { urls, rows, atOnce, stopped: false, sentAgain: 0, waiters: [] });
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
    const late = pause(PATIENCE_MS, undefined, { ref: false }).then(() => assert.fail(`no service for ${PATIENCE_MS} ms`));
    return Promise.race([seen, late]);
  }

  /** Once `count` more receipts are there than are now. */
  async hasShownMore(count) {
    const wanted = this.shown.size + count;
    await until(() => this.shown.size >= wanted, PATIENCE_MS, `${count} receipts did not come`);
  }

  async #send(row, first) {
    let endpoint = first;
    while (!this.stopped) {
      const raws = await this.#next(row);
      const sent = performance.now();
      const missing = new Map(raws.map((raw) => [keccak256(raw), raw]));
      while (missing.size > 0) {
        await this.#try(this.urls[endpoint % this.urls.length], missing, sent);
        if (missing.size === 0) break;
        endpoint += 1;
        this.sentAgain += missing.size;
        assert.ok(performance.now() - sent < PATIENCE_MS, 'a transfer found no endpoint that took it');
      }
      row.done += raws.length;
    }
  }

  async #next(row) {
    const raws = [];
    for (let i = row.done; i < row.done + this.atOnce; i += 1) raws.push(row.signed[i] ?? await row.sign(i));
    return raws;
  }

  /** Sends what is missing to one endpoint and takes the receipts that it shows soon out of `missing`. */
  async #try(url, missing, sent) {
    try {
      const answered = await answers(url, [...missing.values()].map((raw) => ['eth_sendRawTransaction', [raw]]));
      if (answered.some(({ error }) => error && !TAKEN.test(error.message))) throw new Error('refused');
      for (const deadline = performance.now() + RECEIPTS_MS; missing.size > 0 && performance.now() < deadline; await pause(POLL_MS)) {
        const receipts = await results(url, 'eth_getTransactionReceipt', [...missing.keys()].map((hash) => [hash]));
        for (const receipt of receipts.filter((each) => each !== null)) {
          missing.delete(receipt.transactionHash);
          this.#saw(receipt, sent);
        }
      }
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error;
      await pause(POLL_MS);
    }
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

/** All endpoints answer, and have what any of them has now. An endpoint whose node comes back may be silent for a moment. */
export async function level(urls) {
  const answered = (url) => until(async () => ({ height: await height(url) }), PATIENCE_MS, `${url} did not answer`);
  const reached = Math.max(...(await Promise.all(urls.map(answered))).map((each) => each.height));
  for (const url of urls) await until(async () => await height(url) >= reached, PATIENCE_MS, `${url} did not reach block ${reached}`);
}

/** Every receipt shown before `time` is at every endpoint, and says the same. How many they are. */
export async function allReceiptsStand(urls, load, time = Infinity) {
  await level(urls);
  const shown = [...load.shown].filter(([, { at }]) => at < time);
  for (const url of urls) {
    const receipts = await results(url, 'eth_getTransactionReceipt', shown.map(([hash]) => [hash]));
    shown.forEach(([hash, { at, ...expected }], i) => {
      assert.ok(receipts[i], `${url} has lost the receipt of ${hash}`);
      const { blockHash, blockNumber, transactionIndex } = receipts[i];
      assert.deepEqual({ blockHash, blockNumber, transactionIndex }, expected, `${url} changed the receipt of ${hash}`);
    });
  }
  return shown.length;
}

/** Each receiver has one wei for each of its sender's transfers that has a receipt. The load must have stopped. */
export async function exactlyOnce(urls, load) {
  for (const url of urls) {
    for (const { receiver, wallet, done } of load.rows) {
      assert.equal(Number(await call(url, 'eth_getBalance', [receiver, 'latest'])), done, `${url}: transfers of ${wallet.address}`);
      assert.equal(Number(await call(url, 'eth_getTransactionCount', [wallet.address, 'latest'])), done);
    }
  }
}

/** The same block hash and state root at the newest height that all have, and half way there. */
export async function sameState(urls) {
  await level(urls);
  const lowest = Math.min(...await Promise.all(urls.map(height)));
  for (const number of [lowest, Math.floor(lowest / 2)]) {
    const blocks = await Promise.all(urls.map((url) => call(url, 'eth_getBlockByNumber', [`0x${number.toString(16)}`, false])));
    for (const block of blocks) assert.deepEqual(block, blocks[0], `block ${number}`);
    assert.match(blocks[0].stateRoot, /^0x[0-9a-f]{64}$/);
  }
  return lowest;
}
