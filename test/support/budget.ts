/**
 * How long tests with random input search. In `npm test` so long that a fault which is common shows; by night (`STARGUS_TEST_SOAK=1`)
 * eight times as long, for those that are rare.
 */
const FACTOR = process.env.STARGUS_TEST_SOAK ? 5 : 0.6;

/** An amount of searching, in milliseconds or in steps. */
export function searching(amount: number): number {
  return Math.round(FACTOR * amount);
}
