// Hardhat 2: deployment from its artifacts, its own provider, and its matchers, which read errors, events and
// balances at past blocks.

const { expect } = require('chai');
const { anyValue } = require('@nomicfoundation/hardhat-chai-matchers/withArgs');
const { ethers, network } = require('hardhat');

let shared;
let wallet;
let elsewhere;

before(async () => {
  shared = await import('../network.mjs');
  [wallet] = await ethers.getSigners();
  elsewhere = new ethers.JsonRpcProvider(shared.URLS[shared.elsewhere('hardhat')], undefined, { pollingInterval: 50, cacheTimeout: -1 });
});
after(() => elsewhere.destroy());

it('the endpoint names the chain and hardhat keeps the account', async () => {
  expect((await ethers.provider.getNetwork()).chainId).to.equal(BigInt(shared.CHAIN_ID));
  expect(await network.provider.send('eth_accounts')).to.deep.equal([wallet.address.toLowerCase()]);
  expect(await ethers.provider.getBalance(wallet)).to.be.greaterThan(ethers.parseEther('1000'));
});

it('a transfer moves its value exactly', async () => {
  const to = shared.freshAddress();
  // The matchers changeEtherBalances and changeTokenBalances refuse blocks that hold other clients' transactions too.
  const { blockNumber, fee, hash } = await (await wallet.sendTransaction({ to, value: 250n })).wait();
  const [before, after] = await Promise.all([blockNumber - 1, blockNumber].map((block) => ethers.provider.getBalance(wallet, block)));
  expect(before - after).to.equal(250n + fee);
  expect(await ethers.provider.getBalance(to, blockNumber - 1)).to.equal(0n);
  await reached(hash);
  expect(await elsewhere.getBalance(to)).to.equal(250n);
});

it('an ERC-20 is deployed, read, transferred and spent by allowance', async () => {
  const token = await deployed('Token', 'Coco Coin', 'COCO', 1_000_000n);
  expect(await token.name()).to.equal('Coco Coin');
  expect(await token.symbol()).to.equal('COCO');
  expect(await token.decimals()).to.equal(18n);
  expect(await token.totalSupply()).to.equal(1_000_000n);
  const to = ethers.getAddress(shared.freshAddress());
  const { blockNumber } = await (await mined(token.transfer(to, 400n))).wait();
  expect(await token.balanceOf(to, { blockTag: blockNumber - 1 })).to.equal(0n);
  expect(await token.balanceOf(to, { blockTag: blockNumber })).to.equal(400n);

  const spender = await fundedWallet();
  await expect(mined(token.approve(spender, 100n))).to.emit(token, 'Approval').withArgs(wallet.address, spender.address, 100n);
  await mined(token.connect(spender).transferFrom(wallet, to, 60n));
  expect(await token.allowance(wallet, spender)).to.equal(40n);
  await expect(token.connect(spender).transferFrom(wallet, to, 41n))
    .to.be.revertedWithCustomError(token, 'ERC20InsufficientAllowance').withArgs(spender.address, 40n, 41n);
  await expect(token.transfer(ethers.ZeroAddress, 1n)).to.be.revertedWith('transfer to the zero address');
});

it('events are found by query and heard by a listener', async () => {
  const token = await deployed('Token', 'Events', 'EVT', 1000n);
  const to = ethers.getAddress(shared.freshAddress());
  const heard = [];
  let complete;
  const all = new Promise((resolve) => { complete = resolve; });
  await token.on('Transfer', (from, receiver, value) => heard.push([from, receiver, value]) === 3 && complete());
  const expected = [];
  for (const value of [1n, 2n, 3n]) {
    await expect(mined(token.transfer(to, value))).to.emit(token, 'Transfer').withArgs(wallet.address, to, value);
    expected.push([wallet.address, to, value]);
  }
  await shared.within(all, 'event');
  await token.removeAllListeners();
  // hardhat-ethers asks for the logs of several blocks at once, and may so deliver them in another order.
  expect(heard.sort((a, b) => Number(a[2] - b[2]))).to.deep.equal(expected);
  const found = await token.queryFilter(token.filters.Transfer(null, to), 0);
  expect(found.map(({ args }) => args.value)).to.deep.equal([1n, 2n, 3n]);
});

it('an ERC-721 is deployed, minted, approved and transferred', async () => {
  const collectible = await deployed('Collectible', 'Things', 'THING');
  const other = ethers.getAddress(shared.freshAddress());
  await expect(mined(collectible.mint(wallet, 1n))).to.emit(collectible, 'Transfer').withArgs(ethers.ZeroAddress, wallet.address, 1n);
  const operator = await fundedWallet();
  await expect(collectible.connect(operator).transferFrom(wallet, other, 1n))
    .to.be.revertedWithCustomError(collectible, 'ERC721InsufficientApproval').withArgs(operator.address, 1n);
  await mined(collectible.setApprovalForAll(operator, true));
  await expect(mined(collectible.connect(operator).transferFrom(wallet, other, 1n)))
    .to.emit(collectible, 'Transfer').withArgs(wallet.address, other, 1n);
  expect(await collectible.ownerOf(1n)).to.equal(other);
  expect(await collectible.balanceOf(other)).to.equal(1n);
  await expect(collectible.connect(operator).mint(other, 2n)).to.be.revertedWith('only the minter mints');
});

it('a revert reason, a custom error, a panic and an empty revert are each decoded', async () => {
  const tripwire = await deployed('Tripwire');
  for (const how of ['staticCall', 'estimateGas', 'send']) {
    await expect(tripwire.withReason[how]()).to.be.revertedWith('tripped on purpose');
    await expect(tripwire.withCustomError[how](42n))
      .to.be.revertedWithCustomError(tripwire, 'Tripped').withArgs(wallet.address, 42n, anyValue);
    await expect(tripwire.withPanic[how](0n)).to.be.revertedWithPanic(0x12);
    await expect(tripwire.withoutReason[how]()).to.be.revertedWithoutReason();
  }
});

it('a transaction that reverts is included and fails', async () => {
  const tripwire = await deployed('Tripwire');
  for (const trip of ['withReason', 'withEndlessLoop']) {
    const sent = await tripwire[trip]({ gasLimit: 100_000n });
    await expect(sent.wait()).to.be.rejectedWith(/revert/);
    const receipt = await ethers.provider.getTransactionReceipt(sent.hash);
    expect(receipt.status).to.equal(0);
    expect(receipt.gasUsed === 100_000n).to.equal(trip === 'withEndlessLoop');
  }
  expect(await tripwire.touched()).to.equal(0n);
});

it('hardhat fills nonce, gas and EIP-1559 fees, and blocks agree by number and hash', async () => {
  const sent = await wallet.sendTransaction({ to: shared.freshAddress(), value: 1n });
  const receipt = await sent.wait();
  const block = await ethers.provider.getBlock(receipt.blockNumber, true);
  expect(sent.type).to.equal(2);
  expect(receipt.gasPrice).to.equal(block.baseFeePerGas + sent.maxPriorityFeePerGas);
  expect((await ethers.provider.getBlock(receipt.blockHash, true)).toJSON()).to.deep.equal(block.toJSON());
  expect(block.getPrefetchedTransaction(sent.hash).value).to.equal(1n);
  const history = await network.provider.send('eth_feeHistory', ['0x1', 'latest', [50]]);
  expect(history.baseFeePerGas).to.have.lengthOf(history.gasUsedRatio.length + 1);
});

it('what does not exist is null', async () => {
  expect(await ethers.provider.getTransaction(shared.UNKNOWN_HASH)).to.equal(null);
  expect(await ethers.provider.getTransactionReceipt(shared.UNKNOWN_HASH)).to.equal(null);
  expect(await ethers.provider.getBlock(shared.UNKNOWN_HASH)).to.equal(null);
});

it('a used nonce, too little gas, too little money and an unknown method are refused', async () => {
  await mined(wallet.sendTransaction({ to: shared.freshAddress(), value: 1n }));
  const to = shared.freshAddress();
  const fees = { maxFeePerGas: ethers.parseUnits('100', 'gwei'), maxPriorityFeePerGas: 1n };
  const used = { from: wallet.address, to, value: '0x1', nonce: '0x0', gas: '0x5208' };
  await refused(network.provider.send('eth_sendTransaction', [used]), /nonce too low/i);
  await refused(network.provider.send('eth_sendTransaction', [{ from: wallet.address, to, value: '0x1', gas: '0x5207' }]), /intrinsic gas too low/i);
  const poor = ethers.Wallet.createRandom();
  const raw = await poor.signTransaction({ type: 2, chainId: shared.CHAIN_ID, to, value: 1n, nonce: 0, gasLimit: 21000n, ...fees });
  await refused(network.provider.send('eth_sendRawTransaction', [raw]), /insufficient funds/i);
  const unknown = await rejection(network.provider.send('coco_noSuchMethod', []));
  expect(unknown.code).to.equal(shared.UNKNOWN_METHOD);
});

it('a transaction with an access list keeps it', async () => {
  const tripwire = await deployed('Tripwire');
  const accessList = [{ address: await tripwire.getAddress(), storageKeys: [`0x${'00'.repeat(32)}`] }];
  const sent = await tripwire.succeed({ type: 1, accessList, gasPrice: ethers.parseUnits('100', 'gwei') });
  expect((await sent.wait()).status).to.equal(1);
  const read = await ethers.provider.getTransaction(sent.hash);
  expect(read.type).to.equal(1);
  expect(read.accessList).to.deep.equal(accessList);
});

// ---- steps

async function deployed(name, ...args) {
  const contract = await ethers.deployContract(name, args);
  await contract.waitForDeployment();
  await reached(contract.deploymentTransaction().hash);
  return contract;
}

/** The transaction, once it has a receipt: the `emit` matcher alone expects a network that seals at once. */
async function mined(sending) {
  const sent = await sending;
  await sent.wait();
  return sent;
}

async function reached(hash) {
  await elsewhere.waitForTransaction(hash, 1, shared.WAIT_MS);
}

async function fundedWallet() {
  const funded = ethers.Wallet.createRandom().connect(ethers.provider);
  await mined(wallet.sendTransaction({ to: funded.address, value: ethers.parseEther('1') }));
  return funded;
}

async function refused(sending, message) {
  const error = await rejection(sending);
  expect(error.code).to.be.oneOf(shared.REFUSED);
  expect(error.message).to.match(message);
}

async function rejection(promise) {
  let rejected;
  await promise.then(() => { throw new Error('not refused'); }, (error) => { rejected = error; });
  return rejected;
}
