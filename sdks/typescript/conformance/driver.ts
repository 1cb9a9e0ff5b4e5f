/** The driver in Node: a line of JSON for each command on standard input, and for each answer on standard output. `npm run build` makes dist/conformance/driver.js of it. */
import { connect } from '@stargus/client';
import { discover } from '@stargus/client/node';
import { createDriver } from './commands.js';

/** Everything must be closed by then. */
const END_MS = 4_500;

/** Resources of Node that are standard input and output, and this program's own. */
const OWN = new Set(['PipeWrap', 'TTYWrap', 'FSReqCallback', 'FSReqPromise', 'Immediate', 'WriteWrap', 'ShutdownWrap']);
const SOCKETS = new Set(['TCPSocketWrap', 'TLSWrap', 'TCPWrap', 'UDPWrap', 'TCPConnectWrap', 'GetAddrInfoReqWrap']);

const driver = createDriver({
  connect,
  discover: (timeoutMs) => discover({ timeoutMs }),
  measure: () => {
    const open = process.getActiveResourcesInfo().filter((name) => !OWN.has(name));
    const sockets = open.filter((name) => SOCKETS.has(name)).length;
    return { sockets, tasks: open.length - sockets };
  },
  exit: () => process.exit(9),
});

for await (const line of lines()) {
  const command = JSON.parse(line) as { id: number };
  void driver.handle(command).then((answer) => {
    process.stdout.write(`${oneLine(JSON.stringify({ id: command.id, ...answer }))}\n`);
  });
}
setTimeout(() => process.exit(1), END_MS).unref();
await driver.close();

/** Of standard input. node:readline would also end a line at U+2028, which JSON may have in it. */
async function* lines(): AsyncGenerator<string> {
  let rest = '';
  for await (const chunk of process.stdin.setEncoding('utf8')) {
    const parts = (rest + String(chunk)).split('\n');
    rest = parts.pop() ?? '';
    for (const line of parts) if (line.trim() !== '') yield line;
  }
}

/** Readers that take U+2028 and U+2029 for the end of a line get them escaped. */
function oneLine(json: string): string {
  return json.replaceAll('\u2028', '\\u2028').replaceAll('\u2029', '\\u2029');
}
