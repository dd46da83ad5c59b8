// The recorded exchanges of ethereum/execution-apis, against a node that imported their chain:
//
//     coco dev --nodes 1 --genesis VECTORS/genesis.json --import VECTORS/chain.rlp
//
// The rules are those of hive's rpc-compat simulator: exchanges of a file run in order; the message of an error that both
// sides have is not compared, its code and data are; everything else is compared exactly. Of exchanges marked `speconly`
// the result must have the shape that its method's description gives it (conformance.shapes.mjs), apart from traces, which follow
// from the chain; and an error must be there if one was recorded.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { assertShape } from './conformance.shapes.mjs';
import { URLS } from './network.mjs';

const VECTORS = process.env.COCO_VECTORS ?? join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'shared', 'vectors', 'execution-apis');
const REQUEST_MS = 5_000;

if (!existsSync(VECTORS)) {
  test('recorded exchanges', { skip: `${VECTORS} is absent` }, () => {});
} else {
  const folders = readdirSync(VECTORS, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  for (const folder of folders.map(({ name }) => join(VECTORS, name)).sort()) {
    for (const file of readdirSync(folder).filter((name) => name.endsWith('.io')).sort()) {
      const path = join(folder, file);
      test(relative(VECTORS, path), () => exchange(readFileSync(path, 'utf8')));
    }
  }
}

async function exchange(text) {
  const lines = text.split('\n');
  const header = lines.slice(0, lines.findIndex((line) => !line.startsWith('//')));
  const onlySchema = header.some((line) => line.includes('speconly:')) && !text.includes('"debug_trace');
  let found;
  let method;
  for (const line of lines) {
    if (line.startsWith('>>')) {
      assert.equal(found, undefined, 'a request without an expectation');
      ({ method } = JSON.parse(line.slice(2)));
      found = await post(line.slice(2).trim());
    } else if (line.startsWith('<<')) {
      const expected = JSON.parse(line.slice(2));
      if (onlySchema && !('error' in expected)) {
        assert.ok(!('error' in found), JSON.stringify(found.error));
        assertShape(method, expected.result);
        assertShape(method, found.result);
      } else {
        forgetMessages(expected, found);
        assert.deepStrictEqual(found, expected);
      }
      found = undefined;
    }
  }
  assert.equal(found, undefined, 'a request without an expectation');
}

async function post(body) {
  const response = await fetch(URLS[0], {
    method: 'POST', headers: { 'content-type': 'application/json' }, body, signal: AbortSignal.timeout(REQUEST_MS),
  });
  return response.json();
}

/** Deletes the message of every error that both have at the same place. */
function forgetMessages(one, other) {
  if (one === null || other === null || typeof one !== 'object' || typeof other !== 'object') return;
  for (const name of Object.keys(one)) {
    if (!(name in other)) continue;
    if (name === 'error') [one[name], other[name]].forEach((error) => delete error.message);
    forgetMessages(one[name], other[name]);
  }
}
