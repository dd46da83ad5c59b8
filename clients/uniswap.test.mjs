// Uniswap v2 as published: factory, pair and router from the packages' own bytecode, driven through ethers.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { Contract, ContractFactory, HDNodeWallet, JsonRpcProvider, MaxUint256, NonceManager, keccak256, parseEther } from 'ethers';
import { contract } from './contracts.mjs';
import { ACCOUNT, CASE, MNEMONIC, URLS, WAIT_MS, elsewhere, freshAddress, home } from './network.mjs';

const require = createRequire(import.meta.url);
const published = (path) => require(`@uniswap/${path}.json`);
const FACTORY = published('v2-core/build/UniswapV2Factory');
const PAIR = published('v2-core/build/UniswapV2Pair');
const ROUTER = published('v2-periphery/build/UniswapV2Router02');
const WETH = published('v2-periphery/build/WETH9');

const options = { pollingInterval: 50, cacheTimeout: -1 };
const provider = new JsonRpcProvider(URLS[home('uniswap')], undefined, options);
const reader = new JsonRpcProvider(URLS[elsewhere('uniswap')], undefined, options);
const account = HDNodeWallet.fromPhrase(MNEMONIC, undefined, `m/44'/60'/0'/0/${ACCOUNT.uniswap}`);
const wallet = new NonceManager(account.connect(provider));
const FOREVER = 2n ** 32n;

test.after(() => { provider.destroy(); reader.destroy(); });

/** Waits until both endpoints have the transaction; gives its receipt. */
async function done(sent) {
  const receipt = await (await sent).wait(1, WAIT_MS);
  assert.equal(receipt.status, 1);
  await reader.waitForTransaction(receipt.hash, 1, WAIT_MS);
  return receipt;
}

async function deploy({ abi, bytecode }, ...args) {
  const code = bytecode.startsWith('0x') ? bytecode : `0x${bytecode}`;
  const deployed = await new ContractFactory(abi, code, wallet).deploy(...args);
  await done(deployed.deploymentTransaction());
  return deployed;
}

/** What the constant product leaves after the fee of 0.3 %. */
function amountOut(amountIn, reserveIn, reserveOut) {
  const paid = amountIn * 997n;
  return (paid * reserveOut) / (reserveIn * 1000n + paid);
}

test('liquidity is provided, tokens and ether are swapped to the wei, and liquidity is taken out', CASE, async (t) => {
  const me = account.address;
  const supply = parseEther('1000000');
  const [gold, silver] = [await deploy(contract('Token'), 'Gold', 'AU', supply), await deploy(contract('Token'), 'Silver', 'AG', supply)];
  const [weth, factory] = [await deploy(WETH), await deploy(FACTORY, me)];
  const router = await deploy(ROUTER, factory.target, weth.target);
  assert.equal(await router.factory(), factory.target);
  for (const token of [gold, silver]) await done(token.approve(router.target, MaxUint256));

  const [golden, silvern] = [parseEther('1000'), parseEther('4000')];
  await done(router.addLiquidity(gold.target, silver.target, golden, silvern, 0, 0, me, FOREVER));
  const pair = new Contract(await factory.getPair(gold.target, silver.target), PAIR.abi, wallet);

  await t.test('the pair is where its code says', async () => {
    assert.equal(await factory.allPairsLength(), 1n);
    assert.equal(keccak256(`0x${PAIR.bytecode.replace(/^0x/, '')}`), '0x96e8ac4277198ff8b6f785478aa9a39f403cb768dd02cbee326c3e7da348845f');
    const seen = pair.connect(reader);
    const [reserve0, reserve1] = await seen.getReserves();
    const goldFirst = (await seen.token0()) === gold.target;
    assert.deepEqual(goldFirst ? [reserve0, reserve1] : [reserve1, reserve0], [golden, silvern]);
    // The square root of the product, less what is locked for ever.
    assert.equal(await seen.balanceOf(me), parseEther('2000') - 1000n);
  });

  await t.test('a swap pays what the product leaves', async () => {
    const paid = parseEther('10');
    const expected = amountOut(paid, golden, silvern);
    assert.deepEqual([...await router.getAmountsOut(paid, [gold.target, silver.target])], [paid, expected]);
    const to = freshAddress();
    await assert.rejects(router.swapExactTokensForTokens.staticCall(paid, expected + 1n, [gold.target, silver.target], to, FOREVER), /INSUFFICIENT_OUTPUT_AMOUNT/);
    const receipt = await done(router.swapExactTokensForTokens(paid, expected, [gold.target, silver.target], to, FOREVER));
    assert.equal(await silver.connect(reader).balanceOf(to), expected);
    const names = receipt.logs.map((log) => (log.address === pair.target ? pair.interface.parseLog(log)?.name : undefined));
    assert.deepEqual(names.filter(Boolean), ['Sync', 'Swap']);
    const swaps = await pair.connect(reader).queryFilter('Swap', 0);
    assert.deepEqual(swaps.map((log) => log.transactionHash), [receipt.hash]);
  });

  await t.test('ether is swapped over its wrapper, through two pairs', async () => {
    await done(router.addLiquidityETH(silver.target, parseEther('500'), 0, 0, me, FOREVER, { value: parseEther('5') }));
    assert.equal(await factory.allPairsLength(), 2n);
    const path = [weth.target, silver.target, gold.target];
    const value = parseEther('0.1');
    const [, , expected] = await router.getAmountsOut(value, path);
    const to = freshAddress();
    await done(router.swapExactETHForTokens(expected, path, to, FOREVER, { value }));
    assert.equal(await gold.connect(reader).balanceOf(to), expected);
  });

  await t.test('what is taken out is the share of what is there', async () => {
    const share = await pair.balanceOf(me);
    const [before, total] = [await gold.balanceOf(me), await pair.totalSupply()];
    const held = await gold.balanceOf(pair.target);
    await done(pair.approve(router.target, share));
    await done(router.removeLiquidity(gold.target, silver.target, share, 0, 0, me, FOREVER));
    assert.equal(await gold.connect(reader).balanceOf(me), before + (share * held) / total);
    await assert.rejects(router.addLiquidity.staticCall(gold.target, silver.target, 1, 1, 0, 0, me, 1n), /EXPIRED/);
  });
});
