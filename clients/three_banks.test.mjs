// The whole story of examples/three-banks with real processes, and what must be seen in it.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');
const COCO = process.env.COCO_PROGRAM ?? join(ROOT, 'target', 'release', 'coco');
const skip = existsSync(COCO) ? false : `${COCO} is not built`;
const PORTS = 600;

let folder;
let output = '';
let code;

before(async () => {
  if (skip) return;
  folder = mkdtempSync(join(tmpdir(), 'coco-banks-'));
  const env = { ...process.env, COCO, PORT: String(firstPort()) };
  const child = spawn(join(ROOT, 'examples', 'three-banks', 'run'), [folder], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => { output += text; });
  code = await new Promise((resolve) => child.on('close', resolve));
});

after(() => folder && rmSync(folder, { recursive: true, force: true }));

/** Below the ports that the system gives to clients, where one of the script's would be taken now and then. */
function firstPort() {
  return 20_000 + PORTS * (process.pid % 20);
}

/** What the script said under a heading. */
function under(heading) {
  const [, section] = output.split(`== ${heading}`);
  assert.ok(section, `the script did not come to "${heading}":\n${output.slice(-4000)}`);
  return section.split('\n== ')[0];
}

const says = (name, heading, ...patterns) =>
  test(name, { skip }, () => patterns.forEach((pattern) => assert.match(under(heading), pattern)));

says('a network is opened by votes', 'Nothing is served before', /not open yet/, /hello/);
says('a participant is added', 'A participant is let in', /Accepted/);
says('a proposal is voted down', 'Bank c wants to decide alone', /Rejected/);
says('the constitution is changed and holds', 'Under the new rule', /Open[^]*Open[^]*Accepted/);
says('a node joins only under an approved constitution', 'A fourth node does not join', /another constitution/);
says('a node is added', 'Under the one that it has approved', /service_status: "Open"/);
says('code is upgraded while clients write', 'New code', /writes that were answered meanwhile: [1-9]/, /Accepted\b[^]*Accepted\b/);
says('the ledger is rekeyed', 'The ledger gets a new secret', /Accepted[^]*Accepted[^]*Accepted/, /nothing lost of [1-9]\d* writes/, /(verified: [^]*){3}/);
says('a node is removed for cause and the service rotates its identity', 'Somebody else may have', /Accepted/);
says('clients, nodes and receipts follow a rotated identity', 'Who trusts the certificate of before', /sealed anew/, /identity: rotated since/, /node 2 is of the service again/, /error: [^]*valid: [^]*trusted in its view[^]*valid: [^]*trusted in its view/);
says('certificates are renewed by vote', 'Certificates are renewed', /Accepted[^]*Accepted/, /identity: renewed since/, /Certificate will expire/);
says('without a majority nothing is answered', 'The nodes of banks b and c are lost', /no answer|PrimaryNotFound/);
says('a new service says up to where it was recovered', 'A new service takes over', /Recovering, recovered to \d+\.\d+ - recovery 1/);
says('members see what they vote for', 'The members vote for it', /Recover the service .* with its ledger up to \d+\.\d+/, /Accepted/);
says('wrong shares are refused and enough of them open the ledger', 'A share that is not', /1 of 2 recovery shares/, /the service is open/, /signed anew/);
says('receipts of the old service are good under the new one', 'A receipt of the old service', /error: /, /valid: \d+\.\d+ is committed/, /signed by node [0-9a-f]{64}, trusted in its view/);
says('others join the recovered service', 'Other nodes join', /recovered/, /recovery_count: 1/);
says('an auditor confirms all of it', 'An auditor', /all confirmed/, /recovered by a new service/, /handed in a recovery share/, /enough recovery shares/);
test('the script ends well', { skip }, () => assert.equal(code, 0, output.slice(-4000)));
