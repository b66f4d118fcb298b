// What a server of the postgres and cluster engines stands on: a fresh database, a Redis of its own.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { freePort } from './ports.mjs';
import { end, start } from './processes.mjs';
import { until } from './wait.mjs';

const run = promisify(execFile);

const psql = (url, statement) => run('psql', ['-X', '-q', '-v', 'ON_ERROR_STOP=1', url, '-At', '-c', statement]);

/** A database made for one test server; drop() removes it. query() is for tests that look or break things. */
export async function freshDatabase() {
  const base = process.env.IMSERVER_TEST_POSTGRES_URL;
  const name = `acceptance_${randomBytes(6).toString('hex')}`;
  await psql(base, `CREATE DATABASE ${name}`);
  const url = new URL(base);
  url.pathname = `/${name}`;
  return {
    url: String(url),
    query: async (statement) => (await psql(String(url), statement)).stdout.trim(),
    drop: () => psql(base, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`),
  };
}

const answers = (port) => new Promise((resolve) => {
  const socket = connect(port, '127.0.0.1', () => { socket.destroy(); resolve(true); });
  socket.once('error', () => resolve(false));
});

/** A Redis of its own, so that tests may stop it and no two servers share channels. */
export async function freshRedis(dir) {
  const port = await freePort();
  let child;
  const redis = {
    env: { IMSERVER_REDIS_URL: `redis://127.0.0.1:${port}/0` },
    async start() {
      child = start('redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'],
        { cwd: dir, log: `${dir}/redis.log`, env: process.env });
      await until(() => answers(port), { what: 'Redis' });
    },
    /** Makes Redis forget everything while it runs. */
    flush: () => new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1', () => socket.write('FLUSHALL\r\n'));
      socket.once('data', (answer) => { socket.destroy(); String(answer).startsWith('+OK') ? resolve() : reject(new Error(String(answer))); });
      socket.once('error', reject);
    }),
    /** Ends Redis; everything in it is lost. */
    stop: () => end(child, 'SIGKILL'),
  };
  await redis.start();
  return redis;
}
