/** The text of Server-Sent Events, as docs/API.md has them. Pure. Every line of data is one JSON object. */
import { limits } from '../limits.js';
import type { Commit } from '../state/model.js';

export function frame(event: string, data: object | string, id?: string): string {
  const text = typeof data === 'string' ? data : JSON.stringify(data);
  return id === undefined ? `event: ${event}\ndata: ${text}\n\n` : `event: ${event}\nid: ${id}\ndata: ${text}\n\n`;
}

export const heartbeat = ': heartbeat\n\n';

/**
 * The changes of one commit, as JSON texts: one `changes` event, or several with `more` where it is too large, of which
 * only the last carries the id. There is at least one change.
 */
export function changesFrames({ revision, time, subject }: Commit, changes: readonly string[], id?: string): string {
  const head = `{"revision":${revision},"time":"${new Date(time).toISOString()}","subject":${JSON.stringify(subject)},"changes":[`;
  if (changes.length === 1) return frame('changes', `${head}${changes[0]}]}`, id);
  let frames = '';
  let part = '';
  let bytes = 0;
  for (const text of changes) {
    const textBytes = Buffer.byteLength(text) + 1;
    if (part !== '' && bytes + textBytes > limits.frameBytesMax) {
      frames += frame('changes', `${head}${part}],"more":true}`);
      part = '';
      bytes = 0;
    }
    bytes += textBytes;
    part += part === '' ? text : `,${text}`;
  }
  return frames + frame('changes', `${head}${part}]}`, id);
}
