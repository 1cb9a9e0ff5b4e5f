/**
 * A sum of doubles without any rounding on the way, so that it doesn't depend on the order of what is added. By Shewchuk's
 * method (Adaptive Precision Floating-Point Arithmetic, 1997), as Python's fsum has it: the sum is kept as partial sums that
 * don't overlap. Numbers so large that these could overflow are added as whole numbers of the smallest double.
 */

/** 2^53 numbers below it have a sum that a double holds. */
const LARGE = 2 ** 970;
/** The smallest double is 2^-1074; all others are multiples of it. */
const UNIT_EXPONENT = -1074;
const MANTISSA_BITS = 53;
const EXPONENT_MAX = 971;

export class ExactSum {
  #partials: number[] = [];
  /** The sum of large numbers, in units of the smallest double. */
  #large = 0n;

  add(value: number): void {
    if (Math.abs(value) >= LARGE) {
      this.#large += unitsOf(value);
      return;
    }
    const partials = this.#partials;
    let kept = 0;
    let high = value;
    for (let i = 0; i < partials.length; i++) {
      const partial = partials[i] as number;
      const sum = high + partial;
      // What rounding lost is a double itself.
      const low = Math.abs(high) < Math.abs(partial) ? high - (sum - partial) : partial - (sum - high);
      if (low !== 0) partials[kept++] = low;
      high = sum;
    }
    partials.length = kept;
    partials.push(high);
  }

  /** The double nearest to the sum divided by a whole number; an infinity where none is near. */
  over(divisor: number): number {
    const [only, ...others] = this.#partials;
    if (this.#large === 0n && others.length === 0) return (only ?? 0) / divisor;
    let units = this.#large;
    for (const partial of this.#partials) units += unitsOf(partial);
    return units < 0n ? -nearest(-units, BigInt(divisor)) : nearest(units, BigInt(divisor));
  }
}

const double = new DataView(new ArrayBuffer(8));

function unitsOf(value: number): bigint {
  double.setFloat64(0, Math.abs(value));
  const bits = double.getBigUint64(0);
  const exponent = bits >> 52n;
  const fraction = bits & 0xfffffffffffffn;
  const units = exponent === 0n ? fraction : (fraction | 0x10000000000000n) << (exponent - 1n);
  return value < 0 ? -units : units;
}

/** units / divisor * 2^-1074, rounded to the nearest double, of two that are as near to the even one. */
function nearest(units: bigint, divisor: bigint): number {
  // A quotient with bits to spare, whose last says whether anything follows.
  const missing = MANTISSA_BITS + 3 + bitsOf(divisor) - bitsOf(units);
  const shift = divisor === 1n ? 0 : Math.max(0, missing);
  const dividend = units << BigInt(shift);
  let quotient = dividend / divisor;
  if (quotient * divisor !== dividend) quotient |= 1n;
  const dropped = Math.max(shift, bitsOf(quotient) - MANTISSA_BITS);
  const exponent = UNIT_EXPONENT - shift + dropped;
  if (dropped === 0) return Number(quotient) * 2 ** exponent;
  const half = 1n << BigInt(dropped - 1);
  const rest = quotient & (2n * half - 1n);
  let mantissa = quotient >> BigInt(dropped);
  if (rest > half || (rest === half && (mantissa & 1n) === 1n)) mantissa++;
  return exponent > EXPONENT_MAX ? Number.POSITIVE_INFINITY : Number(mantissa) * 2 ** exponent;
}

function bitsOf(value: bigint): number {
  return value === 0n ? 0 : value.toString(2).length;
}
