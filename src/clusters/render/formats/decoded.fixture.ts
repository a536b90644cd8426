/** What a machine makes of each format: the files, as they then stand there. */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { parse, parseAllDocuments } from 'yaml';

/** Path → mode and bytes (as text). */
export type Decoded = Readonly<Record<string, readonly [mode: number, content: string]>>;

interface Written {
  readonly path: string;
  readonly permissions: string;
  readonly encoding?: string;
  readonly content: string;
}

export function cloudInitFiles(text: string): Decoded {
  return written((parse(text, { version: '1.1' }) as { write_files?: Written[] }).write_files ?? []);
}

export function written(files: readonly Written[]): Decoded {
  return Object.fromEntries(files.map(({ path, permissions, encoding, content }) => [path, [Number.parseInt(permissions, 8), encoding === undefined ? content : unbase64(content)]]));
}

export function unbase64(text: string): string {
  return Buffer.from(text, 'base64').toString();
}

const fromDataUrl = (url: string): string => unbase64(url.replace(/^data:;base64,/, ''));

interface Transpiled {
  readonly storage: { readonly files: readonly { readonly path: string; readonly mode: number; readonly contents: { readonly source?: string; readonly inline?: string } }[] };
  readonly systemd: { readonly units: readonly { readonly name: string; readonly enabled: boolean; readonly contents: string }[] };
}

/** Of Ignition, and of Butane, whose words are the same but for `inline`. */
function machineFiles({ storage, systemd }: Transpiled): Decoded {
  return Object.fromEntries([
    ...storage.files.map(({ path, mode, contents }) => [path, [mode, contents.inline ?? fromDataUrl(contents.source ?? '')]]),
    ...systemd.units.filter(({ enabled }) => enabled).map(({ name, contents }) => [`/etc/systemd/system/${name}`, [0o644, contents]]),
  ]);
}

export function ignitionFiles(text: string): Decoded {
  return machineFiles(JSON.parse(text) as Transpiled);
}

/** Butane takes YAML 1.1's octal numbers and 1.2's texts, as yaml.v3 does. */
export function butaneFiles(text: string): Decoded {
  return machineFiles(parse(text, { version: '1.1' }) as Transpiled);
}

export function kubeadmFiles(text: string): Decoded {
  return written((parse(text, { version: '1.1' }) as { files: Written[] }).files);
}

interface Hot {
  readonly parameters: Readonly<Record<string, { readonly hidden: boolean; readonly default: string; readonly constraints: readonly { readonly allowed_pattern: string }[] }>>;
  readonly resources: Readonly<Record<string, { readonly properties: { readonly config?: unknown; readonly parts?: unknown } }>>;
}

/** As Heat resolves it, and cloud-init merges the parts. */
export function hotFiles(text: string): Decoded {
  const { parameters, resources } = parse(text, { version: '1.1' }) as Hot;
  const resolve = (value: unknown): string => {
    if (typeof value === 'string') return value;
    const { list_join: join, get_param: name } = value as { list_join?: [string, unknown[]]; get_param?: string };
    if (join !== undefined) return join[1].map(resolve).join(join[0]);
    const parameter = parameters[name ?? ''];
    if (parameter === undefined || !parameter.hidden || !new RegExp(`^(?:${parameter.constraints[0]?.allowed_pattern})$`).test(parameter.default)) throw new Error(`no hidden parameter ${name}, or not as it must be`);
    return parameter.default;
  };
  const init = resources['umbra_init']?.properties.parts ?? [];
  const parts = (init as { config: { get_resource: string }; subtype: string }[]).filter(({ subtype }) => subtype === 'cloud-config');
  return Object.assign({}, ...parts.map(({ config }) => cloudInitFiles(resolve(resources[config.get_resource]?.properties.config))));
}

interface Manifest {
  readonly kind: string;
  readonly data?: Readonly<Record<string, string>>;
  readonly binaryData?: Readonly<Record<string, string>>;
}

/** Of the program's files, by the names that it sees them under. */
export function daemonSetFiles(text: string): Readonly<Record<string, string>> {
  const documents = parseAllDocuments(text, { version: '1.1' }).map((document) => document.toJS() as Manifest);
  return Object.fromEntries(
    documents.flatMap(({ kind, data = {}, binaryData = {} }) => [
      ...Object.entries(data).map(([key, value]) => [key, kind === 'Secret' ? unbase64(value) : value]),
      ...Object.entries(binaryData).map(([key, value]) => [key, unbase64(value)]),
    ]),
  ) as Record<string, string>;
}

/** As the kubelet does: https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/. */
export function expanded(text: string, variables: Readonly<Record<string, string>>): string {
  return text.replaceAll(/\$(?:(\$)|\(([^)]*)\))/g, (all: string, dollar: string | undefined, name: string | undefined) => (dollar === undefined ? (variables[name ?? ''] ?? all) : '$'));
}

/** GNU tar's word, not ours. */
export function tarFiles(body: Buffer): Decoded {
  return inFolder((folder) => {
    writeFileSync(join(folder, 'a.tar'), body);
    mkdirSync(join(folder, 'root'));
    execFileSync('tar', ['-xpf', '../a.tar', '--no-same-owner'], { cwd: join(folder, 'root') });
    return filesBelow(join(folder, 'root'));
  });
}

/** It is run, by the machine's own sh. */
export function shellFiles(script: string): Decoded {
  return inFolder((folder) => {
    writeFileSync(join(folder, 'script'), script);
    mkdirSync(join(folder, 'root'));
    execFileSync('sh', ['script'], { cwd: folder, env: { PATH: process.env['PATH'] ?? '', UMBRA_ROOT: join(folder, 'root') } });
    return filesBelow(join(folder, 'root'));
  });
}

function inFolder<Result>(use: (folder: string) => Result): Result {
  const folder = mkdtempSync(join(tmpdir(), 'umbra-render-'));
  try {
    return use(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

export function filesBelow(root: string): Decoded {
  return Object.fromEntries(
    readdirSync(root, { recursive: true, encoding: 'utf8' })
      .filter((name) => statSync(join(root, name)).isFile())
      .map((name) => [`/${name}`, [statSync(join(root, name)).mode & 0o777, readFileSync(join(root, name), 'utf8')]]),
  );
}

/** Puts an executable there. */
export function program(path: string, script: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, script);
  chmodSync(path, 0o755);
}
