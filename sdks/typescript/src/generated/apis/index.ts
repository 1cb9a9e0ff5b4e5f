/* tslint:disable */
/* eslint-disable */
export * from './AttributesApi.js';
export * from './AuthApi.js';
export * from './ChangesApi.js';
export * from './CollectionsApi.js';
export * from './IdentitiesApi.js';
export * from './ItemsApi.js';
export * from './LocksApi.js';
export * from './NotifiersApi.js';
export * from './OperationsApi.js';
export * from './PolicyApi.js';
export * from './PoolsApi.js';
export * from './QueuesApi.js';
export * from './ScriptsApi.js';
export * from './SessionsApi.js';
export * from './SystemApi.js';
export * from './TransferApi.js';
