/** Scripts over HTTP: the source of an item of `_scripts` as a file of its own media type. */
import { Controller, Inject } from '@nestjs/common';
import { SCRIPTS, scriptType } from '../engine/dictionary/scripts.js';
import { getMember } from '../engine/state/json.js';
import { checkItemKey, checkName } from '../engine/state/names.js';
import { etag } from './answers.js';
import { ItemCalls, isUnmodified, missing } from './item-calls.js';
import { type Call, Route } from './route.js';

@Controller()
export class ScriptsController {
  constructor(@Inject(ItemCalls) private readonly calls: ItemCalls) {}

  @Route({
    method: 'GET',
    path: '/v1/pools/:pool/scripts/:script',
    operationId: 'getScript',
    tag: 'scripts',
    summary: 'Read the source of a script',
    description:
      'The `source` of the item of `_scripts` with this key, with the media type that the item names or that its `language` has. ' +
      'Scripts are written as items of the collection `_scripts`. A page that is stored so does not run as this server’s origin.',
    headers: ['If-Match', 'If-None-Match', 'Stargus-Min-Revision'],
    answers: {
      200: { description: 'The source; its Content-Type is that of the script.', contentType: 'text/plain' },
      304: { description: 'The script is still at the revision of If-None-Match.' },
    },
  })
  async get(call: Call): Promise<void> {
    const pool = checkName('pool', call.params.pool as string);
    const name = checkItemKey(call.params.script as string);
    const read = await this.calls.read(call, pool, SCRIPTS, name);
    const source = read && getMember(read.state.attributes, 'source');
    if (!read || typeof source !== 'string') throw missing(SCRIPTS, name);
    const { state } = read;
    call.reply.headers({ 'cache-control': 'no-cache', ...CONTAINED });
    if (isUnmodified(call, read)) return;
    call.reply
      .headers({ etag: etag(state.revision), 'content-type': scriptType(state.attributes) })
      .send(Buffer.from(source));
  }
}

/** Whoever may write a script must not get to act as whoever opens it here. */
const CONTAINED = { 'x-content-type-options': 'nosniff', 'content-security-policy': "sandbox; default-src 'none'" };
