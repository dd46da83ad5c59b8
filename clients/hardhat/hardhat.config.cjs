// Hardhat 2 against the home endpoint of its account. It compiles contracts/ itself, with the pinned npm solc:
// left alone it would download a compiler.

require('@nomicfoundation/hardhat-ethers');
require('@nomicfoundation/hardhat-chai-matchers');
const path = require('node:path');
const { subtask } = require('hardhat/config');
const { TASK_COMPILE_SOLIDITY_GET_SOLC_BUILD } = require('hardhat/builtin-tasks/task-names');
const network = require('../network.json');

const COMPILER = require('solc/package.json').version;
const urls = process.env.COCO_ETH_URLS?.split(',') ?? network.urls;
const index = network.account.hardhat;

subtask(TASK_COMPILE_SOLIDITY_GET_SOLC_BUILD).setAction(async ({ solcVersion }) => ({
  compilerPath: require.resolve('solc/soljson.js'),
  isSolcJs: true,
  version: solcVersion,
  longVersion: COMPILER,
}));

module.exports = {
  solidity: { version: COMPILER, settings: { optimizer: { enabled: true, runs: 200 }, evmVersion: 'prague' } },
  defaultNetwork: 'tested',
  networks: {
    tested: {
      url: urls[(index - 1) % urls.length],
      chainId: Number(process.env.COCO_CHAIN_ID ?? network.chain_id),
      accounts: { mnemonic: network.mnemonic, initialIndex: index, count: 1 },
      timeout: network.wait_ms,
    },
  },
  paths: {
    root: path.join(__dirname, '..'),
    sources: path.join(__dirname, '..', 'contracts'),
    tests: __dirname,
    cache: path.join(__dirname, '..', 'build', 'hardhat', 'cache'),
    artifacts: path.join(__dirname, '..', 'build', 'hardhat', 'artifacts'),
  },
  mocha: { timeout: 60_000, ...(process.env.MOCHA_REPORTER && { reporter: process.env.MOCHA_REPORTER }) },
};
