/** Documentation for people, served by the server itself: the contract for reading, and what each error code means. */
import { Controller } from '@nestjs/common';
import { errorTable, Problem } from '../engine/errors.js';
import { type Call, Route } from './route.js';

const HTML = 'text/html; charset=utf-8';
const POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'";

const page = (title: string, content: string, head = '') =>
  `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${title}</title>` +
  `<meta name="viewport" content="width=device-width"><style>body{font:16px/1.5 system-ui,sans-serif;margin:0}main{max-width:44rem;margin:2rem auto;padding:0 1rem}code{background:#8882;padding:.1em .3em;border-radius:3px}</style>${head}</head><body>${content}</body></html>`;

const INDEX = page(
  'Stargus API',
  '<div id="swagger-ui"></div><script src="/docs/assets/swagger-ui-bundle.js"></script><script src="/docs/start.js"></script>',
  '<link rel="stylesheet" href="/docs/assets/swagger-ui.css">',
);
const START = "SwaggerUIBundle({url: '/v1/openapi.json', dom_id: '#swagger-ui', deepLinking: true});";

@Controller()
export class DocsController {
  @Route({
    method: 'GET',
    path: '/docs',
    operationId: 'getDocs',
    tag: 'system',
    summary: 'Read this contract as a page',
    public: true,
    answers: { 200: { description: 'A page.', contentType: 'text/html' } },
  })
  index(call: Call): void {
    sendPage(call, INDEX);
  }

  @Route({
    method: 'GET',
    path: '/docs/start.js',
    operationId: 'getDocsScript',
    tag: 'system',
    summary: 'Load the script of the documentation’s page',
    public: true,
    answers: { 200: { description: 'A script.', contentType: 'text/javascript' } },
  })
  script({ reply }: Call): void {
    reply.header('content-type', 'text/javascript; charset=utf-8').send(START);
  }

  @Route({
    method: 'GET',
    path: '/docs/errors/:code',
    operationId: 'getErrorExplanation',
    tag: 'system',
    summary: 'Read what an error code means',
    public: true,
    answers: { 200: { description: 'A page.', contentType: 'text/html' } },
  })
  error(call: Call): void {
    const code = call.params.code as string;
    if (!Object.hasOwn(errorTable, code)) throw new Problem('notFound', 'There is no such error code.');
    const { status, title, retryable, advice } = errorTable[code as keyof typeof errorTable];
    const again = retryable ? 'The same request may succeed later.' : 'The same request would be refused again.';
    sendPage(
      call,
      page(
        code,
        `<main><h1><code>${code}</code></h1><p><strong>${status}: ${title}.</strong></p><p>${advice}</p><p>${again}</p><p><a href="/docs">The API</a></p></main>`,
      ),
    );
  }
}

function sendPage({ reply }: Call, html: string): void {
  reply.header('content-type', HTML).header('content-security-policy', POLICY).send(html);
}
