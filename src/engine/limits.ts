/** Every limit of the engine, each with its reason. Limits that an operator may set are in platform/config. */

import { deliveryLimits } from './notifiers/delivery-limits.js';

const KiB = 1024;
const MiB = 1024 * KiB;

export const limits = {
  /** A name is part of a path and of many rows; 128 is generous for a person and small for an index. */
  nameLengthMax: 128,
  /** The key is part of every index entry; 255 bytes is what a VARBINARY keeps with one length byte. */
  itemKeyBytesMax: 255,
  attributeNameBytesMax: 128,
  /** An item is read, compared and sent whole; past this it belongs into a blob. */
  itemBytesMax: 1 * MiB,
  attributesMax: 1000,
  /** Deeper values serve nobody and are what attacks on recursive code are made of. */
  nestingMax: 100,
  /** Room for the white space of a pretty-printed item beside its 1 MiB. */
  itemBodyBytesMax: 2 * MiB,
  batchOpsMax: 1000,
  batchBodyBytesMax: 4 * MiB,
  descriptionLengthMax: 4096,
  optionsBytesMax: 16 * KiB,
  idempotencyKeyLengthMax: 255,
  /** How long the answer of a write with an Idempotency-Key is kept. */
  storedAnswerMs: 24 * 3600 * 1000,
  /** How long a stream waits before it asks a database again that was away: short for a reader, and little for the database. */
  databaseAwayMs: 250,
  /** Commits up to this size are told to other nodes as they are; of larger ones they read the log, each for itself. */
  wakeBytesMax: 64 * KiB,
  /** Wakes of one pool that are kept while an earlier one is missing: with more of them, reading the log is less. */
  earlyWakesMax: 100,
  /** Half an item: a script is small text, and a title and white space have their room beside it. */
  scriptSourceBytesMax: 512 * KiB,
  scriptTitleLengthMax: 1024,
  /** A language or a version is a word or two. */
  scriptLabelLengthMax: 128,
  /** Names in one list of a policy's rule: it is compiled for each subject, and looked through for each change. */
  grantNamesMax: 100,
  /** All rules of a pool that concern a subject are looked through for each of its actions. */
  policyRulesMax: 200,
  policiesPerPoolMax: 200,
  /** Steps that comparing one item's values may take a rule: some 100,000 elements of arrays. It is asked again for each change. */
  ruleStepsMax: 10_000,
  /** Compiling one takes milliseconds, between two commits, and for each subject that it is for. */
  policyPatternsMax: 20,
  policyPatternLengthMax: 200,
  roleSubjectsMax: 10_000,
  /** Subjects for each of which an explanation says whether they may. */
  explainedSubjectsMax: 1000,
  policyChecksMax: 100,
  /** Of so many kinds of watchers a preview of a policy says what they would gain. */
  previewedViewsMax: 1000,
  /** What one change of policy may tell a watcher as a commit: beyond this a new snapshot is less. */
  policyTurnBytesMax: 4 * MiB,
  /** Views that one pass through a collection turns: each may hold as much as it may tell. Many more, and passes would be many. */
  passSeekersMax: 256,
  /** Policies of former revisions that are kept ready for those who resume from there; older ones are read from the log. */
  policyVersionsKept: 200,
  /** It is part of keys in the database, where what a weaker token adds to it has its room too. */
  subjectBytesMax: 200,
  /** The URL of an account is a subject's id. */
  accountUrlLengthMax: 200,
  /** Keys of one account: one for each computer of a person, and a few that are on their way out. All are read at a login. */
  accountKeysMax: 20,
  /** Below 2048 bits RSA is weak, and above 4096 a verification costs more than what it protects. */
  rsaBitsMin: 2048,
  rsaBitsMax: 4096,
  /** A proof is a header, a handful of claims and a signature of at most 512 bytes. */
  proofBytesMax: 4 * KiB,
  /** How old a proof may be, in which time it also can't be used again; and how far two clocks may be apart. */
  proofAgeMs: 60_000,
  clockSkewMs: 5_000,
  /** What the document of a foreign account may be, and how long reading it may take in all, redirects included. */
  identityDocumentBytesMax: 64 * KiB,
  identityReadMs: 3_000,
  identityRedirectsMax: 3,
  /** How long a document is taken for the truth, and how long one that could not be read is not asked for again. */
  identityCacheMs: 300_000,
  identityRetryMs: 30_000,
  /** Documents that a node remembers. */
  identitiesCachedMax: 1000,
  /** Documents that are being read at once: each is a connection to a place that a stranger named. */
  identityReadsMax: 32,
  /** Entries of a document that are looked at: its keys, those of other uses, and signed changes of keys. */
  identityDocumentKeysMax: 100,
  rotationsMax: 20,
  /** An envelope holds one private key; the largest, of RSA with 4096 bits, is a third of this. */
  envelopeBytesMax: 16 * KiB,
  /** What deriving a key from a passphrase costs: what makes guessing dear. Memory in KiB. */
  kdfMemoryKiB: 64 * 1024,
  kdfPasses: 3,
  kdfParallelism: 1,
  /** What opening an envelope may ask of the machine that opens it. Less than above is refused as well: it would make guessing cheap. */
  kdfMemoryKiBMax: 256 * 1024,
  kdfPassesMax: 10,
  kdfParallelismMax: 4,
  /** Wrong unlocks without a delay, the longest delay, and the time after which one wrong unlock is forgiven: about 100 guesses a day. */
  unlockFailuresFree: 5,
  unlockDelayMsMax: 900_000,
  unlockForgivenessMs: 3_600_000,
  /** Wrong unlocks are counted in so many places, in which accounts lie by a secret hash: enough to keep them apart, few enough to keep. */
  unlockBuckets: 1 << 20,

  /** A nonce lives for as long as a person takes to unlock a key. */
  nonceMs: 120_000,
  /** Nonces that a node gives out in a minute: each is a row for two. */
  noncesPerMinuteMax: 6_000,
  /** An assertion is made for one login, now. */
  assertionMs: 60_000,
  /** A signed text has a few claims; one of a delegation its grants as well. */
  signedTextLengthMax: 8 * KiB,
  /** Node refuses requests whose headers are longer than 16 KiB together. */
  proofLengthMax: 4 * KiB,
  claimLengthMax: 255,
  /** What a leaked access token is good for. */
  accessTokenMs: 600_000,
  /** A client that was away for a month logs in again. */
  refreshTokenMs: 30 * 24 * 3600 * 1000,
  /** How long a revocation is remembered in the database: longer than a stream or a node that missed it lives on. */
  revocationMs: 24 * 3600 * 1000,
  /** Within this every node knows of a revocation. */
  revocationPollMs: 1_000,
  /** A revocation is looked for anew for so long: its transaction may have taken time to become visible. */
  revocationOverlapMs: 15_000,
  /** Tokens that a node remembers to have verified: a kilobyte or two each. */
  verifiedTokensMax: 10_000,
  /** For so long a node takes an API key as good without looking again. */
  apiKeyCacheMs: 60_000,
  apiKeysPerOwnerMax: 100,
  /** Keys and logins of an account that ended which are taken at once. */
  accountEndBatch: 100,
  apiKeyNameLengthMax: 128,
  /** The key that signs tokens is followed by another after this time. */
  signingKeyMs: 90 * 24 * 3600 * 1000,
  /** How long a key that was followed is still published: longer than a token of it lives, and a cache of the set. */
  signingKeyFollowedMs: 24 * 3600 * 1000,
  /** A proof of possession is for one request, made now; all of this time its id is remembered. */
  proofMs: 60_000,
  /** Proofs that wait to be noted as used: a node that is behind so many refuses instead of growing. */
  proofsWaitingMax: 10_000,
  /** Links of a delegation, and how often a token can be made weaker: each link is judged at every access. */
  delegationDepthMax: 8,
  /** A delegation is for weeks of work, not for ever: only the database, which its maker can’t reach offline, can revoke it. */
  delegationMs: 90 * 24 * 3600 * 1000,
  /** Grants in one list, and what all lists of a token are as JSON: it travels in a header of every request. */
  authorizationDetailsMax: 20,
  restrictionsBytesMax: 4 * KiB,

  collectionsPerPoolMax: 10_000,
  /** A deletion by prefix is one commit, held in memory, told to watchers whole. */
  deleteItemsMax: 1000,
  /** Dropping a collection is one commit as well; a larger one is emptied in steps first. */
  dropCollectionItemsMax: 10_000,
  /** What one commit may hold in memory and in one transaction: the sum of its values before and after. */
  commitBytesMax: 32 * MiB,

  /** A definition is read with its pool, compiled and kept in memory. */
  dictionaryEntryBytesMax: 256 * KiB,
  /** Most of it is compiled between two commits. */
  schemaBytesMax: 64 * KiB,
  /** What is compiled, references written out, in units of about 0.2 ms: it becomes code of about ten times its size. */
  schemaWeightMax: 1000,
  /** Each doubles what a reference can mean. */
  dynamicAnchorsMax: 50,
  /** Schemas inside schemas; the compiler recurses over them. */
  schemaNestingMax: 64,
  /** Each becomes a function. */
  schemaReferencesMax: 1000,
  /** Faults of one item that are told: enough for a form, bounded for a log. */
  violationsMax: 20,
  /** Values in an item of which every fault is looked for; of a larger one only the first is told, so that a wrong list can't become a million faults. */
  allViolationsValuesMax: 2000,
  /** A pattern grows when it is compiled; what matches in time linear in both has to be short on one side. */
  patternLengthMax: 1000,
  patternStepsMax: 5000,
  /** A rule longer than this belongs into a program. */
  expressionLengthMax: 4096,
  /** Parts of one expression, after its macros are written out, and how deep they nest: the evaluator recurses over them. */
  expressionNodesMax: 2000,
  expressionNestingMax: 200,
  /** What compiling one pattern may cost, and all of a schema, in steps of some 100 ns: it is done between two commits. */
  patternCompileCostMax: 100_000,
  schemaPatternsCostMax: 600_000,
  /** Patterns that one definition keeps compiled, beyond those of its schema. */
  patternsKeptMax: 100,
  /** All are run on every write of the collection. */
  rulesMax: 100,
  transformsMax: 100,
  /**
   * What checking or transforming one item may cost, in steps of 20 to 100 ns: one per loop turn, comparison or kilobyte.
   * It is spent between two commits, so all writers wait for it.
   */
  checkCostMax: 500_000,
  /** Steps after which others have their turn, where items can be looked at one after the other: some twenty milliseconds. */
  turnCost: 200_000,
  /** What computing the read transforms of all items in one answer may cost, about two seconds, and make of them. */
  shownCostMax: 20_000_000,
  shownBytesMax: 16 * MiB,
  columnsMax: 1000,
  relationsMax: 100,
  /** Every index is kept in every commit. */
  indexesMax: 16,
  indexAttributesMax: 8,
  /** Shorter would be a timer, longer is for ever. */
  expiryMsMin: 1_000,
  expiryMsMax: 10 * 366 * 24 * 3600 * 1000,

  /** Writes that wait for one pool; beyond this the node is overloaded and says so instead of growing. */
  queueCommandsMax: 10_000,
  queueBytesMax: 64 * MiB,
  /** What one transaction takes of the queue: enough to share its cost, little enough to keep its latency low. */
  groupCommandsMax: 256,
  groupBytesMax: 4 * MiB,
  /** Items that one transaction loads, and what it makes of them: small requests on large items end a group early. */
  groupWorkBytesMax: 16 * MiB,
  /**
   * A transaction that the database asked to repeat (deadlock, lock wait, a conflict between nodes of a cluster) is given up
   * after so many attempts and so long: where several nodes write one pool of a cluster, one of them gets on with each attempt, and
   * the others try again at once.
   */
  groupAttemptsMax: 5,
  groupAttemptsMs: 10_000,
  groupAttemptPauseMs: 10,
  /** The same of the small transactions that are no commits: of logins, accounts, usage and sweeps. */
  transactionAttemptsMax: 10,

  /** A lease outlives a short pause of its client's, and is over soon after its client is gone. */
  sessionTtlMsMin: 1_000,
  sessionTtlMsMax: 600_000,
  sessionTtlMsDefault: 30_000,
  /** How long the sequence and the memento of a session whose lease is over wait for its client's return. */
  sessionMemoryMs: 7 * 24 * 3600 * 1000,
  /** Each is a row, an item that others see, and a stream. */
  sessionsPerPoolMax: 100_000,
  /** Told to all who look at who is there. */
  sessionMetaBytesMax: 16 * KiB,
  /** Each is looked at for every commit of its collection, and all end with their session in one commit. */
  attachmentsPerSessionMax: 100,
  /** A client that sends batches without waiting may have so many under way and still get each answer again. */
  sessionAnswersKept: 100,
  /** A note of where a client stands. */
  mementoBytesMax: 64 * KiB,
  /** What one view is about: a filter and names. */
  attachmentBytesMax: 32 * KiB,
  /** What sessions have that are ended by one commit; the one with which it is passed is ended with them. */
  dueBytesMax: 4 * MiB,
  /** Sessions that are due and looked up at once, over all pools, and how many pools may fail before the rest is left to the next sweep. */
  dueSessionsMax: 100,
  duePoolsFailedMax: 100,
  /** Renewals that share a transaction, which locks all their rows, and attempts of one. */
  leaseBatchMax: 500,
  leaseAttemptsMax: 5,

  /** Entries of one queue that nobody has acknowledged, and their events' bytes: who reads a whole queue holds that much. */
  queueEntriesMax: 10_000,
  queueEventsBytesMax: 16 * MiB,
  /** A larger event is left out of its entry: the log has the commit. */
  queueEventBytesMax: 256 * KiB,
  /** With an event up to this size a stream tells that it came; a larger one is read. */
  queueEventToldBytesMax: 16 * KiB,
  /** Changes of a queue by one commit that a stream tells one by one; of more it tells that there were many. */
  queueEventsTold: 100,
  /** Entries of all queues of a pool, and the queues: each is an item. */
  queueItemsPerPoolMax: 200_000,
  /** Entries of a queue that are held at a time: whoever takes more looks past all of these. */
  queueHeldMax: 1000,
  /** Entries that one call takes, and their events' bytes: it is one commit and one answer. */
  queueTakeMax: 100,
  queueTakeBytesMax: 4 * MiB,
  /** How long who took an entry has it to themselves: time for a piece of work, and soon enough over where its worker is gone. */
  queueHoldMsMin: 100,
  queueHoldMsMax: 3_600_000,
  queueHoldMsDefault: 30_000,
  /** How long an entry waits for somebody to come, before it is dropped: a week away is a long time; a month, for ever. */
  queueKeepMsMin: 1_000,
  queueKeepMsMax: 30 * 24 * 3600 * 1000,
  queueKeepMsDefault: 7 * 24 * 3600 * 1000,
  /** After how long an empty queue of which nothing was said is forgotten, with what it lost and how far it was filled. */
  queueIdleMs: 30 * 24 * 3600 * 1000,
  /** Entries that are enqueued by one command, and their events' bytes: it is one commit. */
  queueEnqueueMax: 1000,
  queueEnqueueBytesMax: 4 * MiB,
  /** Deliveries that one call names. */
  queueDeliveriesMax: 1000,
  /** A notifier's name, and the revision. */
  deliveryLengthMax: 256,
  /** Series of deliveries of which a queue remembers how far they were enqueued. */
  queueSeriesKept: 100,

  /** Scopes of one lock: the items of one piece of work. More have a prefix or a collection in common. */
  lockScopesMax: 100,
  /** What a lock is about is written again whenever something becomes of it. */
  lockScopesBytesMax: 64 * KiB,
  /** All end with their session in one commit. */
  locksPerSessionMax: 10_000,
  /** About a kilobyte each, on every node. */
  locksPerPoolMax: 200_000,
  /** Everything that a session has goes in one commit; and every node has all locks in memory. */
  lockBytesPerSessionMax: 8 * MiB,
  lockBytesPerPoolMax: 128 * MiB,
  /** Locks that wait: in a pool, and in the way of one request. Whoever is behind so many waits for long, and is told so at once. */
  lockWaitersMax: 10_000,
  lockQueueMax: 1000,
  /** Pairs of a lock that waits and one that it waits for: when one of them goes, all that it concerns is worked out anew. */
  lockWaitEdgesMax: 100_000,
  /** Locks in the way of one request that are looked at. */
  lockBlockersMax: 20_000,
  /** As long as the longest lease. */
  lockWaitMsMax: 600_000,
  lockGraceMsMax: 600_000,
  /** Locks in the way that a refusal names, and that a waiting lock's item does: enough to see why. */
  lockHoldersTold: 20,
  lockWaitsForTold: 100,
  /** Locks that one request proves: as many as a lock has scopes. */
  lockProofsMax: 100,
  /** Part of every commit of the lock. */
  lockRequestIdLengthMax: 128,
  lockNoteLengthMax: 1024,

  /** How long an accepted operation may wait, and how long what it came to is kept: as long as a revocation is remembered. */
  operationMs: 24 * 3600 * 1000,
  /** Operations that aren't done: of a pool, of one caller in it, and the bytes of a pool's. Whoever is so far ahead of the workers waits. */
  operationsPerPoolMax: 10_000,
  operationsPerCallerMax: 1000,
  operationBytesPerPoolMax: 64 * MiB,
  /** An operation with which a worker dies, or that it can't do for a fault of ours, is begun so often; it may be what it dies of. */
  operationAttemptsMax: 20,
  /** So long an operation that was begun is left to who did; then its worker counts as dead. Longer than nearly every write takes. */
  operationBusyMs: 2000,
  operationWaitMsMax: 60_000,

  /** A page of items, in items and in bytes; a page that reaches the bytes first ends early with a next token. */
  pageItemsMax: 1000,
  pageItemsDefault: 50,
  pageBytesMax: 8 * MiB,
  /** A filter is evaluated for many items; these bounds are beyond what a person writes and within what a turn can bear. */
  filterBytesMax: 16 * KiB,
  /** In a query string, where proxies cut long lines. */
  filterTextBytesMax: 4 * KiB,
  filterNodesMax: 100,
  filterDepthMax: 8,
  orderTermsMax: 8,
  /** What a page token carries of the values that the query orders by; a longer one isn't fit for a URL. */
  pageTokenBytesMax: 4 * KiB,
  /** Bytes of items that a query examines where no index narrows it; STARGUS_SCAN_ITEMS bounds their number. */
  scanBytesMax: 256 * MiB,
  /** Elements and members that a query's comparisons look at: a few seconds of work; and inside a commit, where the pool waits. */
  comparisonStepsMax: 50_000_000,
  comparisonStepsInCommitMax: 10_000_000,
  /** Bytes of items, or the like of it in comparisons, between which a query gives others a turn: some milliseconds. */
  scanPortionBytes: 256 * KiB,
  /** What is read at once of items that are looked at: the database may hold up all others as long as it reads. */
  scanReadBytesMax: 1 * MiB,
  /** An index that holds at most so many candidates is read whole and sorted, rather than walked in order and filtered. */
  gatherCheaplyMax: 2000,
  /** Points that one index is looked up at for a query: the product of the `in` lists on its parts. */
  indexPointsMax: 64,
  aggregatesMax: 20,
  groupByMax: 8,
  groupsMax: 10_000,
  /** An index of a collection of so many items is built in the commit that declares it; larger ones in the background. */
  indexInlineItemsMax: 1000,
  /** What a build adds in one transaction, between which writers go on. */
  indexStepItems: 500,
  indexStepBytesMax: 2 * MiB,
  /** A new definition of so many items is checked in its own commit; of more, beforehand, while writers go on. */
  checkInCommitItemsMax: 2000,
  /** What a step of a check counts for in the work of a group: about two million steps, a fifth of a second, fill one. */
  bytesPerStep: 8,
  /** Steps that such a check may take in the commit, about two seconds, and beforehand, about a minute. */
  checkInCommitCostMax: 20_000_000,
  checkBeforehandCostMax: 500_000_000,
  /** Declaring a unique index looks for duplicates in memory, at about 200 bytes for each item. */
  uniqueCheckItemsMax: 500_000,
  /** Items with long values in a unique index that begin alike, and their bytes: a write of one compares it with all of them. */
  uniqueAlikeMax: 1000,
  uniqueAlikeBytesMax: 4 * MiB,
  /** How often a command whose ops hang on one another is judged anew, without those that were refused. */
  judgingsMax: 20,
  /** Steps that checking all items of one command may take: about a fifth of a second, in which no other commit goes on. */
  commandCostMax: 2_000_000,
  /** Items that a refused definition names. */
  offendersTold: 20,
  /** Pairs of a pool and a subject whose use a node counts between two notings. */
  usageCountersMax: 10_000,
  /** Addresses that were refused, beside subjects, that a node counts for a pool on one day; further ones are counted together. */
  usageAddressesMax: 100,
  /** Noted rows that one commit brings into `_usage`. */
  usageFoldRowsMax: 500,
  /** Items that expire in one commit, and their bytes: all of the pool's writes wait meanwhile. */
  expireItemsMax: 500,
  expireBytesMax: 2 * MiB,
  relationsExpandedMax: 8,
  /** Items that one page may be expanded to. */
  expandedItemsMax: 10_000,
  /** Keys that one attribute of an item may be expanded to; more stay keys. */
  expandedKeysMax: 100,

  /** A page of the change log, in commits, in rows examined and in bytes. */
  changesPageCommitsMax: 1000,
  changesPageCommitsDefault: 100,
  logPageRowsMax: 1000,
  logPageBytesMax: 4 * MiB,
  /** Rows of the log that one request with a selective filter may examine before it answers with a cursor to go on. */
  changesRowsExaminedMax: 20_000,
  /** A page of one item's history, in changes; and the rows of the log that one look for it examines, and one request. */
  historyPageMax: 1000,
  historyPageDefault: 50,
  historyLookRowsMax: 2000,
  historyRowsExaminedMax: 20_000,
  changesWaitMsMax: 60_000,
  minRevisionWaitMs: 5_000,

  /** Pools whose state this node keeps ready; an idle one beyond this is forgotten and read again when asked for. */
  replicasMax: 1000,
  /** Recent commits that a node keeps for watchers that are a little behind. */
  ringCommitsMax: 4096,
  ringBytesMax: 4 * MiB,
  /** Commits that a node applies to its cache to catch up; more and it forgets the cache instead. */
  catchUpRowsMax: 2000,

  /** Exports and imports under way on a node: each holds a few mebibytes and a connection for as long as it takes. */
  transfersMax: 64,
  /** A client that takes nothing, or sends nothing, of an export or import for so long holds it for nothing. */
  transferStallMs: 60_000,

  /** Lines of an import that are one commit, and their bytes: enough to share its cost, little enough to wait for. */
  importGroupLinesMax: 500,
  importGroupBytesMax: 1 * MiB,
  /** What has arrived of an import is made durable and told of at least so often. */
  importProgressMs: 1000,
  /** Attempts of one commit of an import while the node or its database can't take it, and the first wait between two, which doubles. */
  importAttemptsMax: 6,
  importRetryMs: 250,

  /** The items of a part of a snapshot; with what is around them it has at most 256 KiB. */
  snapshotPartBytesMax: 255 * KiB,
  /** A frame of one commit; a larger commit is split with `more: true`. */
  frameBytesMax: 256 * KiB,
  /** What one connection may have unsent before it counts as slow. */
  watchBufferBytesMax: 1 * MiB,
  /** A reader that has not taken what waits for it in this time (3.5 KB/s for a full buffer) holds a connection for nothing. */
  watchStallMs: 300_000,
  /** Values under which one watcher is looked up; a filter that allows more of them is asked at every change instead. */
  watchPinnedValuesMax: 64,
  /** A session has one stream; a few more are those of connections that broke and haven't been noticed. */
  sessionStreamsMax: 4,
  /** Subjects or addresses that one rate limit counts, some 300 bytes each; further ones are counted together. */
  rateKeysMax: 100_000,
  /** Addresses whose refusals a node remembers, some 200 bytes each; beyond, the one that was refused longest ago is forgotten. */
  offendersMax: 100_000,
  /** The first line and the headers of a request: the longest path, a filter of 4 KiB percent-encoded, a token, and what browsers add. */
  headerBytesMax: 16 * KiB,
  /** Headers of a request: a browser behind some proxies sends half of it. */
  headersMax: 100,
  /** Pools in which refusals are noted in one minute, each by a commit every ten seconds; those in others are told of the server. */
  auditPoolsPerMinuteMax: 100,
  /** Who was refused in one minute, in one pool, by name; others are counted together. So nobody grows the audit by being refused. */
  auditRefusedPerMinuteMax: 20,
  /** Who logged in or unlocked in one minute by name: more than a server of many users has, and bounded by their keys. */
  auditAdmittedPerMinuteMax: 1000,
  /** Items of the audit that one commit removes. */
  auditRemovedMax: 500,
  /** What is told of a server on the local network: with the rest of the packet it fits into one frame of Ethernet (RFC 6763, 6.2). */
  lanRecordBytesMax: 1300,
  /** Pools that are looked through for what to tell there; some hundred of the shortest names would fit. */
  lanPoolsMax: 600,
  /** Servers, and machines, that a search of the local network keeps in mind: a network has some, a hostile one any number. */
  lanFoundMax: 200,
  ...deliveryLimits,
  heartbeatMs: 15_000,
  bookmarkMsDefault: 30_000,
  bookmarkMsMin: 1_000,
  bookmarkMsMax: 60_000,
  retryMs: 1_000,
} as const;
