/** The Redis of the tests, which `npm test` starts: deployments with different databases share it without noticing. */
export function redisUrl(): string {
  const url = process.env.STARGUS_TEST_REDIS_URL;
  if (!url)
    throw new Error(
      process.env.STARGUS_TEST_REDIS_ERROR ??
        'There is no Redis for the tests: run them through `npm test`, or set STARGUS_TEST_REDIS_URL.',
    );
  return url;
}
