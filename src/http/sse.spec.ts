import type { FastifyReply, FastifyRequest } from 'fastify';
import { expect, it } from 'vitest';
import type { Subject } from '../engine/subject.js';
import type { Opening } from '../engine/watch/watching.js';
import { serveStream } from './sse.js';

it('a stream whose login was revoked while it was being opened doesn’t begin', async () => {
  const subject: Subject = { id: 'https://a.example', isUnbound: false, restrictions: [], login: 'l' };
  const revoked = new Set<string | undefined>();
  let begun = 0;
  const opening = {
    replica: { epoch: 'e', revision: 1 },
    begin: async () => void begun++,
  } as unknown as Opening;
  const raw = { setNoDelay: () => {}, setTimeout: () => {}, writeHead: () => {}, flushHeaders: () => {}, on: () => {} };
  const request = { raw: { socket: { destroyed: false, ...raw } } } as unknown as FastifyRequest;
  const reply = { hijack: () => {}, getHeaders: () => ({}), raw } as unknown as FastifyReply;
  const call = { request, reply, subject, isRevoked: ({ login }: Subject) => revoked.has(login) };
  await serveStream(call, opening);
  expect(begun).toBe(1);
  revoked.add('l');
  await expect(serveStream(call, opening)).rejects.toMatchObject({ code: 'unauthenticated' });
  expect(begun).toBe(1);
});
