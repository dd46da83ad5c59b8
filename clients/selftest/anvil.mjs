// Foundry's anvil dressed as a network of three nodes, to prove that the checks can pass, and with `--lie NAME`
// (lies.mjs) that they can fail. Speaks like `coco dev --json`: one line of JSON when ready, stops on SIGTERM.
//
// Each "node" is a process (front.mjs) that passes calls on to one anvil: it can be killed and started again, but
// nothing here proves replication; only Coco can be checked for that.
// `--block-time SECONDS` seals by time instead of at each submission.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values } = parseArgs({ options: { lie: { type: 'string' }, 'block-time': { type: 'string' } } });
const folder = mkdtempSync(join(tmpdir(), 'coco-anvil-'));
const children = [];
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
for (const name of ['SIGTERM', 'SIGINT']) process.on(name, stop);

const sealing = values['block-time'] ? ['--block-time', values['block-time']] : [];
const anvil = await start(anvilBinary(), ['--port', '0', '--hardfork', 'osaka', ...sealing], /Listening on (\S+)/);
anvil.child.on('exit', stop);
const nodes = await Promise.all([0, 1, 2].map(node));
console.log(JSON.stringify({ nodes }));

async function node(index) {
  const config = join(folder, `${index}.json`);
  const written = (port) => writeFileSync(config, JSON.stringify({ index, port, upstream: anvil.said, lie: values.lie }));
  written(0);
  const front = await start(process.execPath, [fileURLToPath(new URL('./front.mjs', import.meta.url)), '--config', config], /^port (\d+)$/);
  written(Number(front.said)); // the same port when it is started again
  return { node: index, pid: front.child.pid, ethereum: `http://127.0.0.1:${front.said}`, config };
}

/** Starts a process; resolves once it prints a line that matches. */
function start(command, args, pattern) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code) => reject(new Error(`${command} ended with ${code}`)));
    createInterface({ input: child.stdout }).on('line', (line) => {
      const said = pattern.exec(line);
      if (said) resolve({ child, said: said[1] });
    });
  });
}

function anvilBinary() {
  const platform = `${process.platform}-${{ x64: 'amd64', arm64: 'arm64' }[process.arch]}`;
  return createRequire(import.meta.url).resolve(`@foundry-rs/anvil-${platform}/bin/anvil`);
}

function stop() {
  for (const child of children) child.kill();
  process.exit(0);
}
