// The harness itself: tickets, frames, and what is left of a server that does not start.
import test from 'node:test';
import assert from 'node:assert/strict';
import { inflateSync, deflateSync } from 'node:zlib';
import { userSig, expiredSig } from '../harness/sig.mjs';
import { decodeFrame } from '../harness/frames.mjs';
import { startServer } from '../harness/server.mjs';
import { until } from '../harness/wait.mjs';

const app = { appID: 1400000001, key: 'k' };
const open = (sig) => JSON.parse(inflateSync(Buffer.from(sig.replace(/\*/g, '+').replace(/-/g, '/').replace(/_/g, '='), 'base64')));

test('tickets are issued now, expired ones in the past', () => {
  const now = Date.now() / 1000;
  const fresh = open(userSig(app, 'alice', { expire: 60 }));
  assert.equal(fresh['TLS.identifier'], 'alice');
  assert.ok(Math.abs(fresh['TLS.time'] - now) < 5);
  assert.equal(fresh['TLS.expire'], 60);
  const old = open(expiredSig(app, 'alice'));
  assert.ok(old['TLS.time'] + old['TLS.expire'] < now - 80000);
});

test('frames are read plain and compressed; anything else is no frame', () => {
  const json = Buffer.from('{"head":{"seq":1},"body":{}}');
  assert.equal(decodeFrame(json).compressed, false);
  assert.deepEqual(decodeFrame(Buffer.concat([Buffer.from('COMP'), deflateSync(json)])), { head: { seq: 1 }, body: {}, compressed: true });
  assert.equal(decodeFrame(Buffer.from('COMPnonsense')), null);
  assert.equal(decodeFrame(Buffer.from('[]')), null);
});

test('a cluster of which a node does not start leaves nothing running', { skip: process.env.IMSERVER_TEST_POSTGRES_URL ? false : 'IMSERVER_TEST_POSTGRES_URL is not set' }, async () => {
  const children = () => process.getActiveResourcesInfo().filter((name) => name === 'ProcessWrap').length;
  const before = children();
  await assert.rejects(startServer('cluster', { env: { IMSERVER_RETENTION: '7' } }), /ended at start[^]*not a duration/);
  await until(() => children() === before, { what: 'no process is left' });
});
