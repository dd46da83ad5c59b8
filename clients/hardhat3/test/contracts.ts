// What a project does with hardhat 3: deploy, call, expect reverts and events, and change time and accounts between its tests.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { network } from 'hardhat';

const { ethers, networkHelpers } = await network.create();
const SOMEBODY = '0x1111111111111111111111111111111111111111';

async function deployed() {
  const [owner] = await ethers.getSigners();
  const counter = await ethers.deployContract('Counter');
  await counter.waitForDeployment();
  return { owner, counter };
}

describe('hardhat 3', () => {
  it('finds the accounts that the node holds', async () => {
    const signers = await ethers.getSigners();
    assert.equal(signers.length, 10);
    assert.equal(signers[0].address, '0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266');
    assert.equal((await ethers.provider.getNetwork()).chainId, 31337n);
  });

  it('deploys a contract, sends to it and reads its events', async () => {
    const { owner, counter } = await networkHelpers.loadFixture(deployed);
    const receipt = await (await counter.count(5n)).wait();
    assert.equal(receipt.status, 1);
    assert.equal(await counter.total(), 5n);
    const [event] = await counter.queryFilter('Counted', receipt.blockNumber);
    assert.deepEqual([...event.args], [owner.address, 5n, 5n]);
  });

  it('tells reverts, with a reason or an error of the contract', async () => {
    const { counter } = await networkHelpers.loadFixture(deployed);
    await assert.rejects(counter.count(0n), /nothing to count/);
    const refused = await counter.count(101n).then(() => undefined, (error) => error);
    assert.equal(counter.interface.parseError(refused.data)?.name, 'TooMuch');
  });

  it('goes back to where a fixture was', async () => {
    const before = await networkHelpers.loadFixture(deployed);
    await (await before.counter.count(5n)).wait();
    const { counter } = await networkHelpers.loadFixture(deployed);
    assert.equal(counter.target, before.counter.target);
    assert.equal(await counter.total(), 0n);
  });

  it('changes time, accounts and storage', async () => {
    const later = (await networkHelpers.time.latest()) + 86_400;
    await networkHelpers.time.increaseTo(later);
    assert.equal(await networkHelpers.time.latest(), later);
    const height = await networkHelpers.time.latestBlock();
    await networkHelpers.mine(300);
    assert.equal(await networkHelpers.time.latestBlock(), height + 300);
    await networkHelpers.setBalance(SOMEBODY, 10n ** 18n);
    await networkHelpers.setStorageAt(SOMEBODY, 0, 7);
    assert.equal(BigInt(await networkHelpers.getStorageAt(SOMEBODY, 0)), 7n);
    await networkHelpers.impersonateAccount(SOMEBODY);
    const somebody = await ethers.getSigner(SOMEBODY);
    const paid = await (await somebody.sendTransaction({ to: ethers.ZeroAddress, value: 1n })).wait();
    assert.equal(paid.from, SOMEBODY);
    await networkHelpers.stopImpersonatingAccount(SOMEBODY);
  });
});
