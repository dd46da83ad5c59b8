// Starts a network by a shell command and stops it again. The command says that it is ready with one line of JSON:
// {"nodes":[{"node":0,"pid":1,"ethereum":"http://…","api":"https://…","ledger":"dir","config":"file"},…],
//  "service_certificate":"file"}, of which only `ethereum` is needed everywhere.

import { spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

const STOP_MS = 20_000;

/**
 * Starts `command`; resolves when its ready line is there, rejects when it ends before or `deadlineMs` have passed.
 * All it says goes to the file `log`.
 */
export async function launch(command, { log, deadlineMs }) {
  const file = createWriteStream(log);
  // A process group of its own, so that stopping reaches whatever the shell started.
  const child = spawn('sh', ['-c', command], { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  const ended = once(child, 'exit');
  const network = { pid: child.pid, ended, stop: () => stop(child, ended) };
  child.stderr.pipe(file, { end: false });
  try {
    network.ready = await readyLine(child, file, ended, deadlineMs);
  } catch (error) {
    await network.stop();
    throw error;
  }
  return network;
}

function readyLine(child, file, ended, deadlineMs) {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`the network was not ready after ${deadlineMs} ms`)), deadlineMs);
    ended.then(([code, signal]) => {
      clearTimeout(late);
      reject(new Error(`the network ended before it was ready (${signal ?? code})`));
    });
    createInterface({ input: child.stdout }).on('line', (line) => {
      file.write(`${line}\n`);
      const ready = parsed(line);
      if (ready === undefined) return;
      clearTimeout(late);
      resolve(ready);
    });
  });
}

function parsed(line) {
  try {
    const value = JSON.parse(line);
    return Array.isArray(value.nodes) ? value : undefined;
  } catch {
    return undefined;
  }
}

async function stop(child, ended) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  signal(child, 'SIGTERM');
  const late = setTimeout(() => signal(child, 'SIGKILL'), STOP_MS);
  await ended;
  clearTimeout(late);
}

function signal(child, name) {
  try {
    process.kill(-child.pid, name);
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}
