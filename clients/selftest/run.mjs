// The checks of the checks: all clients pass against anvil, sealing at once and by time, and each lie of lies.mjs is
// noticed by every client that should. `selftest/run NAME…` tells only those lies.

import { spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { install, PYTHON } from '../install.mjs';
import { LIES } from './lies.mjs';

const CLIENTS = dirname(dirname(fileURLToPath(import.meta.url)));
const ALL = ['ethers', 'viem', 'web3.js', 'web3.py', 'hardhat', 'cast'];

install({ development: true });
const chosen = process.argv.slice(2);
const outcomes = [];
if (chosen.length === 0) {
  outcomes.push(await verifiers(), await honest('sealing at once', ''), await honest('sealing by time', '--block-time 0.1'));
}
for (const [name, lie] of Object.entries(LIES)) {
  if (chosen.length === 0 || chosen.includes(name)) outcomes.push(await noticed(name, lie));
}
const failed = outcomes.filter((outcome) => !outcome).length;
console.log(`${outcomes.length - failed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;

async function verifiers() {
  const { code, output } = await run(PYTHON, ['-m', 'pytest', '-q', '-p', 'no:cacheprovider', 'selftest']);
  return said(code === 0, 'the ccf verifiers accept what is right and refuse what is wrong', output);
}

async function honest(how, options) {
  const { code, output } = await checks(`exec node selftest/anvil.mjs ${options}`, ALL);
  return said(code === 0, `every client passes against anvil ${how}`, output);
}

async function noticed(name, lie) {
  const { output } = await checks(`exec node selftest/anvil.mjs --lie '${name}'`, lie.noticed, '2000');
  const fooled = lie.noticed.filter((client) => !new RegExp(`^${client.replace('.', '\\.')} \\S+ +\\d+ passed, [1-9]`, 'm').test(output));
  return said(fooled.length === 0, `${name}: noticed by ${lie.noticed.join(', ')}`, `not noticed by ${fooled.join(', ')}`);
}

function said(right, what, otherwise) {
  console.log(`${right ? 'ok' : 'FAILED'}  ${what}`);
  if (!right) console.log(otherwise);
  return right;
}

function checks(network, clients, waitMs) {
  const args = [join(CLIENTS, 'run.mjs'), '--no-install', '--network', network, '--only', clients.join()];
  return run(process.execPath, args, waitMs && { COCO_WAIT_MS: waitMs });
}

function run(command, args, more = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: CLIENTS, env: { ...process.env, ...more }, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => { output += text; });
    child.on('close', (code) => resolve({ code, output }));
  });
}
