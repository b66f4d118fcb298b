// A client that speaks frames itself (protocol 01), for what an SDK would never send.
import WebSocket from 'ws';
import { randomBytes } from 'node:crypto';
import { decodeFrame } from './frames.mjs';
import { note } from './evidence.mjs';
import { userSig } from './sig.mjs';

export class RawClient {
  /** Frames that answer no request of ours, in order. */
  pushes = [];
  /** Messages that are no frame: [data, isBinary]. */
  oddities = [];
  /** Every frame with how it came: {head, body, binary, compressed}. */
  frames = [];
  session = {};
  #pending = new Map();
  #watchers = new Set();
  #seq = Math.floor(Math.random() * 1e8);

  /** @param {{path?: string, query?: object, platform?: number, headers?: object}} [options] path '/binfo' or '/info' */
  constructor(node, app, { path = '/binfo', query = {}, platform = 7, headers } = {}) {
    Object.assign(this, { node, app, platform, text: path.endsWith('/info') });
    const search = new URLSearchParams({
      sdkappid: app.appID, instanceid: randomBytes(16).toString('hex'), random: Math.random(), platform,
      host: 'unknown', version: -1, sdkversion: '3.6.6', compress: 'gzip', ...query,
    });
    this.socket = new WebSocket(`${node.url}${path}?${search}`, { headers, followRedirects: false, perMessageDeflate: false });
    this.opened = new Promise((resolve, reject) => {
      this.socket.once('open', resolve);
      this.socket.once('error', reject);
    });
    this.opened.catch(() => {});
    this.closed = new Promise((resolve) => this.socket.once('close', (code, reason) => resolve({ code, reason: String(reason) })));
    this.socket.on('error', () => {});
    this.socket.on('message', (data, binary) => this.#receive(data, binary));
  }

  /** Opens a socket and waits for it. */
  static async open(node, app, options) {
    const client = new RawClient(node, app, options);
    await client.opened;
    return client;
  }

  /** Sends bytes or text exactly as given. */
  sendRaw(data, binary = !this.text) {
    this.socket.send(data, { binary });
  }

  /** The head of a request, authenticated by the session if there is one. */
  head(servcmd, extra = {}) {
    return {
      ver: 'v4', platform: this.platform, websdkappid: 537048168, websdkversion: '1.7.3', sdkappid: this.app.appID,
      contenttype: 'json', reqtime: Math.floor(Date.now() / 1000), status_instid: this.session.instID ?? 0,
      ...(this.session.a2 ? { a2: this.session.a2, tinyid: this.session.tinyID } : { identifier: '', usersig: '' }),
      servcmd, seq: ++this.#seq, ...extra,
    };
  }

  /** Sends a request and returns the answer's body. */
  async request(servcmd, body = {}, { head = {}, timeout = 10000 } = {}) {
    const full = this.head(servcmd, head);
    const answer = this.#answerTo(full, timeout);
    this.sendRaw(JSON.stringify({ head: full, body }));
    return answer;
  }

  /** Sends a frame given as text, and returns the body of the answer to (servcmd, seq). */
  async requestRaw(data, { servcmd, seq, timeout = 10000 }) {
    const answer = this.#answerTo({ servcmd, seq }, timeout);
    this.sendRaw(data);
    return answer;
  }

  /** wslogin with a ticket; the session's keys are then used for every request. Returns the answer's body. */
  async login(userID, { sig = userSig(this.app, userID) } = {}) {
    const body = await this.request('im_open_status.wslogin', { State: 'Online', is_web_uniapp: 0, InstType: 0, CustomInfo: '' },
      { head: { identifier: userID, usersig: sig, a2: undefined, tinyid: undefined, status_instid: 0 } });
    if (body.ErrorCode === 0) {
      this.userID = userID;
      this.session = { a2: body.A2Key, tinyID: body.TinyId, instID: body.InstId };
    }
    return body;
  }

  /** Fields of a text message, to be completed or spoiled by a test. */
  textMessage(to, text, extra = {}) {
    return {
      From_Account: this.userID, To_Account: to, MsgSeq: Math.floor(Math.random() * 2 ** 32), MsgRandom: Math.floor(Math.random() * 1e8),
      MsgClientTime: Math.floor(Date.now() / 1000), MsgBody: [{ MsgType: 'TIMTextElem', MsgContent: { Text: text } }],
      CloudCustomData: '', From_AccountNick: '', From_AccountHeadurl: '', SendMsgControl: [], IsNeedReadReceipt: 0,
      SupportMessageExtension: 0, IsRelayMsg: 0, OfflinePushInfo: { PushFlag: 0 }, ...extra,
    };
  }

  /** The first event item of a push that satisfies the predicate, seen or to come. */
  waitForEvent(predicate, { timeout = 10000 } = {}) {
    const find = (frame) => frame.head.servcmd === 'im_open_push.msg_push' && (frame.body.EventArray ?? []).find(predicate);
    return this.waitForPush(find, { timeout }).then(find);
  }

  /** The first push frame that satisfies the predicate, seen or to come. */
  waitForPush(predicate, { timeout = 10000 } = {}) {
    const already = this.pushes.find(predicate);
    if (already) return Promise.resolve(already);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#watchers.delete(watcher);
        reject(new Error(`no such push within ${timeout} ms; got ${JSON.stringify(this.pushes).slice(0, 1000)}`));
      }, timeout);
      const watcher = (frame) => {
        if (!predicate(frame)) return;
        clearTimeout(timer);
        this.#watchers.delete(watcher);
        resolve(frame);
      };
      this.#watchers.add(watcher);
    });
  }

  get open() {
    return this.socket.readyState === WebSocket.OPEN;
  }

  close() {
    this.socket.close(1000);
    return this.closed;
  }

  #answerTo({ servcmd, seq }, timeout) {
    return new Promise((resolve, reject) => {
      const key = `${servcmd}${seq}`;
      const timer = setTimeout(() => {
        this.#pending.delete(key);
        reject(new Error(`${servcmd}: no answer within ${timeout} ms`));
      }, timeout);
      const settle = (act) => (value) => { clearTimeout(timer); this.#pending.delete(key); act(value); };
      this.#pending.set(key, settle(resolve));
      this.closed.then(({ code }) => this.#pending.get(key) && settle(reject)(new Error(`${servcmd}: socket closed (${code})`)));
    });
  }

  #receive(data, binary) {
    const frame = decodeFrame(data);
    if (!frame) {
      this.oddities.push([data, binary]);
      return;
    }
    const seen = { ...frame, binary };
    this.frames.push(seen);
    if ((frame.body?.ErrorCode ?? 0) === 0) note('commands', frame.head.servcmd);
    const waiting = this.#pending.get(`${frame.head.servcmd}${frame.head.seq}`);
    if (waiting) return waiting(frame.body);
    this.pushes.push(seen);
    for (const watcher of [...this.#watchers]) watcher(seen);
  }
}
