// The JavaScript SDK, as it is published: its client, and transaction processors at every node.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);
const { createContext, CryptoFactory } = require('sawtooth-sdk/signing');
const { Stream } = require('sawtooth-sdk/messaging/stream');
const sdk = require('sawtooth-sdk/protobuf');

const HERE = dirname(fileURLToPath(import.meta.url));
const NODES = (JSON.parse(process.env.COCO_READY ?? '{}').nodes ?? []).filter(({ sawtooth }) => sawtooth !== undefined);
const skip = NODES.length === 0 ? 'the network under test serves no Sawtooth' : false;
const WAIT_S = 30;

const context = createContext('secp256k1');
const signer = new CryptoFactory(context).newSigner(context.newRandomPrivateKey());
const key = signer.getPublicKey().asHex();
const sha512 = (data) => createHash('sha512').update(data).digest('hex');
const fresh = () => randomBytes(8).toString('hex');
const running = [];

after(() => running.forEach((child) => child.kill('SIGKILL')));

test('the SDK hands in batches and reads over the component endpoint', { skip }, async () => {
  const stream = await connected(NODES[0].sawtooth);
  const name = fresh();
  // Integer keys take CBOR: a map of three entries.
  const text = (each) => Buffer.concat([Buffer.from([0x60 + each.length]), Buffer.from(each)]);
  const payload = Buffer.concat([Buffer.from([0xa3]), ...['Verb', 'set', 'Name', name, 'Value'].map(text), Buffer.from([7])]);
  const address = `1cf126${sha512(name).slice(64)}`;
  const sent = batch('intkey', address, payload);
  const { Message } = sdk;
  const submitted = await ask(stream, Message.MessageType.CLIENT_BATCH_SUBMIT_REQUEST,
    sdk.ClientBatchSubmitRequest.create({ batches: [sent] }), sdk.ClientBatchSubmitRequest, sdk.ClientBatchSubmitResponse);
  assert.equal(submitted.status, sdk.ClientBatchSubmitResponse.Status.OK);
  const { batchStatuses } = await ask(stream, Message.MessageType.CLIENT_BATCH_STATUS_REQUEST,
    sdk.ClientBatchStatusRequest.create({ batchIds: [sent.headerSignature], wait: true, timeout: WAIT_S }),
    sdk.ClientBatchStatusRequest, sdk.ClientBatchStatusResponse);
  assert.equal(batchStatuses[0].status, sdk.ClientBatchStatus.Status.COMMITTED);
  const state = await ask(stream, Message.MessageType.CLIENT_STATE_GET_REQUEST,
    sdk.ClientStateGetRequest.create({ address }), sdk.ClientStateGetRequest, sdk.ClientStateGetResponse);
  assert.deepEqual([...state.value], [0xa1, 0x60 + name.length, ...Buffer.from(name), 7]);
  stream.close();
});

test('processors of the SDK at every node execute a family', { skip }, async () => {
  const family = `sums${fresh()}`;
  NODES.forEach(({ sawtooth }) => start(sawtooth, family));
  const namespace = sha512(family).slice(0, 6);
  const names = [fresh(), fresh()];
  const address = (name) => namespace + sha512(name).slice(0, 64);
  const order = (name, add) => batch(family, address(name), Buffer.from(JSON.stringify({ name, add })));
  const batches = names.flatMap((name) => Array.from({ length: 20 }, () => order(name, 2)));
  const failing = order(names[0], 'two');
  assert.equal((await post([...batches, failing])).status, 202);
  const decided = await statuses([...batches, failing], NODES.at(-1));
  assert.deepEqual(new Set(decided.slice(0, -1).map(({ status }) => status)), new Set(['COMMITTED']));
  assert.equal(decided.at(-1).status, 'INVALID');
  assert.equal(decided.at(-1).invalid_transactions[0].message, 'add is no number');
  const { data } = await read(NODES.at(-1), `/state/${address(names[1])}`);
  assert.equal(Buffer.from(data, 'base64').toString(), '40');
  const receipts = await read(NODES.at(-1), `/receipts?id=${batches[0].transactions[0].headerSignature}`);
  assert.equal(receipts.data[0].events[0].event_type, 'sums/added');
  assert.equal(Buffer.from(receipts.data[0].data[0], 'base64').toString(), 'seen');
});

function start(url, family) {
  const program = join(HERE, 'sawtooth', 'javascript', 'processor.cjs');
  running.push(spawn(process.execPath, [program, url, family], { stdio: 'ignore' }));
}

function connected(url) {
  const stream = new Stream(url);
  return new Promise((resolve) => {
    stream.connect(() => {
      stream.onReceive(() => {});
      resolve(stream);
    });
  });
}

async function ask(stream, type, request, Request, Response) {
  return Response.decode(await stream.send(type, Buffer.from(Request.encode(request).finish())));
}

function batch(familyName, address, payload) {
  const header = sdk.TransactionHeader.encode({
    familyName,
    familyVersion: '1.0',
    inputs: [address],
    outputs: [address],
    signerPublicKey: key,
    batcherPublicKey: key,
    dependencies: [],
    nonce: fresh(),
    payloadSha512: sha512(payload),
  }).finish();
  const transaction = sdk.Transaction.create({ header, headerSignature: signer.sign(header), payload });
  const transactionIds = [transaction.headerSignature];
  const batchHeader = sdk.BatchHeader.encode({ signerPublicKey: key, transactionIds }).finish();
  return sdk.Batch.create({ header: batchHeader, headerSignature: signer.sign(batchHeader), transactions: [transaction] });
}

function post(batches) {
  const body = sdk.BatchList.encode({ batches }).finish();
  return fetch(`${NODES[0].sawtooth_rest}/batches`, { method: 'POST', body, headers: { 'Content-Type': 'application/octet-stream' } });
}

/** Each batch's status once it is decided, as this node knows it. */
async function statuses(batches, node) {
  const body = JSON.stringify(batches.map(({ headerSignature }) => headerSignature));
  const headers = { 'Content-Type': 'application/json' };
  const answer = await fetch(`${node.sawtooth_rest}/batch_statuses?wait=${WAIT_S}`, { method: 'POST', body, headers });
  return (await answer.json()).data;
}

async function read(node, path) {
  const answer = await fetch(`${node.sawtooth_rest}${path}`);
  assert.equal(answer.status, 200);
  return answer.json();
}
