/** The doctor's whole examination: of one state of the database, page by page, so that servers go on and memory stays what it is. */
import type { Session } from '../store/dialect.js';
import { tableByName } from '../store/tables.js';
import { walk } from '../store/walk.js';
import { examineIndexes } from './examine-indexes.js';
import { examineItems } from './examine-items.js';
import { examineLog } from './examine-log.js';
import { examineOrphans, examinePoolOrphans } from './examine-orphans.js';
import { examineSessions } from './examine-sessions.js';
import type { Findings } from './findings.js';
import { patientOf } from './patient.js';
import type { Progress } from './progress.js';

/** Answers how many pools were looked at. */
export async function examine(session: Session, findings: Findings, progress: Progress): Promise<number> {
  const { columns, key } = tableByName.get('pool') as { columns: readonly string[]; key: readonly string[] };
  let pools = 0;
  await examineOrphans(session, findings);
  for await (const page of walk(session, { table: 'pool', columns, key })) {
    for (const row of page) {
      // One that was dropped waits for its rows to be deleted.
      if (row.name === null) continue;
      pools++;
      const patient = await patientOf(session, findings, progress, row);
      if (patient.oldest < 1 || patient.oldest > patient.revision + 1)
        findings.add(
          'poolRow',
          { pool: patient.name },
          `Its oldest revision is ${patient.oldest}, its newest ${patient.revision}.`,
        );
      if (!/^[A-Za-z0-9-]{1,47}$/.test(row.epoch as string))
        findings.add('poolRow', { pool: patient.name }, 'Its epoch can be part of no cursor.');
      await examinePoolOrphans(patient);
      await examineItems(patient);
      await examineLog(patient);
      await examineIndexes(patient);
      await examineSessions(patient);
    }
  }
  return pools;
}
