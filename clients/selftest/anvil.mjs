// Foundry's anvil dressed as a network of three nodes, to prove that the checks can pass, and with `--lie NAME`
// (lies.mjs) that they can fail. Speaks like `coco dev --json`: one line of JSON when ready, stops on SIGTERM.
//
// Three ports forward to one anvil, so nothing here proves replication; only Coco can be checked for that.
// `--block-time SECONDS` seals by time instead of at each submission.

import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { createRequire } from 'node:module';
import { parseArgs } from 'node:util';
import WebSocket, { WebSocketServer } from 'ws';
import { LIES } from './lies.mjs';

const { values } = parseArgs({ options: { lie: { type: 'string' }, 'block-time': { type: 'string' } } });
const lie = values.lie === undefined ? (request, answer) => answer : LIES[values.lie]?.tell;
if (lie === undefined) throw new Error(`no such lie: ${values.lie}; there are ${Object.keys(LIES).join(', ')}`);

const { anvil, upstream } = await startAnvil();
const fronts = await Promise.all([0, 1, 2].map(() => front(upstream)));
process.on('SIGTERM', stop);
process.on('SIGINT', stop);
anvil.on('exit', () => process.exit(1));
console.log(JSON.stringify({
  nodes: fronts.map((port, node) => ({ node, pid: anvil.pid, ethereum: `http://127.0.0.1:${port}` })),
}));

function stop() {
  anvil.removeAllListeners('exit');
  anvil.on('exit', () => process.exit(0));
  anvil.kill();
}

function startAnvil() {
  const binary = createRequire(import.meta.url).resolve(`@foundry-rs/anvil-${platform()}/bin/anvil`);
  const sealing = values['block-time'] ? ['--block-time', values['block-time']] : [];
  const child = spawn(binary, ['--port', '0', '--hardfork', 'osaka', ...sealing], { stdio: ['ignore', 'pipe', 'inherit'] });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code) => reject(new Error(`anvil ended with ${code}`)));
    createInterface({ input: child.stdout }).on('line', (line) => {
      const listening = /Listening on (\S+)/.exec(line);
      if (listening) {
        child.removeAllListeners('exit');
        resolve({ anvil: child, upstream: listening[1] });
      }
    });
  });
}

function platform() {
  return `${process.platform}-${{ x64: 'amd64', arm64: 'arm64' }[process.arch]}`;
}

/** A server on a free port that passes HTTP and WebSocket on to `address`; resolves to the port. */
function front(address) {
  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks).toString();
    try {
      const answer = await fetch(`http://${address}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
      response.writeHead(answer.status, { 'content-type': 'application/json' });
      response.end(passOn(body, await answer.text()));
    } catch {
      response.writeHead(502).end();
    }
  });
  new WebSocketServer({ server }).on('connection', (client) => {
    const upstreamSocket = new WebSocket(`ws://${address}`);
    const asked = new Map();
    const waiting = [];
    upstreamSocket.on('open', () => waiting.splice(0).forEach((text) => upstreamSocket.send(text)));
    client.on('message', (message) => {
      const text = message.toString();
      [JSON.parse(text)].flat().forEach((each) => asked.set(each.id, each));
      if (upstreamSocket.readyState === WebSocket.OPEN) upstreamSocket.send(text);
      else waiting.push(text);
    });
    upstreamSocket.on('message', (message) => {
      const answer = JSON.parse(message.toString());
      const told = answer.method === undefined ? tell([...asked.values()], answer) : lie(answer, answer);
      if (told !== undefined) client.send(JSON.stringify(told));
    });
    client.on('close', () => upstreamSocket.close());
    upstreamSocket.on('close', () => client.close());
    upstreamSocket.on('error', () => client.close());
  });
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server.address().port)));
}

function passOn(question, answer) {
  if (values.lie === undefined) return answer;
  const asked = JSON.parse(question);
  const told = tell([asked].flat(), JSON.parse(answer));
  return told === undefined ? '' : JSON.stringify(told);
}

function tell(asked, answer) {
  if (Array.isArray(answer)) return lie({ method: 'batch' }, answer.map((each) => tell(asked, each)));
  return lie(asked.find(({ id }) => id === answer.id) ?? {}, answer);
}
