// The other forms of Redis that a cluster of nodes can stand on: a Redis Cluster, and a master that Sentinels watch. Each
// can lose a master, and has a replica that takes its place by itself.
import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { freePort } from './ports.mjs';
import { end, start } from './processes.mjs';
import { until } from './wait.mjs';

const run = promisify(execFile);

/** A command to the server on a port; the answer as text. */
const ask = async (port, ...command) => (await run('redis-cli', ['-h', '127.0.0.1', '-p', String(port), ...command.map(String)])).stdout.trim();

/** Starts a redis-server in a folder of its own and waits until it answers. */
async function serve(dir, port, args, file) {
  const home = `${dir}/redis-${port}`;
  mkdirSync(home);
  if (file) writeFileSync(`${home}/redis.conf`, file);
  const child = start('redis-server', [...(file ? ['redis.conf'] : []), '--port', port, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', ...args].map(String),
    { cwd: home, log: `${home}/log`, env: process.env });
  await until(async () => (await ask(port, 'ping')) === 'PONG', { what: `Redis on ${port}` });
  return child;
}

const ports = async (count) => {
  const list = [];
  while (list.length < count) list.push(await freePort());
  return list;
};

/**
 * A Redis Cluster of three masters, of which one has a replica: the one that keeps the list of nodes.
 * loseMaster() ends that one and waits until the replica serves.
 */
export async function redisCluster(dir) {
  const [all, gossip] = [await ports(4), await ports(4)];
  const children = await Promise.all(all.map((port, i) => serve(dir, port,
    ['--cluster-enabled', 'yes', '--cluster-port', gossip[i], '--cluster-node-timeout', 1000, '--cluster-replica-validity-factor', 0])));
  const masters = all.slice(0, 3);
  await Promise.all(masters.map((port, i) => ask(port, 'cluster', 'addslotsrange', Math.floor(i * 16384 / 3), Math.floor((i + 1) * 16384 / 3) - 1)));
  for (const [i, port] of all.entries()) if (i > 0) await ask(all[0], 'cluster', 'meet', '127.0.0.1', port, gossip[i]);
  const whole = async (port) => /cluster_state:ok[^]*cluster_known_nodes:4/.test(await ask(port, 'cluster', 'info'));
  await until(async () => (await Promise.all(all.map((port) => whole(port)))).every(Boolean), { what: 'the cluster to be whole' });
  const victim = Math.floor(Number(await ask(all[0], 'cluster', 'keyslot', 'imserver:nodes')) * 3 / 16384);
  await ask(all[3], 'cluster', 'replicate', await ask(masters[victim], 'cluster', 'myid'));
  await until(async () => /master_link_status:up/.test(await ask(all[3], 'info', 'replication')), { what: 'the replica to follow' });
  return {
    env: { IMSERVER_REDIS_URL: `redis://${masters.map((port) => `127.0.0.1:${port}`).join(',')}` },
    async loseMaster() {
      await end(children[victim], 'SIGKILL');
      await until(async () => /role:master/.test(await ask(all[3], 'info', 'replication')) && /cluster_state:ok/.test(await ask(all[3], 'cluster', 'info')),
        { timeout: 30000, every: 100, what: 'the replica to take over' });
    },
    stop: () => Promise.all(children.map((child) => end(child, 'SIGKILL'))),
  };
}

/** A master with a replica, and three Sentinels. loseMaster() ends the master and waits until the Sentinels have another. */
export async function redisSentinel(dir) {
  const [master, replica, ...sentinels] = await ports(5);
  const children = [await serve(dir, master, []), await serve(dir, replica, ['--replicaof', '127.0.0.1', master])];
  const config = `sentinel monitor main 127.0.0.1 ${master} 2\nsentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 5000\n`;
  children.push(...await Promise.all(sentinels.map((port) => serve(dir, port, ['--sentinel'], config))));
  await until(async () => {
    const known = await ask(sentinels[0], 'sentinel', 'master', 'main');
    return /num-slaves\n1\n/.test(known) && /num-other-sentinels\n2\n/.test(known);
  }, { timeout: 20000, every: 100, what: 'the Sentinels to know the replica and each other' });
  return {
    env: { IMSERVER_REDIS_URL: `redis://${sentinels.map((port) => `127.0.0.1:${port}`).join(',')}`, IMSERVER_REDIS_MASTER: 'main' },
    async loseMaster() {
      await end(children[0], 'SIGKILL');
      await until(async () => (await ask(sentinels[0], 'sentinel', 'get-master-addr-by-name', 'main')).split('\n')[1] === String(replica),
        { timeout: 30000, every: 100, what: 'the Sentinels to choose the replica' });
    },
    stop: () => Promise.all(children.map((child) => end(child, 'SIGKILL'))),
  };
}
