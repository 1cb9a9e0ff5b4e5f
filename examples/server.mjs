/** What each example needs to reach a server: its key, and whether it is ready. */
const key = process.env.STARGUS_OPERATOR_KEY;
export const authorization = key ? { authorization: `Bearer ${key}` } : {};

/** @throws Error that says what to do when no server answers */
export async function checkReady(url) {
  try {
    const response = await fetch(`${url}/readyz`);
    if (response.ok) return;
    throw new Error(`it answers ${response.status}`);
  } catch (error) {
    throw new Error(
      `No Stargus is ready at ${url} (${error.cause?.code ?? error.message}).\n` +
        'Start one with `npm start` in another terminal, or say with --url where it listens.',
    );
  }
}
