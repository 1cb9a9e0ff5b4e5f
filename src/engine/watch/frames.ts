/** The text of Server-Sent Events, as docs/API.md has them. Pure. Every line of data is one JSON object. */
import { limits } from '../limits.js';
import { formatCursor } from '../state/cursor.js';
import type { Change, Commit } from '../state/model.js';
import type { View } from './view.js';

export function frame(event: string, data: object | string, id?: string): string {
  const text = typeof data === 'string' ? data : JSON.stringify(data);
  return id === undefined ? `event: ${event}\ndata: ${text}\n\n` : `event: ${event}\nid: ${id}\ndata: ${text}\n\n`;
}

export const heartbeat = ': heartbeat\n\n';

/**
 * One commit as the view sees it: one `changes` event, or several with `more` where it is too large, of which only the
 * last carries the id. `concerned` are the commit's changes as the view sees them; there is at least one.
 */
export function changesFrames(view: View, epoch: string, commit: Commit, concerned: readonly Change[]): string {
  const head = `{"revision":${commit.revision},"time":"${new Date(commit.time).toISOString()}","subject":${JSON.stringify(commit.subject)},"changes":[`;
  const id = formatCursor(epoch, commit.revision);
  if (concerned.length === 1) return frame('changes', `${head}${view.tellChange(concerned[0] as Change)}]}`, id);
  let frames = '';
  let part = '';
  let bytes = 0;
  for (const change of concerned) {
    const text = view.tellChange(change);
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
