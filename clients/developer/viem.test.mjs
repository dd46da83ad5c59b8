// viem 2's test client: every action that it has, against a lone development node, in the names that it has for anvil, for hardhat and for ganache.
// It changes time and accounts and goes back: the node must be its own.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  createTestClient, createWalletClient, defineChain, hashMessage, http, parseEther, publicActions, recoverMessageAddress,
  walletActions, zeroAddress,
} from 'viem';
import { mnemonicToAccount } from 'viem/accounts';
import { CASE, CHAIN_ID, MNEMONIC, URLS, freshAddress } from '../network.mjs';

const chain = defineChain({
  id: CHAIN_ID,
  name: 'under test',
  nativeCurrency: { name: 'Ether', symbol: 'ETH', decimals: 18 },
  rpcUrls: { default: { http: URLS } },
});
const account = mnemonicToAccount(MNEMONIC, { addressIndex: 0 });
const as = (mode) => createTestClient({ chain, mode, transport: http(URLS[0]), pollingInterval: 50 })
  .extend(publicActions).extend(walletActions);
const anvil = as('anvil');
const MODES = ['anvil', 'hardhat', 'ganache'].map((mode) => [mode, as(mode)]);
let start;

before(async () => {
  start = await anvil.snapshot();
});
after(() => anvil.revert({ id: start }));

for (const [mode, client] of MODES) {
  test(`${mode}: accounts are what they are set to be`, CASE, async () => {
    const address = freshAddress();
    await client.setBalance({ address, value: parseEther('5') });
    assert.equal(await client.getBalance({ address }), parseEther('5'));
    if (mode !== 'ganache') {
      await client.setCode({ address, bytecode: '0x6001' });
      assert.equal(await client.getCode({ address }), '0x6001');
      await client.setNonce({ address, nonce: 42 });
      assert.equal(await client.getTransactionCount({ address }), 42);
      const value = `0x${'00'.repeat(31)}45`;
      await client.setStorageAt({ address, index: 2, value });
      assert.equal(await client.getStorageAt({ address, slot: '0x2' }), value);
    }
  });

  test(`${mode}: blocks are made, time goes on, and all of it goes back`, CASE, async () => {
    const id = await client.snapshot();
    const number = await client.getBlockNumber({ cacheTime: 0 });
    await client.mine({ blocks: 3 });
    assert.equal(await client.getBlockNumber({ cacheTime: 0 }), number + 3n);
    const { timestamp } = await client.getBlock();
    await client.setNextBlockTimestamp({ timestamp: timestamp + 500n });
    await client.mine({ blocks: 1 });
    assert.equal((await client.getBlock()).timestamp, timestamp + 500n);
    await client.increaseTime({ seconds: 1000 });
    await client.mine({ blocks: 1 });
    assert.ok((await client.getBlock()).timestamp >= timestamp + 1500n);
    await client.revert({ id });
    assert.equal(await client.getBlockNumber({ cacheTime: 0 }), number);
  });
}

test('whoever is impersonated sends without a key', CASE, async () => {
  const [address, to] = [freshAddress(), freshAddress()];
  await anvil.setBalance({ address, value: parseEther('1') });
  await anvil.impersonateAccount({ address });
  const wallet = createWalletClient({ chain, account: address, transport: http(URLS[0]) });
  await anvil.waitForTransactionReceipt({ hash: await wallet.sendTransaction({ to, value: 7n }) });
  assert.equal(await anvil.getBalance({ address: to }), 7n);
  await anvil.stopImpersonatingAccount({ address });
  await assert.rejects(wallet.sendTransaction({ to, value: 7n }));
  const hash = await anvil.sendUnsignedTransaction({ from: address, to, value: 1n });
  await anvil.waitForTransactionReceipt({ hash });
  assert.equal(await anvil.getBalance({ address: to }), 8n);
});

test('contracts recover who a developer says from a signature', CASE, async () => {
  const address = freshAddress();
  const signature = await account.signMessage({ message: 'whoever reads this' });
  const digest = hashMessage('whoever reads this');
  const [r, s, v] = [signature.slice(2, 66), signature.slice(66, 130), signature.slice(130)];
  const data = `${digest}${v.padStart(64, '0')}${r}${s}`;
  const recovered = async () => (await anvil.call({ to: `0x${'00'.repeat(19)}01`, data })).data.slice(-40);
  const signer = await recoverMessageAddress({ message: 'whoever reads this', signature });
  assert.equal(await recovered(), signer.slice(2).toLowerCase());
  const id = await anvil.snapshot();
  await anvil.request({ method: 'anvil_impersonateSignature', params: [signature, address] });
  assert.equal(await recovered(), address.slice(2).toLowerCase());
  await anvil.revert({ id });
  assert.equal(await recovered(), signer.slice(2).toLowerCase());
});

test('what waits in the pool is shown, dropped and made into blocks', CASE, async () => {
  await anvil.setAutomine(false);
  assert.equal(await anvil.getAutomine(), false);
  const send = () => anvil.sendTransaction({ account, to: freshAddress(), value: 1n });
  const dropped = await send();
  assert.equal((await anvil.getTxpoolStatus()).pending, 1);
  assert.ok(JSON.stringify(await anvil.getTxpoolContent()).toLowerCase().includes(dropped));
  assert.ok(JSON.stringify(await anvil.inspectTxpool()).toLowerCase().includes(account.address.toLowerCase()));
  await anvil.dropTransaction({ hash: dropped });
  assert.equal((await anvil.getTxpoolStatus()).pending, 0);
  const kept = await send();
  await anvil.mine({ blocks: 1 });
  assert.equal((await anvil.getTransactionReceipt({ hash: kept })).status, 'success');
  await anvil.setAutomine(true);
});

test('coming blocks have what they are told to have', CASE, async () => {
  const coinbase = freshAddress();
  await anvil.setCoinbase({ address: coinbase });
  await anvil.setBlockGasLimit({ gasLimit: 12_345_678n });
  await anvil.setNextBlockBaseFeePerGas({ baseFeePerGas: 77n });
  await anvil.setBlockTimestampInterval({ interval: 5 });
  const { timestamp } = await anvil.getBlock();
  await anvil.mine({ blocks: 1 });
  const block = await anvil.getBlock();
  assert.deepEqual([block.miner.toLowerCase(), block.gasLimit, block.baseFeePerGas, block.timestamp],
    [coinbase.toLowerCase(), 12_345_678n, 77n, timestamp + 5n]);
  await anvil.removeBlockTimestampInterval();
  await anvil.setLoggingEnabled(true);
  await anvil.setIntervalMining({ interval: 0 });
  await assert.rejects(anvil.setMinGasPrice({ gasPrice: 1n }), /EIP-1559/);
  await assert.rejects(anvil.setRpcUrl('http://127.0.0.1:1'), /does not exist/);
});

test('a state that was dumped is loaded again', CASE, async () => {
  const address = freshAddress();
  await anvil.setBalance({ address, value: 9n });
  const state = await anvil.dumpState();
  await anvil.setBalance({ address, value: 1n });
  await anvil.loadState({ state });
  assert.equal(await anvil.getBalance({ address }), 9n);
});

test('after a reset there is the first block only', CASE, async () => {
  await anvil.reset();
  assert.equal(await anvil.getBlockNumber({ cacheTime: 0 }), 0n);
  assert.equal(await anvil.getTransactionCount({ address: account.address }), 0);
  assert.ok(await anvil.getBalance({ address: zeroAddress }) >= 0n);
  start = await anvil.snapshot();
});
