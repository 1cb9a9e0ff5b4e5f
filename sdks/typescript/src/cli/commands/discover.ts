/** `discover`: the servers that announce themselves on the local network. */
import { discover as found } from '../../node/discover.js';
import { type CommandSpec, textOf } from '../command.js';
import { EXIT } from '../fault.js';
import { durationOf } from './lock.js';

export const discover: CommandSpec = {
  name: 'discover',
  about:
    'list the servers that announce themselves on the local network. Who announces what is not proven. Exit code 1: none does',
  options: [{ flags: '--time <time>', about: 'listen for answers so long (2s)' }],
  async run(given) {
    const servers = await found({ timeoutMs: durationOf(textOf(given, 'time') ?? '2s', '--time') });
    if (given.output.isJson) for (const server of servers) given.output.json(server);
    else if (servers.length > 0)
      given.output.table(servers.map(({ name, ...attributes }) => ({ key: name, attributes })));
    else given.output.note('No server announces itself on the local network. One does with `npm start -- --lan`.');
    return servers.length > 0 ? EXIT.done : EXIT.no;
  },
};
