/**
 * The tables as TypeORM entities: the description that operators and tools read, compared with the migrations by a test.
 * The hot statements are written by hand in store.ts and don't go through them.
 */
import { EntitySchema, type EntitySchemaColumnOptions } from 'typeorm';
import { TRACE_LENGTH_MAX } from '../engine/tracing.js';
import { loginEntities } from './login-rows.js';

type Driver = 'better-sqlite3' | 'mysql';

export function entitiesFor(driver: Driver): EntitySchema[] {
  const mysql = driver === 'mysql';
  const text = mysql ? { charset: 'utf8mb4', collation: 'utf8mb4_bin' } : {};
  const column = (type: string, more: Partial<EntitySchemaColumnOptions> = {}): EntitySchemaColumnOptions => ({
    type: type as 'text',
    ...more,
  });
  const id = column(mysql ? 'bigint' : 'integer', { primary: true, generated: 'increment' });
  const number = column('bigint');
  const small = column('smallint');
  const name = (length: number, more: Partial<EntitySchemaColumnOptions> = {}) =>
    column('varchar', { length, ...text, ...more });
  const itemKey = mysql ? column('varbinary', { length: 255 }) : column('text');
  const long = (type: 'text' | 'mediumtext' | 'longtext', more: Partial<EntitySchemaColumnOptions> = {}) =>
    column(mysql ? type : 'text', { ...text, ...more });
  const nullable = { nullable: true };
  const primary = { primary: true };

  return [
    new EntitySchema({
      name: 'pool',
      columns: {
        id,
        /** Null once the pool is dropped and its rows wait to be purged. */
        name: name(128, nullable),
        epoch: name(47),
        revision: number,
        oldest_revision: number,
        description: long('text', nullable),
        /** Rises whenever an index of the pool is made, becomes usable or is dropped. */
        index_version: column('bigint', { default: 0 }),
      },
      indices: [{ name: 'pool_name', unique: true, columns: ['name'] }],
    }),
    new EntitySchema({
      name: 'collection',
      columns: {
        id,
        pool_id: number,
        name: name(128),
        /** 0 for one that was dropped and whose name the log still needs. */
        present: small,
        items: number,
        /** The last revision that touched it. */
        revision: number,
      },
      indices: [{ name: 'collection_name', unique: true, columns: ['pool_id', 'name'] }],
    }),
    new EntitySchema({
      name: 'item',
      withoutRowid: true,
      columns: {
        pool_id: { ...number, ...primary },
        collection_id: { ...number, ...primary },
        item_key: { ...itemKey, ...primary },
        /** JSON object. */
        attributes: long('mediumtext'),
        revision: number,
        created_revision: number,
        /** When it was last changed: milliseconds since 1970, by the database's clock. */
        changed_at: column('bigint', { default: 0 }),
      },
    }),
    new EntitySchema({
      name: 'commit_log',
      withoutRowid: true,
      columns: {
        pool_id: { ...number, ...primary },
        revision: { ...number, ...primary },
        /** Position of the change in its commit, from 0. */
        ordinal: column(mysql ? 'int' : 'integer', primary),
        collection_id: number,
        item_key: itemKey,
        op: name(8),
        /** JSON array of the attributes set or removed. */
        changed: long('mediumtext'),
        /** JSON object: former values of the changed attributes. */
        before_values: long('mediumtext'),
        /** JSON object: all attributes afterwards; null after a deletion. */
        after_values: long('mediumtext', nullable),
        created_revision: number,
        former_revision: column('bigint', nullable),
        former_created_revision: column('bigint', nullable),
        subject: name(255),
        /** Milliseconds since 1970, by the database's clock. */
        time: number,
        /** Why the item changed, where nobody asked for it: `expired`, `timeout`, `broken`. */
        reason: name(8, nullable),
        /** Of a commit's first change: the trace of the request that made it, where it was followed. */
        trace: name(TRACE_LENGTH_MAX, nullable),
      },
    }),
    new EntitySchema({
      name: 'collection_index',
      columns: {
        id,
        pool_id: number,
        collection_id: number,
        name: name(255),
        /** JSON object: what is indexed and how. */
        definition: long('text'),
        /** building, ready or dropped. */
        state: name(8),
        /** Items up to this key are in the index; null before the first. */
        built_to: mysql ? column('varbinary', { length: 255, ...nullable }) : column('text', nullable),
        built_items: number,
      },
      indices: [
        { name: 'collection_index_pool', columns: ['pool_id'] },
        { name: 'collection_index_state', columns: ['state'] },
      ],
    }),
    new EntitySchema({
      name: 'item_index',
      withoutRowid: true,
      columns: {
        pool_id: { ...number, ...primary },
        index_id: { ...number, ...primary },
        /** Bytes that order as the values do (src/engine/query/sort-key.ts). */
        sort_key: mysql ? column('varbinary', { length: 2048, ...primary }) : column('blob', primary),
        item_key: { ...itemKey, ...primary },
      },
    }),
    new EntitySchema({
      name: 'stored_answer',
      columns: {
        /** The pool's name, not its id: the answer to a pool's deletion outlives it. */
        pool: name(128, primary),
        subject: name(255, primary),
        idempotency_key: name(255, primary),
        fingerprint: name(64),
        status: small,
        headers: long('text'),
        body: long('longtext'),
        expires_at: number,
      },
      indices: [{ name: 'stored_answer_expiry', columns: ['expires_at'] }],
    }),
    new EntitySchema({
      name: 'session',
      withoutRowid: true,
      columns: {
        pool_id: { ...number, ...primary },
        id: name(128, primary),
        /** Equal to the id where the client gave none. */
        name: name(128),
        /** Rises with each resumption; who names an older one is fenced off. */
        epoch: number,
        subject: name(255),
        ttl_ms: number,
        /** When the lease is over; of an ended session, when it is forgotten. By the database's clock. */
        expires_at: number,
        /** When one of its locks has waited long enough or is to be broken; may be too early. */
        wake_at: column('bigint', nullable),
        /** 1 for one whose lease is over and whose sequence and memento are kept for its return. */
        ended: small,
        last_sequence: number,
        /** JSON: the client's own note. */
        memento: long('mediumtext', nullable),
      },
      indices: [
        { name: 'session_name', unique: true, columns: ['pool_id', 'name'] },
        { name: 'session_expiry', columns: ['expires_at'] },
        { name: 'session_wake', columns: ['wake_at'] },
      ],
    }),
    new EntitySchema({
      name: 'session_answer',
      columns: {
        pool_id: { ...number, ...primary },
        session_id: name(128, primary),
        sequence: { ...number, ...primary },
        status: small,
        headers: long('text'),
        body: long('longtext'),
      },
    }),
    new EntitySchema({
      name: 'pool_usage',
      withoutRowid: true,
      columns: {
        pool_id: { ...number, ...primary },
        /** YYYY-MM-DD in UTC, by the database's clock. */
        day: name(10, primary),
        subject: name(255, primary),
        requests: number,
        writes: number,
        bytes_in: number,
        bytes_out: number,
        stream_ms: number,
        refusals: { ...number, default: 0 },
        blocks: { ...number, default: 0 },
        /** When the row was made; it is added to until it is taken. */
        noted_at: number,
      },
      indices: [{ name: 'pool_usage_noted', columns: ['noted_at'] }],
    }),
    new EntitySchema({
      name: 'operation',
      columns: {
        /** In the order in which they were accepted. */
        serial: id,
        id: name(36),
        /** The pool's name, not its id: what its deletion came to outlives it. */
        pool: name(128),
        /** The life of the pool in which it is to be done; null where there was no pool. */
        epoch: name(47, nullable),
        /** Whose it is: a digest. */
        caller: name(43),
        /** The session that is told. */
        session: name(128, nullable),
        idempotency_key: name(255, nullable),
        fingerprint: name(64, nullable),
        call_name: name(64),
        /** JSON object: who asked. Emptied, as the request and its body are, once it is done. */
        subject: long('mediumtext'),
        request: long('mediumtext'),
        body: column(mysql ? 'longblob' : 'blob', nullable),
        /** What it takes while it isn't done. */
        bytes: number,
        attempts: { ...small, default: 0 },
        accepted_at: number,
        started_at: column('bigint', nullable),
        done_at: column('bigint', nullable),
        expires_at: number,
        answer_status: column('smallint', nullable),
        answer_headers: long('text', nullable),
        answer_body: long('longtext', nullable),
      },
      indices: [
        { name: 'operation_id', unique: true, columns: ['id'] },
        { name: 'operation_key', unique: true, columns: ['pool', 'caller', 'idempotency_key'] },
        { name: 'operation_open', columns: ['done_at', 'pool', 'caller'] },
        { name: 'operation_pool', columns: ['pool', 'id'] },
        { name: 'operation_caller', columns: ['pool', 'caller', 'id'] },
      ],
    }),
    new EntitySchema({
      name: 'notifier',
      withoutRowid: true,
      columns: {
        pool_id: { ...number, ...primary },
        name: name(128, primary),
        /** The revision of the commit that wrote it last. */
        generation: number,
        /** JSON: what its item says, without whose it is. */
        definition: long('mediumtext'),
        /** JSON: the subject by whose rights it watches. */
        owner: long('mediumtext'),
        owner_id: name(255),
        /** As its item names the owner. */
        owner_name: name(255),
        /** JSON, or what it was encrypted to: what it signs with. Null until that is needed. */
        secrets: long('text', nullable),
        /** Its cursor: everything up to `told` has been delivered, passed over or parked. */
        epoch: name(47),
        told: number,
        /** active, disabled (by its receiver), stopped (its owner may not watch) or ended (there is no such owner). */
        status: name(8),
        reason: long('text', nullable),
        /** Attempts that failed since the last that didn't. */
        failures: number,
        next_attempt_at: column('bigint', nullable),
        /** The number of its last delivery. */
        serial: number,
        /** How often it was told to go on from elsewhere. */
        rewinds: number,
        /** Rises with each lease; whoever has an older one may write nothing. */
        fence: number,
        lease_holder: name(43, nullable),
        lease_until: number,
      },
    }),
    new EntitySchema({
      name: 'notifier_delivery',
      columns: {
        pool_id: { ...number, ...primary },
        notifier: name(128, primary),
        serial: { ...number, ...primary },
        /** The event's id. */
        event: name(255),
        kind: name(32),
        /** Where the notifier goes on after it. */
        revision: number,
        /** delivered, retrying or parked. */
        status: name(9),
        attempts: number,
        last_status: column('smallint', nullable),
        last_error: long('text', nullable),
        /** The event, while it may be needed again. */
        body: long('mediumtext', nullable),
        body_bytes: number,
        created_at: number,
        changed_at: number,
      },
      indices: [
        { name: 'notifier_delivery_status', columns: ['pool_id', 'notifier', 'status', 'serial'] },
        { name: 'notifier_delivery_age', columns: ['changed_at'] },
      ],
    }),
    new EntitySchema({
      name: 'identity_account',
      withoutRowid: true,
      columns: {
        /** 1: hosted here, by its name. 0: foreign, by its URL. */
        hosted: { ...small, ...primary },
        account: name(255, primary),
        created_at: number,
      },
    }),
    new EntitySchema({
      name: 'identity_key',
      withoutRowid: true,
      columns: {
        hosted: { ...small, ...primary },
        account: name(255, primary),
        /** The RFC 7638 thumbprint. */
        kid: name(43, primary),
        jwk: long('text'),
        /** Whose word brought it in. */
        source: name(16),
        added_at: number,
      },
    }),
    new EntitySchema({
      name: 'identity_envelope',
      withoutRowid: true,
      columns: {
        account: name(128, primary),
        envelope: long('text'),
        /** By way, the hash of what unlocks it, as JSON. */
        verifiers: long('text'),
        sealed_at: number,
      },
    }),
    new EntitySchema({
      name: 'identity_proof',
      withoutRowid: true,
      columns: { account: name(128, primary), proof: name(128, primary), expires_at: number },
    }),
    new EntitySchema({
      name: 'identity_unlock',
      withoutRowid: true,
      columns: {
        /** Where accounts lie by a secret hash. */
        bucket: { ...number, ...primary },
        failures: number,
        failed_at: number,
      },
    }),
    new EntitySchema({
      name: 'identity_secret',
      withoutRowid: true,
      columns: { name: name(32, primary), secret: name(64) },
    }),
    ...loginEntities({ column, name, long, number, small }),
  ];
}
