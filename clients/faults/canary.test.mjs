// What must stay secret is planted, and then looked for in everything that a node's host can see: files, logs, metrics, errors, core dumps; and in
// what clients are answered.
//
// Not looked into: what a TEE would keep, which on the virtual platform lies beside it (`sealing.key`), and the members' own keys.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, copyFileSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { HDNodeWallet, parseUnits } from 'ethers';
import { ACCOUNT, CHAIN_ID, MNEMONIC } from '../network.mjs';
import { COCO, Network, coco } from './processes.mjs';
import { answers, call, https, until } from './rpc.mjs';

const CASE = { timeout: 90_000 };
const READY_MS = 20_000;
const LOG = 'debug,hyper=info,h2=info,rustls=info';
/** Enough that no file holds it by chance. */
const CANARY = `canary-${randomBytes(24).toString('hex')}`;
const KEY = `key-${randomBytes(12).toString('hex')}`;
/** A contract that keeps the 32 bytes it was made with in its first slot. */
const SECRET = randomBytes(32);
/** The signature of a token. */
const BEARER = randomBytes(48);
const FORMS = [CANARY, KEY, SECRET, BEARER].map((secret) => Buffer.from(secret)).flatMap((bytes) => [
  bytes, ...['hex', 'base64', 'base64url'].map((form) => Buffer.from(bytes.toString(form).replace(/=+$/, ''))),
]);
/** Whom a node is run by, to see what its user may, if this is root. */
const NOBODY = 65_534;

let network;
const seen = [];

before(async () => {
  process.env.RUST_LOG = LOG;
  network = await Network.start('canary', { flags: '--log-json' });
  delete process.env.RUST_LOG;
});

after(() => network?.remove());

test('secrets are planted in records, transactions, contracts, tokens and refused requests, and no answer tells them again', CASE, async () => {
  const ask = async (method, path, more) => {
    const answer = await https(method, `${network.nodes[0].api}${path}`, { ca: network.ca, ...more });
    look(`the answer to ${method} ${path}`, Buffer.from(JSON.stringify(answer)));
    return answer;
  };
  const put = await ask('PUT', `/app/records/${KEY}`, { body: CANARY });
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
  // Refused, for different reasons, with the secret in it. That there is no such method says which, and is left out below.
  const refused = await answers(url, [
    [`eth_${CANARY}`, []], ['eth_sendRawTransaction', [said.slice(0, -2)]], ['eth_sendRawTransaction', [said]],
    ['eth_call', [{ to: rich.address, data: `0x${Buffer.from(CANARY).toString('hex')}` }, 'latest']], ['eth_getBalance', [CANARY, 'latest']],
  ]);
  look('the errors of JSON-RPC', Buffer.from(JSON.stringify(refused.slice(1))));
  await ask('PUT', `/app/records/${'x'.repeat(300)}`, { body: CANARY });
  await ask('POST', '/gov/members/proposals:create?api-version=2024-07-01', { body: CANARY });
  const part = (of) => Buffer.from(JSON.stringify(of)).toString('base64url');
  const token = `${part({ alg: 'ES256', kid: 'nobody' })}.${part({ iss: 'https://nobody.example', sub: 'nobody', exp: 4e9 })}.${BEARER.toString('base64url')}`;
  for (const authorization of [`Bearer ${token}`, `Bearer ${BEARER.toString('base64url')}`, `Basic ${BEARER.toString('base64')}`]) {
    const headers = { authorization };
    for (const path of ['/app/records/nothing', '/gov/members/proposals', '/node/state']) await ask('GET', path, { headers });
    await ask('PUT', '/app/records/nothing', { headers, body: 'nothing' });
    const answer = await fetch(url, { method: 'POST', headers: { ...headers, 'content-type': 'application/json' }, body: '{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}' });
    look('the answer of JSON-RPC to a token', Buffer.from(await answer.text()));
  }
});

test('a node leaves no core dump, and no debugger of its user reads its memory', CASE, async (t) => {
  // All that root runs is root's: there one node is run by somebody else.
  const isRoot = process.getuid() === 0;
  if (isRoot) await isRunBy(NOBODY, network.nodes[2]);
  for (const { pid } of network.nodes) assert.match(readFileSync(`/proc/${pid}/limits`, 'utf8'), /^Max core file size\s+0\s+0\s/m);
  const user = isRoot ? { uid: NOBODY, gid: NOBODY } : {};
  const other = spawn('sleep', ['60'], { ...user, stdio: 'ignore' });
  const owner = ({ pid }) => statSync(`/proc/${pid}/environ`).uid;
  try {
    // What is not dumpable has root's entries in /proc, whoever runs it; any other process, its user's.
    await until(() => readFileSync(`/proc/${other.pid}/comm`, 'utf8') === 'sleep\n', READY_MS, 'nothing to compare with');
    assert.equal(owner(other), isRoot ? NOBODY : process.getuid());
    const looked = network.nodes.slice(isRoot ? 2 : 0);
    looked.forEach((node) => assert.equal(owner(node), 0));
    t.diagnostic(`not run by root, and looked at: ${looked.map(({ index }) => `node ${index}`).join(', ')}`);
  } finally {
    other.kill();
  }
});

test('no file, log, metric or error that the host can see holds them', CASE, async (t) => {
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
  // That of a node that was started again is not in the network's folder.
  for (const node of network.nodes) look(`the last log of node ${node.index}`, Buffer.from(node.said));
  assert.ok(seen.some((where) => /ledger_\d+/.test(where)) && seen.some((where) => where.endsWith('.log')), seen.join('\n'));
  t.diagnostic(`${seen.length} places looked at`);
});

/** None of what was planted is there. */
function look(where, bytes) {
  seen.push(where);
  const found = FORMS.find((form) => bytes.includes(form));
  assert.equal(found?.toString('latin1'), undefined, `in ${where}`);
}

/** Stops the node and starts it again as this user. */
async function isRunBy(user, node) {
  node.signal('SIGTERM');
  await node.isGone();
  // Where the program lies this user may not be let in.
  node.program = join(network.folder, 'coco');
  copyFileSync(COCO, node.program);
  chmodSync(node.program, 0o755);
  execFileSync('chown', ['-R', `${user}:${user}`, network.folder]);
  node.start((command) => `export RUST_LOG='${LOG}'; exec setpriv --reuid ${user} --regid ${user} --clear-groups ${command} --log-json`);
  await node.isReady();
}

function* files(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* files(path);
    else if (entry.isFile()) yield path;
  }
}
