// Every client check against one network, and one line of summary for each client.
//
// The network is started by a command and stopped at the end, or is one that runs already (`--endpoints`). While it
// runs the clients use it, several at once; once it has stopped its ledger folders are verified as an auditor would.

import { spawn, spawnSync } from 'node:child_process';
import { createWriteStream, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { install, NODE_22, PYTHON } from './install.mjs';
import { launch } from './launch.mjs';

const HERE = dirname(fileURLToPath(import.meta.url));
const LOGS = join(HERE, 'build', 'logs');
const CLIENT_MS = 240_000;
const HARDHAT = ['node_modules/.bin/hardhat', '--config', 'hardhat/hardhat.config.cjs', 'test'];

const CLIENTS = [
  { name: 'ethers', version: npm('ethers'), command: tap('ethers.test.mjs') },
  { name: 'viem', version: npm('viem'), command: tap('viem.test.mjs') },
  { name: 'web3.js', version: npm('web3'), command: tap('web3js.test.mjs') },
  { name: 'web3.py', version: pip('web3'), command: pytest('web3py') },
  { name: 'hardhat', version: npm('hardhat'), command: HARDHAT },
  { name: 'uniswap v2', version: npm('@uniswap/v2-periphery'), command: tap('uniswap.test.mjs') },
  { name: 'cast', version: npm('@foundry-rs/cast-linux-amd64'), command: tap('cast.test.mjs') },
  { name: 'sawtooth python', version: pip('sawtooth-sdk'), command: pytest('sawtooth/test_rest.py', 'sawtooth/test_components.py') },
  { name: 'sawtooth js', version: npm('sawtooth-sdk'), command: tap('sawtooth.test.mjs') },
  { name: 'sawtooth rust', version: crate('sawtooth-sdk'), command: pytest('sawtooth/test_rust.py') },
  { name: 'ccf receipts', version: pip('ccf'), command: pytest('ccf-python/test_receipts.py') },
];
// Clients that vote, one after another: what is settled leaves the live state as soon as something else is settled.
const VOTING = [
  { name: 'sawtooth governed', version: crate('sabre-sdk', 'sabre'), command: pytest('sawtooth/test_governed.py') },
  { name: 'ccf governance', version: pip('ccf'), command: pytest('ccf-python/test_governance.py') },
  { name: 'PyJWT and wallets', version: pip('PyJWT'), command: pytest('ccf-python/test_authentication.py') },
];
// Checks that have a lone node of their own: what changes time and accounts, and what asks about a recorded chain.
const VECTORS = process.env.COCO_VECTORS ?? join(HERE, '..', '..', 'shared', 'vectors', 'execution-apis');
const HELPERS = {
  name: 'hardhat helpers',
  version: npm('@nomicfoundation/hardhat-network-helpers'),
  command: ['node_modules/.bin/hardhat', '--config', 'developer/hardhat.config.cjs', 'test', 'developer/helpers.test.cjs'],
  node: '--instant',
};
const VIEM_TEST_CLIENT = {
  name: 'viem test client',
  version: npm('viem'),
  command: tap('developer/viem.test.mjs'),
  node: '--instant',
};
const ANVIL_STATE = {
  name: 'anvil state',
  version: npm('@foundry-rs/anvil-linux-amd64'),
  command: tap('developer/anvil.test.mjs'),
  node: '--instant',
  get missing() {
    return existsSync(join(HERE, 'node_modules', '@foundry-rs', 'anvil-linux-amd64')) ? undefined : 'anvil is not here: selftest/run brings it, on Linux on x86-64';
  },
};
const HARDHAT_3 = {
  name: 'hardhat 3',
  version: npm('hardhat', 'hardhat3/package.json'),
  command: [NODE_22, 'hardhat3/node_modules/hardhat/dist/src/cli.js', '--config', 'hardhat3/hardhat.config.ts', '--network', 'tested', 'test', 'nodejs'],
  node: '--instant',
  get missing() {
    return existsSync(NODE_22) ? undefined : 'the newer node that it wants is pinned for Linux on x86-64 only';
  },
};
const CONFORMANCE = {
  name: 'execution-apis',
  version: 'recorded',
  command: tap('conformance.test.mjs'),
  node: `--genesis '${join(VECTORS, 'genesis.json')}' --import '${join(VECTORS, 'chain.rlp')}'`,
  missing: existsSync(VECTORS) ? undefined : `${VECTORS} is absent`,
};
const ALONE = [HELPERS, VIEM_TEST_CLIENT, ANVIL_STATE, HARDHAT_3, CONFORMANCE];
// Checks that start, kill and stop networks of their own, on ports of their own.
const PROCESSES = [
  { name: 'faults', version: '', command: tap('faults/faults.test.mjs') },
  { name: 'sawtooth faults', version: '', command: tap('faults/sawtooth.test.mjs') },
  { name: 'bad input', version: '', command: tap('faults/bad_input.test.mjs') },
  { name: 'kill often', version: '', command: tap('faults/kill_often.test.mjs'), limitMs: 420_000 },
  { name: 'namespaces', version: '', command: tap('faults/namespaces.test.mjs'), limitMs: 540_000 },
  { name: 'upgrade', version: '', command: tap('faults/upgrade.test.mjs') },
  { name: 'golden', version: '', command: tap('faults/golden.test.mjs') },
  { name: 'retention', version: '', command: tap('faults/retention.test.mjs') },
  { name: 'canary', version: '', command: tap('faults/canary.test.mjs') },
  { name: 'three banks', version: '', command: tap('three_banks.test.mjs') },
];
const README = { name: 'README', version: '', command: tap('readme.test.mjs') };
const AUDIT = { name: 'ccf ledger', version: pip('ccf'), command: pytest('ccf-python/test_ledger.py') };
const EVERY = [...CLIENTS, ...VOTING, ...ALONE, ...PROCESSES, README, AUDIT];

const HELP = `clients/run [options]
  --program FILE        the executable to check (default: target/release/coco, which is built first)
  --network COMMAND     start the network with this command, which prints one line of JSON when ready
                        (default: coco dev --json --state <temporary folder>)
  --alone COMMAND       the same for checks that need a lone node; flags of coco dev are added to it
  --endpoints URL,…     use a network that runs already
  --only NAME,…         only these of: ${EVERY.map(({ name }) => name).join(', ')}
  --ready-timeout S     seconds that the network may take to become ready (default 90)
  --jobs N              clients at once (default: one a processor, at least 2)
  --no-install          the pinned packages are there
`;

function options() {
  const { values } = parseArgs({
    options: {
      program: { type: 'string' },
      network: { type: 'string' },
      alone: { type: 'string' },
      endpoints: { type: 'string' },
      only: { type: 'string' },
      'ready-timeout': { type: 'string', default: '90' },
      jobs: { type: 'string', default: String(Math.max(2, availableParallelism())) },
      'no-install': { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.network && values.endpoints) throw new Error('--network and --endpoints exclude each other');
  const names = values.only?.split(',') ?? EVERY.map(({ name }) => name);
  const unknown = names.filter((name) => !EVERY.some((client) => client.name === name));
  if (unknown.length > 0) throw new Error(`no such client: ${unknown.join(', ')}`);
  return { ...values, chosen: (client) => names.includes(client.name) };
}

async function main() {
  const chosen = options();
  if (chosen.help) return process.stdout.write(HELP);
  if (!chosen['no-install']) install();
  mkdirSync(LOGS, { recursive: true });
  if (chosen.program && !existsSync(chosen.program)) throw new Error(`${chosen.program} is absent`);
  if (!chosen.program && !chosen.network && !chosen.endpoints) build();
  // For the checks that start it themselves.
  process.env.COCO_PROGRAM = program(chosen);

  const totals = { passed: 0, failed: 0, skipped: 0 };
  const add = (outcome) => Object.keys(totals).forEach((key) => { totals[key] += outcome[key]; });
  if ([...CLIENTS, ...VOTING, README, AUDIT].some(chosen.chosen)) await checkTogether(chosen, add);
  for (const client of ALONE.filter(chosen.chosen)) add(await checkAlone(client, chosen));
  for (const client of PROCESSES.filter(chosen.chosen)) add(await checkProcesses(client, chosen));

  const left = totals.skipped > 0 ? `, ${totals.skipped} skipped` : '';
  console.log(`${totals.passed} passed, ${totals.failed} failed${left}`);
  process.exitCode = totals.failed > 0 ? 1 : 0;
}

/** Clients against one network, and its ledgers when it has stopped. */
async function checkTogether(chosen, add) {
  const network = await started(chosen);
  const environment = surroundings(network);
  try {
    const queue = [...CLIENTS.map((client) => [client]), VOTING];
    const worker = async () => {
      for (let turn = queue.shift(); turn; turn = queue.shift()) {
        for (const client of turn.filter(chosen.chosen)) add(await check(client, environment));
      }
    };
    await Promise.all(Array.from({ length: Number(chosen.jobs) }, worker));
    // Alone: it kills a node that others use.
    if (chosen.chosen(README)) add(await check(README, environment));
  } finally {
    await network.stop();
  }
  if (chosen.chosen(AUDIT)) add(await check(AUDIT, environment));
  network.remove();
}

/** Against a lone node; skipped where that is not ours to start. */
async function checkAlone(client, chosen) {
  const foreign = chosen.endpoints || (chosen.network && !chosen.alone);
  const missing = foreign ? 'needs a lone node (--alone)' : client.missing;
  if (missing) return skipped(client, missing);
  const dev = chosen.alone ?? `exec '${program(chosen)}' dev --json --nodes 1`;
  const command = `${dev} ${client.node}`;
  const network = await launch(command, { log: join(LOGS, 'alone.log'), deadlineMs: 1000 * Number(chosen['ready-timeout']) });
  try {
    return await check(client, surroundings(network));
  } finally {
    await network.stop();
  }
}

/** With networks that it starts itself; skipped where the program under test is not the one built here. */
async function checkProcesses(client, chosen) {
  if (chosen.endpoints || chosen.network) return skipped(client, 'starts networks of its own');
  return check(client, { ...process.env, NO_COLOR: '1', FORCE_COLOR: '0' });
}

function skipped(client, why) {
  console.log(`${`${client.name} ${client.version}`.padEnd(24)} skipped: ${why}`);
  return { passed: 0, failed: 0, skipped: 1 };
}

/** The network to check: `ready` as it printed it, `stop`, and `remove` for what it leaves on disk. */
async function started(chosen) {
  if (chosen.endpoints) {
    const nodes = chosen.endpoints.split(',').map((ethereum, node) => ({ node, ethereum }));
    return { ready: { nodes }, stop: async () => {}, remove: () => {} };
  }
  const state = mkdtempSync(join(tmpdir(), 'coco-clients-'));
  const remove = () => rmSync(state, { recursive: true, force: true });
  const command = chosen.network ?? `exec '${program(chosen)}' dev --json --sawtooth-attested-port 4005 --state '${state}/network'`;
  const network = await launch(command, { log: join(LOGS, 'network.log'), deadlineMs: 1000 * Number(chosen['ready-timeout']) });
  for (const name of ['SIGINT', 'SIGTERM']) process.once(name, () => network.stop().then(() => process.exit(1)));
  return Object.assign(network, { remove });
}

function program(chosen) {
  return resolve(chosen.program ?? join(dirname(HERE), 'target', 'release', 'coco'));
}

/** Apart from starting it, so that compiling does not count against the time to become ready. */
function build() {
  const { status } = spawnSync('cargo', ['build', '--quiet', '--release'], { cwd: dirname(HERE), stdio: ['ignore', 2, 2] });
  if (status !== 0) throw new Error('cargo build failed');
}

function surroundings({ ready }) {
  return {
    ...process.env,
    COCO_ETH_URLS: ready.nodes.map(({ ethereum }) => ethereum.replace(/\/$/, '')).join(','),
    COCO_READY: JSON.stringify(ready),
    MOCHA_REPORTER: 'tap',
    HARDHAT_DISABLE_TELEMETRY_PROMPT: 'true',
    COLUMNS: '400', // or pytest cuts the reason of a skipped check
    NO_COLOR: '1',
    FORCE_COLOR: '0',
  };
}

/** Runs one client's checks, prints its line, and what failed. */
async function check(client, environment) {
  const started = process.hrtime.bigint();
  const log = join(LOGS, `${client.name.replace(/\W/g, '-')}.log`);
  const { output, ending } = await outputOf(client.command, environment, log, client.limitMs ?? CLIENT_MS);
  const cases = casesIn(output);
  const named = (outcome) => cases.filter((each) => each.outcome === outcome);
  const failures = named('failed').map(({ name }) => name);
  if (ending !== undefined && failures.length === 0) failures.push(`the client itself ${ending}`);
  if (cases.length === 0 && failures.length === 0) failures.push('it ran no checks');
  const totals = { passed: named('passed').length, failed: failures.length, skipped: named('skipped').length };

  const seconds = (Number(process.hrtime.bigint() - started) / 1e9).toFixed(1);
  const counts = `${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`;
  console.log(`${`${client.name} ${client.version}`.padEnd(24)} ${counts}, ${seconds} s`);
  for (const { name, why } of named('skipped')) console.log(`  skipped: ${name}: ${why}`);
  for (const name of failures) console.log(`  FAILED: ${name}`);
  if (failures.length > 0) console.log(`${output.trimEnd().split('\n').slice(-80).join('\n')}\n  (all of it: ${log})`);
  return totals;
}

function outputOf([command, ...args], env, log, limitMs) {
  return new Promise((resolve) => {
    const file = createWriteStream(log);
    const child = spawn(command, args, { cwd: HERE, env, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => { output += text; file.write(text); });
    }
    let late = false;
    const timer = setTimeout(() => { late = true; child.kill('SIGKILL'); }, limitMs);
    child.on('error', (error) => resolve({ output, ending: `could not be started: ${error.message}` }));
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      file.end();
      resolve({ output, ending: late ? `did not end in ${limitMs} ms` : code === 0 ? undefined : `ended with ${signal ?? code}` });
    });
  });
}

/** The cases in the output of a client: TAP from node and mocha, `-v` lines from pytest, ticks from hardhat 3. */
function casesIn(output) {
  const cases = [];
  for (const line of output.split('\n')) {
    const tapped = /^(not ok|ok) \d+ (?:- )?(.*?)(?: # SKIP ?(.*))?$/.exec(line);
    if (tapped) cases.push({ name: tapped[2], outcome: tapped[1] !== 'ok' ? 'failed' : / # SKIP/.test(line) ? 'skipped' : 'passed', why: tapped[3] });
    const ticked = /^ +(✔|\d+\)) (.*?)(?: \(\d+ms\))?$/.exec(line);
    if (ticked) cases.push({ name: ticked[2], outcome: ticked[1] === '✔' ? 'passed' : 'failed' });
    const tested = /^\S+::(\S+) (PASSED|FAILED|ERROR|SKIPPED)(?: \((.*)\))?/.exec(line);
    if (tested) cases.push({ name: tested[1].replaceAll('_', ' '), outcome: OUTCOMES[tested[2]], why: tested[3] });
  }
  return cases;
}

const OUTCOMES = { PASSED: 'passed', FAILED: 'failed', ERROR: 'failed', SKIPPED: 'skipped' };

function tap(file) {
  return [process.execPath, '--test-reporter=tap', file];
}

function pytest(...paths) {
  return [PYTHON, '-m', 'pytest', '-v', '-p', 'no:cacheprovider', '--color=no', ...paths];
}

/** The pinned version of a package, read from the pins, since nothing may be installed yet. */
function npm(name, pins = 'package.json') {
  const { dependencies, optionalDependencies, devDependencies } = JSON.parse(readFileSync(join(HERE, pins), 'utf8'));
  return { ...dependencies, ...optionalDependencies, ...devDependencies }[name];
}

function pip(name) {
  return new RegExp(`^${name}==(.*)$`, 'm').exec(readFileSync(join(HERE, 'requirements.txt'), 'utf8'))?.[1];
}

function crate(name, folder = 'rust') {
  return new RegExp(`^${name} = "=(.*)"$`, 'm').exec(readFileSync(join(HERE, 'sawtooth', folder, 'Cargo.toml'), 'utf8'))?.[1];
}

await main().catch((error) => {
  console.error(`clients/run: ${error.message}`);
  process.exitCode = 1;
});
