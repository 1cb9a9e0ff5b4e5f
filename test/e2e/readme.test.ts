/**
 * README.md tells the truth: its session is really run, by curl and a shell, against a new server. Of the fenced blocks,
 *
 *   ```sh session     are commands, run one after another in one shell
 *   ```json session   is what the commands of the block before print, a line for each
 *   ```sh stream      is a command that runs on while the session does
 *   ```text stream    is all that the stream before shows until the next one, or the end
 *   ```sh server      is how the server is started anew, on the same database
 *
 * Answers must be the same up to what differs from run to run: the port, epochs, times and the ids of requests.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, expect, test } from 'vitest';
import { startServer } from '../support/server.js';

const README = path.resolve(import.meta.dirname, '../../README.md');
const ADDRESS = '127.0.0.1:8080';
/** How long a stream may take to show what it should. */
const SHOW_MS = 10_000;
/** How long it is listened to afterwards for what it should not show. */
const SILENCE_MS = 300;

interface Block {
  readonly kind: string;
  readonly text: string;
  readonly line: number;
}

interface Running {
  readonly child: ChildProcess;
  shown: string;
}

const children = new Set<ChildProcess>();
/** Keys of accounts go into a folder of their own, not to those of who runs the test. */
const keys = mkdtempSync(path.join(tmpdir(), 'stargus-readme-'));
const environment = { ...process.env, XDG_CONFIG_HOME: keys };
afterAll(() => {
  for (const child of children) child.kill();
  rmSync(keys, { recursive: true, force: true });
});

test('what README.md shows is what happens', async () => {
  const text = readFileSync(README, 'utf8');
  const blocks = blocksOf(text);
  expect(blocks.map(({ kind }) => kind)).toEqual([
    'sh stream',
    ...Array.from({ length: 3 }, () => ['sh session', 'json session']).flat(),
    'text stream',
    'sh stream',
    'text stream',
    ...Array.from({ length: 4 }, () => ['sh session', 'json session']).flat(),
    'sh stream',
    ...['sh session', 'json session'],
    'text stream',
    'sh server',
    ...['sh session', 'sh session'],
    ...['sh session', 'json session'],
    'sh stream',
    ...['sh session', 'json session'],
    'text stream',
  ]);
  let server = await startServer({ database: 'sqlite' });
  let address = server.url.replace('http://', '');
  /** The epoch of the server's pool takes the place of the one that README was written with. */
  const epochOfReadme = epochIn(text);
  let epoch = epochOfReadme;
  const here = (command: string): string => command.replaceAll(ADDRESS, address).replaceAll(epochOfReadme, epoch);

  let stream: Running | undefined;
  let commands = '';
  let printed = '';
  for (const { kind, text: content, line } of blocks) {
    const place = `README.md, line ${line}`;
    switch (kind) {
      case 'sh stream':
        stream?.child.kill();
        stream = startStream(here(content));
        await until(() => /^event: hello\n.*\n\n/m.test(stream?.shown ?? ''));
        expect(stream.shown, place).toContain('event: hello');
        if (epoch === epochOfReadme) epoch = epochIn(stream.shown);
        await until(() => stream?.shown.includes('event: live') ?? false);
        break;
      case 'sh server':
        stream?.child.kill();
        await server.stop();
        server = await startServer({
          database: 'sqlite',
          databaseUrl: server.databaseUrl,
          // Refusals aren't noted: the commit that does so may come between any two of the commands, and moves the revision.
          env: { ...environmentOf(content), STARGUS_AUDIT: '0s' },
        });
        address = server.url.replace('http://', '');
        break;
      case 'sh session':
        // Each block has a new shell, which is given the variables of those before.
        printed = await runShell(here(`${commands}\n${separated(content)}`));
        commands += `\n${assignments(content)}`;
        break;
      case 'json session':
        expect(constant(printed, address), place).toEqual(constant(content, ADDRESS));
        break;
      case 'text stream': {
        const wanted = constant(content, ADDRESS);
        const shown = () => constant((stream as Running).shown, address);
        await until(() => shown().length >= wanted.length);
        await sleep(SILENCE_MS);
        expect(shown(), place).toEqual(wanted);
        break;
      }
    }
  }
});

test('README.md names each document beside it', () => {
  const text = readFileSync(README, 'utf8');
  const documents = readdirSync(path.join(path.dirname(README), 'docs')).filter((name) => name.endsWith('.md'));
  expect(documents).toContain('API.md');
  expect(documents.filter((name) => !text.includes(`(docs/${name})`))).toEqual([]);
});

function blocksOf(markdown: string): Block[] {
  return [...markdown.matchAll(/^```(\w+ (?:session|stream|server))\n(.*?)^```$/gms)].map((match) => ({
    kind: match[1] as string,
    text: match[2] as string,
    line: markdown.slice(0, match.index).split('\n').length,
  }));
}

function epochIn(text: string): string {
  const epoch = /"epoch":"([0-9a-f]+)"/.exec(text)?.[1];
  if (epoch === undefined) throw new Error(`There is no epoch in ${text}`);
  return epoch;
}

/** The variables that a command to start the server sets. */
function environmentOf(command: string): Record<string, string> {
  const words = command.trim().split(' ');
  expect(words.splice(-2)).toEqual(['npm', 'start']);
  return Object.fromEntries(words.map((word) => word.split('=') as [string, string]));
}

/** The lines that assign to a variable, for the shells of later blocks. */
function assignments(script: string): string {
  return script
    .split('\n')
    .filter((line) => /^(export )?[A-Z_]+=/.test(line))
    .join('\n');
}

/** Answers end without a line feed: one is printed after each command. */
function separated(script: string): string {
  return script.replaceAll(/^curl .*?(?=^curl |(?![\s\S]))/gms, (command) => `${command.trimEnd()}\necho\n`);
}

/** The lines that say something, with a constant in place of what is another one in each run. */
function constant(text: string, address: string): string[] {
  return (
    text
      .replaceAll(address, 'ADDRESS')
      .replaceAll(/\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/g, 'UUID')
      .replaceAll(/\b[0-9a-f]{12}\b/g, 'EPOCH')
      .replaceAll(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g, 'TIME')
      .replaceAll(/"requestId":"[^"]+"/g, '"requestId":"ID"')
      // What is left of a token's ten minutes.
      .replaceAll(/"expiresInMs":5[0-9]{5}\b/g, '"expiresInMs":TOKEN')
      .split('\n')
      .filter((line) => line !== '' && line !== ': heartbeat')
  );
}

function startStream(command: string): Running {
  // `exec`, so that ending the shell is ending curl.
  const script = command.replace(/^(?=curl )/m, 'exec ');
  const child = spawn('sh', ['-c', script], { stdio: ['ignore', 'pipe', 'ignore'], env: environment });
  children.add(child);
  const running: Running = { child, shown: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    running.shown += text;
  });
  return running;
}

function runShell(script: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn('sh', ['-c', script], { stdio: ['ignore', 'pipe', 'ignore'], env: environment });
    children.add(child);
    let printed = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      printed += text;
    });
    child.once('error', reject);
    child.once('close', (code) =>
      code === 0 ? resolve(printed) : reject(new Error(`The shell ended with ${code}: ${script}`)),
    );
  });
}

async function until(holds: () => boolean): Promise<void> {
  const deadline = Date.now() + SHOW_MS;
  while (!holds() && Date.now() < deadline) await sleep(20);
}
