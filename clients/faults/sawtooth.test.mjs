// The primary is killed while transaction processors execute batches: `sawtooth.py`, against a network of its own.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { PYTHON } from '../install.mjs';
import { Network } from './processes.mjs';

const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = dirname(dirname(HERE));
const COCO = process.env.COCO_PROGRAM ?? join(ROOT, 'target', 'release', 'coco');
const ROUNDS = 2;

test('no batch that a living node took is lost or done twice when the primary is killed', { timeout: 150_000 }, async (t) => {
  const network = await Network.start('faults-sawtooth');
  try {
    const ready = join(network.folder, 'ready.json');
    writeFileSync(ready, JSON.stringify({ nodes: network.nodes.map(({ facts }) => facts) }));
    const restart = `'${COCO}' node start --config {config}`;
    const options = ['--ready', ready, '--restart', restart, '--rounds', String(ROUNDS), '--seconds', '4'];
    const child = spawn(process.env.COCO_PYTHON ?? PYTHON, ['-W', 'ignore', join(HERE, 'sawtooth.py'), ...options]);
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => { output += text; });
    const [code] = await once(child, 'close');
    assert.equal(code, 0, output);
    output.trimEnd().split('\n').forEach((line) => t.diagnostic(line));
  } finally {
    await network.remove();
  }
});
