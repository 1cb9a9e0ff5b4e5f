// What sessions and locks cost, each beside the like of it without them: taking a lock beside a PUT, hearing of a grant beside hearing
// of a write, writing while others hold locks beside writing alone. Each part has a server of its own.
import attach from '../locks/attach.mjs';
import cycles from '../locks/cycles.mjs';
import grants from '../locks/grants.mjs';
import held from '../locks/held.mjs';
import sessions from '../locks/sessions.mjs';
import { runParts } from './parts.mjs';

const all = { cycles, grants, held, sessions, attach };
export const parts = Object.keys(all);

export const run = (options) => runParts(all, options);
