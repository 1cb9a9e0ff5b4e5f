/** What Nest itself refuses, such as a path that no route has, is answered as a problem like everything else. */
import { type ArgumentsHost, Catch, type ExceptionFilter, HttpException } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { internalProblem, sendProblem, toProblem } from './problem.js';

@Catch()
export class ProblemFilter implements ExceptionFilter {
  constructor(private readonly failed: (error: unknown, requestId: string) => void) {}

  catch(exception: unknown, host: ArgumentsHost): void {
    const http = host.switchToHttp();
    const request = http.getRequest<FastifyRequest>();
    const reply = http.getResponse<FastifyReply>();
    const error =
      exception instanceof HttpException ? Object.assign(exception, { statusCode: exception.getStatus() }) : exception;
    const problem = toProblem(error, undefined);
    if (!problem) this.failed(exception, request.id);
    if (!reply.sent) sendProblem(request, reply, problem ?? internalProblem());
  }
}
