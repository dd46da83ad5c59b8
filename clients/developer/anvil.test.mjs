// A state goes from foundry's anvil to a lone development node and back: what either dumps, the other loads.
// It changes accounts and goes back: the node must be its own.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { CASE, CHAIN_ID, URLS, freshAddress } from '../network.mjs';

// Stores its argument at slot 1, and answers without one what is there: CALLDATASIZE, ISZERO, PUSH1 11, JUMPI, PUSH0, CALLDATALOAD,
// PUSH1 1, SSTORE, STOP (with a JUMPDEST before the read): small enough to be read.
const KEEPER = '0x3615600b575f35600155005b6001545f5260205ff3';
// PUSH1 length, DUP1, PUSH1 9, PUSH0, CODECOPY, PUSH0, RETURN
const DEPLOY = `0x60${((KEEPER.length - 2) / 2).toString(16)}8060095f395ff3${KEEPER.slice(2)}`;
const word = (number) => `0x${number.toString(16).padStart(64, '0')}`;
const coco = (method, ...params) => ask(URLS[0], method, params);
let start;
let child;
let anvil;

before(async () => {
  const path = `@foundry-rs/anvil-${process.platform}-${{ x64: 'amd64', arm64: 'arm64' }[process.arch]}/bin/anvil`;
  child = spawn(createRequire(import.meta.url).resolve(path), ['--port', '0', '--chain-id', `${CHAIN_ID}`], { stdio: ['ignore', 'pipe', 'inherit'] });
  const url = await new Promise((resolve, reject) => {
    child.on('exit', (code) => reject(new Error(`anvil ended with ${code}`)));
    createInterface({ input: child.stdout }).on('line', (line) => {
      const said = /Listening on (\S+)/.exec(line);
      if (said) resolve(`http://${said[1]}`);
    });
  });
  anvil = (method, ...params) => ask(url, method, params);
  start = await coco('evm_snapshot');
});
after(async () => {
  child?.kill();
  if (start) await coco('evm_revert', start);
});

async function ask(url, method, params) {
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params });
  const answer = await (await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body })).json();
  assert.equal(answer.error, undefined, `${method}: ${JSON.stringify(answer.error)}`);
  return answer.result;
}

/** Makes on one node what the other is to have, and says how to recognise it. */
async function made(node) {
  const [from] = await node('eth_accounts');
  const sent = await node('eth_sendTransaction', { from, data: DEPLOY, gas: '0x30000' });
  const { contractAddress: keeper } = await receipt(node, sent);
  await receipt(node, await node('eth_sendTransaction', { from, to: keeper, data: word(42), gas: '0x30000' }));
  const rich = freshAddress();
  await node('anvil_setBalance', rich, '0x1234567890abcdef');
  await node('anvil_setNonce', rich, '0x7');
  await node('anvil_setStorageAt', keeper, '0xffff', word(2n ** 255n + 9n));
  return { keeper, rich, nonce: await node('eth_getTransactionCount', from, 'latest'), from };
}

async function receipt(node, hash) {
  for (;;) {
    const found = await node('eth_getTransactionReceipt', hash);
    if (found) return found;
  }
}

async function arrived(node, { keeper, rich, nonce, from }) {
  assert.equal(await node('eth_getCode', keeper, 'latest'), KEEPER);
  assert.equal(await node('eth_call', { to: keeper }, 'latest'), word(42), 'its code runs on its storage');
  assert.equal(await node('eth_getStorageAt', keeper, '0xffff', 'latest'), word(2n ** 255n + 9n));
  assert.equal(await node('eth_getBalance', rich, 'latest'), '0x1234567890abcdef');
  assert.equal(await node('eth_getTransactionCount', rich, 'latest'), '0x7');
  assert.equal(await node('eth_getTransactionCount', from, 'latest'), nonce);
  // And the chain goes on from there.
  const { status } = await receipt(node, await node('eth_sendTransaction', { from, to: keeper, data: word(43), gas: '0x30000' }));
  assert.equal(status, '0x1');
  assert.equal(await node('eth_call', { to: keeper }, 'latest'), word(43));
}

test('what anvil dumps is loaded', CASE, async () => {
  const there = await made(anvil);
  assert.equal(await coco('anvil_loadState', await anvil('anvil_dumpState')), true);
  await arrived(coco, there);
});

test('anvil loads what is dumped here', CASE, async () => {
  await anvil('anvil_reset');
  const here = await made(coco);
  assert.equal(await anvil('anvil_loadState', await coco('anvil_dumpState')), true);
  await arrived(anvil, here);
});
