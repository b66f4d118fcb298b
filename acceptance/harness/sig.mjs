// Tickets (UserSig v2) made by the npm library that backends use (protocol 01 §16).
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const { Api } = require('tls-sig-api-v2');

/**
 * A ticket for userID.
 * @param {{appID: number, key: string}} app
 * @param {string} userID
 * @param {{expire?: number, issued?: number}} [options] lifetime in seconds (default one day); issue time in
 *   unix seconds (default now), so that a test can hold an expired ticket without waiting for it
 */
export function userSig(app, userID, { expire = 86400, issued } = {}) {
  const api = new Api(app.appID, app.key);
  if (issued === undefined) return api.genUserSig(userID, expire);
  const now = Date.now;
  Date.now = () => issued * 1000;
  try {
    return api.genUserSig(userID, expire);
  } finally {
    Date.now = now;
  }
}

/** A ticket whose lifetime ended a day ago. */
export function expiredSig(app, userID) {
  return userSig(app, userID, { issued: Math.floor(Date.now() / 1000) - 2 * 86400, expire: 86400 });
}
