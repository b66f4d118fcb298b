// Runs one definition of tests against every engine: see README.md.
import { after, before, describe, test as nodeTest } from 'node:test';
import { note, witnessed } from './evidence.mjs';
import { RawClient } from './raw.mjs';
import { restClient } from './rest.mjs';
import { startServer } from './server.mjs';
import { User } from './user.mjs';

const all = ['embedded', 'postgres', 'cluster'];

/** Engines to run: ENGINES=embedded,postgres,… (default all). Those without their services are reported as skipped. */
const wanted = process.env.ENGINES ? process.env.ENGINES.split(',') : all;
for (const name of wanted) if (!all.includes(name)) throw new Error(`ENGINES: no engine "${name}", there are ${all}`);
const haveServices = Boolean(process.env.IMSERVER_TEST_POSTGRES_URL);
if (process.env.CI && !haveServices && wanted.some((name) => name !== 'embedded')) {
  throw new Error('CI needs IMSERVER_TEST_POSTGRES_URL: run scripts/services.sh up, and eval its env');
}

let count = 0;
const suffix = process.pid.toString(36);

/** What a test works with: the server of its engine, and the users and clients it makes. */
export class World {
  #users = [];
  #raw = [];

  constructor(server) {
    Object.assign(this, { server, app: server.app, nodes: server.nodes, engine: server.engine });
  }

  /** A user ID nobody else uses: id('alice') is alice_1x…, at most 32 bytes. */
  id(name = 'user') {
    return `${name}_${suffix}${(count++).toString(36)}`;
  }

  /** The node the n-th user of a test uses: in a cluster neighbours are on different nodes. */
  node(n = 0) {
    return this.nodes[n % this.nodes.length];
  }

  /**
   * A process with an SDK in it, not logged in yet.
   * @param {string} name 'alice' becomes a unique ID; pass {exact: true} for an ID as it is (e.g. a second device)
   * @param {{node?: number, generation?: 'v3'|'v2', exact?: boolean, options?: object, path?: string, url?: string}} [options]
   *   url instead of a node: what stands before the nodes, such as a Balancer
   */
  user(name, { node = this.#users.length, exact = false, path = '', url = this.node(node).url, ...rest } = {}) {
    const user = new User(this.app, exact ? name : this.id(name), url + path, { ...rest, log: `${this.server.dir}/users.log` });
    this.#users.push(user);
    return user;
  }

  /** Logged-in users, started at the same time: `const [alice, bob] = await world.users('alice', 'bob')`. */
  async users(...names) {
    const users = names.map((name, n) => this.user(name, { node: n }));
    await Promise.all(users.map((user) => user.login()));
    return users;
  }

  /** A second device of a user, on another node if there is one. Needs IMSERVER_MAX_WEB_INSTANCES > 1. */
  async device(user, options = {}) {
    const device = this.user(user.userID, { exact: true, ...options });
    await device.login();
    return device;
  }

  /** An open socket speaking frames; with `login`, logged in as that (exact) user. */
  async raw({ node = 0, login, ...options } = {}) {
    const client = await RawClient.open(this.node(node), this.app, options);
    this.#raw.push(client);
    if (login) {
      const answer = await client.login(login);
      if (answer.ErrorCode !== 0) throw new Error(`login of ${login}: ${JSON.stringify(answer)}`);
    }
    return client;
  }

  /** Calls the REST door as an administrator. */
  rest(node = 0, admin) {
    return restClient(this.node(node), this.app, admin);
  }

  /** Notes that the test asserted that an SDK method or a command, which is not offered, answers an error. */
  refused(name) {
    note('refused', name);
  }

  /** The same for a command of the REST API. */
  refusedREST(name) {
    note('refusedREST', name);
  }

  /** Ends what the test started; throws if an SDK threw where an app could not catch it. */
  async end() {
    for (const client of this.#raw.splice(0)) client.socket.terminate();
    const users = this.#users.splice(0);
    const crashes = users.flatMap((user) => (user.crashesExpected === true ? [] : user.crashes.filter((c) => !user.crashesExpected?.(c)).map((c) => `${user.userID}: ${c.event} ${JSON.stringify(c.data)}; commands that failed: ${JSON.stringify(user.failures)}`)));
    await Promise.all(users.map((user) => user.vanish()));
    if (crashes.length && !process.env.ALLOW_CRASHES) throw new Error(`the SDK threw outside of any call: ${crashes.join('; ')}`);
  }
}

/**
 * Defines tests once and runs them on every engine, each engine with one server of its own for all of them.
 * @param {string} title
 * @param {{env?: object, engines?: string[], nodes?: number, redis?: Function, database?: Function, skip?: string|false, timeout?: number}}
 *   options env: further IMSERVER_ variables; engines: where it makes sense (default everywhere); nodes of the cluster (default 2);
 *   redis: what starts its Redis, see redises.mjs; database: what makes its database, see postgreses.mjs; skip: why it cannot run
 *   here; timeout of one test in ms (default 60 s)
 * @param {(tools: {test: Function, engine: string, server: () => object}) => void} define calls
 *   `test(title, async (world) => {…})`; a third argument before the body may hold node:test options
 */
export function engines(title, options, define) {
  let chosen = wanted.filter((name) => (options.engines ?? all).includes(name));
  if (process.env.QUICK && chosen.includes('cluster')) chosen = chosen.filter((name) => name !== 'postgres'); // the same database and Redis
  describe(title, { concurrency: true }, () => {
    for (const engine of chosen) suite(engine, title, options, define);
  });
}

/** The tests of one engine, one after the other. */
function suite(engine, title, options, define) {
  const skip = engine !== 'embedded' && !haveServices ? 'IMSERVER_TEST_POSTGRES_URL is not set' : options.skip ?? false;
  describe(`[${engine}] ${title}`, { skip, concurrency: 1 }, () => {
    let server;
    before(async () => { server = await startServer(engine, { env: options.env, nodes: options.nodes, redis: options.redis, database: options.database }); }, { timeout: 60000 });
    after(async () => { await server?.stop(); }, { timeout: 60000 });
    const test = (name, ...rest) => {
      const body = rest.pop();
      nodeTest(name, { timeout: options.timeout ?? 60000, ...rest[0] }, () => witnessed(() => within(server, body)));
    };
    define({ test, engine, server: () => server });
  });
}

/** Runs a test's body in a world of its own; an SDK that threw, or a server that ended, fails it. */
async function within(server, body) {
  const world = new World(server);
  try {
    await body(world);
  } catch (error) {
    await world.end().catch(() => {});
    error.message += `\n${server.nodes.map((node) => node.logTail(25)).join('\n')}`;
    throw error;
  }
  await world.end();
  const dead = server.nodes.filter((node) => !node.running);
  if (dead.length) throw new Error(`a server process ended during the test\n${dead.map((node) => node.logTail()).join('\n')}`);
}
