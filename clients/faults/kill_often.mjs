// kill -9 at random moments under load, again and again: what is on disk then must open and verify, and hold every receipt that was shown.
//
//     node faults/kill_often.mjs --kills 1000        (CI: 50)
//
// One node alone, so that nothing but its own disk can bring anything back. A kill may also hit it while it starts.

import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { allReceiptsStand, exactlyOnce, preparedLoad } from './load.mjs';
import { Network, coco } from './processes.mjs';

/** All receipts are looked at every so often, those of the last while each time. */
const ALL_EVERY = 50;
const LATELY_MS = 5_000;

const { values: options } = parseArgs({
  options: { kills: { type: 'string', default: '50' }, within: { type: 'string', default: '600' } },
});

async function main() {
  const kills = Number(options.kills);
  const network = await Network.start('kill-often', { nodes: 1 });
  const [node] = network.nodes;
  let load;
  let starting = 0;
  try {
    await node.stop();
    node.start();
    await node.isReady();
    const urls = [node.ethereum];
    load = await preparedLoad(urls, { senders: 4, signed: 20, atOnce: 5 });
    const running = load.run();
    running.catch(() => {});
    const began = performance.now();
    for (let kill = 1; kill <= kills; kill += 1) {
      await pause(Math.random() * Number(options.within));
      starting += await killed(network, node, urls, load, kill);
      if (kill % 10 === 0) console.log(`${kill} of ${kills}: ${load.shown.size} receipts, ${((performance.now() - began) / kill).toFixed(0)} ms a kill`);
    }
    load.stop();
    await running;
    await allReceiptsStand(urls, load);
    await exactlyOnce(urls, load);
    console.log(`passed: ${kills} of ${kills} kills (${starting} while starting), ${load.shown.size} receipts shown, none lost, each transfer once`);
  } finally {
    load?.stop();
    await network.remove();
  }
}

/** 1 if it was killed once more while it started. */
async function killed(network, node, urls, load, kill) {
  const at = performance.now();
  node.signal('SIGKILL');
  await node.end();
  const { code, error } = await coco('ledger', 'verify', node.facts.ledger, '--service', network.certificate, '--torn-tail');
  assert.equal(code, 0, `kill ${kill}: ${error}`);
  let again = 0;
  if (kill % 5 === 0) {
    node.start();
    await pause(Math.random() * 300);
    node.signal('SIGKILL');
    await node.end();
    again = 1;
  }
  node.start();
  // Before it is ready it answers, and may not have read all of its ledger yet.
  await node.isReady();
  const all = kill % ALL_EVERY === 0;
  const lately = { shown: new Map([...load.shown].filter(([, shown]) => all || shown.at > at - LATELY_MS)) };
  await allReceiptsStand(urls, lately, at);
  return again;
}

await main().catch((error) => {
  console.error(`FAILED: ${error.message}`);
  process.exitCode = 1;
});
