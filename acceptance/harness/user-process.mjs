// One SDK user. Runs in a process of its own (an SDK keeps global state), and is driven over IPC by user.mjs.
// Messages in: {id, op, …}. Messages out: {id, result} or {id, error}, {event, data}, {frame}.
import { createRequire } from 'node:module';
import { FaultySocket, network } from './faulty-socket.mjs';

const require = createRequire(import.meta.url);
const report = (message) => process.connected && process.send(message);

let SDK; // the module: create(), EVENT, TYPES
let chat; // the instance
const callbacks = new Map(); // by name: off() wants the function that on() got
const known = new Map(); // live SDK messages by ID: the SDK wants its own objects back

/** Plain data of an SDK value: no functions, no cycles; remembers SDK messages on the way. */
function plain(value, path = []) {
  if (typeof value === 'function') return undefined;
  if (typeof value === 'bigint') return String(value);
  if (value === null || typeof value !== 'object') return value;
  if (path.includes(value)) return undefined;
  const deeper = [...path, value];
  if (value instanceof Error) return { ...value, name: value.name, message: value.message, code: value.code };
  if (value instanceof Map) return Object.fromEntries([...value].map(([k, v]) => [k, plain(v, deeper)]));
  if (Array.isArray(value) || value instanceof Set) return [...value].map((item) => plain(item, deeper));
  if (typeof value.ID === 'string' && 'flow' in value) known.set(value.ID, value);
  return Object.fromEntries(Object.keys(value).map((key) => [key, plain(value[key], deeper)]));
}

/** The reverse for arguments: messages by ID become the SDK's own, with {$change} applied; {$file} a File; {$event} a callback. */
function live(value) {
  if (value === null || typeof value !== 'object') return value;
  if (Array.isArray(value)) return value.map(live);
  if (value.$file) {
    return new File([Buffer.from(value.$file.base64, 'base64')], value.$file.name, { type: value.$file.type });
  }
  if (value.$event) {
    if (!callbacks.has(value.$event)) callbacks.set(value.$event, (...args) => report({ event: value.$event, data: plain(args) }));
    return callbacks.get(value.$event);
  }
  if (typeof value.ID === 'string' && 'flow' in value && known.has(value.ID)) return change(known.get(value.ID), live(value.$change));
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, live(item)]));
}

/** Writes the fields into an SDK message, in place: its payload is shared with the form that is sent. */
function change(target, fields = {}) {
  for (const [key, value] of Object.entries(fields)) {
    if (value !== null && typeof value === 'object' && typeof target[key] === 'object') change(target[key], value);
    else target[key] = value;
  }
  return target;
}

/** The second SDK generation wants a page around it. */
function makePage() {
  const { JSDOM } = require('jsdom');
  const page = new JSDOM('<!doctype html><body></body>', { url: 'http://127.0.0.1/', pretendToBeVisual: true });
  page.window.WebSocket = FaultySocket;
  for (const name of ['window', 'document', 'location', 'localStorage', 'sessionStorage', 'navigator', 'XMLHttpRequest', 'FileReader']) {
    Object.defineProperty(globalThis, name, { value: name === 'window' ? page.window : page.window[name], configurable: true, writable: true });
  }
}

const operations = {
  start({ generation, sdkAppID, url, options }) {
    globalThis.WebSocket = FaultySocket;
    if (generation === 'v2') makePage();
    const module = require(generation === 'v2' ? 'tim-js-sdk' : '@tencentcloud/chat');
    SDK = module.default ?? module;
    operations.create({ sdkAppID, url, options });
  },

  create({ sdkAppID, url, options }) {
    chat = SDK.create({ SDKAppID: sdkAppID, proxyServer: url, ...options });
    chat.setLogLevel(4);
    const names = new Map();
    for (const [key, name] of Object.entries(SDK.EVENT)) if (!names.has(name)) names.set(name, key);
    for (const [key, name] of Object.entries(SDK.TSignaling ?? {})) {
      if (typeof name === 'string') chat.addSignalingListener(name, (event) => report({ event: key, data: plain(event?.data ?? event) }));
    }
    for (const [name, key] of names) chat.on(name, (event) => report({ event: key, data: plain(event?.data) }));
  },

  async call({ method, args }) {
    if (typeof chat[method] !== 'function') throw new Error(`the SDK has no method ${method}`);
    const ready = live(args);
    if (['on', 'off', 'once'].includes(method)) ready[0] = SDK.EVENT[ready[0]] ?? ready[0]; // keys of EVENT, as everywhere here
    return plain(await chat[method](...ready));
  },

  registerPlugin({ name, module }) {
    const plugin = require(module);
    chat.registerPlugin({ [name]: plugin.default ?? plugin });
  },

  network({ action, args }) {
    network[action](...args);
  },
};

network.listen((frame) => report({ frame }));
process.on('unhandledRejection', (reason) => report({ event: '$unhandledRejection', data: plain(reason) ?? String(reason) }));
process.on('uncaughtException', (error) => report({ event: '$uncaughtException', data: { ...plain(error), stack: error.stack } }));
process.on('disconnect', () => process.exit(0));
process.on('message', async ({ id, op, ...rest }) => {
  try {
    report({ id, result: await operations[op](rest) });
  } catch (error) {
    report({ id, error: { ...plain(error), code: error?.code, message: error?.message ?? String(error) } });
  }
});
