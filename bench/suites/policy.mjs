// What access control costs: work under policy beside the same without it, logging in, many subjects that watch, and changes of policy.
import logins from '../policy/logins.mjs';
import subjects from '../policy/subjects.mjs';
import turns from '../policy/turns.mjs';
import work from '../policy/work.mjs';
import { runParts } from './parts.mjs';

const all = { work, logins, subjects, turns };
export const parts = Object.keys(all);

export const run = (options) => runParts(all, options);
