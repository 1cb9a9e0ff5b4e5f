import { describe, expect, test } from 'vitest';
import { isSampled, TRACE_LENGTH_MAX, traceHeaders, traceOf, untraced } from './tracing.js';

const TRACE_ID = '4bf92f3577b34da6a3ce929d0e0e4736';
const SPAN_ID = '00f067aa0ba902b7';
const PARENT = `00-${TRACE_ID}-${SPAN_ID}-01`;

describe('a trace of headers', () => {
  test.each([
    ['none', {}, undefined],
    ['a parent', { traceparent: PARENT }, PARENT],
    ['a parent and a state', { traceparent: PARENT, tracestate: 'a=1,b=2' }, `${PARENT} a=1,b=2`],
    ['a state alone', { tracestate: 'a=1' }, undefined],
    ['an empty state', { traceparent: PARENT, tracestate: ' ' }, PARENT],
    ['a state that is too long', { traceparent: PARENT, tracestate: `a=${'x'.repeat(511)}` }, PARENT],
    [
      'the longest state',
      { traceparent: PARENT, tracestate: `a=${'x'.repeat(510)}` },
      `${PARENT} a=${'x'.repeat(510)}`,
    ],
    ['a state that no header can be', { traceparent: PARENT, tracestate: 'a=\u00e9' }, PARENT],
    ['a later version', { traceparent: `01-${TRACE_ID}-${SPAN_ID}-01-more` }, PARENT],
    ['more behind the first version', { traceparent: `${PARENT}-more` }, undefined],
    ['the version that is none', { traceparent: `ff-${TRACE_ID}-${SPAN_ID}-01` }, undefined],
    ['no trace', { traceparent: `00-${'0'.repeat(32)}-${SPAN_ID}-01` }, undefined],
    ['no span', { traceparent: `00-${TRACE_ID}-${'0'.repeat(16)}-01` }, undefined],
    ['capitals', { traceparent: PARENT.toUpperCase() }, undefined],
    ['two of them', { traceparent: `${PARENT}, ${PARENT}` }, undefined],
    ['a list', { traceparent: [PARENT] }, undefined],
    ['something else', { traceparent: "'; DROP TABLE item" }, undefined],
  ])('%s', (_name, headers, trace) => {
    expect(traceOf(headers)).toBe(trace);
  });

  test('fits the column that keeps it', () => {
    expect(traceOf({ traceparent: PARENT, tracestate: `a=${'x'.repeat(510)}` })).toHaveLength(TRACE_LENGTH_MAX);
  });
});

test('headers carry on what came in', () => {
  expect(traceHeaders(undefined)).toEqual({});
  for (const headers of [{ traceparent: PARENT }, { traceparent: PARENT, tracestate: 'a=1,b=2 3' }])
    expect(traceHeaders(traceOf(headers))).toEqual(headers);
});

test('the flag says whether it is recorded', () => {
  expect([PARENT, `${PARENT} a=00`].map(isSampled)).toEqual([true, true]);
  expect([`00-${TRACE_ID}-${SPAN_ID}-00`, `00-${TRACE_ID}-${SPAN_ID}-02`].map(isSampled)).toEqual([false, false]);
});

test('where nobody traces, work is done all the same', async () => {
  expect(await untraced.span('work', { parent: PARENT }, async ({ trace }) => [trace, untraced.current()])).toEqual([
    undefined,
    undefined,
  ]);
  await expect(untraced.span('work', { parent: undefined }, () => Promise.reject(new Error('no')))).rejects.toThrow(
    'no',
  );
});
