// Folders that earlier builds wrote (`clients/golden`): each verifies, opens, and shows what it showed then; and the node goes on.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { freePorts } from '../free_ports.mjs';
import { preparedLoad } from './load.mjs';
import { Node, coco } from './processes.mjs';
import { call, until } from './rpc.mjs';

const GOLDEN = join(dirname(dirname(fileURLToPath(import.meta.url))), 'golden');
const CASE = { timeout: 60_000 };
const PORTS = 8;
const READY_MS = 20_000;

for (const archive of readdirSync(GOLDEN).filter((file) => file.endsWith('.tar.gz'))) {
  const name = archive.slice(0, -'.tar.gz'.length);
  test(`the folder of ${name} verifies, opens, shows what it showed, and the node goes on`, CASE, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'coco-golden-'));
    let node;
    try {
      execFileSync('tar', ['-xzf', join(GOLDEN, archive), '-C', folder]);
      node = await opened(join(folder, name), folder);
      await shows(node, JSON.parse(readFileSync(join(folder, name, 'facts.json'), 'utf8')));
      const load = await preparedLoad([node.ethereum], { senders: 1, signed: 1 });
      assert.ok(await call(node.ethereum, 'eth_getTransactionReceipt', [load.rows[0].funding]));
      assert.equal(await node.stop(), 0, node.said.slice(-1_000));
    } finally {
      node?.child?.kill('SIGKILL');
      rmSync(folder, { recursive: true, force: true });
    }
  });
}

/** The node, at addresses that are free here. */
async function opened(golden, folder) {
  const data = join(golden, 'node0');
  const certificate = join(data, 'service_certificate.pem');
  const verified = await coco('ledger', 'verify', join(data, 'ledger'), '--service', certificate, '--torn-tail');
  assert.equal(verified.code, 0, verified.error);
  let port = await freePorts(PORTS);
  const address = () => `127.0.0.1:${port++}`;
  const config = join(golden, 'node0.toml');
  const text = readFileSync(config, 'utf8')
    .replace(/^data = .*$/m, `data = "${data}"`)
    .replace(/"127\.0\.0\.1:\d+"/g, () => `"${address()}"`);
  writeFileSync(config, text);
  const at = (listener) => new RegExp(`^${listener} = "(.*)"$`, 'm').exec(text)[1];
  const facts = { node: 0, config, ledger: join(data, 'ledger'), api: `https://${at('api')}`, admin: `http://${at('admin')}`, ethereum: `http://${at('ethereum')}` };
  const node = new Node({ name: 'golden', state: folder, ca: readFileSync(certificate) }, facts);
  node.start();
  await node.isReady();
  return node;
}

async function shows(node, { records, block, receipts }) {
  const found = await call(node.ethereum, 'eth_getBlockByNumber', [block.number, false]);
  assert.deepEqual({ number: found.number, hash: found.hash, stateRoot: found.stateRoot }, block);
  for (const [hash, blockHash] of Object.entries(receipts)) {
    assert.equal((await call(node.ethereum, 'eth_getTransactionReceipt', [hash])).blockHash, blockHash);
  }
  for (const [key, value] of Object.entries(records)) {
    await until(async () => await get(`${node.api}/app/records/${key}`, node.network.ca) === value, READY_MS, `record ${key} is not ${value}`);
  }
}

function get(url, ca) {
  return new Promise((resolve, reject) => {
    const asked = request(url, { ca, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text) => { body += text; }).on('end', () => resolve(body));
    });
    asked.on('error', reject).end();
  });
}
