// Brings the pinned clients: node_modules by `npm ci`, and .venv with requirements.txt. Does nothing when the pins
// have not changed since.

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const HERE = dirname(fileURLToPath(import.meta.url));

export const PYTHON = join(HERE, '.venv', 'bin', 'python');

/** `development` brings anvil as well, which only selftest/ needs. */
export function install({ development = false } = {}) {
  const npm = development ? ['ci'] : ['ci', '--omit=dev'];
  once('node_modules', ['package.json', 'package-lock.json'], development, () => run('npm', npm));
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

function run(command, args) {
  const { status, error } = spawnSync(command, args, { cwd: HERE, stdio: ['ignore', 2, 2] });
  if (error) throw new Error(`${command}: ${error.message}`);
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} failed`);
}
