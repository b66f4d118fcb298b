// The WebSocket that an SDK process finds in its environment: the ws package, with a tap on the frames and with
// faults a test can ask for. The SDK itself is unmodified.
import WebSocket from 'ws';
import { decodeFrame } from './frames.mjs';

const open = new Set();
const losing = new Map();
let offline = false;
let tap = () => {};
let cutAfterLoss = false;
const stalled = new Map(); // by servcmd: what would send the frames that wait

export class FaultySocket extends WebSocket {
  constructor(url, protocols) {
    // Offline: a port nobody listens on refuses at once, as a server that is down does.
    super(offline ? 'ws://127.0.0.1:9/' : url, protocols);
    open.add(this);
    this.on('close', () => open.delete(this));
    this.on('error', () => {}); // without a listener of our own, a refused connection would end the process
  }

  send(data, ...rest) {
    const frame = decodeFrame(typeof data === 'string' ? Buffer.from(data) : Buffer.from(data.buffer ?? data, data.byteOffset ?? 0, data.byteLength));
    const waiting = frame && stalled.get(frame.head.servcmd);
    if (waiting) {
      waiting.push(() => this.readyState === WebSocket.OPEN && this.send(data, ...rest));
      tap({ out: true, stalled: true, head: frame.head, body: frame.body });
      return undefined;
    }
    if (frame) tap({ out: true, head: frame.head, body: frame.body });
    return super.send(data, ...rest);
  }

  emit(name, data, isBinary) {
    if (name === 'message') {
      const frame = decodeFrame(data);
      if (frame) {
        const left = losing.get(frame.head.servcmd) ?? 0;
        if (left > 0) {
          losing.set(frame.head.servcmd, left - 1);
          tap({ out: false, lost: true, head: frame.head, body: frame.body });
          if (cutAfterLoss) this.terminate();
          return true;
        }
        tap({ out: false, binary: isBinary, compressed: frame.compressed, head: frame.head, body: frame.body });
      }
    }
    return super.emit(name, data, isBinary);
  }
}

export const network = {
  /** Calls listener with every frame that passes. */
  listen(listener) { tap = listener; },
  /** Cuts every open socket, as a network does: without a close frame. */
  cut() { for (const socket of open) socket.terminate(); },
  /** Cuts the sockets, and refuses new ones until online(). */
  goOffline() { offline = true; this.cut(); },
  goOnline() { offline = false; },
  /** The next count frames with this servcmd never reach the SDK; with cut, the socket then breaks. */
  lose(servcmd, count, cut) { losing.set(servcmd, count); cutAfterLoss = Boolean(cut); },
  /** Requests with this servcmd wait, as on a slow line, until flow(); all others pass. */
  stall(servcmd) { stalled.set(servcmd, stalled.get(servcmd) ?? []); },
  flow(servcmd) {
    const waiting = stalled.get(servcmd) ?? [];
    stalled.delete(servcmd);
    for (const send of waiting) send();
  },
};
