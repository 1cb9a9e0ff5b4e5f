/** What the package gives, in browsers and in Node alike; `connect` is each one's own. */
export { type BatchOp, type Condition, ops } from './batch.js';
export type { Change } from './change.js';
export type { About, Client, GetOptions } from './client.js';
export type { Connect, ConnectOptions } from './connect.js';
export type { Login, LoginOptions } from './credentials.js';
export { type ClientErrorCode, isProblem, ProblemError, type ProblemPlace, StargusError } from './errors.js';
export type { Commit, CommitChange, FeedOptions } from './feed.js';
export type { Api } from './generated-api.js';
export type { Held, LockOptions, LockScope } from './held-lock.js';
export type { Attributes, Entry, Item } from './item.js';
export type { Json, JsonObject } from './json.js';
export type { AttachOptions, Mirror } from './mirror.js';
export type { MirrorEvents } from './mirror-listeners.js';
export type { OnDenied } from './mirror-writes.js';
export type { Notifier, NotifierDefinition } from './notifier.js';
export type { KeyFile } from './platform.js';
export type { CountOptions, Query, QueryOptions } from './query.js';
export { type VerifyOptions, verifyWebhook, type WebhookEvent, type WebhookHeaders } from './webhook.js';
export { at, KEY, type Place, REVISION, type Where, where } from './where.js';
export type {
  BatchOptions,
  BatchResult,
  CallOptions,
  IncrementOptions,
  ItemWriteOptions,
  OpResult,
  WriteOptions,
} from './writes.js';
