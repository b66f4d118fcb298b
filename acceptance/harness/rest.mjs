// The REST door as an app's backend calls it (protocol 06 §1).
import { note } from './evidence.mjs';
import { userSig } from './sig.mjs';

/**
 * @returns {(name: string, body?: object|string, query?: object) => Promise<object>} calls e.g.
 *   rest('openim/sendmsg', {…}) and returns the answer's body. `query` overrides the query's fields (undefined: leave
 *   it out). HTTP status is checked: handled requests answer 200, failures included.
 */
export function restClient(node, app, admin = 'administrator') {
  const sig = userSig(app, admin);
  return async (name, body = {}, query = {}) => {
    const fields = { sdkappid: app.appID, identifier: admin, usersig: sig, random: Math.floor(Math.random() * 2 ** 32), contenttype: 'json', ...query };
    const search = new URLSearchParams(Object.entries(fields).filter(([, value]) => value !== undefined));
    const response = await fetch(`${node.http}/v4/${name}?${search}`, {
      method: 'POST',
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
    if (response.status !== 200) throw new Error(`REST ${name}: HTTP ${response.status} ${await response.text()}`);
    const answer = await response.json();
    if (answer.ErrorCode === 0) note('rest', name.replace('/', '.'));
    return answer;
  };
}
