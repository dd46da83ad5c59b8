// Makes a golden network: one node's folder as this build writes it, with what it must show for ever. `faults/golden.test.mjs` opens all of them.
//
//     node clients/golden/make.mjs NAME       writes clients/golden/NAME.tar.gz
//
// Made once for a format that is released, and never changed. Its keys protect nothing.

import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { preparedLoad } from '../faults/load.mjs';
import { Network } from '../faults/processes.mjs';
import { call } from '../faults/rpc.mjs';

const HERE = dirname(fileURLToPath(import.meta.url));
const RECORDS = { alpha: 'the first', beta: 'the second', gamma: 'the third' };

const [name] = process.argv.slice(2);
if (!/^[\w.-]+$/.test(name ?? '')) throw new Error('usage: make.mjs NAME');

const network = await Network.start('golden', { nodes: 1 });
try {
  const [node] = network.nodes;
  const load = await preparedLoad([node.ethereum], { senders: 3, signed: 4, atOnce: 2 });
  const running = load.run();
  await load.hasShownMore(12);
  load.stop();
  await running;
  for (const [key, value] of Object.entries(RECORDS)) await put(`${node.api}/app/records/${key}`, value);
  const { number, hash, stateRoot } = await call(node.ethereum, 'eth_getBlockByNumber', ['latest', false]);
  const receipts = Object.fromEntries([...load.shown].map(([each, { blockHash }]) => [each, blockHash]));
  node.signal('SIGTERM');
  await node.isGone();
  const folder = join(network.folder, name);
  mkdirSync(folder);
  cpSync(join(network.state, 'node0'), join(folder, 'node0'), { recursive: true });
  cpSync(node.facts.config, join(folder, 'node0.toml'));
  writeFileSync(join(folder, 'facts.json'), `${JSON.stringify({ records: RECORDS, block: { number, hash, stateRoot }, receipts }, null, 2)}\n`);
  execFileSync('tar', ['--sort=name', '--owner=0', '--group=0', '-czf', join(HERE, `${name}.tar.gz`), '-C', network.folder, name]);
} finally {
  await network.remove();
}

function put(url, value) {
  return new Promise((resolve, reject) => {
    const asked = request(url, { method: 'PUT', ca: readFileSync(network.certificate), agent: false }, (response) => response.resume().on('end', resolve));
    asked.on('error', reject).end(value);
  });
}
