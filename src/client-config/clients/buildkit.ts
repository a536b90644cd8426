/**
 * A buildkitd of its own: https://github.com/moby/buildkit/blob/master/docs/buildkitd.toml.md. The path of a mirror comes
 * behind /v2/; upstream is asked last, always.
 */
import type { ClientPlan } from '../change.ts';
import { loginOfUser } from '../login.ts';
import { tomlBlock } from '../merge/toml-block.ts';
import { wholeFile } from '../merge/whole.ts';
import { Refused, pathOf } from '../request.ts';
import type { Request } from '../request.ts';
import { OURS, list, quoted } from '../toml-words.ts';

const PATH = '/etc/buildkit/buildkitd.toml';
const CA = '/etc/buildkit/umbra-ca.pem';

export function buildkit(request: Request): ClientPlan {
  const { registry, upstreams, strict, ca } = request;
  if (strict) throw new Refused('BuildKit has no strict mode: it asks upstream last, whatever its file says');
  const tables = upstreams.map((host) => `[registry.${quoted(host)}]\n  mirrors = ${list([`${registry.host}/${pathOf(request, host)}`])}\n`);
  // To localhost it speaks without TLS unless told.
  const own = [
    `[registry.${quoted(registry.host)}]`,
    `  http = ${registry.scheme === 'http'}`,
    ...(ca === undefined || registry.scheme === 'http' ? [] : [`  ca = ${list([CA])}`]),
  ];
  for (const host of request.insecure) own.push(`\n[registry.${quoted(host)}]`, '  http = true');
  const block = `${tables.join('\n')}\n${own.join('\n')}\n`;
  const needs = { service: 'buildkit', action: 'restart', why: 'buildkitd reads its file at start' } as const;
  return {
    changes: [
      tomlBlock({ path: PATH, content: `${OURS}${block}`, block, place: 'end', keys: [...upstreams, registry.host, ...request.insecure].map((host) => ['registry', host]), needs }),
      ...(ca === undefined || registry.scheme === 'http' ? [] : [wholeFile({ path: CA, content: ca, needs })]),
      ...loginOfUser('.docker/config.json', request),
    ],
    notes: [
      `a builder of buildx gets the file when it is made: docker buildx create --driver docker-container --driver-opt network=host --buildkitd-config ${PATH} --use`,
      'the BuildKit in dockerd does not read it: that is --for docker',
    ],
  };
}
