/**
 * Locks as they are told to whoever watches items: those of which a scope lies on what is watched, held or wanted. A lock that
 * is altered may come to lie there or cease to; it comes and goes then like an item that a filter lets through. Pure.
 */
import type { Held } from '../locks/lock.js';
import { overlap, type Region, regionOf } from '../locks/scope.js';
import { getMember } from '../state/json.js';
import type { Attributes, Change } from '../state/model.js';
import type { Criterion } from './filtering.js';

/** Of a lock's item: that the lock lies on something of the region. */
export function lyingOn(region: Region): Criterion {
  return {
    matches: ({ attributes }) => placesOf(attributes).some((place) => overlap(place, region)),
    reads: new Set(['scopes', 'wanted']),
    readsRevision: false,
  };
}

/** Where a change's lock lies, and lay before. */
export function placesOfChange({ before, after }: Change): Region[] {
  const former = placesOf(before);
  return after ? [...placesOf(after.attributes), ...former] : former;
}

function placesOf(attributes: Attributes): Region[] {
  const wanted = getMember(attributes, 'wanted') as Pick<Held, 'scopes'> | undefined;
  const scopes = (getMember(attributes, 'scopes') ?? []) as unknown as Held['scopes'];
  return [...scopes, ...(wanted?.scopes ?? [])].map(regionOf);
}
