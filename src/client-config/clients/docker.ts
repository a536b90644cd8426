/**
 * dockerd, and the BuildKit in it: `registry-mirrors`, which are for Docker Hub's images only, or else a proxy, by which
 * it sees every upstream's. https://docs.docker.com/reference/cli/dockerd/#daemon-configuration-file
 */
import { isLoopback } from '../../config/address.ts';
import type { Change, ClientPlan, ServiceNeed } from '../change.ts';
import { loginOfUser } from '../login.ts';
import { jsonKeys } from '../merge/json-keys.ts';
import { wholeFile } from '../merge/whole.ts';
import { Refused, urlOf } from '../request.ts';
import type { Request } from '../request.ts';

const DAEMON = '/etc/docker/daemon.json';
const DROP_IN = '/etc/systemd/system/docker.service.d/umbra-proxy.conf';
/** Of files ending in .crt and .pem in here. */
const AUTHORITIES = '/etc/docker/umbra-ca';

export function docker(request: Request): ClientPlan {
  const { view, registryOfView, strict, proxy, login: auth } = request;
  if (view !== undefined && proxy !== undefined) throw new Refused('the listener that is the proxy says which view docker sees: leave out --view, and name a proxy of that view');
  if (view !== undefined && registryOfView !== undefined) return docker({ ...request, registry: registryOfView, view: undefined });
  if (view !== undefined) throw new Refused("docker's mirrors take no path: give Umbra a listener with this view, or views.hostSuffix, and say --config, or --registry with its URL instead of --view");
  if (strict && proxy === undefined) throw new Refused('docker has no strict mode: it goes to Docker Hub whenever a mirror fails; give --proxy, which it cannot pass by');
  const plan = proxy === undefined ? mirrored(request) : proxied(request, proxy);
  const logins = loginOfUser('.docker/config.json', request);
  return {
    changes: [...plan.changes, ...logins],
    notes: auth === undefined || proxy !== undefined ? plan.notes : [...plan.notes, 'docker uses the login for images by Umbra’s own name; to a mirror it sends what it has for Docker Hub, if asked: give it a listener with mirror: true'],
  };
}

function mirrored(request: Request): ClientPlan {
  const { registry, upstreams } = request;
  const needs: ServiceNeed = { service: 'docker', action: 'restart', why: 'builds with BuildKit take mirrors up only then; for docker pull alone, a reload does' };
  if (!upstreams.includes('docker.io') && request.insecure.length > 0) return { changes: [jsonKeys({ path: DAEMON, lists: [{ key: 'insecure-registries', values: insecure(request) }], needs })], notes: [] };
  if (!upstreams.includes('docker.io')) throw new Refused('docker asks mirrors for Docker Hub’s images only, and docker.io is not among --upstreams; give --proxy for the others');
  const others = upstreams.filter((host) => host !== 'docker.io');
  const hosts = insecure(request);
  return {
    changes: [
      jsonKeys({
        path: DAEMON,
        lists: [
          { key: 'registry-mirrors', values: [urlOf(registry)] },
          ...(hosts.length === 0 ? [] : [{ key: 'insecure-registries', values: hosts }]),
        ],
        needs,
      }),
      ...authority(request),
    ],
    notes: [
      ...(registry.scheme === 'https' && isLoopback(new URL(urlOf(registry)).hostname.replace(/^\[|\]$/g, '')) ? ['builds with the BuildKit in dockerd pass a mirror by that has TLS and is called localhost or by a loopback address: give it another name in /etc/hosts'] : []),
      ...(others.length === 0 ? [] : [`docker asks mirrors for Docker Hub's images only, and pulls those of ${others.join(', ')} past Umbra; give --proxy for them`]),
    ],
  };
}

function proxied(request: Request, proxy: string): ClientPlan {
  const { registry, ca } = request;
  const own = new URL(urlOf(registry)).hostname.replace(/^\[|\]$/g, '');
  const environment = [
    `HTTPS_PROXY=${proxy}`,
    `HTTP_PROXY=${proxy}`,
    `NO_PROXY=${[...new Set(['localhost', '127.0.0.1', '::1', own])].join(',')}`,
    // Files of SSL_CERT_DIR are trusted besides the system's bundle (https://pkg.go.dev/crypto/x509), by dockerd alone.
    ...(ca === undefined ? [] : [`SSL_CERT_DIR=/etc/ssl/certs:/etc/pki/tls/certs:${AUTHORITIES}`]),
  ];
  const needs: ServiceNeed = { service: 'docker', action: 'restart', why: 'its environment changes', unit: true };
  const hosts = insecure(request);
  return {
    changes: [
      wholeFile({
        path: DROP_IN,
        content: `# Written by umbra client-config, which also takes it away.\n[Service]\n${environment.map((word) => `Environment="${word}"\n`).join('')}`,
        needs,
      }),
      ...(ca === undefined ? [] : [wholeFile({ path: `${AUTHORITIES}/umbra.crt`, content: ca, needs })]),
      ...(hosts.length === 0 ? [] : [jsonKeys({ path: DAEMON, lists: [{ key: 'insecure-registries', values: hosts }], needs })]),
      ...authority(request),
    ],
    notes: [
      ...(ca === undefined ? ['docker must trust the authority of the proxy’s certificates: give it with --ca, unless the system trusts it'] : []),
      '"proxies" in /etc/docker/daemon.json, if there, outweighs this',
    ],
  };
}

/** Without TLS docker speaks to hosts of 127.0.0.0/8 only, unless told. No reference of docker's begins with an IPv6 address. */
function insecure({ registry, insecure: others }: Request): readonly string[] {
  const { hostname } = new URL(urlOf(registry));
  return registry.scheme === 'https' || hostname.startsWith('[') || isLoopback(hostname) ? others : [registry.host, ...others];
}

/** Read at each pull and push. */
function authority({ registry, ca }: Request): readonly Change[] {
  return ca === undefined || registry.scheme === 'http' ? [] : [wholeFile({ path: `/etc/docker/certs.d/${registry.host}/umbra.crt`, content: ca })];
}
