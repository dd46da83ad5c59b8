// What results look like whose values are a client's own affair: the exchanges that execution-apis marks `speconly`.
//
// Written after its method descriptions, as strict as they are: no member may be missing, and none may be there that is not named.
// A pattern is a regular expression for a string, a type's name, a list of one pattern for all members, or an object;
// a member with `?` may be missing, and `*` stands for every member, whatever its name.

import assert from 'node:assert/strict';

const UINT = /^0x(0|[1-9a-f][0-9a-f]*)$/;
const BYTES = /^0x([0-9a-f]{2})*$/;
const BYTES8 = /^0x[0-9a-f]{16}$/;
const HASH = /^0x[0-9a-f]{64}$/;
const ADDRESS = /^0x[0-9a-fA-F]{40}$/;
const BLOOM = /^0x[0-9a-f]{512}$/;

const RESOURCE = {
  disabled: 'boolean',
  '?oldestBlock': UINT,
  '?deleteStrategy': { type: /^(none|window)$/, '?retentionBlocks': UINT },
};
const ACCESS_LIST = [{ address: ADDRESS, storageKeys: [HASH] }];
const PENDING = {
  blockHash: 'null', blockNumber: 'null', blockTimestamp: 'null', transactionIndex: 'null',
  from: ADDRESS, to: [ADDRESS, 'null'], gas: UINT, gasPrice: UINT, hash: HASH, input: BYTES, nonce: UINT, value: UINT,
  type: UINT, v: UINT, r: UINT, s: UINT, '?chainId': UINT, '?yParity': UINT, '?maxFeePerGas': UINT, '?maxPriorityFeePerGas': UINT,
  '?maxFeePerBlobGas': UINT, '?blobVersionedHashes': [HASH], '?accessList': ACCESS_LIST,
  '?authorizationList': [{ chainId: UINT, address: ADDRESS, nonce: UINT, yParity: UINT, r: UINT, s: UINT }],
};
const BY_NONCE = { '*': PENDING };
const WITHDRAWAL = { index: UINT, validatorIndex: UINT, address: ADDRESS, amount: UINT };

const SHAPES = {
  eth_capabilities: {
    head: { number: UINT, hash: HASH },
    state: RESOURCE, tx: RESOURCE, logs: RESOURCE, receipts: RESOURCE, blocks: RESOURCE, stateproofs: RESOURCE,
  },
  eth_createAccessList: { accessList: ACCESS_LIST, gasUsed: UINT, '?error': 'string' },
  eth_estimateGas: UINT,
  eth_feeHistory: {
    oldestBlock: UINT, baseFeePerGas: [UINT], gasUsedRatio: ['number'], '?reward': [[UINT]],
    '?baseFeePerBlobGas': [UINT], '?blobGasUsedRatio': ['number'],
  },
  eth_sendRawTransaction: HASH,
  testing_buildBlockV1: {
    executionPayload: {
      parentHash: HASH, feeRecipient: ADDRESS, stateRoot: HASH, receiptsRoot: HASH, logsBloom: BLOOM, prevRandao: HASH,
      blockNumber: UINT, gasLimit: UINT, gasUsed: UINT, timestamp: UINT, extraData: BYTES, baseFeePerGas: UINT,
      blockHash: HASH, transactions: [BYTES], withdrawals: [WITHDRAWAL], blobGasUsed: UINT, excessBlobGas: UINT,
    },
    blockValue: UINT,
    blobsBundle: { commitments: [BYTES], proofs: [BYTES], blobs: [BYTES] },
    executionRequests: [BYTES],
    shouldOverrideBuilder: 'boolean',
  },
  txpool_content: { pending: { '*': BY_NONCE }, queued: { '*': BY_NONCE } },
  txpool_contentFrom: { pending: BY_NONCE, queued: BY_NONCE },
  txpool_status: { pending: UINT, queued: UINT },
};

/** Fails unless `result` is what `method` may answer. */
export function assertShape(method, result) {
  assert.ok(method in SHAPES, `no shape of ${method} is known`);
  const fault = faultOf(result, SHAPES[method], 'result');
  assert.equal(fault, undefined, fault);
}

/** What is wrong with a value, or nothing. */
function faultOf(value, pattern, path) {
  if (pattern instanceof RegExp) {
    return typeof value === 'string' && pattern.test(value) ? undefined : `${path} is ${JSON.stringify(value)}`;
  }
  if (typeof pattern === 'string') {
    const type = value === null ? 'null' : typeof value;
    return type === pattern ? undefined : `${path} is of type ${type}, not ${pattern}`;
  }
  if (Array.isArray(pattern)) {
    // Several patterns are alternatives, one is that of every member.
    if (pattern.length > 1) {
      const faults = pattern.map((one) => faultOf(value, one, path));
      return faults.every((fault) => fault !== undefined) ? faults[0] : undefined;
    }
    if (!Array.isArray(value)) return `${path} is no list`;
    return first(value.map((item, index) => faultOf(item, pattern[0], `${path}[${index}]`)));
  }
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return `${path} is no object`;
  const named = (name) => pattern[name] ?? pattern[`?${name}`] ?? pattern['*'];
  const missing = Object.keys(pattern).find((name) => !/^[?*]/.test(name) && !(name in value));
  if (missing !== undefined) return `${path} has no ${missing}`;
  return first(Object.entries(value).map(([name, member]) => {
    const inside = named(name);
    return inside === undefined ? `${path} has ${name}, which is not named` : faultOf(member, inside, `${path}.${name}`);
  }));
}

function first(faults) {
  return faults.find((fault) => fault !== undefined);
}
