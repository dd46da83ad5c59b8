// Hardhat's node as a server to be measured: blocks every second, as large as the other servers'.

module.exports = {
  solidity: '0.8.28',
  networks: { hardhat: { chainId: 31337, blockGasLimit: 3_000_000_000, mining: { auto: false, interval: 1_000 }, loggingEnabled: false } },
};
