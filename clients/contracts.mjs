// Compiles contracts/*.sol with the pinned npm solc into build/contracts/<Name>.json ({abi, bytecode, deployedBytecode}).
//
// The output is keyed by a hash of sources and compiler, so compiling again is free, and it is moved into place
// whole, so that several clients may start at once. `node contracts.mjs` compiles and prints the folder's name.

import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const HERE = dirname(fileURLToPath(import.meta.url));
const SOURCES = join(HERE, 'contracts');

export const COMPILER_SETTINGS = { optimizer: { enabled: true, runs: 200 }, evmVersion: 'prague' };

/** The compiled contract `name`: its `abi`, `bytecode` and `deployedBytecode`, hex with 0x. */
export function contract(name) {
  return JSON.parse(readFileSync(join(compile(), `${name}.json`), 'utf8'));
}

/** Compiles unless done before; returns the folder with one JSON file a contract. */
export function compile() {
  const sources = Object.fromEntries(
    readdirSync(SOURCES).filter((file) => file.endsWith('.sol')).sort()
      .map((file) => [file, { content: readFileSync(join(SOURCES, file), 'utf8') }]),
  );
  const require = createRequire(import.meta.url);
  const { version } = require('solc/package.json');
  const key = createHash('sha256').update(JSON.stringify({ sources, version, COMPILER_SETTINGS })).digest('hex').slice(0, 16);
  const folder = join(HERE, 'build', `contracts-${key}`);
  if (existsSync(folder)) return folder;

  const partial = `${folder}.${process.pid}`;
  mkdirSync(partial, { recursive: true });
  for (const [name, artifact] of Object.entries(compiled(require('solc'), sources))) {
    writeFileSync(join(partial, `${name}.json`), JSON.stringify(artifact, null, 1));
  }
  try {
    renameSync(partial, folder);
  } catch (error) {
    // Another client was faster: its output is the same.
    rmSync(partial, { recursive: true });
    if (!existsSync(folder)) throw error;
  }
  return folder;
}

function compiled(solc, sources) {
  const outputSelection = { '*': { '*': ['abi', 'evm.bytecode.object', 'evm.deployedBytecode.object'] } };
  const input = { language: 'Solidity', sources, settings: { ...COMPILER_SETTINGS, outputSelection } };
  const output = JSON.parse(solc.compile(JSON.stringify(input)));
  const complaints = (output.errors ?? []).map((error) => error.formattedMessage);
  if (complaints.length > 0) throw new Error(`solc: ${complaints.join('\n')}`);
  const artifacts = {};
  for (const [file, contracts] of Object.entries(output.contracts)) {
    for (const [name, { abi, evm }] of Object.entries(contracts)) {
      if (evm.bytecode.object === '') continue; // an interface
      artifacts[name] = {
        source: file,
        abi,
        bytecode: `0x${evm.bytecode.object}`,
        deployedBytecode: `0x${evm.deployedBytecode.object}`,
      };
    }
  }
  return artifacts;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(compile());
