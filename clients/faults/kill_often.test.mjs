// Fifty of the kills that `kill_often.mjs` does a thousand of at night.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const SCRIPT = join(dirname(fileURLToPath(import.meta.url)), 'kill_often.mjs');
const KILLS = 50;

test('what was acknowledged is there after kill -9 at any of fifty moments', { timeout: 400_000 }, async (t) => {
  const child = spawn(process.execPath, [SCRIPT, '--kills', String(KILLS)]);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => { output += text; });
  const [code] = await once(child, 'close');
  assert.equal(code, 0, output);
  t.diagnostic(output.trim().split('\n').at(-1));
});
