/**
 * The Nest modules, one for each role that a process can have. There is one role yet: `EmbeddedModule`, which answers
 * requests and does the background work in one process.
 */
import { type DynamicModule, Module, type Provider } from '@nestjs/common';
import { ApiKeysController } from './http/api-keys.controller.js';
import { AttachmentsController } from './http/attachments.controller.js';
import { AttributesController } from './http/attributes.controller.js';
import { AuthController } from './http/auth.controller.js';
import { BatchController } from './http/batch.controller.js';
import { ChangesController } from './http/changes.controller.js';
import { CollectionsController } from './http/collections.controller.js';
import { DocsController } from './http/docs.controller.js';
import { EnvelopesController } from './http/envelopes.controller.js';
import { ExportController } from './http/export.controller.js';
import { HistoryController } from './http/history.controller.js';
import { IdentitiesController } from './http/identities.controller.js';
import { ImportController } from './http/import.controller.js';
import { ItemCalls } from './http/item-calls.js';
import { ItemsController } from './http/items.controller.js';
import { LocksController } from './http/locks.controller.js';
import { NotifiersController } from './http/notifiers.controller.js';
import { OperationsController } from './http/operations.controller.js';
import { PinsController } from './http/pins.controller.js';
import { PolicyController } from './http/policy.controller.js';
import { PoolsController } from './http/pools.controller.js';
import { QueriesController } from './http/queries.controller.js';
import { QueuesController } from './http/queues.controller.js';
import { ScriptsController } from './http/scripts.controller.js';
import { SessionsController } from './http/sessions.controller.js';
import { SystemController } from './http/system.controller.js';
import { WellKnownController } from './http/well-known.controller.js';

export const controllers = [
  SystemController,
  DocsController,
  PoolsController,
  CollectionsController,
  ItemsController,
  QueriesController,
  AttributesController,
  BatchController,
  ChangesController,
  HistoryController,
  ExportController,
  ImportController,
  ScriptsController,
  PolicyController,
  SessionsController,
  LocksController,
  AttachmentsController,
  OperationsController,
  QueuesController,
  NotifiersController,
  IdentitiesController,
  EnvelopesController,
  PinsController,
  AuthController,
  ApiKeysController,
  WellKnownController,
];

@Module({ controllers, providers: [ItemCalls] })
export class EmbeddedModule {}

/** The module with what its controllers are given. */
export function embedded(providers: Provider[]): DynamicModule {
  return { module: EmbeddedModule, providers };
}
