// Hardhat 2 against a lone development node, with the node's own accounts.

const path = require('node:path');
const config = require('../hardhat/hardhat.config.cjs');
require('@nomicfoundation/hardhat-network-helpers');

const { url, chainId, timeout } = config.networks.tested;
const build = path.join(__dirname, '..', 'build', 'developer');

module.exports = {
  ...config,
  networks: { tested: { url: process.env.COCO_ETH_URLS?.split(',')[0] ?? url, chainId, timeout, accounts: 'remote' } },
  paths: {
    root: path.join(__dirname, '..'),
    sources: path.join(__dirname, 'contracts'),
    tests: __dirname,
    cache: path.join(build, 'cache'),
    artifacts: path.join(build, 'artifacts'),
  },
};
