/**
 * Manifests for a cluster of Kubernetes that is there already: a DaemonSet on the host's network, whose init container has
 * `umbra client-config` tell the runtime of the node. Of no use to the images that a node needs to become one.
 */
import { base64, isPlain } from '../node-file.ts';
import type { NodeFile } from '../node-file.ts';
import type { NodeModel } from '../node-model.ts';
import { CACHE_FOLDER, CONFIG_FOLDER, STATE_FOLDER } from '../places.ts';
import { proxyEnvironment } from '../proxy-files.ts';
import { printYaml } from '../yaml-text.ts';

export const NAMESPACE = 'umbra-system';
/** As deploy/image/build has it. */
export const USER = 1000;
const CONFIG_MOUNT = '/conf';
/** The node's files, in the init container. */
export const HOST = '/host';

export interface DaemonSetParts {
  /** What the program reads. */
  readonly own: readonly NodeFile[];
  /** POSIX, with the node's files at `HOST`; run by the image's sh as root. */
  readonly prepare: string;
  /** Changes when what the program reads changes, since it reads it at start. */
  readonly fingerprint: string;
}

/** @param withSecret false: for an upgrade, which needs no new token */
export function daemonSet(model: NodeModel, { own, prepare, fingerprint }: DaemonSetParts, about: string, withSecret = true): string {
  const secret = own.filter((file) => file.secret);
  const plain = own.filter((file) => !file.secret);
  const name = nameOf(model);
  const documents = [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE, labels: { 'pod-security.kubernetes.io/enforce': 'privileged' } } },
    { apiVersion: 'v1', kind: 'ConfigMap', metadata: metadata(name), data: Object.fromEntries(plain.filter(({ content }) => isPlain(content)).map(entry)), binaryData: Object.fromEntries(plain.filter(({ content }) => !isPlain(content)).map(encoded)) },
    ...(withSecret ? [{ apiVersion: 'v1', kind: 'Secret', metadata: metadata(name), type: 'Opaque', data: Object.fromEntries(secret.map(encoded)) }] : []),
    workload(model, [prepareContainer(model, prepare)], serveContainer(model), [
      { name: 'conf', projected: { defaultMode: 0o440, sources: [{ configMap: { name } }, { secret: { name } }] } },
      { name: 'host', hostPath: { path: '/', type: 'Directory' } },
      { name: 'state', hostPath: { path: STATE_FOLDER, type: 'DirectoryOrCreate' } },
      { name: 'cache', hostPath: { path: CACHE_FOLDER, type: 'DirectoryOrCreate' } },
    ], { 'umbra/config': fingerprint }),
  ];
  return documents.map((document, i) => printYaml(document, i === 0 ? about : undefined)).join('---\n');
}

/** The other way round: the same DaemonSet, which takes back what it did and then waits to be deleted. */
export function removal(model: NodeModel, undo: string, about: string): string {
  const idle = {
    name: 'done',
    image: model.program.image,
    command: ['busybox', 'sleep', 'infinity'],
    resources: RESOURCES,
    securityContext: LEAST,
  };
  const name = nameOf(model);
  return printYaml(
    workload(model, [prepareContainer(model, undo)], idle, [{ name: 'host', hostPath: { path: '/', type: 'Directory' } }], {}),
    `${about}\nTakes the registry from the nodes. Apply it, and when it is rolled out, delete it:\nkubectl apply -f FILE && kubectl -n ${NAMESPACE} rollout status daemonset/${name} && kubectl -n ${NAMESPACE} delete daemonset,configmap,secret/${name}`,
  );
}

function nameOf({ role }: NodeModel): string {
  return `umbra-${role}`;
}

function metadata(name: string): object {
  return { name, namespace: NAMESPACE, labels: { 'app.kubernetes.io/name': name } };
}

const RESOURCES = { requests: { cpu: '50m', memory: '128Mi' }, limits: { memory: '512Mi' } };
const LEAST = {
  runAsUser: USER,
  runAsGroup: USER,
  runAsNonRoot: true,
  readOnlyRootFilesystem: true,
  allowPrivilegeEscalation: false,
  capabilities: { drop: ['ALL'] },
};

/** Masters and workers have one each, since they tell their role to the service. */
function workload(model: NodeModel, initContainers: readonly object[], container: object, volumes: readonly object[], annotations: Readonly<Record<string, string>>): object {
  const name = nameOf(model);
  const labels = { 'app.kubernetes.io/name': name };
  const operator = model.role === 'master' ? 'Exists' : 'DoesNotExist';
  return {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: metadata(name),
    spec: {
      selector: { matchLabels: labels },
      updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: '10%' } },
      template: {
        metadata: { labels, annotations },
        spec: {
          hostNetwork: true,
          // Of the node, since it is there before the cluster's own.
          dnsPolicy: 'Default',
          priorityClassName: 'system-node-critical',
          automountServiceAccountToken: false,
          enableServiceLinks: false,
          terminationGracePeriodSeconds: 60,
          tolerations: [{ operator: 'Exists' }],
          affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchExpressions: [{ key: 'node-role.kubernetes.io/control-plane', operator }, { key: 'kubernetes.io/os', operator: 'In', values: ['linux'] }] }] } } },
          securityContext: { fsGroup: USER, seccompProfile: { type: 'RuntimeDefault' } },
          initContainers,
          containers: [container],
          volumes,
        },
      },
    },
  };
}

/** It writes into the node's files and restarts its runtime. */
function prepareContainer({ program }: NodeModel, script: string): object {
  return {
    name: 'prepare',
    image: program.image,
    command: ['sh', '-c', unexpanded(script)],
    resources: { requests: { cpu: '50m', memory: '64Mi' } },
    securityContext: { privileged: true, runAsUser: 0, runAsGroup: 0 },
    volumeMounts: [{ name: 'host', mountPath: HOST }],
  };
}

function serveContainer({ program, port, proxies }: NodeModel): object {
  const probe = (path: string): object => ({ httpGet: { host: '127.0.0.1', port, path } });
  return {
    name: 'registry',
    image: program.image,
    command: ['umbra', 'serve', '-c', `${CONFIG_MOUNT}/umbra.yaml`],
    env: [
      { name: 'NODE_COMPILE_CACHE', value: `${CACHE_FOLDER}/compiled` },
      ...(proxies === undefined ? [] : proxyEnvironment(proxies).map(([name, value]) => ({ name, value: unexpanded(value) }))),
    ],
    // So that no other pod of the host's network is put where it could not listen.
    ports: [{ name: 'registry', containerPort: port, hostPort: port, hostIP: '127.0.0.1', protocol: 'TCP' }],
    startupProbe: { ...probe('/healthz'), periodSeconds: 2, failureThreshold: 60 },
    livenessProbe: { ...probe('/healthz'), periodSeconds: 20, timeoutSeconds: 5 },
    readinessProbe: { ...probe('/readyz'), periodSeconds: 10, timeoutSeconds: 5 },
    resources: RESOURCES,
    securityContext: LEAST,
    volumeMounts: [
      { name: 'conf', mountPath: CONFIG_MOUNT, readOnly: true },
      { name: 'state', mountPath: STATE_FOLDER },
      { name: 'cache', mountPath: CACHE_FOLDER },
    ],
  };
}

/** Kubernetes takes `$(NAME)` in commands and variables for a variable of the container, and `$$` for `$`. */
function unexpanded(text: string): string {
  return text.replaceAll('$', '$$$$'); // in a replacement, $$ is $
}

function fileName(path: string): string {
  return path.slice(CONFIG_FOLDER.length + 1);
}

function entry({ path, content }: NodeFile): readonly [string, string] {
  return [fileName(path), content];
}

function encoded({ path, content }: NodeFile): readonly [string, string] {
  return [fileName(path), base64(content)];
}
