/** `GET` and `POST /auth/token`: reads the form and answers; what is granted is `auth/token-service.ts`. */
import type { Gate } from '../auth/auth.ts';
import { BASIC_CHALLENGE } from '../auth/challenge.ts';
import type { ToName } from '../auth/scopes.ts';
import { hasCode, RegistryError } from '../oci/errors.ts';
import type { ViewId } from '../oci/name.ts';
import { sendError } from './errors.ts';
import type { Exchange } from './exchange.ts';
import { readSmallBody } from './small-body.ts';

const MAX_FORM_BYTES = 64 * 1024;

export async function answerToken(x: Exchange, gate: Gate, view: ViewId, toName: ToName): Promise<void> {
  const parameters = x.method === 'POST' ? await readForm(x) : scopesOf(x.query);
  try {
    const answer = await gate.issueToken({ authorization: x.header('authorization'), address: x.client, parameters, toName, view });
    x.sendJson(200, answer, ['Cache-Control', 'no-store']);
  } catch (error) {
    if (!hasCode(error, 'UNAUTHORIZED')) throw error;
    sendError(x, error, ['WWW-Authenticate', BASIC_CHALLENGE]);
  }
}

/** A password in a query would stand in the logs of every proxy on the way: only the form may carry one. */
function scopesOf(query: URLSearchParams): URLSearchParams {
  return new URLSearchParams([...query].filter(([key]) => key !== 'grant_type'));
}

async function readForm(x: Exchange): Promise<URLSearchParams> {
  const type = (x.header('content-type') ?? '').split(';', 1)[0]?.trim().toLowerCase();
  if (type !== 'application/x-www-form-urlencoded') {
    throw new RegistryError('PARAMETER_INVALID', 'POST /auth/token takes a form: Content-Type must be application/x-www-form-urlencoded');
  }
  const body = await readSmallBody(x, MAX_FORM_BYTES, (limit) => new RegistryError('PARAMETER_INVALID', `the form has more than ${limit} bytes`));
  return new URLSearchParams(body.toString('utf8'));
}
