/**
 * containerd, nerdctl and, through CRI, the kubelet: a hosts.toml for each registry, read at each pull, in a folder that
 * config.toml must name. https://github.com/containerd/containerd/blob/main/docs/hosts.md
 */
import type { ClientPlan } from '../change.ts';
import { tomlBlock } from '../merge/toml-block.ts';
import { wholeFile } from '../merge/whole.ts';
import { pathOf, urlOf } from '../request.ts';
import type { Request } from '../request.ts';
import { OURS, list, quoted } from '../toml-words.ts';
import { criHostsDir } from './containerd-config.ts';

export function containerd(request: Request): ClientPlan {
  const { registry, upstreams, strict, ca, login, machine } = request;
  const withCa = ca !== undefined && registry.scheme === 'https';
  const secret = login !== undefined;

  const settings = (capabilities: readonly string[], overridden: boolean): string[] => [
    `capabilities = ${list(capabilities)}`,
    ...(overridden ? ['override_path = true'] : []),
    // Relative to the folder of the registry.
    ...(withCa ? ['ca = "../umbra-ca.pem"'] : []),
  ];
  // The kubelet's logins are for the registry that an image's name says, so this one goes with the host.
  const header = secret ? [`Authorization = ${quoted(`Basic ${login}`)}`] : [];
  /** `server` is what is asked last, besides upstream if there is none; undefined: upstream. */
  const file = (url: string, server: string | undefined, ours: boolean, capabilities: readonly string[], overridden: boolean): { content: string; block: string } => {
    const words = settings(capabilities, overridden);
    const block = [`[host.${quoted(url)}]`, ...words.map((word) => `  ${word}`), ...(secret ? [`  [host.${quoted(url)}.header]`, ...header.map((word) => `    ${word}`)] : [])].join('\n');
    const root = server === undefined ? '' : [`server = ${quoted(server)}`, ...(ours ? words : []), ...(ours && secret ? ['[header]', ...header.map((word) => `  ${word}`)] : []), '\n'].join('\n');
    return { content: `${OURS}${root}${block}\n`, block: `${block}\n` };
  };

  const mirrors = upstreams.map((host) => {
    const url = `${urlOf(registry)}/v2/${pathOf(request, host)}`;
    const text = file(url, strict ? url : `https://${host === 'docker.io' ? 'registry-1.docker.io' : host}`, strict, ['pull', 'resolve'], true);
    return tomlBlock({
      path: `${machine.hostsDir}/${host}/hosts.toml`,
      ...text,
      place: 'first',
      keys: [['host', url]],
      ...(strict && { objection: ALONE }),
      secret,
    });
  });
  const own = registry.scheme === 'http' || withCa || secret ? [file(urlOf(registry), urlOf(registry), true, ['pull', 'resolve', 'push'], false)] : [];
  // For those without a folder of their own: containerd says in `?ns=` which one it means.
  const others = request.others ? [file(urlOf(registry), strict ? urlOf(registry) : undefined, strict, ['pull', 'resolve'], false)] : [];
  const insecure = request.insecure.map((host) => {
    const url = `http://${host}`;
    const block = `[host.${quoted(url)}]\n  capabilities = ${list(['pull', 'resolve', 'push'])}\n`;
    return tomlBlock({ path: `${machine.hostsDir}/${host}/hosts.toml`, content: `${OURS}server = ${quoted(url)}\n\n${block}`, block, place: 'first', keys: [['host', url]] });
  });
  return {
    changes: [
      ...criHostsDir(machine.hostsDir, machine.criFile),
      ...mirrors,
      ...own.map((text) => tomlBlock({ path: `${machine.hostsDir}/${registry.host}/hosts.toml`, ...text, place: 'first', keys: [['host', urlOf(registry)]], secret })),
      ...insecure,
      ...others.map((text) => tomlBlock({ path: `${machine.hostsDir}/_default/hosts.toml`, ...text, place: 'first', keys: [['host', urlOf(registry)]], ...(strict && { objection: ALONE }), secret })),
      ...(withCa ? [wholeFile({ path: `${machine.hostsDir}/umbra-ca.pem`, content: ca })] : []),
    ],
    notes: [`nerdctl looks into /etc/containerd/certs.d by itself; ctr wants --hosts-dir ${machine.hostsDir}`],
  };
}

/** What stands in a file of others where nobody but Umbra is to be asked. */
const ALONE = (): string => 'it is there already and not ours, and in strict mode nobody but Umbra may be asked: move it away';
