// Foundry's cast, the npm build: one process a command, its printed output is what is checked.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { contract } from './contracts.mjs';
import {
  ACCOUNT, CASE, CHAIN_ID, MNEMONIC, REFUSED, UNKNOWN_HASH, UNKNOWN_METHOD, URLS, WAIT_MS, elsewhere,
  freshAddress, home, webSocket, within,
} from './network.mjs';

const BINARY = binary();
const OPTIONS = BINARY === undefined
  ? { skip: `no cast is pinned for ${process.platform} ${process.arch}` }
  : CASE;
const URL = URLS[home('cast')];
const THERE = URLS[elsewhere('cast')];
const SENDER = ['--mnemonic', MNEMONIC, '--mnemonic-index', String(ACCOUNT.cast)];
const ME = '0x976EA74026E726554dB657fA54763abd0C3a0aa9';
const TRANSFER = 'Transfer(address indexed from, address indexed to, uint256 value)';

test('every endpoint names the chain and the balance of a development account', OPTIONS, async () => {
  assert.equal(await cast('wallet', 'address', ...SENDER), ME);
  for (const url of URLS) {
    assert.equal(await cast('chain-id', '--rpc-url', url), String(CHAIN_ID));
    assert.ok(BigInt(await cast('balance', ME, '--rpc-url', url)) > 10n ** 21n);
    assert.match(await cast('client', '--rpc-url', url), /.+\/.+/);
    assert.equal(await cast('code', ME, '--rpc-url', url), '0x');
  }
});

test('a transfer moves its value exactly and is seen at every endpoint', OPTIONS, async () => {
  const to = freshAddress();
  const receipt = await send(to, '--value', '250');
  assert.deepEqual([receipt.status, receipt.gasUsed, receipt.type], ['0x1', '0x5208', '0x2']);
  await everywhere(receipt);
  for (const url of URLS) assert.equal(await cast('balance', to, '--rpc-url', url), '250');
});

test('a transaction may enter at any endpoint', OPTIONS, async () => {
  for (const url of URLS) {
    const to = freshAddress();
    const receipt = JSON.parse(await cast('send', '--json', '--rpc-url', url, ...SENDER, to, '--value', '7'));
    await everywhere(receipt);
    assert.equal(await cast('balance', to, '--rpc-url', URL), '7');
  }
});

test('eth_sendRawTransactionSync answers with the receipt', OPTIONS, async () => {
  const to = freshAddress();
  const receipt = await send('--sync', to, '--value', '9');
  assert.equal(receipt.status, '0x1');
  assert.equal(await cast('balance', to, '--rpc-url', URL), '9');
});

test('a transaction signed apart is published', OPTIONS, async () => {
  const to = freshAddress();
  const raw = await cast('mktx', '--rpc-url', URL, ...SENDER, to, '--value', '3');
  const receipt = JSON.parse(await cast('publish', '--rpc-url', URL, raw));
  assert.equal(receipt.status, '0x1');
  const read = JSON.parse(await cast('tx', '--json', '--rpc-url', URL, receipt.transactionHash));
  assert.equal(read.value, '0x3');
  assert.equal(await cast('tx', '--raw', '--rpc-url', URL, receipt.transactionHash), raw);
});

test('blocks read by number and by hash agree and carry their transactions', OPTIONS, async () => {
  const receipt = await send(freshAddress(), '--value', '5');
  const block = (id, ...more) => cast('block', '--json', '--rpc-url', URL, id, ...more).then(JSON.parse);
  const byNumber = await block(String(Number(receipt.blockNumber)), '--full');
  assert.deepEqual(await block(receipt.blockHash, '--full'), byNumber);
  assert.equal(byNumber.hash, receipt.blockHash);
  assert.equal(byNumber.transactions[Number(receipt.transactionIndex)].hash, receipt.transactionHash);
  assert.equal((await block(receipt.blockHash)).transactions[Number(receipt.transactionIndex)], receipt.transactionHash);
  assert.equal(BigInt(await cast('base-fee', '--rpc-url', URL, receipt.blockHash)), BigInt(byNumber.baseFeePerGas));
  assert.ok(BigInt(await cast('gas-price', '--rpc-url', URL)) > 0n);
  assert.equal(await cast('receipt', '--rpc-url', URL, receipt.transactionHash, 'blockHash'), receipt.blockHash);
});

test('what does not exist is reported as not found', OPTIONS, async () => {
  await assert.rejects(cast('tx', '--rpc-url', URL, UNKNOWN_HASH), /tx not found/);
  await assert.rejects(cast('receipt', '--async', '--rpc-url', URL, UNKNOWN_HASH), /tx not found/);
  await assert.rejects(cast('block', '--rpc-url', URL, '999999999'), /not found/);
});

test('an ERC-20 is deployed, read, transferred and spent by allowance', OPTIONS, async () => {
  const token = await deploy('Token', 'constructor(string,string,uint256)', 'Coco Coin', 'COCO', '1000000');
  const erc20 = (name, ...args) => cast('erc20', name, token, ...args, '--rpc-url', URL);
  assert.deepEqual(
    [await erc20('name'), await erc20('symbol'), await erc20('decimals'), parseInt(await erc20('total-supply'), 10)],
    ['Coco Coin', 'COCO', '18', 1_000_000]);
  const to = freshAddress();
  const { logs } = await send(token, 'transfer(address,uint256)', to, '400');
  assert.equal(BigInt(logs[0].data), 400n);

  const spender = await fundedKey();
  await send(token, 'approve(address,uint256)', spender.address, '100');
  const spend = (amount) => cast('send', '--json', '--rpc-url', URL, '--private-key', spender.key,
    token, 'transferFrom(address,address,uint256)', ME, to, amount);
  await everywhere(JSON.parse(await spend('60')));
  const there = (signature, ...args) => cast('call', '--rpc-url', THERE, token, signature, ...args);
  assert.equal(await there('allowance(address,address)(uint256)', ME, spender.address), '40');
  assert.equal(await there('balanceOf(address)(uint256)', to), '460');
  const refusal = await rejection(spend('41'));
  const decoded = await cast('decode-error', '--sig', 'ERC20InsufficientAllowance(address,uint256,uint256)', data(refusal));
  assert.deepEqual(decoded.split('\n'), [await cast('to-check-sum-address', spender.address), '40', '41']);
});

test('events are found by log query and by topic', OPTIONS, async () => {
  const token = await deploy('Token', 'constructor(string,string,uint256)', 'Logs', 'LOG', '1000');
  const [one, two] = [freshAddress(), freshAddress()];
  await send(token, 'transfer(address,uint256)', one, '1');
  await send(token, 'transfer(address,uint256)', two, '2');
  await everywhere(await send(token, 'transfer(address,uint256)', one, '3'));
  for (const url of URLS) {
    const logs = (...topics) => cast('logs', '--json', '--rpc-url', url, '--from-block', '0', '--address', token, ...topics)
      .then((text) => JSON.parse(text).map((log) => Number(log.data)));
    assert.deepEqual(await logs(TRANSFER), [1000, 1, 2, 3]);
    assert.deepEqual(await logs(TRANSFER, ME, one), [1, 3]);
  }
});

test('a subscription over WebSocket hears events', OPTIONS, async () => {
  const token = await deploy('Token', 'constructor(string,string,uint256)', 'Pushed', 'PUSH', '1000');
  const to = freshAddress();
  const listener = spawn(BINARY, ['logs', '--subscribe', '--rpc-url', webSocket(THERE), '--address', token],
    { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const heard = [];
    let last;
    const complete = new Promise((resolve) => { last = resolve; });
    createInterface({ input: listener.stdout }).on('line', (line) => {
      const value = /data: (0x[0-9a-f]{64})/.exec(line);
      if (value) heard.push(Number(value[1]));
      if (heard.at(-1) === 100) last();
    });
    const first = new Promise((resolve) => { listener.stdout.once('data', resolve); });
    // cast does not say when it is subscribed: transfers of nothing until one is heard, then those that count.
    let subscribed = false;
    first.then(() => { subscribed = true; });
    for (let i = 0; i < 50 && !subscribed; i += 1) await send(token, 'transfer(address,uint256)', to, '0');
    await within(first, 'event');
    for (const value of ['1', '2', '100']) await send(token, 'transfer(address,uint256)', to, value);
    await within(complete, 'event');
    assert.deepEqual(heard.filter((value) => value > 0), [1, 2, 100]);
  } finally {
    listener.kill();
  }
});

test('an ERC-721 is deployed, minted, approved and transferred', OPTIONS, async () => {
  const collectible = await deploy('Collectible', 'constructor(string,string)', 'Things', 'THING');
  const [owner, other] = [await fundedKey(), freshAddress()];
  await send(collectible, 'mint(address,uint256)', ME, '1');
  await send(collectible, 'mint(address,uint256)', owner.address, '2');
  await send(collectible, 'transferFrom(address,address,uint256)', ME, other, '1');
  await cast('send', '--rpc-url', URL, '--private-key', owner.key, collectible, 'approve(address,uint256)', ME, '2');
  const receipt = await send(collectible, 'safeTransferFrom(address,address,uint256)', owner.address, other, '2');
  assert.equal(receipt.logs[0].topics.length, 4);
  await everywhere(receipt);
  assert.equal(await cast('call', '--rpc-url', THERE, collectible, 'balanceOf(address)(uint256)', other), '2');
  const refusal = await rejection(cast('call', '--rpc-url', URL, collectible, 'ownerOf(uint256)(address)', '3'));
  assert.equal(await cast('decode-error', '--sig', 'ERC721NonexistentToken(uint256)', data(refusal)), '3');
});

test('gas is estimated, access lists are made and proofs are given', OPTIONS, async () => {
  assert.equal(await cast('estimate', '--rpc-url', URL, '--from', ME, freshAddress(), '--value', '1'), '21000');
  const tripwire = await deploy('Tripwire');
  const estimate = await cast('estimate', '--rpc-url', URL, '--from', ME, tripwire, 'succeed()');
  const receipt = await send(tripwire, 'succeed()', '--gas-limit', estimate);
  assert.equal(receipt.status, '0x1');
  const made = JSON.parse(await cast('access-list', '--json', '--rpc-url', URL, tripwire, 'succeed()'));
  assert.deepEqual(made.accessList, [{ address: tripwire, storageKeys: [`0x${'00'.repeat(32)}`] }]);
  assert.equal(Number(await cast('storage', '--rpc-url', URL, tripwire, '0')), 1);
  const proof = JSON.parse(await cast('proof', '--rpc-url', URL, tripwire, '0'));
  assert.equal(Number(proof.storageProof[0].value), 1);
});

test('a revert reason, a custom error, a panic and an empty revert each show', OPTIONS, async () => {
  const tripwire = await deploy('Tripwire');
  const ways = [
    (...trip) => cast('call', '--rpc-url', URL, '--from', ME, tripwire, ...trip),
    (...trip) => cast('estimate', '--rpc-url', URL, '--from', ME, tripwire, ...trip),
    (...trip) => send(tripwire, ...trip),
  ];
  for (const way of ways) {
    await assert.rejects(way('withReason()'), /error code 3: execution reverted: tripped on purpose/);
    const custom = await rejection(way('withCustomError(uint256)', '42'));
    const decoded = await cast('decode-error', '--sig', 'Tripped(address,uint256,string)', data(custom));
    assert.deepEqual(decoded.split('\n'), [ME, '42', '"custom"']);
    const panic = await rejection(way('withPanic(uint256)', '0'));
    assert.equal(data(panic), `0x4e487b71${'12'.padStart(64, '0')}`);
    await assert.rejects(way('withoutReason()'), /error code 3: execution reverted, data: "0x"/);
  }
});

test('a transaction that reverts is included, pays for its gas and changes nothing else', OPTIONS, async () => {
  const tripwire = await deploy('Tripwire');
  const reverted = await send(tripwire, 'withReason()', '--gas-limit', '100000');
  assert.deepEqual([reverted.status, reverted.logs], ['0x0', []]);
  assert.match(reverted.revertReason, /tripped on purpose/);
  const exhausted = await send(tripwire, 'withEndlessLoop()', '--gas-limit', '90000');
  assert.deepEqual([exhausted.status, Number(exhausted.gasUsed)], ['0x0', 90000]);
  assert.equal(await cast('call', '--rpc-url', URL, tripwire, 'touched()(uint256)'), '0');
});

test('a used nonce, too little gas and too little money are refused', OPTIONS, async () => {
  await send(freshAddress(), '--value', '1');
  const to = freshAddress();
  const used = String(Number(await cast('nonce', '--rpc-url', URL, ME)) - 1);
  await refused(send(to, '--value', '1', '--nonce', used, '--gas-limit', '21000'), /nonce too low/i);
  await refused(send(to, '--value', '1', '--gas-limit', '20999'), /intrinsic gas too low/i);
  const poor = ['--private-key', `0x${randomBytes(32).toString('hex')}`];
  await refused(cast('send', '--rpc-url', URL, ...poor, to, '--value', '1', '--gas-limit', '21000'), /insufficient funds/i);
});

test('an unknown method is refused as such', OPTIONS, async () => {
  for (const url of URLS) {
    await assert.rejects(cast('rpc', '--rpc-url', url, 'coco_noSuchMethod'), new RegExp(`error code ${UNKNOWN_METHOD}`));
  }
});

test('transactions of types 0, 1, 2 and 4 are accepted and keep their type', OPTIONS, async () => {
  const tripwire = await deploy('Tripwire');
  const delegate = await deploy('Wallet');
  const authority = await fundedKey();
  const authorization = await cast('wallet', 'sign-auth', delegate, '--rpc-url', URL, '--private-key', authority.key);
  const accessList = JSON.stringify([{ address: tripwire, storageKeys: [`0x${'00'.repeat(32)}`] }]);
  const variants = [
    ['0x0', '--legacy'],
    ['0x1', '--legacy', '--access-list', accessList],
    ['0x2', '--access-list', accessList],
    ['0x4', '--auth', authorization],
  ];
  for (const [type, ...options] of variants) {
    const receipt = await send(tripwire, 'succeed()', '--gas-limit', '200000', ...options);
    const read = JSON.parse(await cast('tx', '--json', '--rpc-url', URL, receipt.transactionHash));
    assert.deepEqual([receipt.status, receipt.type, read.type], ['0x1', type, type]);
  }
  assert.equal(await cast('call', '--rpc-url', URL, tripwire, 'touched()(uint256)'), '4');
  assert.equal(await cast('code', '--rpc-url', URL, authority.address), `0xef0100${delegate.slice(2)}`);
});

// ---- steps

function binary() {
  const platform = `${process.platform}-${{ x64: 'amd64', arm64: 'arm64' }[process.arch]}`;
  try {
    return createRequire(import.meta.url).resolve(`@foundry-rs/cast-${platform}/bin/cast`);
  } catch {
    return undefined;
  }
}

/** What cast prints; rejects with what it complains of. */
async function cast(...args) {
  try {
    const { stdout } = await promisify(execFile)(BINARY, args, { timeout: 2 * WAIT_MS });
    return stdout.trim();
  } catch (error) {
    throw new Error(error.stderr || error.message);
  }
}

/** Sends as the account of this client; resolves to the receipt. */
async function send(...args) {
  return JSON.parse(await cast('send', '--json', '--rpc-url', URL, ...SENDER, ...args));
}

async function deploy(name, ...constructor) {
  const receipt = await send('--create', contract(name).bytecode, ...constructor);
  assert.equal(receipt.status, '0x1');
  await everywhere(receipt);
  return receipt.contractAddress;
}

/** Waits until every endpoint shows the receipt, in the same block. */
async function everywhere({ transactionHash, blockHash }) {
  for (const url of URLS) {
    assert.equal(await cast('receipt', '--rpc-url', url, transactionHash, 'blockHash'), blockHash);
  }
}

async function fundedKey() {
  const key = `0x${randomBytes(32).toString('hex')}`;
  const address = (await cast('wallet', 'address', '--private-key', key)).toLowerCase();
  await send(address, '--value', '1ether');
  return { key, address };
}

async function rejection(promise) {
  return promise.then(() => assert.fail('not refused'), (error) => error.message);
}

/** The revert data within a message of cast. */
function data(message) {
  return /data: "(0x[0-9a-f]*)"/.exec(message)?.[1] ?? assert.fail(`no data in: ${message}`);
}

async function refused(sending, message) {
  const complaint = await rejection(sending);
  assert.match(complaint, message);
  assert.ok(REFUSED.includes(Number(/error code (-\d+)/.exec(complaint)?.[1])), complaint);
}
