// Waiting for something to become true, without sleeping longer than needed.

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Polls check until it returns a truthy value, and returns that value.
 * @param {() => any} check may be async; an exception counts as "not yet"
 * @param {{timeout?: number, every?: number, what?: string}} [options] milliseconds
 */
export async function until(check, { timeout = 10000, every = 25, what = 'condition' } = {}) {
  const deadline = Date.now() + timeout;
  let last;
  for (;;) {
    try {
      const value = await check();
      if (value) return value;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (Date.now() > deadline) {
      throw new Error(`timed out after ${timeout} ms waiting for ${what}`, { cause: last });
    }
    await sleep(every);
  }
}
