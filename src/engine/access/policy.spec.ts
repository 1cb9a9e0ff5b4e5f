import { describe, expect, it } from 'vitest';
import type { Json } from '../state/json.js';
import type { Attributes } from '../state/model.js';
import { parsePolicy } from './policy.js';

const rule = (members: object = {}) => ({
  effect: 'allow',
  actions: ['read'],
  who: { anyone: true },
  collections: ['rooms'],
  ...members,
});
const policy = (...rules: Json[]) => ({ rules }) as Attributes;

describe('a policy', () => {
  it.each<[says: string, attributes: Attributes]>([
    ['of nothing', {}],
    ['of a rule', policy(rule())],
    [
      'with everything',
      {
        description: 'who may do what',
        roles: { editor: ['https://id.example/a'], nobody: [] },
        rules: [
          rule({
            who: {
              subjects: ['https://id.example/a'],
              roles: ['editor'],
              identityHosts: ['id.example', 'localhost:80'],
            },
            actions: ['read', 'watch', 'create', 'write', 'delete', 'lock'],
            collections: ['rooms', 'room-*', '*', '_locks', '_*'],
            keys: { prefix: 'a/' },
            attributes: ['name', '__proto__', 'constructor'],
            where: { owner: { eq: '$subject.id' } },
            check: { owner: '$subject.id' },
            description: 'mine',
          }),
        ],
      },
    ],
    [
      'with the roles of who asks',
      policy(
        rule({
          where: { team: { in: '$subject.roles' } },
          check: { or: [{ tags: { has: 'a' } }, { team: { nin: '$subject.roles' } }] },
        }),
      ),
    ],
    ['with a pattern of keys', policy(rule({ keys: { pattern: '[a-z]+' } }))],
    ['that lets administer', policy(rule({ actions: ['admin'], collections: ['*'] }))],
  ])('%s is one', (_says, attributes) => {
    expect(() => parsePolicy(attributes)).not.toThrow();
  });

  it.each<[says: string, attributes: object, pointer: string]>([
    ['an unknown attribute', { rule: [] }, '/attributes/rule'],
    ['rules that are no list', { rules: {} }, '/attributes/rules'],
    ['too many rules', { rules: Array.from({ length: 201 }, () => rule()) }, '/attributes/rules'],
    ['a rule that is no object', policy('x'), '/attributes/rules/0'],
    ['an unknown member', policy(rule({ subject: 'x' })), '/attributes/rules/0/subject'],
    ['no effect', policy(rule({ effect: undefined as never })), '/attributes/rules/0/effect'],
    ['no actions', policy(rule({ actions: [] })), '/attributes/rules/0/actions'],
    ['an unknown action', policy(rule({ actions: ['read', 'fly'] })), '/attributes/rules/0/actions/1'],
    ['no collections', policy(rule({ collections: [] })), '/attributes/rules/0/collections'],
    [
      'collections left out',
      policy({ effect: 'allow', actions: ['read'], who: { anyone: true } }),
      '/attributes/rules/0/collections',
    ],
    ['a star in the middle', policy(rule({ collections: ['a*b'] })), '/attributes/rules/0/collections/0'],
    ['nobody', policy(rule({ who: {} })), '/attributes/rules/0/who'],
    ['anyone: false', policy(rule({ who: { anyone: false } })), '/attributes/rules/0/who/anyone'],
    ['an empty list of subjects', policy(rule({ who: { subjects: [] } })), '/attributes/rules/0/who/subjects'],
    ['an unknown way to say who', policy(rule({ who: { groups: ['a'] } })), '/attributes/rules/0/who/groups'],
    [
      'a host with a path',
      policy(rule({ who: { identityHosts: ['a.example/x'] } })),
      '/attributes/rules/0/who/identityHosts/0',
    ],
    ['an empty prefix', policy(rule({ keys: { prefix: '' } })), '/attributes/rules/0/keys/prefix'],
    ['a prefix and a pattern', policy(rule({ keys: { prefix: 'a', pattern: 'b' } })), '/attributes/rules/0/keys'],
    ['a pattern that is none', policy(rule({ keys: { pattern: '(' } })), '/attributes/rules/0/keys/pattern'],
    ['a pattern that looks around', policy(rule({ keys: { pattern: '(?=a)' } })), '/attributes/rules/0/keys/pattern'],
    ['no attributes', policy(rule({ attributes: [] })), '/attributes/rules/0/attributes'],
    ['an attribute that can’t be', policy(rule({ attributes: [''] })), '/attributes/rules/0/attributes/0'],
    [
      'an unknown value of the subject',
      policy(rule({ where: { owner: '$subject.mail' } })),
      '/attributes/rules/0/where/owner',
    ],
    [
      'roles where one value is wanted',
      policy(rule({ where: { a: '$subject.roles' } })),
      '/attributes/rules/0/where/a',
    ],
    [
      'roles as a prefix',
      policy(rule({ check: { a: { prefix: '$subject.roles' } } })),
      '/attributes/rules/0/check/a/prefix',
    ],
    ['admin of some items', policy(rule({ actions: ['read', 'admin'], where: { a: 1 } })), '/attributes/rules/0/where'],
    [
      'admin of some attributes',
      policy(rule({ actions: ['admin'], attributes: ['a'] })),
      '/attributes/rules/0/attributes',
    ],
    ['roles that are no object', { roles: [] }, '/attributes/roles'],
    ['a role that is no list', { roles: { a: 'b' } }, '/attributes/roles/a'],
    ['a role with an empty name', { roles: { '': [] } }, '/attributes/roles/'],
    ['a subject that is too long', { roles: { a: ['x'.repeat(201)] } }, '/attributes/roles/a/0'],
  ])('with %s is refused there', (_says, attributes, pointer) => {
    expect(() => parsePolicy(JSON.parse(JSON.stringify(attributes)) as Attributes)).toThrow(
      expect.objectContaining({ extras: expect.objectContaining({ errors: [expect.objectContaining({ pointer })] }) }),
    );
  });

  it('is refused with the filter’s own pointer where a filter is wrong', () => {
    expect(() => parsePolicy(policy(rule({ where: { a: { near: 1 } } })))).toThrow(/rules\/0\/where\/a\/near/);
  });
});
