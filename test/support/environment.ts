/** The environment of who runs the tests without their settings, which must not reach the programs under test. */
export function environmentOfUser(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(STARGUS|OTEL|VITEST|NODE_ENV)/.test(name)),
  );
}
