// ethers 6: everything through its own providers, wallets, contracts and error classes.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  Contract, ContractFactory, HDNodeWallet, JsonRpcProvider, Transaction, Wallet, WebSocketProvider, ZeroAddress,
  getAddress, parseEther, parseUnits,
} from 'ethers';
import { contract } from './contracts.mjs';
import {
  ACCOUNT, CASE, CHAIN_ID, MNEMONIC, REFUSED, UNKNOWN_HASH, UNKNOWN_METHOD, URLS, WAIT_MS, elsewhere, freshAddress,
  home, webSocket, within,
} from './network.mjs';

const providers = URLS.map((url) => new JsonRpcProvider(url, undefined, { pollingInterval: 50, cacheTimeout: -1 }));
const provider = providers[home('ethers')];
const elsewhereProvider = providers[elsewhere('ethers')];
const wallet = HDNodeWallet.fromPhrase(MNEMONIC, '', `m/44'/60'/0'/0/${ACCOUNT.ethers}`).connect(provider);

before(() => within(Promise.all(providers.map((each) => each.getNetwork())), 'answer from every endpoint'));
after(() => providers.forEach((each) => each.destroy()));

test('every endpoint names the chain and the balance of a development account', CASE, async () => {
  for (const each of providers) {
    assert.equal((await each.getNetwork()).chainId, BigInt(CHAIN_ID));
    assert.ok(await each.getBalance(wallet.address) > parseEther('1000'));
    assert.equal(await each.getBalance(freshAddress()), 0n);
    assert.equal(await each.getCode(wallet.address), '0x');
    assert.match(await each.send('web3_clientVersion', []), /.+\/.+/);
  }
});

test('a transfer moves its value exactly and is seen at every endpoint', CASE, async () => {
  const to = freshAddress();
  const value = parseEther('0.25');
  const balanceBefore = await provider.getBalance(wallet.address);
  const sent = await wallet.sendTransaction({ to, value });
  const receipt = await mined(sent);
  assert.equal(receipt.status, 1);
  assert.equal(receipt.gasUsed, 21000n);
  for (const each of await everywhere(sent.hash)) {
    assert.equal(await each.getBalance(to), value);
    assert.equal(await each.getBalance(wallet.address), balanceBefore - value - receipt.fee);
  }
});

test('a transaction may enter at any endpoint', CASE, async () => {
  for (const each of providers) {
    const to = freshAddress();
    const sent = await wallet.connect(each).sendTransaction({ to, value: 7n });
    for (const reader of await everywhere(sent.hash)) assert.equal(await reader.getBalance(to), 7n);
  }
});

test('many transactions of one sender sent at once all arrive in nonce order', CASE, async () => {
  const to = freshAddress();
  const nonce = await wallet.getNonce('pending');
  const fees = await feeFields();
  const sent = await Promise.all(Array.from({ length: 20 }, (_, i) =>
    wallet.sendTransaction({ to, value: 1n, nonce: nonce + i, gasLimit: 21000, ...fees })));
  const receipts = await Promise.all(sent.map(mined));
  for (let i = 1; i < receipts.length; i += 1) {
    const [a, b] = [receipts[i - 1], receipts[i]];
    assert.ok(a.blockNumber < b.blockNumber || (a.blockNumber === b.blockNumber && a.index < b.index));
  }
  assert.equal(await provider.getBalance(to), 20n);
  assert.equal(await wallet.getNonce('latest'), nonce + 20);
});

test('a nonce gap waits until it is filled, and only a better price replaces', CASE, async () => {
  const to = freshAddress();
  const nonce = await wallet.getNonce('pending');
  const fees = await feeFields();
  const gap = { to, nonce: nonce + 1, gasLimit: 21000 };
  const first = await wallet.sendTransaction({ ...gap, value: 1n, ...fees });
  assert.equal((await provider.getTransaction(first.hash)).blockNumber, null);
  assert.equal(await provider.getTransactionReceipt(first.hash), null);
  assert.equal(await wallet.getNonce('pending'), nonce);

  await assert.rejects(wallet.sendTransaction({ ...gap, value: 2n, ...fees }), { code: 'REPLACEMENT_UNDERPRICED' });
  const doubled = Object.fromEntries(Object.entries(fees).map(([name, fee]) => [name, 2n * fee]));
  const better = await wallet.sendTransaction({ ...gap, value: 4n, ...doubled });
  const filler = await wallet.sendTransaction({ to, value: 8n, nonce, gasLimit: 21000, ...fees });
  await Promise.all([mined(filler), mined(better)]);
  assert.equal(await provider.getBalance(to), 12n);
  assert.equal(await provider.getTransactionReceipt(first.hash), null);
});

test('fees follow EIP-1559: the sender pays base fee plus tip and never more than the cap', CASE, async () => {
  const maxPriorityFeePerGas = parseUnits('1', 'gwei');
  const sent = await wallet.sendTransaction({ to: freshAddress(), value: 1n, ...(await feeFields()), maxPriorityFeePerGas });
  const receipt = await mined(sent);
  const block = await provider.getBlock(receipt.blockNumber);
  assert.equal(receipt.type, 2);
  assert.equal(receipt.gasPrice, block.baseFeePerGas + maxPriorityFeePerGas);

  const history = await provider.send('eth_feeHistory', ['0x2', 'latest', [50]]);
  assert.equal(history.baseFeePerGas.length, history.gasUsedRatio.length + 1);
  assert.equal(history.reward.length, history.gasUsedRatio.length);
  const data = await provider.getFeeData();
  assert.ok(data.gasPrice > 0n && data.maxFeePerGas > data.maxPriorityFeePerGas);
});

test('blocks read by number and by hash agree and carry their transactions', CASE, async () => {
  const sent = await wallet.sendTransaction({ to: freshAddress(), value: 5n, data: '0xc0c0' });
  const receipt = await mined(sent);
  const byNumber = await provider.getBlock(receipt.blockNumber, true);
  const byHash = await provider.getBlock(receipt.blockHash, true);
  assert.deepEqual(byHash.toJSON(), byNumber.toJSON());
  assert.equal(byHash.hash, receipt.blockHash);
  assert.equal(byHash.transactions[receipt.index], sent.hash);

  const inBlock = byHash.prefetchedTransactions[receipt.index];
  const alone = await provider.getTransaction(sent.hash);
  assert.deepEqual(inBlock.toJSON(), alone.toJSON());
  for (const field of ['hash', 'nonce', 'to', 'value', 'data', 'gasLimit', 'chainId', 'maxFeePerGas', 'from']) {
    assert.deepEqual(alone[field], sent[field], field);
  }
  assert.equal(Transaction.from(alone).hash, sent.hash, 'the fields hash to the transaction id');
  const parent = await provider.getBlock(byHash.parentHash);
  assert.equal(parent.number, byHash.number - 1);
  assert.ok(parent.timestamp <= byHash.timestamp);
});

test('what does not exist is null', CASE, async () => {
  for (const each of providers) {
    assert.equal(await each.getTransaction(UNKNOWN_HASH), null);
    assert.equal(await each.getTransactionReceipt(UNKNOWN_HASH), null);
    assert.equal(await each.getBlock(UNKNOWN_HASH), null);
    assert.equal(await each.getBlock(999_999_999), null);
  }
});

test('an ERC-20 is deployed, read, transferred and spent by allowance', CASE, async () => {
  const token = await deploy('Token', 'Coco Coin', 'COCO', 1_000_000n);
  assert.equal(await token.name(), 'Coco Coin');
  assert.equal(await token.symbol(), 'COCO');
  assert.equal(await token.decimals(), 18n);
  assert.equal(await token.totalSupply(), 1_000_000n);
  assert.equal(await token.balanceOf(wallet.address), 1_000_000n);

  const to = freshAddress();
  await mined(await token.transfer(to, 400n));
  assert.equal(await token.balanceOf(to), 400n);

  const spender = await fundedWallet();
  await mined(await token.approve(spender.address, 100n));
  assert.equal(await token.allowance(wallet.address, spender.address), 100n);
  const spent = await token.connect(spender).transferFrom(wallet.address, to, 60n);
  await everywhere(spent.hash);
  const elsewhereToken = token.connect(elsewhereProvider);
  assert.equal(await elsewhereToken.allowance(wallet.address, spender.address), 40n);
  assert.equal(await elsewhereToken.balanceOf(to), 460n);
  await assert.rejects(token.connect(spender).transferFrom(wallet.address, to, 41n), (error) =>
    reverted(token, error).name === 'ERC20InsufficientAllowance' && reverted(token, error).args.needed === 41n);
});

test('events are found by log query, by topic and by block', CASE, async () => {
  const token = await deploy('Token', 'Logs', 'LOG', 1000n);
  const [one, two] = [getAddress(freshAddress()), getAddress(freshAddress())];
  await mined(await token.transfer(one, 1n));
  await mined(await token.transfer(two, 2n));
  const last = await mined(await token.transfer(one, 3n));
  await everywhere(last.hash);

  for (const each of providers) {
    const all = await token.connect(each).queryFilter(token.filters.Transfer(), 0);
    assert.deepEqual(all.map(({ args }) => [args.from, args.to, args.value]), [
      [ZeroAddress, wallet.address, 1000n],
      [wallet.address, one, 1n],
      [wallet.address, two, 2n],
      [wallet.address, one, 3n],
    ]);
    const toOne = await token.connect(each).queryFilter(token.filters.Transfer(null, one), 0);
    assert.deepEqual(toOne.map(({ args }) => args.value), [1n, 3n]);
  }
  const inBlock = await provider.getLogs({ blockHash: last.blockHash, address: await token.getAddress() });
  assert.deepEqual(inBlock.map(({ transactionHash, removed }) => [transactionHash, removed]), [[last.hash, false]]);
});

test('a listener over HTTP hears events through an installed filter', CASE, async () => {
  const token = await deploy('Token', 'Polled', 'POLL', 1000n);
  await hears(provider, token, 'eth_newFilter');
});

test('a listener over WebSocket hears events through a subscription', CASE, async () => {
  const token = await deploy('Token', 'Pushed', 'PUSH', 1000n);
  const socket = new WebSocketProvider(webSocket(URLS[elsewhere('ethers')]));
  try {
    await hears(socket, token, 'eth_subscribe');
  } finally {
    await socket.destroy();
  }
});

test('new blocks are announced over WebSocket in order and without gaps', CASE, async () => {
  const socket = new WebSocketProvider(webSocket(URLS[home('ethers')]));
  try {
    const announced = [];
    const listening = answered(socket, 'eth_subscribe');
    let reached = () => {};
    await socket.on('block', (number) => { announced.push(number); reached(number); });
    await within(listening, 'answer to eth_subscribe');
    for (let i = 0; i < 3; i += 1) {
      const receipt = await mined(await wallet.sendTransaction({ to: freshAddress(), value: 1n }));
      await within(new Promise((resolve) => {
        reached = (number) => number >= receipt.blockNumber && resolve();
        announced.forEach(reached);
      }), `announcement of block ${receipt.blockNumber}`);
    }
    announced.forEach((number, i) => assert.equal(number, announced[0] + i));
  } finally {
    await socket.destroy();
  }
});

test('an ERC-721 is deployed, minted, approved and transferred', CASE, async () => {
  const collectible = await deploy('Collectible', 'Things', 'THING');
  assert.equal(await collectible.supportsInterface('0x80ac58cd'), true);
  assert.equal(await collectible.supportsInterface('0xffffffff'), false);
  const [owner, other] = [await fundedWallet(), getAddress(freshAddress())];
  await mined(await collectible.mint(wallet.address, 1n));
  await mined(await collectible.mint(owner.address, 2n));
  assert.equal(await collectible.ownerOf(2n), owner.address);

  await mined(await collectible.transferFrom(wallet.address, other, 1n));
  await mined(await collectible.connect(owner).approve(wallet.address, 2n));
  assert.equal(await collectible.getApproved(2n), wallet.address);
  const last = await mined(await collectible['safeTransferFrom(address,address,uint256)'](owner.address, other, 2n));
  await everywhere(last.hash);
  assert.equal(await collectible.connect(elsewhereProvider).balanceOf(other), 2n);
  const toOther = await collectible.connect(elsewhereProvider).queryFilter(collectible.filters.Transfer(null, other), 0);
  assert.deepEqual(toOther.map(({ args }) => args.tokenId), [1n, 2n]);
  await assert.rejects(collectible.ownerOf(3n), (error) =>
    error.revert.name === 'ERC721NonexistentToken' && error.revert.args[0] === 3n);
});

test('calls made together travel as one batch in which each succeeds or fails alone', CASE, async () => {
  let largest = 0;
  const count = ({ action, payload }) => {
    if (action === 'sendRpcPayload' && Array.isArray(payload)) largest = Math.max(largest, payload.length);
  };
  await provider.on('debug', count);
  const balances = Promise.all(Array.from({ length: 20 }, () => provider.getBalance(wallet.address)));
  const unknown = assert.rejects(provider.send('coco_noSuchMethod', []), isUnknownMethod);
  const height = provider.getBlockNumber();
  assert.equal(new Set(await balances).size, 1);
  assert.ok(await height >= 0);
  await unknown;
  await provider.off('debug', count);
  assert.ok(largest >= 20, `largest batch was ${largest}`);
});

test('gas estimates suffice, and no great deal less does', CASE, async () => {
  assert.equal(await provider.estimateGas({ from: wallet.address, to: freshAddress(), value: 1n }), 21000n);
  const token = await deploy('Token', 'Estimated', 'EST', 1000n);
  const to = freshAddress();
  const estimate = await token.transfer.estimateGas(to, 1n);
  const receipt = await mined(await token.transfer(to, 1n, { gasLimit: estimate }));
  assert.equal(receipt.status, 1);
  assert.ok(estimate >= receipt.gasUsed && estimate < 2n * receipt.gasUsed);
  await failsWhenMined(await token.transfer(freshAddress(), 1n, { gasLimit: receipt.gasUsed * 9n / 10n }));
});

test('a revert reason, a custom error, a panic and an empty revert are each decoded', CASE, async () => {
  const tripwire = await deploy('Tripwire');
  for (const how of ['staticCall', 'estimateGas', 'send']) {
    await assert.rejects(tripwire.withReason[how](), (error) =>
      error.code === 'CALL_EXCEPTION' && error.reason === 'tripped on purpose', how);
    await assert.rejects(tripwire.withCustomError[how](42n), (error) => {
      assert.deepEqual(reverted(tripwire, error).args.toObject(), { by: wallet.address, code: 42n, note: 'custom' });
      return error.code === 'CALL_EXCEPTION' && reverted(tripwire, error).name === 'Tripped';
    });
    await assert.rejects(tripwire.withPanic[how](0n), (error) =>
      error.code === 'CALL_EXCEPTION' && /DIVIDE_BY_ZERO/.test(error.reason), how);
    await assert.rejects(tripwire.withoutReason[how](), (error) =>
      error.code === 'CALL_EXCEPTION' && error.reason !== 'tripped on purpose' && error.revert === null, how);
  }
});

test('a transaction that reverts is included, pays for its gas and changes nothing else', CASE, async () => {
  const tripwire = await deploy('Tripwire');
  const receipt = await failsWhenMined(await tripwire.withReason({ gasLimit: 100_000n }));
  assert.equal(receipt.logs.length, 0);
  assert.ok(receipt.gasUsed > 21_000n && receipt.gasUsed < 100_000n);
  const exhausted = await failsWhenMined(await tripwire.withEndlessLoop({ gasLimit: 90_000n }));
  assert.equal(exhausted.gasUsed, 90_000n);
  assert.equal(await tripwire.touched(), 0n);
});

test('a nonce already used is refused as expired', CASE, async () => {
  await mined(await wallet.sendTransaction({ to: freshAddress(), value: 1n }));
  const nonce = await wallet.getNonce('latest') - 1;
  for (const each of providers) {
    await assert.rejects(wallet.connect(each).sendTransaction({ to: freshAddress(), value: 2n, nonce, gasLimit: 21000 }), (error) =>
      error.code === 'NONCE_EXPIRED' && REFUSED.includes(error.info.error.code));
  }
});

test('less than the intrinsic gas is refused', CASE, async () => {
  await assert.rejects(wallet.sendTransaction({ to: freshAddress(), value: 1n, gasLimit: 20_999 }), (error) =>
    REFUSED.includes(error.error.code) && /intrinsic gas too low/i.test(error.error.message));
});

test('a sender who cannot pay is refused', CASE, async () => {
  const poor = Wallet.createRandom().connect(provider);
  await assert.rejects(poor.sendTransaction({ to: freshAddress(), value: 1n, gasLimit: 21000 }), (error) =>
    error.code === 'INSUFFICIENT_FUNDS' && REFUSED.includes(error.info.error.code));
});

test('an unknown method is refused as such', CASE, async () => {
  for (const each of providers) await assert.rejects(each.send('coco_noSuchMethod', [1]), isUnknownMethod);
});

test('transactions of types 0, 1, 2 and 4 are accepted and keep their type', CASE, async () => {
  const tripwire = await deploy('Tripwire');
  const to = await tripwire.getAddress();
  const data = tripwire.interface.encodeFunctionData('succeed');
  const accessList = [{ address: to, storageKeys: [`0x${'00'.repeat(32)}`] }];
  const gasPrice = (await feeFields()).maxFeePerGas;
  const delegate = await deploy('Wallet');
  const authority = Wallet.createRandom(provider);
  const authorization = await authority.authorize({ address: await delegate.getAddress(), nonce: 0, chainId: CHAIN_ID });
  const variants = [
    { type: 0, gasPrice },
    { type: 1, gasPrice, accessList },
    { type: 2, accessList },
    { type: 4, authorizationList: [authorization] },
  ];
  for (const variant of variants) {
    const sent = await wallet.sendTransaction({ to, data, gasLimit: 200_000, ...variant });
    const receipt = await mined(sent);
    const read = await provider.getTransaction(sent.hash);
    assert.deepEqual([receipt.status, receipt.type, read.type], [1, variant.type, variant.type]);
    assert.equal(Transaction.from(read).hash, sent.hash);
    if (variant.accessList) assert.deepEqual(read.accessList, accessList);
  }
  assert.equal(await tripwire.touched(), 4n);
  assert.equal(await provider.getCode(authority.address), `0xef0100${(await delegate.getAddress()).slice(2).toLowerCase()}`);
  assert.equal(await provider.getTransactionCount(authority.address), 1);
});

// ---- steps

async function deploy(name, ...args) {
  const { abi, bytecode } = contract(name);
  const deployed = await new ContractFactory(abi, bytecode, wallet).deploy(...args);
  const receipt = await mined(deployed.deploymentTransaction());
  assert.equal(receipt.contractAddress, await deployed.getAddress());
  await everywhere(receipt.hash);
  return new Contract(receipt.contractAddress, abi, wallet);
}

async function mined(response) {
  return response.wait(1, WAIT_MS);
}

/** Waits until every endpoint shows the receipt, the same one; returns the providers. */
async function everywhere(hash) {
  const receipts = await Promise.all(providers.map((each) => each.waitForTransaction(hash, 1, WAIT_MS)));
  for (const receipt of receipts) assert.deepEqual(receipt.toJSON(), receipts[0].toJSON());
  return providers;
}

async function failsWhenMined(response) {
  let receipt;
  await assert.rejects(mined(response), (error) => {
    receipt = error.receipt;
    return error.code === 'CALL_EXCEPTION' && receipt.status === 0;
  });
  return receipt;
}

/** The custom error: ethers decodes it itself for calls, and leaves that to the caller for estimates. */
function reverted(called, error) {
  return error.revert ?? called.interface.parseError(error.data);
}

async function fundedWallet() {
  const funded = Wallet.createRandom().connect(provider);
  await mined(await wallet.sendTransaction({ to: funded.address, value: parseEther('1') }));
  return funded;
}

async function feeFields() {
  const { maxFeePerGas, maxPriorityFeePerGas } = await provider.getFeeData();
  return { maxFeePerGas: 2n * maxFeePerGas + parseUnits('2', 'gwei'), maxPriorityFeePerGas };
}

/** ethers makes of geth's words, which Coco uses, an error of its own that holds the answer. */
function isUnknownMethod(error) {
  return (error.error ?? error.info.error).code === UNKNOWN_METHOD;
}

/** Resolves when `listener`, an ethers provider, has the answer to its next call of `method`. */
function answered(listener, method) {
  return new Promise((resolve) => {
    let ids = [];
    const watch = (event) => {
      if (event.action === 'sendRpcPayload') {
        ids = ids.concat([event.payload].flat().filter((each) => each.method === method).map(({ id }) => id));
      } else if (event.action === 'receiveRpcResult' && [event.result].flat().some(({ id }) => ids.includes(id))) {
        listener.off('debug', watch);
        resolve();
      }
    };
    listener.on('debug', watch);
  });
}

/** Three transfers of `token`; `listener` installed with `method` must hear of each, in order, once. */
async function hears(listener, token, method) {
  const to = getAddress(freshAddress());
  const heard = [];
  const listening = token.connect(listener);
  const installed = answered(listener, method);
  const complete = new Promise((resolve) => {
    listening.on(token.filters.Transfer(null, to), ({ args, log }) => {
      heard.push([args.from, args.to, args.value, log.transactionHash]);
      if (heard.length === 3) resolve();
    });
  });
  await within(installed, `answer to ${method}`);
  const expected = [];
  for (const value of [1n, 2n, 3n]) {
    const receipt = await mined(await token.transfer(to, value));
    expected.push([wallet.address, to, value, receipt.hash]);
  }
  await within(complete, 'event');
  await listening.removeAllListeners();
  assert.deepEqual(heard, expected);
}
