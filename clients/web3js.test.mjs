// web3.js 4: everything through its accounts, contracts, subscriptions and error classes.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Wallet } from 'ethers';
import { Web3, WebSocketProvider } from 'web3';
import { contract } from './contracts.mjs';
import { until } from './faults/rpc.mjs';
import {
  CASE, CHAIN_ID, REFUSED, UNKNOWN_HASH, UNKNOWN_METHOD, URLS, WAIT_MS, elsewhere, freshAddress, home, webSocket, within,
} from './network.mjs';

// Account 3 of the development mnemonic; web3.js derives none itself.
const KEY = '0x7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6';

/** Without this web3.js tries each transaction with eth_call first, and the node never sees a bad one. */
const UNCHECKED = { checkRevertBeforeSending: false };

const clients = URLS.map((url) => client(url));
const web3 = clients[home('web3js')];
const reader = clients[elsewhere('web3js')];
const from = web3.eth.accounts.privateKeyToAccount(KEY).address;

test('every endpoint names the chain and the balance of a development account', CASE, async () => {
  for (const { eth } of clients) {
    assert.equal(await eth.getChainId(), BigInt(CHAIN_ID));
    assert.equal(await eth.net.getId(), BigInt(CHAIN_ID));
    assert.equal(await eth.net.isListening(), true);
    assert.ok(await eth.getBalance(from) > 10n ** 21n);
    assert.equal(await eth.getBalance(freshAddress()), 0n);
    // A node that gets no processor time may be behind for a moment.
    await until(async () => await eth.isSyncing() === false, WAIT_MS, 'it is behind, and stays so');
    assert.match(await eth.getNodeInfo(), /.+\/.+/);
  }
});

test('a transfer moves its value exactly and is seen at every endpoint', CASE, async () => {
  const to = freshAddress();
  const before = await web3.eth.getBalance(from);
  const receipt = await web3.eth.sendTransaction({ from, to, value: 250n, gas: 21000 });
  assert.deepEqual([receipt.status, receipt.gasUsed], [1n, 21000n]);
  for (const { eth } of await everywhere(receipt.transactionHash)) {
    assert.equal(await eth.getBalance(to), 250n);
    assert.equal(await eth.getBalance(from), before - 250n - 21000n * receipt.effectiveGasPrice);
  }
});

test('a transaction may enter at any endpoint', CASE, async () => {
  for (const each of clients) {
    const to = freshAddress();
    const { transactionHash } = await each.eth.sendTransaction({ from, to, value: 7n, gas: 21000 });
    for (const { eth } of await everywhere(transactionHash)) assert.equal(await eth.getBalance(to), 7n);
  }
});

test('fees follow EIP-1559: the sender pays base fee plus tip and never more than the cap', CASE, async () => {
  const maxPriorityFeePerGas = 10n ** 9n;
  const { baseFeePerGas } = await web3.eth.getBlock('latest');
  const maxFeePerGas = 2n * baseFeePerGas + maxPriorityFeePerGas;
  const receipt = await web3.eth.sendTransaction({ from, to: freshAddress(), value: 1n, gas: 21000, maxFeePerGas, maxPriorityFeePerGas });
  const block = await web3.eth.getBlock(receipt.blockNumber);
  assert.equal(receipt.effectiveGasPrice, block.baseFeePerGas + maxPriorityFeePerGas);
  const history = await web3.eth.getFeeHistory(2, 'latest', [25, 75]);
  assert.equal(history.baseFeePerGas.length, history.gasUsedRatio.length + 1);
  assert.ok(history.reward.every((each) => each.length === 2));
  assert.ok(await web3.eth.getGasPrice() > 0n);
});

test('blocks read by number and by hash agree and carry their transactions', CASE, async () => {
  const receipt = await web3.eth.sendTransaction({ from, to: freshAddress(), value: 5n, data: '0xc0c0', gas: 50000 });
  const byNumber = await web3.eth.getBlock(receipt.blockNumber, true);
  const byHash = await web3.eth.getBlock(receipt.blockHash, true);
  assert.deepEqual(byHash, byNumber);
  assert.equal(byHash.hash, receipt.blockHash);
  // web3.js adds `data` beside `input` to a transaction read alone, and not to one within a block.
  const { data, ...alone } = await web3.eth.getTransaction(receipt.transactionHash);
  assert.equal(data, alone.input);
  assert.deepEqual(byHash.transactions[Number(receipt.transactionIndex)], alone);
  assert.deepEqual([alone.value, alone.input, alone.chainId, alone.type], [5n, '0xc0c0', BigInt(CHAIN_ID), 2n]);
  assert.equal(await web3.eth.getBlockTransactionCount(receipt.blockHash), BigInt(byHash.transactions.length));
  assert.deepEqual(await web3.eth.getTransactionFromBlock(receipt.blockNumber, receipt.transactionIndex), { ...alone, data });
  assert.equal((await web3.eth.getBlock(byHash.parentHash)).number, byHash.number - 1n);
});

test('what does not exist is null', CASE, async () => {
  for (const { eth } of clients) {
    await assert.rejects(eth.getTransaction(UNKNOWN_HASH), { name: 'TransactionNotFound' });
    await assert.rejects(eth.getTransactionReceipt(UNKNOWN_HASH), { name: 'TransactionNotFound' });
    assert.equal(await eth.getBlock(UNKNOWN_HASH), null);
    assert.equal(await eth.getBlock(999_999_999), null);
  }
});

test('an ERC-20 is deployed, read, transferred and spent by allowance', CASE, async () => {
  const token = await deploy('Token', ['Coco Coin', 'COCO', 1_000_000n]);
  const { methods } = token;
  assert.deepEqual(
    await Promise.all([methods.name().call(), methods.symbol().call(), methods.decimals().call(), methods.totalSupply().call()]),
    ['Coco Coin', 'COCO', 18n, 1_000_000n]);
  const to = freshAddress();
  const receipt = await methods.transfer(to, 400n).send({ from });
  const { returnValues } = receipt.events.Transfer;
  assert.deepEqual([returnValues.from, returnValues.to.toLowerCase(), returnValues.value], [from, to, 400n]);

  const spender = await fundedAccount();
  await methods.approve(spender, 100n).send({ from });
  const spent = await methods.transferFrom(from, to, 60n).send({ from: spender });
  await everywhere(spent.transactionHash);
  const there = at(reader, token);
  assert.equal(await there.methods.allowance(from, spender).call(), 40n);
  assert.equal(await there.methods.balanceOf(to).call(), 460n);
  await assert.rejects(methods.transferFrom(from, to, 41n).send({ from: spender }), ({ cause }) =>
    cause.errorName === 'ERC20InsufficientAllowance' && cause.errorArgs.allowance === 40n && cause.errorArgs.needed === 41n);
});

test('events are found by log query, by topic and by block', CASE, async () => {
  const token = await deploy('Token', ['Logs', 'LOG', 1000n]);
  const [one, two] = [freshAddress(), freshAddress()];
  await token.methods.transfer(one, 1n).send({ from });
  await token.methods.transfer(two, 2n).send({ from });
  const last = await token.methods.transfer(one, 3n).send({ from });
  await everywhere(last.transactionHash);
  for (const each of clients) {
    const there = at(each, token);
    const all = await there.getPastEvents('Transfer', { fromBlock: 0 });
    assert.deepEqual(all.map(({ returnValues }) => returnValues.value), [1000n, 1n, 2n, 3n]);
    const toOne = await there.getPastEvents('Transfer', { fromBlock: 0, filter: { to: one } });
    assert.deepEqual(toOne.map(({ returnValues }) => returnValues.value), [1n, 3n]);
  }
  const inBlock = await web3.eth.getPastLogs({ blockHash: last.blockHash, address: token.options.address });
  assert.deepEqual(inBlock.map(({ transactionHash }) => transactionHash), [last.transactionHash]);
});

test('an installed filter gives its changes once and its logs again', CASE, async () => {
  const token = await deploy('Token', ['Filtered', 'FILT', 1000n]);
  const to = freshAddress();
  const topics = [null, null, `0x${to.slice(2).padStart(64, '0')}`];
  const filter = await web3.eth.createNewFilter({ address: token.options.address, topics, fromBlock: '0x0' });
  await token.methods.transfer(to, 1n).send({ from });
  await token.methods.transfer(to, 2n).send({ from });
  const id = web3.utils.toHex(filter);
  const values = (logs) => logs.map(({ data }) => BigInt(data));
  assert.deepEqual(values(await web3.eth.getFilterChanges(id)), [1n, 2n]);
  assert.deepEqual(await web3.eth.getFilterChanges(id), []);
  assert.deepEqual(values(await web3.eth.getFilterLogs(id)), [1n, 2n]);
  assert.equal(await web3.eth.uninstallFilter(id), true);
});

test('a contract over WebSocket hears events through a subscription', CASE, async () => {
  const token = await deploy('Token', ['Pushed', 'PUSH', 1000n]);
  const to = freshAddress();
  await overSocket(async (socket) => {
    const heard = [];
    const subscription = at(socket, token).events.Transfer({ filter: { to } });
    const complete = new Promise((resolve, reject) => {
      subscription.on('error', reject);
      subscription.on('data', ({ returnValues, transactionHash }) => {
        heard.push([returnValues.value, transactionHash]);
        if (heard.length === 3) resolve();
      });
    });
    await within(new Promise((resolve) => { subscription.on('connected', resolve); }), 'answer to eth_subscribe');
    const expected = [];
    for (const value of [1n, 2n, 3n]) {
      expected.push([value, (await token.methods.transfer(to, value).send({ from })).transactionHash]);
    }
    await within(complete, 'event');
    await subscription.unsubscribe();
    assert.deepEqual(heard, expected);
  });
});

test('new blocks are announced over WebSocket in order and without gaps', CASE, async () => {
  await overSocket(async (socket) => {
    const announced = [];
    let reached = () => {};
    const subscription = await socket.eth.subscribe('newBlockHeaders');
    subscription.on('data', (header) => { announced.push(header); reached(header); });
    for (let i = 0; i < 3; i += 1) {
      const receipt = await web3.eth.sendTransaction({ from, to: freshAddress(), value: 1n, gas: 21000 });
      await within(new Promise((resolve) => {
        reached = ({ number }) => BigInt(number) >= receipt.blockNumber && resolve();
        announced.forEach(reached);
      }), `announcement of block ${receipt.blockNumber}`);
    }
    for (let i = 1; i < announced.length; i += 1) {
      assert.equal(BigInt(announced[i].number), BigInt(announced[i - 1].number) + 1n);
    }
    await subscription.unsubscribe();
  });
});

test('an ERC-721 is deployed, minted, approved and transferred', CASE, async () => {
  const collectible = await deploy('Collectible', ['Things', 'THING']);
  const { methods } = collectible;
  assert.equal(await methods.supportsInterface('0x80ac58cd').call(), true);
  assert.equal(await methods.supportsInterface('0xffffffff').call(), false);
  const [owner, other] = [await fundedAccount(), freshAddress()];
  await methods.mint(from, 1n).send({ from });
  await methods.mint(owner, 2n).send({ from });
  await methods.transferFrom(from, other, 1n).send({ from });
  await methods.approve(from, 2n).send({ from: owner });
  const last = await methods['safeTransferFrom(address,address,uint256,bytes)'](owner, other, 2n, '0x01').send({ from });
  await everywhere(last.transactionHash);
  const there = at(reader, collectible);
  assert.equal(await there.methods.balanceOf(other).call(), 2n);
  const received = await there.getPastEvents('Transfer', { fromBlock: 0, filter: { to: other } });
  assert.deepEqual(received.map(({ returnValues }) => returnValues.tokenId), [1n, 2n]);
  await assert.rejects(methods.ownerOf(3n).call(), ({ cause }) =>
    cause.errorName === 'ERC721NonexistentToken' && cause.errorArgs.tokenId === 3n);
});

test('a batch succeeds or fails entry by entry', CASE, async () => {
  const batch = new web3.BatchRequest();
  const balances = Array.from({ length: 10 }, () => batch.add({ method: 'eth_getBalance', params: [from, 'latest'] }));
  const unknown = assert.rejects(batch.add({ method: 'coco_noSuchMethod', params: [] }), { code: UNKNOWN_METHOD });
  const answers = await batch.execute({ timeout: WAIT_MS });
  assert.equal(answers.length, 11);
  assert.equal(new Set(await Promise.all(balances)).size, 1);
  await unknown;
});

test('gas estimates suffice', CASE, async () => {
  assert.equal(await web3.eth.estimateGas({ from, to: freshAddress(), value: 1n }), 21000n);
  const token = await deploy('Token', ['Estimated', 'EST', 1000n]);
  const to = freshAddress();
  const gas = await token.methods.transfer(to, 1n).estimateGas({ from });
  const receipt = await token.methods.transfer(to, 1n).send({ from, gas });
  assert.ok(receipt.status === 1n && gas >= receipt.gasUsed && gas < 2n * receipt.gasUsed);
});

test('a revert reason, a custom error, a panic and an empty revert are each decoded', CASE, async () => {
  const { methods } = await deploy('Tripwire');
  for (const how of ['call', 'send']) {
    await assert.rejects(methods.withReason()[how]({ from }), ({ name, cause }) =>
      name === 'ContractExecutionError' && cause.code === 3 && cause.errorArgs.message === 'tripped on purpose', how);
    await assert.rejects(methods.withCustomError(42n)[how]({ from }), ({ cause: { errorName, errorArgs } }) =>
      errorName === 'Tripped' && errorArgs.by === from && errorArgs.code === 42n && errorArgs.note === 'custom', how);
    await assert.rejects(methods.withPanic(0n)[how]({ from }), ({ cause }) =>
      cause.errorName === 'Panic' && cause.errorArgs.code === 18n, how);
  }
  // web3.js prints a complaint of its own when it finds no data to decode, so the empty revert is only estimated.
  await assert.rejects(methods.withoutReason().estimateGas({ from }), ({ cause }) => cause.code === 3 && cause.data === '0x');
  await assert.rejects(methods.withReason().estimateGas({ from }), ({ cause }) => /tripped on purpose/.test(cause.message));
});

test('a transaction that reverts is included, pays for its gas and changes nothing else', CASE, async () => {
  const tripwire = await deploy('Tripwire');
  const data = tripwire.methods.withReason().encodeABI();
  const to = tripwire.options.address;
  let receipt;
  await assert.rejects(web3.eth.sendTransaction({ from, to, data, gas: 100_000 }, undefined, UNCHECKED), (error) => {
    receipt = error.receipt;
    return /revert/i.test(error.message);
  });
  assert.deepEqual([receipt.status, receipt.logs], [0n, []]);
  assert.ok(receipt.gasUsed > 21_000n && receipt.gasUsed < 100_000n);
});

test('a nonce already used is refused', CASE, async () => {
  await web3.eth.sendTransaction({ from, to: freshAddress(), value: 1n, gas: 21000 });
  const nonce = await web3.eth.getTransactionCount(from) - 1n;
  await assert.rejects(refused({ to: freshAddress(), value: 2n, nonce, gas: 21000 }), /nonce too low/i);
});

test('less than the intrinsic gas is refused', CASE, async () => {
  // web3.js will not sign such a transaction, so ethers does.
  const nonce = Number(await web3.eth.getTransactionCount(from, 'pending'));
  const raw = await new Wallet(KEY).signTransaction({
    type: 2, chainId: CHAIN_ID, to: freshAddress(), value: 1n, nonce, gasLimit: 20_999, maxFeePerGas: 10n ** 11n, maxPriorityFeePerGas: 1n,
  });
  await assert.rejects(refusal(web3.eth.sendSignedTransaction(raw, undefined, UNCHECKED)), /intrinsic gas too low/i);
});

test('a sender who cannot pay is refused', CASE, async () => {
  const poor = web3.eth.accounts.create();
  web3.eth.accounts.wallet.add(poor);
  await assert.rejects(refused({ from: poor.address, to: freshAddress(), value: 1n, gas: 21000 }), /insufficient funds/i);
});

test('an unknown method is refused as such', CASE, async () => {
  for (const each of clients) {
    await assert.rejects(each.requestManager.send({ method: 'coco_noSuchMethod', params: [] }), ({ cause }) => cause.code === UNKNOWN_METHOD);
  }
});

test('transactions of types 0, 1 and 2 are accepted and keep their type', CASE, async () => {
  const tripwire = await deploy('Tripwire');
  const to = tripwire.options.address;
  const data = tripwire.methods.succeed().encodeABI();
  const accessList = [{ address: to.toLowerCase(), storageKeys: [`0x${'00'.repeat(32)}`] }];
  const gasPrice = 2n * await web3.eth.getGasPrice();
  for (const variant of [{ type: 0, gasPrice }, { type: 1, gasPrice, accessList }, { type: 2 }]) {
    const receipt = await web3.eth.sendTransaction({ from, to, data, gas: 200_000, ...variant });
    const read = await web3.eth.getTransaction(receipt.transactionHash);
    assert.deepEqual([receipt.status, receipt.type, read.type], [1n, BigInt(variant.type), BigInt(variant.type)]);
    if (variant.accessList) assert.deepEqual(read.accessList, accessList);
  }
  assert.equal(await tripwire.methods.touched().call(), 3n);
});

// ---- steps

function client(provider) {
  const each = new Web3(provider);
  each.eth.accounts.wallet.add(KEY);
  each.setConfig({
    transactionPollingInterval: 50,
    transactionPollingTimeout: WAIT_MS,
    transactionSendTimeout: WAIT_MS,
    transactionConfirmationBlocks: 1,
    contractDataInputFill: 'data',
  });
  return each;
}

/** Waits until every endpoint shows the receipt, the same one; returns the clients. */
async function everywhere(hash) {
  const receipts = await within(Promise.all(clients.map((each) => receiptAt(each, hash))), `receipt of ${hash} everywhere`);
  for (const receipt of receipts) assert.deepEqual(receipt, receipts[0]);
  return clients;
}

/** web3.js can wait only for what it sent itself, so this asks until the receipt is there. */
async function receiptAt({ eth }, hash) {
  for (const deadline = Date.now() + WAIT_MS; Date.now() < deadline;) {
    try {
      return await eth.getTransactionReceipt(hash);
    } catch (error) {
      if (error.name !== 'TransactionNotFound') throw error;
    }
    await new Promise((resolve) => { setTimeout(resolve, 20); });
  }
  throw new Error(`no receipt of ${hash}`);
}

async function deploy(name, args = []) {
  const { abi, bytecode } = contract(name);
  let transactionHash;
  const deployed = await new web3.eth.Contract(abi).deploy({ data: bytecode, arguments: args }).send({ from })
    .on('transactionHash', (hash) => { transactionHash = hash; });
  await everywhere(transactionHash);
  return deployed;
}

function at(other, { options }) {
  return new other.eth.Contract(options.jsonInterface, options.address);
}

async function fundedAccount() {
  const funded = web3.eth.accounts.create();
  web3.eth.accounts.wallet.add(funded);
  await web3.eth.sendTransaction({ from, to: funded.address, value: 10n ** 18n, gas: 21000 });
  return funded.address;
}

async function refused(transaction) {
  await refusal(web3.eth.sendTransaction({ from, ...transaction }, undefined, UNCHECKED));
}

/** Rejects with the node's own error, which must be a refusal. */
async function refusal(sending) {
  await sending.catch(({ cause }) => {
    assert.ok(REFUSED.includes(cause.code), `code ${cause.code}`);
    throw new Error(cause.message);
  });
}

async function overSocket(use) {
  const provider = new WebSocketProvider(webSocket(URLS[elsewhere('web3js')]), {}, { autoReconnect: false });
  const socket = client(provider);
  try {
    await use(socket);
  } finally {
    provider.disconnect();
  }
}
