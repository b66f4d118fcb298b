// Frames of the WebSocket door (protocol 01 §2): JSON in binary or text messages, optionally COMP + zlib.
import { inflateSync, gunzipSync } from 'node:zlib';

/**
 * @param {Buffer} data one WebSocket message from the server
 * @returns {{head: object, body: object, compressed: boolean} | null} null if it is not a frame
 */
export function decodeFrame(data) {
  let bytes = Buffer.isBuffer(data) ? data : Buffer.from(data);
  const compressed = bytes.length > 4 && bytes.toString('latin1', 0, 4) === 'COMP';
  try {
    if (compressed) {
      const stream = bytes.subarray(4);
      bytes = stream[0] === 0x1f && stream[1] === 0x8b ? gunzipSync(stream) : inflateSync(stream);
    }
    const frame = JSON.parse(bytes.toString('utf8'));
    return frame && typeof frame === 'object' && frame.head ? { ...frame, compressed } : null;
  } catch {
    return null;
  }
}
