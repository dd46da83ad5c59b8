// @nomicfoundation/hardhat-network-helpers, unmodified, every function of it; and console.log.
// It changes time and accounts and goes back: the node must be its own.

const { expect } = require('chai');
const { ethers, network } = require('hardhat');
const helpers = require('@nomicfoundation/hardhat-network-helpers');

const SOMEBODY = '0x1111111111111111111111111111111111111111';
const start = {};

before(async () => {
  start.snapshot = await helpers.takeSnapshot();
});
after(() => start.snapshot.restore());

it('mine makes blocks, as many as asked and as far apart', async () => {
  const before = await helpers.time.latestBlock();
  await helpers.mine();
  expect(await helpers.time.latestBlock()).to.equal(before + 1);
  const time = await helpers.time.latest();
  await helpers.mine(1000, { interval: 15 });
  expect(await helpers.time.latestBlock()).to.equal(before + 1001);
  expect(await helpers.time.latest()).to.be.at.least(time + 999 * 15);
  await helpers.mineUpTo(before + 1010);
  expect(await helpers.time.latestBlock()).to.equal(before + 1010);
});

it('time goes forward', async () => {
  const before = await helpers.time.latest();
  expect(await helpers.time.increase(3600)).to.be.at.least(before + 3600);
  const target = (await helpers.time.latest()) + 10_000;
  await helpers.time.increaseTo(target);
  expect(await helpers.time.latest()).to.equal(target);
  await helpers.time.setNextBlockTimestamp(target + 500);
  await helpers.mine();
  expect(await helpers.time.latest()).to.equal(target + 500);
  await expectRejection(helpers.time.increaseTo(target), /lower than|is not greater|Invalid timestamp/);
});

it('accounts are what they are set to be', async () => {
  await helpers.setBalance(SOMEBODY, 12345n);
  expect(await ethers.provider.getBalance(SOMEBODY)).to.equal(12345n);
  await helpers.setNonce(SOMEBODY, 747);
  expect(await ethers.provider.getTransactionCount(SOMEBODY)).to.equal(747);
  await helpers.setCode(SOMEBODY, '0x60016000');
  expect(await ethers.provider.getCode(SOMEBODY)).to.equal('0x60016000');
  await helpers.setStorageAt(SOMEBODY, 3, 42);
  expect(BigInt(await helpers.getStorageAt(SOMEBODY, 3))).to.equal(42n);
});

it('the next block is what it is set to be', async () => {
  await helpers.setNextBlockBaseFeePerGas(123_456_789n);
  await helpers.setPrevRandao(0xabcdef);
  await helpers.setCoinbase(SOMEBODY);
  await helpers.setBlockGasLimit(25_000_000);
  await helpers.mine();
  const block = await ethers.provider.getBlock('latest');
  expect(block.baseFeePerGas).to.equal(123_456_789n);
  const { mixHash } = await network.provider.send('eth_getBlockByNumber', ['latest', false]);
  expect(BigInt(mixHash)).to.equal(0xabcdefn);
  expect([block.miner, block.gasLimit]).to.deep.equal([SOMEBODY, 25_000_000n]);
});

it('an impersonated account sends', async () => {
  const [, to] = await ethers.getSigners();
  await helpers.impersonateAccount(SOMEBODY);
  await helpers.setBalance(SOMEBODY, ethers.parseEther('1'));
  await helpers.setCode(SOMEBODY, '0x6001');
  const signer = await ethers.getSigner(SOMEBODY);
  const receipt = await (await signer.sendTransaction({ to, value: 1n })).wait();
  expect([receipt.from, receipt.status]).to.deep.equal([SOMEBODY, 1]);
  await helpers.stopImpersonatingAccount(SOMEBODY);
  await expectRejection(signer.sendTransaction({ to, value: 1n }), /unknown account/);
});

it('a pending transaction is dropped', async () => {
  const [from, to] = await ethers.getSigners();
  await network.provider.send('evm_setAutomine', [false]);
  try {
    const { hash } = await from.sendTransaction({ to, value: 1n });
    expect(await helpers.dropTransaction(hash)).to.equal(true);
    await helpers.mine();
    expect(await ethers.provider.getTransactionReceipt(hash)).to.equal(null);
  } finally {
    await network.provider.send('evm_setAutomine', [true]);
  }
});

describe('fixtures', () => {
  async function deployed() {
    const shouter = await ethers.deployContract('Shouter');
    await shouter.waitForDeployment();
    return { shouter };
  }

  for (const round of [1, 2, 3]) {
    it(`begin afresh each time (${round})`, async () => {
      const { shouter } = await helpers.loadFixture(deployed);
      expect(await shouter.count()).to.equal(0n);
      await (await shouter.shout('hello')).wait();
      expect(await shouter.count()).to.equal(1n);
      await helpers.mine(5);
    });
  }
});

it('a snapshot can be gone back to again and again', async () => {
  const snapshot = await helpers.takeSnapshot();
  const before = await ethers.provider.getBlock('latest');
  for (const balance of [1n, 2n]) {
    await helpers.setBalance(SOMEBODY, balance);
    await helpers.mine(3);
    await snapshot.restore();
    expect((await ethers.provider.getBlock('latest')).hash).to.equal(before.hash);
  }
});

it('a reset leads to block 0', async () => {
  await helpers.reset();
  expect(await helpers.time.latestBlock()).to.equal(0);
  const [from, to] = await ethers.getSigners();
  await (await from.sendTransaction({ to, value: 1n })).wait();
  expect(await helpers.time.latestBlock()).to.equal(1);
  start.snapshot = await helpers.takeSnapshot();
});

async function expectRejection(promise, pattern) {
  const error = await promise.then(() => undefined, (caught) => caught);
  expect(error, 'it is refused').to.be.instanceOf(Error);
  expect(error.message).to.match(pattern);
}
