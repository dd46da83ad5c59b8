// The commands of README.md's "Use it", run as they stand against the running network, in their order.
//
// Replaced before a line is run: the network's folder (`mynet`), the certificate (`CERT`), the transaction (`2.7`) by the one that
// the first command was answered with, and `coco` by the built program. A line that this file does not know fails.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { isRunning } from './faults/processes.mjs';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const COCO = process.env.COCO_PROGRAM ?? join(ROOT, 'target', 'release', 'coco');
const READY = JSON.parse(process.env.COCO_READY);
const STARTED_MS = 30_000;
const WORK = mkdtempSync(join(tmpdir(), 'coco-readme-'));
/** Enough to see that it works; the README's own count is for measuring. */
const SHORT = { 'coco bench ethereum': '--transactions 2000' };
/** This network writes while its folder is verified. */
const WRITING = { 'coco ledger verify': '--torn-tail' };

const lines = useItLines(readFileSync(join(ROOT, 'README.md'), 'utf8'));
const skip = skipped();
let transaction;

after(() => rmSync(WORK, { recursive: true, force: true }));

test('the README has the commands that are run here', { skip }, () => {
  assert.ok(lines.length >= 10, `${lines.length} lines in "Use it"`);
});

for (const line of lines) {
  if (line.startsWith('coco dev ')) continue; // the network that runs
  test(`README: ${line}`, { skip, timeout: 120_000 }, async () => {
    if (line.startsWith('coco node start')) return startsAgain(line);
    const answer = await sh(line);
    if (line.startsWith('curl -i')) {
      transaction = /^x-ms-ccf-transaction-id: (\S+)/mi.exec(answer)?.[1];
      assert.match(transaction ?? answer, /^\d+\.\d+$/);
    } else if (line.startsWith('curl')) {
      assert.equal(answer, 'hello');
    } else {
      assert.notEqual(answer, '', 'it prints something');
    }
  });
}

/** Each command of the second block after the heading "Use it", without its comment. */
function useItLines(readme) {
  const section = readme.split(/^## /m).find((part) => part.startsWith('Use it')) ?? '';
  const blocks = [...section.matchAll(/```sh\n([^]*?)```/g)].map(([, block]) => block);
  return blocks.join('').split('\n').map((line) => line.replace(/\s+# .*$/, '').trim()).filter((line) => line !== '');
}

function skipped() {
  const missing = process.env.PATH.split(delimiter).every((folder) => !existsSync(join(folder, 'curl')));
  if (missing) return 'curl is missing';
  return READY.state === undefined || READY.nodes[0].api === undefined ? 'the network does not say where its folder is' : false;
}

async function sh(line) {
  const [, extra] = [...Object.entries(SHORT), ...Object.entries(WRITING)].find(([start]) => line.startsWith(start)) ?? [];
  const command = extra === undefined ? line : `${line} ${extra}`;
  const { stdout } = await promisify(execFile)('sh', ['-c', translated(command)], { cwd: WORK, maxBuffer: 1 << 26 });
  return stdout;
}

function translated(line) {
  const config = READY.nodes[0].config.replace(/node0\.toml$/, '');
  return line
    .replace(/\bCERT\b/g, `'${READY.service_certificate}'`)
    .replace(/\bmynet\//g, config)
    .replace(/\b2\.7\b/, transaction)
    .replace(/^coco\b/, `'${COCO}'`)
    .replace(/:80(\d\d)\b/g, (_, port) => `:${new URL(READY.nodes[Number(port)].api).port}`);
}

/** Kills the node first, as the README's comment says, and stops what was started at the end. */
async function startsAgain(line) {
  const node = READY.nodes.find(({ config }) => translated(line).includes(config));
  process.kill(node.pid, 'SIGKILL');
  // Until it is gone, it holds its folder and its ports.
  while (isRunning(node.pid)) await pause(10);
  const child = spawn('sh', ['-c', `exec ${translated(line)}`], { cwd: WORK, stdio: 'ignore' });
  try {
    const deadline = performance.now() + STARTED_MS;
    while (!(await isReady(node.admin))) {
      assert.equal(child.exitCode, null, 'it ended');
      assert.ok(performance.now() < deadline, `it is not ready after ${STARTED_MS} ms`);
      await pause(100);
    }
  } finally {
    if (child.exitCode === null) {
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      await ended;
    }
  }
}

async function isReady(admin) {
  return fetch(`${admin}/readyz`).then(({ ok }) => ok, () => false);
}
