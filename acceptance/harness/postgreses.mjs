// A Postgres of a test's own, for what a test cannot do to the shared one: configure it, lose its disk, bring it back.
import { execFile, execFileSync } from 'node:child_process';
import { appendFileSync, chownSync, existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePort } from './ports.mjs';
import { end, start } from './processes.mjs';
import { until } from './wait.mjs';

const run = promisify(execFile);

/** The folder of the newest installed Postgres: Debian keeps its programs out of the PATH. */
function programs() {
  const debian = '/usr/lib/postgresql';
  const versions = existsSync(debian) ? readdirSync(debian).sort((a, b) => b - a) : [];
  const folders = [...versions.map((version) => `${debian}/${version}/bin`), ...(process.env.PATH ?? '').split(':')];
  return folders.find((folder) => ['initdb', 'postgres', 'pg_basebackup', 'pg_archivecleanup'].every((name) => existsSync(join(folder, name))));
}

const bin = programs();

/** Why there can be no such Postgres here; false if there can. */
export const missing = bin ? false : 'initdb, pg_basebackup or pg_archivecleanup is not installed';

/** As whom its programs run: Postgres refuses to be root. */
function identity() {
  if (process.getuid?.() !== 0) return {};
  const id = (flag) => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }));
  return { uid: id('-u'), gid: id('-g') };
}

/** A folder that this user owns; it goes with this process at the latest. */
function folder({ uid, gid }) {
  const dir = mkdtempSync(join(tmpdir(), 'imserver-postgres-'));
  if (uid !== undefined) chownSync(dir, uid, gid);
  const remove = () => rmSync(dir, { recursive: true, force: true, maxRetries: 10 });
  process.on('exit', remove);
  return { dir, remove };
}

/**
 * Starts a Postgres with further lines in its postgresql.conf; pass the result of `postgres(…)` to engines() as `database`.
 * It has what a freshDatabase() has, and: dir, a folder for a test's files; data, its data directory; shell(script), which runs
 * as the user of the database with PGDATA and what psql needs to find it; stop() and start(), which waits until it takes writes;
 * crash(), after which nothing is written to data or archived any more.
 * @param {(server: object) => Promise<string>} configuration gets that before its first start
 */
export const postgres = (configuration) => async () => {
  const who = identity();
  const { dir, remove } = folder(who);
  const [port, data] = [await freePort(), join(dir, 'data')];
  const env = { PATH: `${bin}:${process.env.PATH}`, LC_ALL: 'C', PGDATA: data, PGHOST: '127.0.0.1', PGPORT: String(port), PGUSER: 'imserver', PGDATABASE: 'postgres' };
  const shell = async (script) => (await run('sh', ['-euc', script], { ...who, env, cwd: dir })).stdout.trim();
  const query = (statement) => shell(`psql -XAtq -v ON_ERROR_STOP=1 <<'END'\n${statement}\nEND`);
  let child;
  const server = {
    dir, data, shell, query,
    url: `postgres://imserver@127.0.0.1:${port}/postgres?sslmode=disable`,
    async start() {
      child = start(join(bin, 'postgres'), ['-p', String(port), '-h', '127.0.0.1', '-k', '', '-c', 'fsync=off'], { ...who, env, cwd: dir, log: join(dir, 'log') });
      let ended = false;
      child.ended.then(() => { ended = true; });
      await until(async () => ended || (await query('SELECT pg_is_in_recovery()')) === 'f', { timeout: 30000, every: 50, what: 'Postgres to take writes' })
        .catch((error) => { throw new Error(`${error.message}\n${server.log()}`); });
      if (ended) throw new Error(`Postgres ended at start\n${server.log()}`);
    },
    stop: () => end(child, 'SIGINT', 30000),
    crash: () => end(child, 'SIGQUIT'),
    log: () => readFileSync(join(dir, 'log'), 'utf8').split('\n').slice(-30).join('\n'),
    async drop() {
      await server.crash();
      remove();
    },
  };
  await shell('initdb -U imserver -A trust -E UTF8 --no-sync >/dev/null');
  appendFileSync(join(data, 'postgresql.conf'), await configuration(server));
  await server.start();
  return server;
};
