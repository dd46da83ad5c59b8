// Clients that mean harm, one kind after the other, against a node that others use: those are served at half of their usual rate or better, memory stays
// bounded, and what is refused is refused with an error of its protocol.
//
// The attackers come from addresses of their own (127.0.1.…): limits and turns are by address. They run at a low priority, so that what is
// measured is what they cost the node, not what they cost the machine. COCO_ABUSE_FLOOR is another part than a half, for a busy machine.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { preparedLoad } from './load.mjs';
import { Network } from './processes.mjs';
import { until } from './rpc.mjs';

const HERE = dirname(fileURLToPath(import.meta.url));
const CASE = { timeout: 90_000 };
const FLOOR = Number(process.env.COCO_ABUSE_FLOOR ?? 0.5);
const MEASURED_MS = 6_000;
/** The attack has begun in earnest. */
const BEGUN_MS = 3_000;
const BEGINS_MS = 30_000;
const GROWTH_MIB = 768;
const ADDRESSES = Array.from({ length: 5 }, (_, i) => `127.0.1.${i + 1}`);
/** What an attack is answered with, at least some of the time. */
const KINDS = {
  idle: /connected/,
  slow: /connected/,
  bodies: /413|broken/,
  zip: /"4\d\d"|"200"|broken/,
  deep: /"200"|"400"/,
  batches: /"200"|"503"/,
  filters: /"200"|"503"/,
  calls: /"200"|"503"/,
  pool: /"200"|"503"/,
};

let network;
let node;
let load;
let running;
let usual;

before(async () => {
  network = await Network.start('abuse', { nodes: 1 });
  [node] = network.nodes;
  load = await preparedLoad([node.ethereum], { senders: 6, signed: 40, atOnce: 5 });
  running = load.run();
  running.catch(() => {});
  await pause(BEGUN_MS);
  usual = await rate();
});

after(async () => {
  load?.stop();
  await running?.catch(() => {});
  await network?.remove();
});

for (const [kind, expected] of Object.entries(KINDS)) {
  test(`${kind}: others are served, memory is bounded`, CASE, async (t) => {
    const resident = await node.metric('process_resident_memory_bytes');
    const attacker = spawn('nice', ['-n', '10', process.execPath, join(HERE, 'attacker.mjs'), kind, node.ethereum, ...ADDRESSES]);
    let answers = '';
    attacker.stdout.setEncoding('utf8').on('data', (text) => { answers = text; });
    let complaints = '';
    attacker.stderr.setEncoding('utf8').on('data', (text) => { complaints += text; });
    try {
      await until(() => /\d/.test(answers), BEGINS_MS, `the attack did not begin: ${complaints}`);
      await pause(BEGUN_MS);
      const during = await rate();
      const grown = (await node.metric('process_resident_memory_bytes') - resident) / (1 << 20);
      t.diagnostic(`${during.toFixed(0)} receipts a second of ${usual.toFixed(0)}; ${grown.toFixed(0)} MiB more; answers ${answers.trim().split('\n').at(-1)}`);
      assert.match(answers, expected, complaints);
      assert.ok(grown < GROWTH_MIB, `${grown} MiB more`);
      assert.ok(during >= usual * FLOOR, `${during} receipts a second, usually ${usual}`);
    } finally {
      attacker.kill('SIGKILL');
      await once(attacker, 'close');
    }
  });
}

test('after all that it serves as before', CASE, async (t) => {
  await pause(BEGUN_MS);
  const now = await rate();
  t.diagnostic(`${now.toFixed(0)} receipts a second, before ${usual.toFixed(0)}`);
  assert.ok(now >= usual * FLOOR);
});

/** Receipts a second that the load is shown. */
async function rate() {
  const [count, began] = [load.shown.size, performance.now()];
  await pause(MEASURED_MS);
  return (load.shown.size - count) / (performance.now() - began) * 1000;
}
