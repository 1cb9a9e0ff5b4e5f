import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { isRead, isRepeatable, takesIdempotencyKey } from './request-kind.js';

interface Operation {
  readonly operationId: string;
  readonly parameters?: readonly { readonly $ref?: string }[];
}

const document = JSON.parse(readFileSync(new URL('../../../openapi/stargus.json', import.meta.url), 'utf8')) as {
  paths: Record<string, Record<string, Operation>>;
};
const METHODS = ['get', 'put', 'post', 'patch', 'delete'];

const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods)
    .filter(([method]) => METHODS.includes(method))
    .map(([method, operation]) => ({
      name: operation.operationId,
      method: method.toUpperCase(),
      path: path.replaceAll(/\{[^}]+\}/g, 'x%2Fy'),
      hasKey: operation.parameters?.some(({ $ref }) => $ref === '#/components/parameters/IdempotencyKey') ?? false,
    })),
);

test('exactly the calls that take an Idempotency-Key get one', () => {
  const wrong = operations.filter(({ method, path, hasKey }) => takesIdempotencyKey(method, path) !== hasKey);
  expect(wrong).toEqual([]);
});

test('what is sent again without a key only reads, or does the same each time', () => {
  const again = operations
    .filter(({ method, path, hasKey }) => isRepeatable(method, path) && !hasKey && !isRead(method))
    .map(({ name }) => name);
  expect(again.sort()).toEqual([
    'checkPolicy',
    'createChallenge',
    'explainPolicy',
    'previewPolicy',
    'queryItems',
    'renewSession',
  ]);
});
