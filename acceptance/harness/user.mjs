// An SDK user as a test sees it: call any SDK method by name, wait for any SDK event, cut its network.
import { fork } from 'node:child_process';
import { openSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { note } from './evidence.mjs';
import { userSig } from './sig.mjs';
import { until } from './wait.mjs';

const script = fileURLToPath(new URL('./user-process.mjs', import.meta.url));

/** What the SDK rejected a promise with. */
export class SDKError extends Error {
  constructor({ code, message, data }) {
    super(`${message} (code ${code})`);
    this.code = code;
    this.data = data;
    this.info = message; // the text alone: what the server's ErrorInfo became
  }
}

export class User {
  /** @type {{event: string, data: any, at: number}[]} every SDK event so far, by its key in EVENT */
  events = [];
  /** @type {{out: boolean, head: object, body: object, at: number}[]} every frame so far */
  frames = [];
  #process;
  #pending = new Map();
  #watchers = new Set();
  #id = 0;
  #exited;

  /**
   * Any SDK method, by name: `await user.sdk.sendMessage(message, options)`. Messages that came out of this user
   * (created, received or listed) may be passed back in.
   * @type {Record<string, (...args: any[]) => Promise<any>>}
   */
  sdk = new Proxy({}, { get: (_, method) => (...args) => this.#method(method, args) });

  constructor(app, userID, url, { generation = 'v3', options = {}, log } = {}) {
    Object.assign(this, { app, userID, url, generation });
    const out = log ? openSync(log, 'a') : 'ignore';
    this.#process = fork(script, { stdio: ['ignore', out, out, 'ipc'], execArgv: [] });
    this.#process.on('message', (message) => this.#receive(message));
    this.#exited = new Promise((resolve) => this.#process.on('exit', resolve));
    this.#process.on('exit', (code, signal) => {
      for (const { reject } of this.#pending.values()) reject(new Error(`process of ${userID} ended (${signal ?? code})`));
      this.#pending.clear();
    });
    this.started = this.#request('start', { generation, sdkAppID: app.appID, url, options });
    this.started.catch(() => {});
  }

  /** Logs in and waits for SDK_READY and the first answers to what the SDK then asks. */
  async login(options = {}) {
    await this.started;
    const [since, from] = [this.mark(), this.frames.length];
    const { userID = this.userID, sig = userSig(this.app, userID) } = options;
    const answer = await this.sdk.login({ userID, userSig: sig });
    this.userID = userID;
    await this.waitFor('SDK_READY', undefined, { since });
    for (const name of ['openim.getmsg', 'recentcontact.page_get']) {
      await this.waitForFrame((f) => !f.out && f.head.servcmd === name, { since: from });
    }
    return answer;
  }

  /** Adds a plugin package, e.g. registerPlugin('tim-upload-plugin', 'tim-upload-plugin'). */
  registerPlugin(name, module) {
    return this.#request('registerPlugin', { name, module }).then(() => this.#note('methods', 'registerPlugin'));
  }

  /** Creates and sends a message: `send('Text', peer, {text: 'hi'}, {sendOptions, group: true, …message fields})`. */
  async send(kind, to, payload, { sendOptions, group = false, ...fields } = {}) {
    const message = await this.sdk[`create${kind}Message`]({ to, conversationType: group ? 'GROUP' : 'C2C', payload, ...fields });
    const answer = await this.sdk.sendMessage(message, sendOptions);
    return answer.data.message;
  }

  sendText(to, text, options) {
    return this.send('Text', to, { text }, options);
  }

  /** A position in the event log, for `since`. */
  mark() {
    return this.events.length;
  }

  /**
   * The first event of this kind whose data satisfies the predicate, among those already seen (from `since` on) and
   * those to come.
   * @param {string} event key of the SDK's EVENT table, e.g. 'MESSAGE_RECEIVED'
   * @param {(data: any) => boolean} [predicate]
   * @param {{timeout?: number, since?: number}} [options] milliseconds; a mark()
   * @returns {Promise<any>} the event's data
   */
  waitFor(event, predicate = () => true, { timeout = 10000, since = 0 } = {}) {
    const fits = (seen) => seen.event === event && predicate(seen.data);
    return this.#watch(this.events.slice(since), fits, timeout, () => `${event} at ${this.userID}; seen: ${this.#summary(since)}`)
      .then((seen) => { this.#note('events', event); return seen.data; });
  }

  /** The first received message that satisfies the predicate (from MESSAGE_RECEIVED). */
  async waitForMessage(predicate, options) {
    const messages = await this.waitFor('MESSAGE_RECEIVED', (data) => data.some(predicate), options);
    return messages.find(predicate);
  }

  /**
   * Waits until the SDK has taken up a group that it is new in, by GROUP_LIST_UPDATED. It lists the group at its first message
   * already; when the answer to its request for the profile comes it puts that in the place of what it has, and forgets the
   * messages it has heard, without which it recovers nothing after an outage.
   */
  waitForGroup(groupID, options) {
    return this.waitFor('GROUP_LIST_UPDATED', (list) => list.some((g) => g.groupID === groupID && g.createTime), options);
  }

  /** All messages MESSAGE_RECEIVED brought since a mark, in order. */
  received(since = 0) {
    return this.events.slice(since).filter((e) => e.event === 'MESSAGE_RECEIVED').flatMap((e) => e.data);
  }

  /** Waits until the SDK counts this many unread messages. */
  unread(count, { timeout = 10000 } = {}) {
    let last;
    return until(async () => (last = await this.sdk.getTotalUnreadMessageCount()) === count, { timeout, every: 50, what: `${count} unread` })
      .catch((error) => { throw new Error(`${error.message} at ${this.userID}; there are ${last}`); });
  }

  /** Fails if such an event was seen since the mark or comes within the time. */
  async expectNone(event, predicate = () => true, { within = 400, since = 0 } = {}) {
    await new Promise((resolve) => setTimeout(resolve, within));
    const bad = this.events.slice(since).find((seen) => seen.event === event && predicate(seen.data));
    if (bad) throw new Error(`${this.userID} got an unexpected ${event}: ${JSON.stringify(bad.data).slice(0, 500)}`);
  }

  /** The first frame that satisfies the predicate, seen or to come. */
  waitForFrame(predicate, { timeout = 10000, since = 0 } = {}) {
    return this.#watch(this.frames.slice(since), (seen) => seen.head !== undefined && predicate(seen), timeout,
      () => `a frame at ${this.userID}`);
  }

  /** Faults: cut(), goOffline(), goOnline(), lose(servcmd, count, cutAfterwards), stall(servcmd), flow(servcmd). */
  network = new Proxy({}, { get: (_, action) => (...args) => this.#request('network', { action, args }) });

  /** Things the SDK threw where an app could not catch them: in Node each would have ended the app. */
  get crashes() {
    return this.events.filter((e) => e.event.startsWith('$un'));
  }

  /** Commands that answered an error: [servcmd, code, text]. */
  get failures() {
    return this.frames.filter((f) => !f.out && f.body?.ErrorCode).map((f) => [f.head.servcmd, f.body.ErrorCode, f.body.ErrorInfo]);
  }

  /** Ends the process at once, as a closed tab does: no logout. */
  async vanish() {
    this.#process.kill('SIGKILL');
    await this.#exited;
  }

  /** Logs out (best effort) and ends the process. */
  async leave() {
    await Promise.race([this.sdk.logout().catch(() => {}), new Promise((resolve) => setTimeout(resolve, 2000))]);
    await this.vanish();
  }

  async #method(method, args) {
    await this.started;
    const failed = new Error(); // made here, so that its stack names the line of the test
    const result = await this.#request('call', { method, args }).catch((error) => {
      if (error instanceof SDKError) error.stack = `${error.message}\n${failed.stack}`;
      throw error;
    });
    this.#note('methods', method);
    return result;
  }

  #request(op, rest) {
    const id = ++this.#id;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      this.#process.send({ id, op, ...rest }, (error) => error && reject(error));
    });
  }

  #receive(message) {
    if (message.id !== undefined) {
      const { resolve, reject } = this.#pending.get(message.id) ?? {};
      this.#pending.delete(message.id);
      if (message.error) reject?.(new SDKError(message.error));
      else resolve?.(message.result);
      return;
    }
    const seen = { ...(message.frame ?? message), at: Date.now() };
    if (message.frame) {
      this.frames.push(seen);
      this.#noteCommand(seen);
    } else {
      this.events.push(seen);
    }
    for (const watcher of this.#watchers) watcher(seen);
  }

  /** Evidence is about v3; what v2 did is kept apart. */
  #note(kind, name) {
    note(kind, this.generation === 'v2' ? `v2.${name}` : name);
  }

  #noteCommand({ out, lost, head, body }) {
    if (out || lost) return;
    const code = body?.ErrorCode ?? body?.int32_error_code ?? body?.msg_cmd_error_code?.uint32_code ?? 0;
    if (code === 0) note('commands', head.servcmd);
  }

  #watch(past, fits, timeout, what) {
    const late = new Error(); // made here, so that its stack names the test's line
    return new Promise((resolve, reject) => {
      const already = past.find(fits);
      if (already) return resolve(already);
      const watcher = (seen) => {
        if (!fits(seen)) return;
        done();
        resolve(seen);
      };
      const timer = setTimeout(() => {
        done();
        late.message = `timed out after ${timeout} ms waiting for ${what()}`;
        reject(late);
      }, timeout);
      const done = () => {
        clearTimeout(timer);
        this.#watchers.delete(watcher);
      };
      this.#watchers.add(watcher);
    });
  }

  #summary(since) {
    const text = this.events.slice(since).map((e) => `${e.event} ${JSON.stringify(e.data) ?? ''}`.slice(0, 200)).join('\n  ');
    return text ? `\n  ${text}` : 'no event';
  }
}
