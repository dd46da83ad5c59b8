// A network of real processes that are killed, stopped, moved and started again.
//
// `coco dev` makes the network and starts its nodes; what is started again afterwards is a child of this process.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { appendFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePorts } from '../free_ports.mjs';
import { launch } from '../launch.mjs';
import { secured, until } from './rpc.mjs';

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const LOGS = join(ROOT, 'clients', 'build', 'logs');
/** The program under test. */
export const COCO = process.env.COCO_PROGRAM ?? join(ROOT, 'target', 'release', 'coco');
const READY_MS = 30_000;
const ENDS_MS = 20_000;
/** What a network may use: the first of them for the nodes that it begins with, at most three, the others as asked for with `port`. */
const PORTS = 100;
const PORTS_OF_DEV = 30;

export class Network {
  /** A new network in a folder of its own. `name` is that of its logs; `program` runs the nodes that it begins with. */
  static async start(name, { nodes = 3, flags = '', program = COCO } = {}) {
    mkdirSync(LOGS, { recursive: true });
    const network = new Network();
    Object.assign(network, { name, size: nodes, flags, program, folder: mkdtempSync(join(tmpdir(), `coco-${name}-`)), nodes: [] });
    readdirSync(LOGS).filter((file) => file.startsWith(`${name}-`)).forEach((file) => rmSync(join(LOGS, file)));
    network.firstPort = await freePorts(PORTS);
    network.portsGiven = PORTS_OF_DEV;
    try {
      await network.dev();
    } catch (error) {
      rmSync(network.folder, { recursive: true, force: true });
      throw error;
    }
    return network;
  }

  /** Runs `coco dev` on the folder: the first time it makes the network, then it starts it again. */
  async dev() {
    const at = (offset) => this.firstPort + offset;
    const ports = `--port ${at(0)} --sawtooth-port ${at(1)} --sawtooth-rest-port ${at(2)}`;
    // The others are one apart, in the gaps that the ledgers' ports leave.
    const others = `--api-port ${at(3)} --peers-port ${at(13)} --admin-port ${at(23)}`;
    const command = `exec '${this.program}' dev --json --nodes ${this.size} --state '${this.state}' ${ports} ${others} ${this.flags}`;
    this.launched = await launch(command, { log: join(LOGS, `${this.name}.log`), deadlineMs: READY_MS });
    const { ready } = this.launched;
    this.certificate = ready.service_certificate;
    this.nodes = ready.nodes.map((each) => new Node(this, each));
  }

  get state() {
    return join(this.folder, 'network');
  }

  get ca() {
    return readFileSync(this.certificate);
  }

  /** A port that no node of this network has had. */
  port() {
    assert.ok(this.portsGiven < PORTS, 'this network has no more ports');
    this.portsGiven += 1;
    return this.firstPort + this.portsGiven - 1;
  }

  /** kill -9 of every process of the network. */
  async killAll() {
    for (const node of this.nodes) node.signal('SIGKILL');
    process.kill(this.launched.pid, 'SIGKILL');
    await Promise.all([...this.nodes.map((node) => node.isGone()), this.launched.ended]);
  }

  /** A further node with the configuration of the last one, and what `changed` makes of it. */
  async join(index, changed) {
    const like = this.nodes.at(-1);
    const node = new Node(this, { ...like.facts, node: index, config: join(this.folder, `node${index}.toml`), pid: undefined });
    node.facts.ledger = join(this.folder, `node${index}`, 'ledger');
    const text = readFileSync(like.facts.config, 'utf8')
      .replace(/^index = .*$/m, `index = ${index}`)
      .replace(/^data = .*$/m, `data = "${join(this.folder, `node${index}`)}"`);
    writeFileSync(node.facts.config, changed(text));
    node.move('127.0.0.1');
    return node;
  }

  /** Everything ends, and nothing is left but logs. */
  async remove() {
    for (const node of this.nodes) node.child?.kill('SIGKILL');
    await this.launched.stop();
    for (let index = 0; index < this.size; index += 1) {
      cpSync(join(this.state, `node${index}.log`), join(LOGS, `${this.name}-node${index}-of-dev.log`));
    }
    rmSync(this.folder, { recursive: true, force: true });
  }

  member(index) {
    return ['--cert', join(this.state, `member${index}_cert.pem`), '--key', join(this.state, `member${index}_privk.pem`)];
  }

  /** As member `index`, at `node`: `coco gov …`. */
  gov(index, node, ...command) {
    return coco('gov', ...command, '--api', node.api, '--service', this.certificate, ...this.member(index), '--output', 'json');
  }
}

export class Node {
  constructor(network, facts) {
    Object.assign(this, { network, facts: { ...facts }, said: '' });
  }

  get index() { return this.facts.node; }
  get ethereum() { return this.facts.ethereum; }
  get api() { return this.facts.api; }
  get pid() { return this.child?.pid ?? this.facts.pid; }
  get data() { return dirname(this.facts.ledger); }

  /** Starts the node. `within` is what a shell makes of the command, for instance with a limit; no shell remains, unless it does so. */
  start(within = (command) => `exec ${command}`) {
    this.said = '';
    const command = within(`'${this.program ?? COCO}' node start --config '${this.facts.config}'`);
    const child = spawn('sh', ['-c', command], { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, NO_COLOR: '1' } });
    child.stderr.setEncoding('utf8').on('data', (text) => {
      this.said += text;
      appendFileSync(join(LOGS, `${this.network.name}-node${this.index}.log`), text);
    });
    this.ended = new Promise((resolve) => { child.once('close', (code, signal) => resolve(signal ?? code)); });
    this.child = child;
  }

  async isReady() {
    await until(async () => {
      assert.equal(this.child?.exitCode ?? null, null);
      return (await fetch(`${this.facts.admin}/readyz`)).ok;
    }, READY_MS, `node ${this.index} was not ready`).catch((error) => assert.fail(`${error.message}: ${this.said.slice(-2_000)}`));
  }

  signal(name) {
    process.kill(this.pid, name);
  }

  async isGone() {
    await until(() => !isRunning(this.pid), ENDS_MS, `node ${this.index} did not end`);
  }

  /** The exit code or the signal that ended a node that this process started; undefined for a child of `coco dev`. */
  async end() {
    if (this.child === undefined) return this.isGone();
    let ending;
    this.ended.then((with_) => { ending = { with_ }; });
    await until(() => ending, ENDS_MS, `node ${this.index} did not end`);
    return ending.with_;
  }

  /** SIGTERM, and the exit code. */
  async stop() {
    this.signal('SIGTERM');
    return this.end();
  }

  /** What it has said, whoever started it. */
  log() {
    return this.child ? this.said : readFileSync(join(this.network.state, `node${this.index}.log`), 'utf8');
  }

  /** New addresses in its configuration: it listens there once it is started again. */
  move(host) {
    const fresh = () => `${host}:${this.network.port()}`;
    const [api, peers, admin, ethereum] = [fresh(), fresh(), fresh(), fresh()];
    const listen = `[listen]\napi = "${api}"\npeers = "${peers}"\nadmin = "${admin}"\n\n[listen.ledgers]\nethereum = "${ethereum}"\n\n`;
    this.rewrite((text) => text.replace(/\[listen\][^]*?(?=\[start\])/, listen));
    Object.assign(this.facts, { api: `https://${api}`, admin: `http://${admin}`, ethereum: `http://${ethereum}` });
  }

  /** Makes of its configuration what `changed` makes of it. */
  rewrite(changed) {
    writeFileSync(this.facts.config, changed(readFileSync(this.facts.config, 'utf8')));
  }

  /** The value of a gauge. */
  async metric(name) {
    const text = await (await fetch(`${this.facts.admin}/metrics`)).text();
    return Number(new RegExp(`^${name} (.*)$`, 'm').exec(text)?.[1]);
  }

  async id() {
    return (await secured(`${this.api}/node/state`, this.network.ca)).node_id;
  }
}

/** Runs the program; `{code, out, error}`. */
export function coco(...args) {
  return ran(COCO, ...args);
}

/** The same with another build of it. */
export function ran(program, ...args) {
  return new Promise((resolve) => {
    execFile(program, args, { env: { ...process.env, NO_COLOR: '1' }, maxBuffer: 1 << 26 }, (failure, out, error) => {
      resolve({ code: failure?.code ?? failure?.signal ?? 0, out, error });
    });
  });
}

/** A process that ended and was not waited for by its parent is gone. */
export function isRunning(pid) {
  try {
    return !/^\d+ \(.*\) [ZX]/s.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return false;
  }
}
