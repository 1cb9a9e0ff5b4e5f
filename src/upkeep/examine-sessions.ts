/** Sessions, whose rows and items say the same, and what they have: attachments and locks. */
import { LOCKS, lockOf } from '../engine/locks/lock-items.js';
import { ATTACHMENTS, CLIENTS } from '../engine/sessions/session-items.js';
import { ItemState } from '../engine/state/model.js';
import type { Row, Value } from '../store/dialect.js';
import { SESSION_COLUMNS, text } from '../store/mapping.js';
import { collectionNamed, lookup, type Patient, rowsOf } from './patient.js';

export async function examineSessions(patient: Patient): Promise<void> {
  await examineRows(patient);
  await examineClients(patient);
  await examineAttachments(patient);
  await examineLocks(patient);
}

/** A session that lives shows itself in `_clients`. */
async function examineRows(patient: Patient): Promise<void> {
  const { session, id, findings, name: pool } = patient;
  const clients = collectionNamed(patient, CLIENTS);
  for await (const page of rowsOf(patient, 'session', SESSION_COLUMNS)) {
    const living = page.filter((row) => Number(row.ended) === 0).map((row) => row.id as string);
    const tuples = living.map((key): Value[] => [id, clients?.id ?? 0, key]);
    const rows = await lookup(session, 'item', ['item_key'], ['pool_id', 'collection_id', 'item_key'], tuples);
    const shown = new Set(rows.map((row) => text(row.item_key)));
    for (const key of living)
      if (!shown.has(key))
        findings.add(
          'sessionRow',
          { pool, collection: CLIENTS, key },
          'The session lives, and has no item in _clients.',
        );
  }
}

async function examineClients(patient: Patient): Promise<void> {
  const { findings, name: pool } = patient;
  for await (const page of itemsOf(patient, CLIENTS)) {
    const sessions = await sessionsOf(
      patient,
      page.map((row) => text(row.item_key)),
    );
    for (const row of page) {
      const place = { pool, collection: CLIENTS, key: text(row.item_key) };
      const session = sessions.get(place.key);
      if (!session) findings.add('sessionItem', place, 'It shows a session that doesn’t live.');
      else {
        // What a restore has ended is swept at the first start.
        if (session.expires_at === 0) continue;
        const { name, epoch, subject } = attributesOf(row);
        if (name !== session.name || epoch !== session.epoch || subject !== session.subject)
          findings.add(
            'sessionItem',
            place,
            `It shows the epoch ${epoch} of ${name}; the session’s row has ${session.epoch} of ${session.name}.`,
          );
      }
    }
  }
}

async function examineAttachments(patient: Patient): Promise<void> {
  const { findings, name: pool } = patient;
  const ownerOf = (row: Row) => text(row.item_key).split('/', 1)[0] as string;
  for await (const page of itemsOf(patient, ATTACHMENTS)) {
    const sessions = await sessionsOf(patient, page.map(ownerOf));
    for (const row of page)
      if (!sessions.has(ownerOf(row)))
        findings.add(
          'sessionItem',
          { pool, collection: ATTACHMENTS, key: text(row.item_key) },
          'It is of a session that doesn’t live.',
        );
  }
}

async function examineLocks(patient: Patient): Promise<void> {
  const { findings, name: pool, revision } = patient;
  for await (const page of itemsOf(patient, LOCKS)) {
    const sessions = await sessionsOf(
      patient,
      page.map((row) => String(attributesOf(row).session)),
    );
    for (const row of page) {
      const place = { pool, collection: LOCKS, key: text(row.item_key) };
      const session = sessions.get(String(attributesOf(row).session));
      if (!session) {
        findings.add('lockItem', place, 'It is of a session that doesn’t live.');
        continue;
      }
      const lock = lockOf(place.key, new ItemState(row.attributes as string, revision, revision));
      if (!lock.held && !lock.wanted) findings.add('lockItem', place, 'It is neither held nor waits.');
      if (lock.held && !(lock.held.fence <= revision))
        findings.add('lockItem', place, `Its fence is ${lock.held.fence}, and the pool is at revision ${revision}.`);
      const times = [lock.waitUntil, lock.breakAt].filter((time) => time !== undefined);
      const wakeAt = session.wake_at as number | null;
      if (times.length > 0 && (wakeAt === null || wakeAt > Math.min(...times)))
        findings.add(
          'sessionRow',
          place,
          'Its time ends without anybody looking: the session’s row has no wake_at for it.',
        );
    }
  }
}

async function* itemsOf(patient: Patient, collection: string): AsyncGenerator<Row[]> {
  const found = collectionNamed(patient, collection);
  if (!found) return;
  yield* rowsOf(patient, 'item', ['attributes'], { within: [found.id] });
}

/** The rows of the sessions that haven't ended, by their ids. */
async function sessionsOf({ session, id }: Patient, ids: readonly string[]): Promise<Map<string, Row>> {
  const tuples = [...new Set(ids)].map((each): Value[] => [id, each]);
  const rows = await lookup(session, 'session', SESSION_COLUMNS, ['pool_id', 'id'], tuples);
  return new Map(rows.filter((row) => Number(row.ended) === 0).map((row) => [row.id as string, row]));
}

function attributesOf(row: Row): Record<string, unknown> {
  try {
    return JSON.parse(row.attributes as string) as Record<string, unknown>;
  } catch {
    return {};
  }
}
