// One "node" of anvil.mjs: passes HTTP and WebSocket on to anvil, and tells the configured lie.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { parseArgs } from 'node:util';
import WebSocket, { WebSocketServer } from 'ws';
import { LIES } from './lies.mjs';

const { values } = parseArgs({ options: { config: { type: 'string' } } });
const { index, port, upstream, lie: name } = JSON.parse(readFileSync(values.config, 'utf8'));
const lie = name === undefined ? undefined : LIES[name]?.tell;
if (name !== undefined && lie === undefined) throw new Error(`no such lie: ${name}; there are: ${Object.keys(LIES).join(', ')}`);

const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const question = Buffer.concat(chunks).toString();
  try {
    const answer = await fetch(`http://${upstream}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: question });
    const text = await answer.text();
    response.writeHead(answer.status, { 'content-type': 'application/json' });
    response.end(lie === undefined ? text : JSON.stringify(told([JSON.parse(question)].flat(), JSON.parse(text))));
  } catch {
    response.writeHead(502).end();
  }
});
new WebSocketServer({ server }).on('connection', passOn);
server.listen(port, '127.0.0.1', () => console.log(`port ${server.address().port}`));

function passOn(client) {
  const asked = [];
  const waiting = [];
  const anvil = new WebSocket(`ws://${upstream}`);
  const forward = (text) => (anvil.readyState === WebSocket.OPEN ? anvil.send(text) : waiting.push(text));
  anvil.on('open', () => waiting.splice(0).forEach(forward));
  client.on('message', (message) => {
    asked.push(...[JSON.parse(message.toString())].flat());
    forward(message.toString());
  });
  anvil.on('message', (message) => {
    const answer = told(asked, JSON.parse(message.toString()));
    if (answer !== undefined) client.send(JSON.stringify(answer));
  });
  client.on('close', () => anvil.close());
  anvil.on('close', () => client.close());
  anvil.on('error', () => client.close());
}

/** The answer, or batch of answers, as the lie has it; undefined for nothing at all. */
function told(asked, answer) {
  if (lie === undefined) return answer;
  if (Array.isArray(answer)) return lie({ method: 'batch' }, answer.map((each) => told(asked, each)), index);
  return lie(asked.find(({ id }) => id !== undefined && id === answer.id) ?? {}, answer, index);
}
