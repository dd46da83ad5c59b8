// Wrong answers of a node, one each, and the clients whose checks must notice.
//
// `tell(request, answer, node)` gives the wrong answer; a batch comes as the request {method: 'batch'}, a subscription's
// notification as an answer with `method: 'eth_subscription'`; undefined says nothing at all.

const EVERY_CLIENT = ['ethers', 'viem', 'web3.js', 'web3.py', 'hardhat', 'cast'];
const LIBRARIES = ['ethers', 'viem', 'web3.js', 'web3.py'];

export const LIES = {
  'a balance one wei too high': {
    tell: result('eth_getBalance', (balance) => hex(BigInt(balance) + 1n)),
    noticed: EVERY_CLIENT,
  },
  'no revert data': {
    tell: error(3, ({ data, ...rest }) => rest),
    noticed: EVERY_CLIENT,
  },
  'revert with another code': {
    tell: error(3, (reverted) => ({ ...reverted, code: -32000 })),
    noticed: ['web3.js', 'cast'],
  },
  'an unknown method is a general error': {
    tell: error(-32601, (unknown) => ({ ...unknown, code: -32000 })),
    noticed: EVERY_CLIENT,
  },
  'a used nonce in other words': words(/nonce too low/i),
  'too little money in other words': words(/insufficient funds/i),
  'too little gas in other words': words(/intrinsic gas too low/i),
  'no logs': {
    tell: result('eth_getLogs', () => []),
    noticed: EVERY_CLIENT,
  },
  'a filter that finds nothing': {
    tell: result('eth_getFilterChanges', () => []),
    noticed: LIBRARIES,
  },
  'a subscription that says nothing': {
    tell: (request, answer) => (answer.method === 'eth_subscription' ? undefined : answer),
    noticed: [...LIBRARIES, 'cast'],
  },
  'a failed transaction succeeded': {
    tell: result('eth_getTransactionReceipt', (receipt) => receipt && { ...receipt, status: '0x1' }),
    noticed: EVERY_CLIENT,
  },
  'a batch lacks its last answer': {
    tell: (request, answer) => (request.method === 'batch' ? answer.slice(0, -1) : answer),
    noticed: LIBRARIES,
  },
  'an unknown transaction is an error': {
    tell: (request, answer) => (request.method === 'eth_getTransactionByHash' && answer.result === null
      ? { jsonrpc: '2.0', id: answer.id, error: { code: -32000, message: 'no idea' } } : answer),
    noticed: EVERY_CLIENT,
  },
  'a block by hash with another hash': {
    tell: result('eth_getBlockByHash', (block) => block && { ...block, hash: `0x${'ab'.repeat(32)}` }),
    noticed: EVERY_CLIENT,
  },
  'a receipt of another type': {
    tell: result('eth_getTransactionReceipt', (receipt) => receipt && { ...receipt, type: receipt.type === '0x1' ? '0x2' : receipt.type }),
    noticed: [...LIBRARIES, 'cast'],
  },
  'a transaction without its access list': {
    tell: result('eth_getTransactionByHash', (transaction) => transaction && { ...transaction, accessList: [] }),
    noticed: [...LIBRARIES, 'hardhat'],
  },
  'an estimate too low': {
    tell: result('eth_estimateGas', (gas) => hex(BigInt(gas) - 1n)),
    noticed: EVERY_CLIENT,
  },
  'a fee history without the next base fee': {
    tell: result('eth_feeHistory', (history) => ({ ...history, baseFeePerGas: history.baseFeePerGas.slice(0, -1) })),
    noticed: [...LIBRARIES, 'hardhat'],
  },
  'a price that was not paid': {
    tell: result('eth_getTransactionReceipt', (receipt) => receipt && { ...receipt, effectiveGasPrice: hex(BigInt(receipt.effectiveGasPrice) + 1n) }),
    noticed: [...LIBRARIES, 'hardhat'],
  },
  'no synchronous sending': {
    tell: (request, answer) => (request.method === 'eth_sendRawTransactionSync'
      ? { jsonrpc: '2.0', id: answer.id, error: { code: -32601, message: 'Method not found' } } : answer),
    noticed: ['viem', 'cast'],
  },
  'a proof of another storage': {
    tell: result('eth_getProof', (proof) => ({ ...proof, storageHash: `0x${'ab'.repeat(32)}` })),
    noticed: ['viem'],
  },
  'one node lacks every receipt': {
    tell: (request, answer, node) => (node === 2 && request.method === 'eth_getTransactionReceipt' ? { ...answer, result: null } : answer),
    noticed: [...LIBRARIES, 'hardhat', 'cast'],
  },
};

/** Changes the result of one method. */
function result(method, change) {
  return (request, answer) => (request.method === method && answer.result !== undefined ? { ...answer, result: change(answer.result) } : answer);
}

/** Changes errors of one code. */
function error(code, change) {
  return (request, answer) => (answer.error?.code === code ? { ...answer, error: change(answer.error) } : answer);
}

/** Says errors that clients know by their words in other words. */
function words(pattern) {
  return {
    tell: (request, answer) => (pattern.test(answer.error?.message) ? { ...answer, error: { ...answer.error, message: 'refused' } } : answer),
    noticed: EVERY_CLIENT,
  };
}

function hex(value) {
  return `0x${value.toString(16)}`;
}
