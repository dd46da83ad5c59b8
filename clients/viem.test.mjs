// viem 2: everything through its clients, its own parsing and its error classes.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  ContractFunctionRevertedError, InsufficientFundsError, IntrinsicGasTooLowError, MethodNotFoundRpcError,
  NonceTooLowError, TransactionNotFoundError, TransactionReceiptNotFoundError, BlockNotFoundError, concatHex,
  createPublicClient, createWalletClient, defineChain, encodeFunctionData, getAddress, getContract, http, keccak256,
  parseEther, parseEventLogs, parseGwei, parseTransaction, publicActions, webSocket, zeroAddress,
} from 'viem';
import { generatePrivateKey, mnemonicToAccount, privateKeyToAccount } from 'viem/accounts';
import { contract } from './contracts.mjs';
import {
  ACCOUNT, CASE, CHAIN_ID, MNEMONIC, REFUSED, UNKNOWN_HASH, UNKNOWN_METHOD, URLS, WAIT_MS, elsewhere, freshAddress,
  home, webSocket as webSocketUrl, within,
} from './network.mjs';

const chain = defineChain({
  id: CHAIN_ID,
  name: 'under test',
  nativeCurrency: { name: 'Ether', symbol: 'ETH', decimals: 18 },
  rpcUrls: { default: { http: URLS } },
});
const account = mnemonicToAccount(MNEMONIC, { addressIndex: ACCOUNT.viem });
const clients = URLS.map((url) => client(url, account));
const wallet = clients[home('viem')];
const reader = clients[elsewhere('viem')];

test('every endpoint names the chain and the balance of a development account', CASE, async () => {
  for (const each of clients) {
    assert.equal(await each.getChainId(), CHAIN_ID);
    assert.ok(await each.getBalance({ address: account.address }) > parseEther('1000'));
    assert.equal(await each.getBalance({ address: freshAddress() }), 0n);
    assert.equal(await each.getCode({ address: account.address }), undefined);
    assert.equal(await each.request({ method: 'net_version' }), String(CHAIN_ID));
  }
});

test('a transfer moves its value exactly and is seen at every endpoint', CASE, async () => {
  const to = freshAddress();
  const value = parseEther('0.25');
  const before = await wallet.getBalance({ address: account.address });
  const hash = await wallet.sendTransaction({ to, value });
  for (const [each, receipt] of await everywhere(hash)) {
    assert.deepEqual([receipt.status, receipt.gasUsed, receipt.type], ['success', 21000n, 'eip1559']);
    assert.equal(await each.getBalance({ address: to }), value);
    assert.equal(await each.getBalance({ address: account.address }), before - value - receipt.gasUsed * receipt.effectiveGasPrice);
  }
});

test('a transaction may enter at any endpoint', CASE, async () => {
  for (const each of clients) {
    const to = freshAddress();
    const hash = await each.sendTransaction({ to, value: 7n });
    for (const [other] of await everywhere(hash)) assert.equal(await other.getBalance({ address: to }), 7n);
  }
});

test('a raw transaction sent synchronously is answered with its receipt', CASE, async () => {
  const to = freshAddress();
  const request = await wallet.prepareTransactionRequest({ to, value: 3n });
  const serializedTransaction = await wallet.signTransaction(request);
  const receipt = await wallet.sendRawTransactionSync({ serializedTransaction });
  assert.equal(receipt.transactionHash, keccak256(serializedTransaction));
  assert.equal(receipt.status, 'success');
  assert.equal(await wallet.getBalance({ address: to }), 3n);
  assert.deepEqual(await wallet.getTransactionReceipt({ hash: receipt.transactionHash }), receipt);
});

test('fees follow EIP-1559: the sender pays base fee plus tip and never more than the cap', CASE, async () => {
  const maxPriorityFeePerGas = parseGwei('1');
  const { maxFeePerGas } = await wallet.estimateFeesPerGas();
  const receipt = await mined(await wallet.sendTransaction({
    to: freshAddress(), value: 1n, maxPriorityFeePerGas, maxFeePerGas: maxFeePerGas + parseGwei('5'),
  }));
  const block = await wallet.getBlock({ blockNumber: receipt.blockNumber });
  assert.equal(receipt.effectiveGasPrice, block.baseFeePerGas + maxPriorityFeePerGas);

  const history = await wallet.getFeeHistory({ blockCount: 4, rewardPercentiles: [10, 90] });
  const count = history.gasUsedRatio.length;
  assert.ok(count >= 1 && count <= 4);
  assert.equal(history.baseFeePerGas.length, count + 1);
  assert.ok(history.reward.length === count && history.reward.every((each) => each.length === 2));
  const newest = history.oldestBlock + BigInt(count) - 1n;
  assert.equal(history.baseFeePerGas[count - 1], (await wallet.getBlock({ blockNumber: newest })).baseFeePerGas);
  assert.ok(await wallet.getGasPrice() > 0n);
});

test('blocks read by number and by hash agree and carry their transactions', CASE, async () => {
  const hash = await wallet.sendTransaction({ to: freshAddress(), value: 5n, data: '0xc0c0' });
  const receipt = await mined(hash);
  const byNumber = await wallet.getBlock({ blockNumber: receipt.blockNumber, includeTransactions: true });
  const byHash = await wallet.getBlock({ blockHash: receipt.blockHash, includeTransactions: true });
  assert.deepEqual(byHash, byNumber);
  assert.equal(byHash.hash, receipt.blockHash);

  const alone = await wallet.getTransaction({ hash });
  assert.deepEqual(byHash.transactions[receipt.transactionIndex], alone);
  assert.deepEqual(
    await wallet.getTransaction({ blockNumber: receipt.blockNumber, index: receipt.transactionIndex }), alone);
  assert.deepEqual([alone.type, alone.value, alone.input, alone.chainId], ['eip1559', 5n, '0xc0c0', CHAIN_ID]);
  assert.equal(getAddress(alone.from), account.address);
  assert.equal(await wallet.getBlockTransactionCount({ blockHash: byHash.hash }), byHash.transactions.length);
  assert.deepEqual((await wallet.getBlock({ blockHash: byHash.hash })).transactions, byHash.transactions.map((each) => each.hash));
  assert.equal((await wallet.getBlock({ blockHash: byHash.parentHash })).number, byHash.number - 1n);
  for (const blockTag of ['safe', 'finalized']) {
    assert.ok((await wallet.getBlock({ blockTag })).number <= await wallet.getBlockNumber());
  }
});

test('what does not exist is null', CASE, async () => {
  for (const each of clients) {
    await assert.rejects(each.getTransaction({ hash: UNKNOWN_HASH }), TransactionNotFoundError);
    await assert.rejects(each.getTransactionReceipt({ hash: UNKNOWN_HASH }), TransactionReceiptNotFoundError);
    await assert.rejects(each.getBlock({ blockHash: UNKNOWN_HASH }), BlockNotFoundError);
    await assert.rejects(each.getBlock({ blockNumber: 999_999_999n }), BlockNotFoundError);
  }
});

test('an ERC-20 is deployed, read, transferred and spent by allowance', CASE, async () => {
  const token = await deploy('Token', ['Coco Coin', 'COCO', 1_000_000n]);
  assert.deepEqual(
    await Promise.all([token.read.name(), token.read.symbol(), token.read.decimals(), token.read.totalSupply()]),
    ['Coco Coin', 'COCO', 18, 1_000_000n]);
  assert.equal(await token.read.balanceOf([account.address]), 1_000_000n);

  const to = getAddress(freshAddress());
  const receipt = await mined(await token.write.transfer([to, 400n]));
  const [event] = parseEventLogs({ abi: token.abi, logs: receipt.logs });
  assert.deepEqual([event.eventName, event.args], ['Transfer', { from: account.address, to, value: 400n }]);

  const spender = await fundedWallet();
  await mined(await token.write.approve([spender.account.address, 100n]));
  const spend = { address: token.address, abi: token.abi, functionName: 'transferFrom' };
  const hash = await spender.writeContract({ ...spend, args: [account.address, to, 60n] });
  await everywhere(hash);
  const read = { address: token.address, abi: token.abi };
  assert.equal(await reader.readContract({ ...read, functionName: 'allowance', args: [account.address, spender.account.address] }), 40n);
  assert.equal(await reader.readContract({ ...read, functionName: 'balanceOf', args: [to] }), 460n);
  await assert.rejects(spender.writeContract({ ...spend, args: [account.address, to, 41n] }), (error) => {
    assert.deepEqual(revert(error).data.args, [spender.account.address, 40n, 41n]);
    return revert(error).data.errorName === 'ERC20InsufficientAllowance';
  });
});

test('events are found by log query, by topic and by block', CASE, async () => {
  const token = await deploy('Token', ['Logs', 'LOG', 1000n]);
  const [one, two] = [getAddress(freshAddress()), getAddress(freshAddress())];
  await mined(await token.write.transfer([one, 1n]));
  await mined(await token.write.transfer([two, 2n]));
  const last = await mined(await token.write.transfer([one, 3n]));
  await everywhere(last.transactionHash);
  const query = { address: token.address, abi: token.abi, eventName: 'Transfer', fromBlock: 0n, strict: true };
  for (const each of clients) {
    const all = await each.getContractEvents(query);
    assert.deepEqual(all.map(({ args }) => [args.from, args.to, args.value]), [
      [zeroAddress, account.address, 1000n],
      [account.address, one, 1n],
      [account.address, two, 2n],
      [account.address, one, 3n],
    ]);
    const toEither = await each.getContractEvents({ ...query, args: { to: [one, two] } });
    assert.deepEqual(toEither.map(({ args }) => args.value), [1n, 2n, 3n]);
    const toTwo = await each.getContractEvents({ ...query, args: { from: account.address, to: two } });
    assert.deepEqual(toTwo.map(({ args }) => args.value), [2n]);
  }
  const inBlock = await wallet.getLogs({ address: token.address, blockHash: last.blockHash });
  assert.deepEqual(inBlock.map(({ transactionHash, logIndex }) => [transactionHash, logIndex]),
    last.logs.map(({ transactionHash, logIndex }) => [transactionHash, logIndex]));
});

test('an installed filter gives its changes once and its logs again', CASE, async () => {
  const token = await deploy('Token', ['Filtered', 'FILT', 1000n]);
  const to = getAddress(freshAddress());
  const filter = await wallet.createContractEventFilter({
    address: token.address, abi: token.abi, eventName: 'Transfer', args: { to }, fromBlock: 0n,
  });
  assert.deepEqual(await wallet.getFilterChanges({ filter }), []);
  await mined(await token.write.transfer([to, 1n]));
  await mined(await token.write.transfer([to, 2n]));
  assert.deepEqual((await wallet.getFilterChanges({ filter })).map(({ args }) => args.value), [1n, 2n]);
  assert.deepEqual(await wallet.getFilterChanges({ filter }), []);
  assert.deepEqual((await wallet.getFilterLogs({ filter })).map(({ args }) => args.value), [1n, 2n]);
  assert.equal(await wallet.uninstallFilter({ filter }), true);
  assert.equal(await wallet.uninstallFilter({ filter }), false);
});

test('a watcher over HTTP hears events through an installed filter', CASE, async () => {
  const token = await deploy('Token', ['Polled', 'POLL', 1000n]);
  let installed;
  const asked = new Promise((resolve) => { installed = resolve; });
  const transport = http(URLS[home('viem')], {
    retryCount: 0,
    onFetchRequest: async (request) => { transport.newFilter = JSON.parse(await request.clone().text()).method === 'eth_newFilter'; },
    onFetchResponse: () => transport.newFilter && installed(),
  });
  await hears(createPublicClient({ chain, transport, pollingInterval: 50 }), token, asked);
});

test('a watcher over WebSocket hears events through a subscription', CASE, async () => {
  const token = await deploy('Token', ['Pushed', 'PUSH', 1000n]);
  const { socket, subscribed, close } = await socketClient();
  try {
    await hears(socket, token, subscribed);
  } finally {
    await close();
  }
});

test('new blocks are announced over WebSocket in order and without gaps', CASE, async () => {
  const { socket, subscribed, close } = await socketClient();
  try {
    const announced = [];
    let reached = () => {};
    socket.watchBlocks({ onBlock: (block) => { announced.push(block); reached(block); }, emitOnBegin: false });
    await within(subscribed, 'answer to eth_subscribe');
    for (let i = 0; i < 3; i += 1) {
      const receipt = await mined(await wallet.sendTransaction({ to: freshAddress(), value: 1n }));
      await within(new Promise((resolve) => {
        reached = (block) => block.number >= receipt.blockNumber && resolve();
        announced.forEach(reached);
      }), `announcement of block ${receipt.blockNumber}`);
    }
    for (let i = 1; i < announced.length; i += 1) assert.equal(announced[i].parentHash, announced[i - 1].hash);
  } finally {
    await close();
  }
});

test('an ERC-721 is deployed, minted, approved and transferred', CASE, async () => {
  const collectible = await deploy('Collectible', ['Things', 'THING']);
  assert.equal(await collectible.read.supportsInterface(['0x80ac58cd']), true);
  assert.equal(await collectible.read.supportsInterface(['0xffffffff']), false);
  const [owner, other] = [await fundedWallet(), getAddress(freshAddress())];
  await mined(await collectible.write.mint([account.address, 1n]));
  await mined(await collectible.write.mint([owner.account.address, 2n]));
  assert.equal(await collectible.read.ownerOf([2n]), owner.account.address);
  await mined(await collectible.write.transferFrom([account.address, other, 1n]));
  await mined(await owner.writeContract({
    address: collectible.address, abi: collectible.abi, functionName: 'approve', args: [account.address, 2n],
  }));
  await everywhere(await collectible.write.safeTransferFrom([owner.account.address, other, 2n, '0x01']));
  const there = getContract({ address: collectible.address, abi: collectible.abi, client: reader });
  assert.equal(await there.read.balanceOf([other]), 2n);
  const received = await there.getEvents.Transfer({ to: other }, { fromBlock: 0n });
  assert.deepEqual(received.map(({ args }) => args.tokenId), [1n, 2n]);
  await assert.rejects(collectible.read.ownerOf([3n]), (error) =>
    revert(error).data.errorName === 'ERC721NonexistentToken' && revert(error).data.args[0] === 3n);
});

test('calls made together travel as one batch in which each succeeds or fails alone', CASE, async () => {
  const sizes = [];
  const batching = createPublicClient({
    chain,
    transport: http(URLS[home('viem')], {
      batch: { batchSize: 100 },
      retryCount: 0,
      onFetchRequest: async (request) => { sizes.push([JSON.parse(await request.clone().text())].flat().length); },
    }),
  });
  const balances = Array.from({ length: 20 }, () => batching.getBalance({ address: account.address }));
  const unknown = assert.rejects(batching.request({ method: 'coco_noSuchMethod' }), MethodNotFoundRpcError);
  assert.equal(new Set(await Promise.all(balances)).size, 1);
  await unknown;
  assert.deepEqual(sizes, [21]);
});

test('gas estimates suffice and access lists name what a call touches', CASE, async () => {
  // For an account that it holds viem would ask eth_fillTransaction; for an address it asks eth_estimateGas.
  const from = { account: account.address };
  assert.equal(await wallet.estimateGas({ ...from, to: freshAddress(), value: 1n }), 21000n);
  const token = await deploy('Token', ['Estimated', 'EST', 1000n]);
  const to = freshAddress();
  const gas = await token.estimateGas.transfer([to, 1n], from);
  const receipt = await mined(await token.write.transfer([to, 1n], { gas }));
  assert.ok(receipt.status === 'success' && gas >= receipt.gasUsed && gas < 2n * receipt.gasUsed);

  const data = encodeFunctionData({ abi: token.abi, functionName: 'transfer', args: [to, 1n] });
  const { accessList } = await wallet.createAccessList({ account: account.address, to: token.address, data });
  assert.deepEqual(accessList.map(({ address, storageKeys }) => [getAddress(address), storageKeys.length]), [[token.address, 2]]);
});

test('a proof of an account and of its storage shows the values that are read', CASE, async () => {
  const tripwire = await deploy('Tripwire');
  await everywhere(await tripwire.write.succeed());
  const slot = `0x${'00'.repeat(32)}`;
  const proof = await reader.getProof({ address: tripwire.address, storageKeys: [slot] });
  assert.equal(getAddress(proof.address), tripwire.address);
  assert.equal(proof.codeHash, keccak256(contract('Tripwire').deployedBytecode));
  assert.equal(proof.storageProof[0].value, 1n);
  assert.equal(keccak256(proof.storageProof[0].proof[0]), proof.storageHash);
  assert.ok(proof.accountProof.length > 0);
  assert.equal(BigInt(await reader.getStorageAt({ address: tripwire.address, slot })), 1n);
});

test('blocks are simulated without leaving a trace', CASE, async () => {
  const token = await deploy('Token', ['Simulated', 'SIM', 1000n]);
  const to = freshAddress();
  const call = { abi: token.abi, to: token.address, account: account.address };
  const [block] = await wallet.simulateBlocks({ blocks: [{ calls: [
    { ...call, functionName: 'transfer', args: [to, 5n] },
    { ...call, functionName: 'balanceOf', args: [to] },
    { ...call, functionName: 'transfer', args: [zeroAddress, 5n] },
  ] }] });
  assert.deepEqual(block.calls.map(({ status }) => status), ['success', 'success', 'failure']);
  assert.equal(block.calls[1].result, 5n);
  assert.equal(block.calls[0].logs.length, 1);
  assert.equal(await token.read.balanceOf([to]), 0n);
});

test('a call may override the state it sees', CASE, async () => {
  const token = await deploy('Token', ['Overridden', 'OVR', 1000n]);
  const tripwire = await deploy('Tripwire');
  const read = { address: tripwire.address, abi: tripwire.abi, functionName: 'touched' };
  const slot = `0x${'00'.repeat(32)}`;
  const stateOverride = [{ address: tripwire.address, stateDiff: [{ slot, value: `0x${'00'.repeat(31)}2a` }] }];
  assert.equal(await wallet.readContract({ ...read, stateOverride }), 42n);
  assert.equal(await wallet.readContract(read), 0n);
  const code = [{ address: tripwire.address, code: contract('Token').deployedBytecode }];
  assert.equal(await wallet.readContract({ address: tripwire.address, abi: token.abi, functionName: 'decimals', stateOverride: code }), 18);
});

test('a revert reason, a custom error, a panic and an empty revert are each decoded', CASE, async () => {
  const tripwire = await deploy('Tripwire');
  for (const how of ['simulate', 'estimateGas', 'write']) {
    const trip = (name, args = []) => tripwire[how][name](args, { account });
    await assert.rejects(trip('withReason'), (error) => revert(error).reason === 'tripped on purpose', how);
    await assert.rejects(trip('withCustomError', [42n]), (error) => {
      assert.deepEqual(revert(error).data.args, [account.address, 42n, 'custom']);
      return revert(error).data.errorName === 'Tripped';
    });
    await assert.rejects(trip('withPanic', [0n]), (error) =>
      revert(error).data.errorName === 'Panic' && revert(error).data.args[0] === 18n, how);
    await assert.rejects(trip('withoutReason'), (error) => revert(error) !== null && revert(error).data === undefined, how);
  }
});

test('a transaction that reverts is included, pays for its gas and changes nothing else', CASE, async () => {
  const tripwire = await deploy('Tripwire');
  const reverted = await mined(await tripwire.write.withReason({ gas: 100_000n }));
  assert.deepEqual([reverted.status, reverted.logs], ['reverted', []]);
  assert.ok(reverted.gasUsed > 21_000n && reverted.gasUsed < 100_000n);
  const exhausted = await mined(await tripwire.write.withEndlessLoop({ gas: 90_000n }));
  assert.deepEqual([exhausted.status, exhausted.gasUsed], ['reverted', 90_000n]);
  assert.equal(await tripwire.read.touched(), 0n);
});

test('a nonce already used is refused', CASE, async () => {
  await mined(await wallet.sendTransaction({ to: freshAddress(), value: 1n }));
  const nonce = await wallet.getTransactionCount({ address: account.address }) - 1;
  await assert.rejects(wallet.sendTransaction({ to: freshAddress(), value: 2n, nonce, gas: 21000n }), (error) =>
    error.walk((each) => each instanceof NonceTooLowError) !== null && REFUSED.includes(code(error)));
});

test('less than the intrinsic gas is refused', CASE, async () => {
  await assert.rejects(wallet.sendTransaction({ to: freshAddress(), value: 1n, gas: 20_999n }), (error) =>
    error.walk((each) => each instanceof IntrinsicGasTooLowError) !== null && REFUSED.includes(code(error)));
});

test('a sender who cannot pay is refused', CASE, async () => {
  const poor = client(URLS[home('viem')], privateKeyToAccount(generatePrivateKey()));
  await assert.rejects(poor.sendTransaction({ to: freshAddress(), value: 1n, gas: 21000n }), (error) =>
    error.walk((each) => each instanceof InsufficientFundsError) !== null && REFUSED.includes(code(error)));
});

test('an unknown method is refused as such', CASE, async () => {
  for (const each of clients) {
    await assert.rejects(each.request({ method: 'coco_noSuchMethod' }), (error) =>
      error instanceof MethodNotFoundRpcError && error.code === UNKNOWN_METHOD);
  }
});

test('a transaction for another chain is refused', CASE, async () => {
  const request = await wallet.prepareTransactionRequest({ to: freshAddress(), value: 1n });
  const serializedTransaction = await account.signTransaction({ ...request, chainId: CHAIN_ID + 1 });
  await assert.rejects(wallet.sendRawTransaction({ serializedTransaction }), (error) => REFUSED.includes(code(error)));
  assert.equal(await wallet.getTransactionCount({ address: account.address, blockTag: 'pending' }), request.nonce);
});

test('transactions of types 0, 1 and 2 are accepted and keep their type', CASE, async () => {
  const tripwire = await deploy('Tripwire');
  const data = encodeFunctionData({ abi: tripwire.abi, functionName: 'succeed' });
  const accessList = [{ address: tripwire.address.toLowerCase(), storageKeys: [`0x${'00'.repeat(32)}`] }];
  const gasPrice = 2n * await wallet.getGasPrice();
  for (const variant of [{ type: 'legacy', gasPrice }, { type: 'eip2930', gasPrice, accessList }, { type: 'eip1559', accessList }]) {
    const hash = await wallet.sendTransaction({ to: tripwire.address, data, gas: 200_000n, ...variant });
    const receipt = await mined(hash);
    const read = await wallet.getTransaction({ hash });
    assert.deepEqual([receipt.status, receipt.type, read.type], ['success', variant.type, variant.type]);
    if (variant.accessList) assert.deepEqual(read.accessList, accessList);
  }
  assert.equal(await tripwire.read.touched(), 3n);
});

test('an EIP-7702 authorization gives an account code, which runs as that account', CASE, async () => {
  const delegate = await deploy('Wallet');
  const self = await fundedWallet();
  const [one, two] = [freshAddress(), freshAddress()];
  const authorization = await self.signAuthorization({ contractAddress: delegate.address, executor: 'self' });
  const calls = [{ to: one, value: 11n, data: '0x' }, { to: two, value: 22n, data: '0x' }];
  const hash = await self.sendTransaction({
    authorizationList: [authorization],
    to: self.account.address,
    data: encodeFunctionData({ abi: delegate.abi, functionName: 'execute', args: [calls] }),
  });
  const receipt = await mined(hash);
  assert.deepEqual([receipt.status, receipt.type], ['success', 'eip7702']);
  const [executed] = parseEventLogs({ abi: delegate.abi, logs: receipt.logs });
  assert.deepEqual(executed.args, { account: self.account.address, calls: 2n });
  await everywhere(hash);
  assert.deepEqual([await reader.getBalance({ address: one }), await reader.getBalance({ address: two })], [11n, 22n]);
  assert.equal(await reader.getCode({ address: self.account.address }), concatHex(['0xef0100', delegate.address]).toLowerCase());
  const read = await reader.getTransaction({ hash });
  assert.equal(getAddress(read.authorizationList[0].address), delegate.address);
  const own = { address: self.account.address, abi: delegate.abi, functionName: 'execute', args: [[]], account };
  await assert.rejects(wallet.simulateContract(own), (error) => revert(error).data.errorName === 'NotTheAccount');
});

test('a pending transaction is parsed like the one that was signed', CASE, async () => {
  const nonce = await wallet.getTransactionCount({ address: account.address, blockTag: 'pending' });
  const to = freshAddress();
  const ahead = await wallet.sendTransaction({ to, value: 1n, nonce: nonce + 1, gas: 21000n });
  const pending = await wallet.getTransaction({ hash: ahead });
  assert.deepEqual([pending.blockNumber, pending.blockHash, pending.transactionIndex], [null, null, null]);
  assert.deepEqual([pending.to, pending.nonce, pending.value], [to, nonce + 1, 1n]);
  const serialized = await account.signTransaction(await wallet.prepareTransactionRequest({ to, value: 1n, nonce, gas: 21000n }));
  assert.equal(parseTransaction(serialized).nonce, nonce);
  await mined(await wallet.sendRawTransaction({ serializedTransaction: serialized }));
  await mined(ahead);
  assert.equal(await wallet.getBalance({ address: to }), 2n);
});

// ---- steps

function client(url, sender) {
  const transport = http(url, { retryCount: 0 });
  return createWalletClient({ account: sender, chain, transport, pollingInterval: 50, cacheTime: 0 }).extend(publicActions);
}

/**
 * Waits for its receipt. While it looks whether a transaction was replaced, viem passes over a new block that is announced meanwhile, and
 * waits for the next one; there are no empty blocks here, so that next one may never come.
 */
async function mined(hash, by = wallet) {
  return by.waitForTransactionReceipt({ hash, timeout: WAIT_MS, checkReplacement: false });
}

/** Waits until every endpoint shows the receipt, the same one; returns pairs of client and receipt. */
async function everywhere(hash) {
  const receipts = await Promise.all(clients.map((each) => mined(hash, each)));
  for (const receipt of receipts) assert.deepEqual(receipt, receipts[0]);
  return clients.map((each, i) => [each, receipts[i]]);
}

async function deploy(name, args = []) {
  const { abi, bytecode } = contract(name);
  const hash = await wallet.deployContract({ abi, bytecode, args });
  const [[, { contractAddress }]] = await everywhere(hash);
  return getContract({ address: getAddress(contractAddress), abi, client: wallet });
}

async function fundedWallet() {
  const funded = client(URLS[home('viem')], privateKeyToAccount(generatePrivateKey()));
  await mined(await wallet.sendTransaction({ to: funded.account.address, value: parseEther('1') }));
  return funded;
}

/** The decoded revert within `error`, or null. */
function revert(error) {
  return error.walk((each) => each instanceof ContractFunctionRevertedError);
}

/** The JSON-RPC error code within `error`. */
function code(error) {
  return error.walk((each) => typeof each.code === 'number')?.code;
}

/** A client over WebSocket, and a promise of its first subscription being acknowledged. */
async function socketClient() {
  let acknowledge;
  const subscribed = new Promise((resolve) => { acknowledge = resolve; });
  const transport = (...options) => {
    const inner = webSocket(webSocketUrl(URLS[elsewhere('viem')]), { retryCount: 0 })(...options);
    const subscribe = async (request) => {
      const subscription = await inner.value.subscribe(request);
      acknowledge();
      return subscription;
    };
    return { ...inner, value: { ...inner.value, subscribe } };
  };
  const socket = createPublicClient({ chain, transport });
  const close = async () => (await socket.transport.getRpcClient()).close();
  return { socket, subscribed, close };
}

/** Three transfers of `token`; `listener` must hear of each, in order, once. */
async function hears(listener, token, listening) {
  const to = getAddress(freshAddress());
  const heard = [];
  let stop;
  const complete = new Promise((resolve, reject) => {
    stop = listener.watchContractEvent({
      address: token.address,
      abi: token.abi,
      eventName: 'Transfer',
      args: { to },
      onError: reject,
      onLogs: (logs) => {
        heard.push(...logs.map(({ args, transactionHash }) => [args.from, args.to, args.value, transactionHash]));
        if (heard.length === 3) resolve();
      },
    });
  });
  await within(listening, 'acknowledgement of the watcher');
  const expected = [];
  for (const value of [1n, 2n, 3n]) {
    const hash = await token.write.transfer([to, value]);
    await mined(hash);
    expected.push([account.address, to, value, hash]);
  }
  await within(complete, 'event');
  stop();
  assert.deepEqual(heard, expected);
}
