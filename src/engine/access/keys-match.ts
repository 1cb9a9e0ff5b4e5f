/** Which keys a grant is about: compiled from a prefix or a pattern, which must match a key from begin to end. */
import { Meter } from '../dictionary/meter.js';
import { compilePattern, type Pattern, PatternFault } from '../dictionary/pattern.js';
import { limits } from '../limits.js';
import { fault, type Keys } from './grant.js';

export type KeyTest = (key: string) => boolean;

/** Enough for any pattern that is let in and any key; it is here because patterns are metered elsewhere. */
const METER_ALLOWANCE = 100_000_000;

export function keyTestOf(keys: Keys | undefined): KeyTest | undefined {
  if (!keys) return undefined;
  if ('prefix' in keys) return (key) => key.startsWith(keys.prefix);
  const meter = new Meter(METER_ALLOWANCE);
  const pattern = compile(keys.pattern, meter);
  return (key) => {
    meter.reset();
    return pattern.test(key);
  };
}

/** Refuses a pattern that can't be used. */
export function checkKeys(keys: Keys | undefined, place: string): void {
  if (!keys || 'prefix' in keys) return;
  if (keys.pattern.length > limits.policyPatternLengthMax)
    throw fault(`${place}/pattern`, `is longer than ${limits.policyPatternLengthMax} characters.`);
  try {
    // By itself first: inside what makes it match whole, one that isn't whole could mean something else.
    compilePattern(keys.pattern, new Meter(METER_ALLOWANCE));
    compile(keys.pattern, new Meter(METER_ALLOWANCE));
  } catch (error) {
    if (!(error instanceof PatternFault)) throw error;
    throw fault(`${place}/pattern`, error.message);
  }
}

function compile(pattern: string, meter: Meter): Pattern {
  return compilePattern(`^(?:${pattern})$`, meter);
}
