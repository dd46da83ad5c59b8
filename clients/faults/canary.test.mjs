// What must stay secret is planted, and then looked for in everything that a node's host can see: files, logs, metrics, errors, core dumps.
//
// Not looked into: what a TEE would keep, which on the virtual platform lies beside it (`sealing.key`), and the members' own keys.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { HDNodeWallet, parseUnits } from 'ethers';
import { ACCOUNT, CHAIN_ID, MNEMONIC } from '../network.mjs';
import { Network, coco } from './processes.mjs';
import { answers, call, until } from './rpc.mjs';

const CASE = { timeout: 90_000 };
const READY_MS = 20_000;
/** Enough that no file holds it by chance. */
const CANARY = `canary-${randomBytes(24).toString('hex')}`;
const KEY = `key-${randomBytes(12).toString('hex')}`;
/** A contract that keeps the 32 bytes it was made with in its first slot. */
const SECRET = randomBytes(32);

let network;

before(async () => {
  process.env.RUST_LOG = 'debug,hyper=info,h2=info,rustls=info';
  network = await Network.start('canary', { flags: '--log-json' });
  delete process.env.RUST_LOG;
});

after(() => network?.remove());

test('secrets are planted in records, transactions, contracts and refused requests', CASE, async () => {
  const put = await https('PUT', `${network.nodes[0].api}/app/records/${KEY}`, CANARY);
  assert.ok(put.status < 300, `${put.status} ${put.body}`);
  const rich = HDNodeWallet.fromPhrase(MNEMONIC, '', `m/44'/60'/0'/0/${ACCOUNT.faults}`);
  const url = network.nodes[1].ethereum;
  const nonce = Number(await call(url, 'eth_getTransactionCount', [rich.address, 'pending']));
  const fees = { type: 2, chainId: CHAIN_ID, gasLimit: 300_000n, maxFeePerGas: parseUnits('1000', 'gwei'), maxPriorityFeePerGas: 1n };
  const code = `0x7f${SECRET.toString('hex')}60005500`;
  const made = await call(url, 'eth_sendRawTransaction', [await rich.signTransaction({ ...fees, nonce, data: code })]);
  const said = await rich.signTransaction({ ...fees, nonce: nonce + 1, to: rich.address, data: `0x${Buffer.from(CANARY).toString('hex')}` });
  const sent = await call(url, 'eth_sendRawTransaction', [said]);
  for (const hash of [made, sent]) await until(() => call(url, 'eth_getTransactionReceipt', [hash]), READY_MS, 'no receipt');
  // Refused, for different reasons, with the secret in it.
  await answers(url, [['eth_sendRawTransaction', [said.slice(0, -2)]], ['eth_call', [{ to: rich.address, data: `0x${Buffer.from(CANARY).toString('hex')}` }, 'latest']], [`eth_${CANARY}`, []]]);
  await https('PUT', `${network.nodes[0].api}/app/records/${'x'.repeat(300)}`, CANARY);
  await https('POST', `${network.nodes[0].api}/gov/members/proposals:create?api-version=2024-07-01`, CANARY);
});

test('a node leaves no core dump, and no debugger of its user reads its memory', CASE, () => {
  for (const { pid } of network.nodes) {
    assert.match(readFileSync(`/proc/${pid}/limits`, 'utf8'), /^Max core file size\s+0\s+0\s/m);
    // Not dumpable: its entries in /proc are root's, whoever runs it.
    assert.equal(statSync(`/proc/${pid}/environ`).uid, 0);
  }
});

test('no file, log, metric or error that the host can see holds them', CASE, async (t) => {
  const forms = [CANARY, KEY, SECRET].flatMap((secret) => [Buffer.from(secret), Buffer.from(Buffer.from(secret).toString('hex')), Buffer.from(Buffer.from(secret).toString('base64').replace(/=+$/, ''))]);
  const seen = [];
  const look = (where, bytes) => {
    seen.push(where);
    const found = forms.find((form) => bytes.includes(form));
    assert.equal(found?.toString('latin1'), undefined, `in ${where}`);
  };
  for (const node of network.nodes) {
    for (const path of ['metrics', 'version', 'readyz', 'healthz']) look(`${path} of node ${node.index}`, Buffer.from(await (await fetch(`${node.facts.admin}/${path}`)).text()));
  }
  // What is given away to somebody who helps lies in a file too.
  for (const { facts, index } of network.nodes) {
    const out = join(network.folder, `support${index}.json`);
    const bundle = await coco('node', 'support-bundle', '--config', facts.config, '--log', join(network.state, `node${index}.log`), '--out', out);
    assert.equal(bundle.code, 0, bundle.error);
    assert.match(readFileSync(out, 'utf8'), /coco_committed_seqno/);
  }
  for (const node of network.nodes) node.signal('SIGTERM');
  await Promise.all(network.nodes.map((node) => node.isGone()));
  for (const path of files(network.folder)) look(path.slice(network.folder.length + 1), readFileSync(path));
  assert.ok(seen.some((where) => /ledger_\d+/.test(where)) && seen.some((where) => where.endsWith('.log')), seen.join('\n'));
  t.diagnostic(`${seen.length} places looked at`);
});

function* files(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* files(path);
    else if (entry.isFile()) yield path;
  }
}

function https(method, url, body) {
  return new Promise((resolve, reject) => {
    const asked = request(url, { method, ca: network.ca, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (more) => { text += more; }).on('end', () => resolve({ status: response.statusCode, body: text }));
    });
    asked.on('error', reject).end(body);
  });
}
