// A built imserver on free ports with fresh data: one node, or several on one Postgres and Redis.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freshDatabase, freshRedis } from './backends.mjs';
import { freePort } from './ports.mjs';
import { end, start } from './processes.mjs';
import { until } from './wait.mjs';

const repository = fileURLToPath(new URL('../..', import.meta.url));

/** The binary under test: IMSERVER_BIN, else built once per process (IMSERVER_RACE=1: with the race detector). */
export function binary() {
  if (process.env.IMSERVER_BIN) return process.env.IMSERVER_BIN;
  const dir = join(tmpdir(), `imserver-acceptance-${process.getuid?.() ?? 0}`);
  mkdirSync(dir, { recursive: true });
  const path = join(dir, `imserver-${process.pid}`);
  const race = process.env.IMSERVER_RACE ? ['-race'] : [];
  execFileSync('go', ['build', ...race, '-o', path, './cmd/imserver'], { cwd: repository, stdio: 'inherit' });
  process.env.IMSERVER_BIN = path;
  process.on('exit', () => rmSync(path, { force: true }));
  return path;
}

/** Names in the command table of the binary, per door: `imserver commands`. */
export function builtCommands() {
  const lines = execFileSync(binary(), ['commands'], { encoding: 'utf8' }).split('\n').map((line) => line.trim().split(/\s+/));
  const named = lines.filter(([name]) => /^\w+\.\w+$/.test(name));
  return {
    socket: named.filter(([, ...rest]) => /user|anonymous|ticket/.test(rest.join(' '))).map(([name]) => name).sort(),
    rest: named.filter(([, ...rest]) => /admin/.test(rest.join(' '))).map(([name]) => name).sort(),
  };
}

/** The environment of a node: nothing of the caller's own IMSERVER_ settings leaks in. */
function cleanEnvironment(extra) {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('IMSERVER_'));
  return { ...Object.fromEntries(inherited), ...extra };
}

/** One imserver process. It keeps its address and data over stop and start. */
export class Node {
  #child;

  constructor(name, port, log, env) {
    Object.assign(this, { name, port, log, env });
    this.url = `ws://127.0.0.1:${port}`;
    this.http = `http://127.0.0.1:${port}`;
  }

  /** Starts the process and waits until /readyz answers 200. */
  async start(extraEnv = {}) {
    const child = start(binary(), [], { env: cleanEnvironment({ ...this.env, ...extraEnv }), cwd: this.env.IMSERVER_DATA_DIR, log: this.log });
    this.#child = child;
    let ended;
    child.ended.then((result) => { ended = result; });
    await until(async () => ended || (await fetch(`${this.http}/readyz`)).ok, { timeout: 20000, what: `/readyz of ${this.name}` })
      .catch((error) => { throw new Error(`${error.message}\n${this.logTail()}`); });
    if (ended) throw new Error(`${this.name} ended at start (${JSON.stringify(ended)})\n${this.logTail()}`);
  }

  get pid() {
    return this.#child.pid;
  }

  /** SIGTERM, and waits: the contract is exit 0 within 10 s. */
  async stop() {
    const began = Date.now();
    const { code, signal } = await end(this.#child);
    if (code !== 0) throw new Error(`${this.name} ended with ${signal ?? code} after ${Date.now() - began} ms\n${this.logTail()}`);
  }

  /** SIGKILL: nothing gets a chance to be saved. */
  async kill() {
    await end(this.#child, 'SIGKILL');
  }

  async restart({ kill = false, env = {} } = {}) {
    await (kill ? this.kill() : this.stop());
    await this.start(env);
  }

  /** Whether the process still runs. */
  get running() {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Value of a metric, summed over the label sets that contain `labels`, e.g. metric('x_total', 'result="ok"'). */
  async metric(name, labels = '') {
    const text = await (await fetch(`${this.http}/metrics`)).text();
    return text.split('\n')
      .filter((line) => (line.startsWith(`${name}{`) || line.startsWith(`${name} `)) && line.includes(labels))
      .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
  }

  logTail(lines = 40) {
    if (!existsSync(this.log)) return '';
    return `--- end of the log of ${this.name} ---\n${readFileSync(this.log, 'utf8').split('\n').slice(-lines).join('\n')}`;
  }
}

/**
 * Starts the server of an engine: 'embedded' (SQLite, one process), 'postgres' (Postgres and Redis, one process) or
 * 'cluster' (Postgres and Redis, two processes or as many as `nodes` says).
 * @param {string} engine
 * @param {{env?: object, nodes?: number, redis?: (dir: string) => object, database?: () => object}} [options] further IMSERVER_
 *   variables for every node; nodes of a cluster (default 2); what starts its Redis (default one server) and makes its database
 *   (default one on the shared Postgres)
 */
export async function startServer(engine, { env = {}, nodes: nodeCount = 2, redis: startRedis = freshRedis, database: makeDatabase = freshDatabase } = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'imserver-acceptance-'));
  // An app of its own per server: tests do not meet even if they should share a Redis.
  const app = { appID: 1400000000 + Math.floor(Math.random() * 1e7), key: '5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e' };
  const shared = engine !== 'embedded';
  const database = shared ? await makeDatabase() : undefined;
  const redis = shared ? await startRedis(dir) : undefined;
  const nodes = [];
  for (let i = 1; i <= (engine === 'cluster' ? nodeCount : 1); i++) {
    const port = await freePort();
    const data = join(dir, shared ? 'media' : 'data'); // nodes of a cluster share their files
    mkdirSync(data, { recursive: true });
    nodes.push(new Node(`node ${i}`, port, join(dir, `node${i}.log`), {
      IMSERVER_LISTEN: `127.0.0.1:${port}`,
      IMSERVER_DATA_DIR: data,
      IMSERVER_DATABASE_URL: database?.url ?? '',
      IMSERVER_REDIS_URL: '',
      IMSERVER_APPS: `${app.appID}:${app.key}`,
      IMSERVER_ADMINS: 'administrator',
      IMSERVER_LOG_FORMAT: 'json',
      ...redis?.env,
      ...env,
    }));
  }
  const server = {
    engine, app, nodes, database, redis, dir,
    async stop() {
      for (const node of nodes) if (node.running) await node.stop();
      await redis?.stop();
      await database?.drop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
  try {
    for (const node of nodes) await node.start(); // one after the other: the first one migrates
  } catch (error) {
    await server.stop().catch(() => {}); // what runs would keep the test's process
    throw error;
  }
  return server;
}
