// Hardhat 3 against a lone node of a developer. It compiles with the pinned npm solc: left alone it would download a compiler.

import { createRequire } from 'node:module';
import hardhatEthers from '@nomicfoundation/hardhat-ethers';
import networkHelpers from '@nomicfoundation/hardhat-network-helpers';
import nodeTestRunner from '@nomicfoundation/hardhat-node-test-runner';
import { defineConfig } from 'hardhat/config';

const require = createRequire(import.meta.url);

export default defineConfig({
  plugins: [hardhatEthers, networkHelpers, nodeTestRunner],
  solidity: { version: require('solc/package.json').version, path: require.resolve('solc/soljson.js') },
  networks: {
    tested: { type: 'http', chainType: 'l1', url: process.env.COCO_ETH_URLS?.split(',')[0] ?? 'http://127.0.0.1:8545' },
  },
  paths: { cache: '../build/hardhat3/cache', artifacts: '../build/hardhat3/artifacts' },
});
