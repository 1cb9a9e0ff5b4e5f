// A receiver of webhooks in a process of its own, which counts what it is told and says so when it is asked.
import { createServer } from 'node:http';

let count = 0;
const server = createServer((request, response) => {
  request.resume().once('end', () => {
    count++;
    response.writeHead(204).end();
  });
});
server.keepAliveTimeout = 60_000;
server.listen(0, '127.0.0.1', () => process.send({ port: server.address().port }));
process.on('message', () => process.send(count));
