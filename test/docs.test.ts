/**
 * The documentation keeps its word: links lead somewhere, example configurations load, and the commands, options, keys,
 * metrics, files and make targets that it speaks of exist.
 */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve as resolvePath } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { run } from '../src/cli/program.ts';
import { loadConfig } from '../src/config/load.ts';
import { createMetrics } from '../src/observe/metrics.ts';
import { measureProcess } from '../src/observe/process-metrics.ts';

const ROOT = resolvePath(import.meta.dirname, '..');
/** Made for tests; nobody has its key. */
const AUTHORITY = `-----BEGIN CERTIFICATE-----
MIIBejCCASGgAwIBAgIURdF2PtcguQJU5/uyi5TB34eo42gwCgYIKoZIzj0EAwIw
EjEQMA4GA1UEAwwHY2EudGVzdDAgFw0yNjExMjIwNjU0NDVaGA8yMTI2MTAyOTA2
NTQ0NVowEjEQMA4GA1UEAwwHY2EudGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEH
A0IABBQipN4n/a66/1mnp/j1A+zAQj/BYuWhcJyyFH2s5ogTD4VG0Tv5twUIp/W+
cY5xuvKy8R7IzLeUjNmMXGIgT8mjUzBRMB0GA1UdDgQWBBTNv041tZoqqWx8V+Gm
cmxQTOF5SDAfBgNVHSMEGDAWgBTNv041tZoqqWx8V+GmcmxQTOF5SDAPBgNVHRMB
Af8EBTADAQH/MAoGCCqGSM49BAMCA0cAMEQCIGFcW8RMBCYmy+SeYDpS6WuK1WaF
LpwtuX5g0eOTwergAiB1zaQ1qENnnsBvBXeir5Kidi06vQQ4VDjjkBtCtixFYQ==
-----END CERTIFICATE-----`;

/** The cloud that examples name. */
const CLOUDS = 'clouds: { registry: { auth: { auth_url: "https://keystone.example.org", username: umbra, password: x, project_name: registry } } }';

interface Page {
  /** From the root of the project. */
  readonly file: string;
  readonly text: string;
  /** Fenced blocks, by what follows the fence. */
  readonly blocks: readonly { readonly language: string; readonly text: string }[];
  /** What stands between single backticks. */
  readonly codes: readonly string[];
}

const pages = ['.', 'docs', 'docs/decisions'].flatMap((folder) =>
  readdirSync(join(ROOT, folder))
    .filter((name) => name.endsWith('.md'))
    .map((name) => readPage(join(folder, name))),
);

function readPage(file: string): Page {
  const text = readFileSync(join(ROOT, file), 'utf8');
  const fenced = /^( *)```(.*)\n([^]*?)^ *```$/gm;
  const blocks = Array.from(text.matchAll(fenced), ([, indent = '', language = '', inner = '']) => ({
    language,
    text: inner.replace(new RegExp(`^${indent}`, 'gm'), ''),
  }));
  const prose = text.replace(fenced, '');
  return { file, text: prose, blocks, codes: Array.from(prose.matchAll(/`([^`\n]+)`/g), ([, code = '']) => code) };
}

/** Each thing that pages say, with the page that says it. */
function said<T>(things: (page: Page) => readonly T[]): (readonly [T, string])[] {
  return pages.flatMap((page) => things(page).map((thing) => [thing, page.file] as const));
}

test('the pages are found', () => {
  expect(pages.map(({ file }) => file)).toEqual(expect.arrayContaining(['README.md', 'docs/run.md', 'docs/decisions/0001-valibot.md']));
});

describe('links', () => {
  const links = said(({ text }) => Array.from(text.matchAll(/\]\(([^)\s]+)\)/g), ([, target = '']) => target).filter((target) => !/^[a-z]+:/.test(target)));

  test('lead to files, and to headings in them', () => {
    expect(links.length).toBeGreaterThan(30);
    expect(links.filter(([target, from]) => !isThere(target, from))).toEqual([]);
  });

  test('every page of docs/ is in its index', () => {
    const listed = new Set(links.filter(([, from]) => from === 'docs/README.md').map(([target]) => join('docs', target)));
    expect(pages.map(({ file }) => file).filter((file) => /^docs\/(?!README)[^/]+$/.test(file) && !listed.has(file))).toEqual([]);
  });
});

function isThere(target: string, from: string): boolean {
  const [path = '', heading] = target.split('#');
  const file = path === '' ? from : join(dirname(from), path);
  if (!existsSync(join(ROOT, file))) return false;
  return heading === undefined || (file.endsWith('.md') && headings(readPage(file)).has(heading));
}

/** As forges name them: lower case, hyphens for spaces, no punctuation; the second of a name gets `-1`. */
function headings({ text }: Page): ReadonlySet<string> {
  const seen = new Map<string, number>();
  return new Set(
    Array.from(text.matchAll(/^#+ (.*)$/gm), ([, title = '']) => {
      const slug = title.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, '').trim().replace(/\s/g, '-');
      const before = seen.get(slug) ?? 0;
      seen.set(slug, before + 1);
      return before === 0 ? slug : `${slug}-${before}`;
    }),
  );
}

describe('configurations, which begin with a line # umbra.yaml', () => {
  const folder = mkdtempSync(join(tmpdir(), 'umbra-docs-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  const examples = said(({ blocks }) => blocks.filter(({ language, text }) => language === 'yaml' && text.startsWith('# umbra.yaml\n')).map(({ text }) => text));
  const hash = `$2y$10$${'a'.repeat(53)}`;
  const env = { HUB_USER: 'me', OPS_HASH: hash };
  /** What the files hold that examples name, by the key that names them. */
  const contents: Readonly<Record<string, string>> = { cert: 'x', key: 'x', htpasswd: `dev:${hash}`, passwordFile: 'x', passwordHashFile: hash, tempUrlKeyFile: 'x', secretAccessKeyFile: 'x', urlFile: 'postgres://umbra@db.example/umbra', ca: AUTHORITY, encryptionKeyFile: 'k'.repeat(32), adminPasswordFile: 'x' };

  /** All paths moved into the folder, and the files made that must be there. */
  const moved = (value: unknown, key = ''): unknown => {
    if (Array.isArray(value)) return value.map((item) => moved(item, key));
    if (typeof value === 'object' && value !== null) return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, moved(inner, name)]));
    if (key === 'passwordHash' && value === '$2y$10$…') return hash;
    if (typeof value !== 'string' || (contents[key] === undefined && !value.startsWith('/'))) return value;
    const path = join(folder, value);
    if (contents[key] !== undefined) {
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, contents[key]);
    }
    return path;
  };

  test('are there', () => expect(examples.length).toBeGreaterThan(8));

  test.each(examples.map(([text, file], i) => [`${i + 1}, of ${file}`, text] as const))('load: %s', async (_, text) => {
    const file = join(folder, 'umbra.yaml');
    writeFileSync(file, stringify(moved(parse(text))));
    writeFileSync(join(folder, 'clouds.yaml'), CLOUDS);
    await expect(loadConfig(file, { cwd: folder, env, processors: 2 })).resolves.toBeDefined();
  });

  test('are all that is YAML, but comments for editors', () => {
    const others = said(({ blocks }) => blocks.filter(({ language, text }) => language === 'yaml' && !text.startsWith('#')).map(({ text }) => text));
    expect(others).toEqual([]);
  });
});

describe('the command line', () => {
  /** The words of each command and, apart, the rest of its line. */
  const commands = said(({ blocks, codes }): readonly (readonly [string, string])[] => {
    const lines = [...blocks.filter(({ language }) => ['', 'sh', 'ini'].includes(language)).flatMap(({ text }) => text.split('\n')), ...codes];
    return lines.flatMap((line) =>
      Array.from(line.replace(/\s#.*/, '').matchAll(/(?:^(?:\$ )?|bin\/|&& )umbra((?: [a-z]+(?:-[a-z]+)*(?= |$))*)((?: [^|;&]*)?)/g), ([, words = '', rest = '']) => [words.trim(), rest] as const),
    );
  })
    .map(([[words, rest], file]) => [words, rest, file] as const)
    .filter(([words, rest]) => words !== '' || rest.includes(' -'));

  async function help(path: string): Promise<string> {
    const lines: string[] = [];
    const output = { result: (text: string) => void lines.push(text), bytes: () => undefined, note: (text: string) => void lines.push(text) };
    await run([...path.split(' ').filter((word) => word !== ''), '--help'], { cwd: ROOT, env: {}, processors: 1, output }, { umbra: '0', node: '0', platform: 'none' });
    return lines.join('\n');
  }

  test('is spoken of', () => expect(commands.length).toBeGreaterThan(8));

  test.each(commands)('knows umbra %s%s (%s)', async (words, rest) => {
    const text = await help(words);
    expect(text).toMatch(new RegExp(`^Usage: umbra ${words}`));
    for (const [option] of rest.matchAll(/(?<=[\s[])--?[a-z][a-z-]*/g)) expect(text).toMatch(new RegExp(`(^|[\\s,])${option}\\b`));
  });
});

test('keys of the configuration are spelled as docs/configure.md lists them', () => {
  const keys = new Set(Array.from(readPage('docs/configure.md').text.matchAll(/^\| `([^`]+)`/gm), ([, key = '']) => key));
  const roots = new Set(Array.from(keys, (key) => key.split(/[.[]/)[0]));
  // Bodies of the API have a `node`, too.
  const named = said(({ file, codes }) => (file === 'docs/clusters-api.md' ? [] : codes).filter((code) => /^[a-zA-Z]+(\[\])?(\.[a-zA-Z]+(\[\])?)+$/.test(code) && roots.has(code.split(/[.[]/)[0]) && !code.includes('.example.')));
  expect(named.length).toBeGreaterThan(10);
  expect(named.filter(([key]) => !keys.has(key))).toEqual([]);
});

test('metrics are those that are measured', () => {
  const { exposition } = createMetrics({ upstreams: ['docker.io'], version: '0', nowMs: () => 0 });
  measureProcess(exposition, 0)();
  const known = new Set(exposition.snapshot().map(({ name }) => name));
  const named = said(({ codes }) => codes.filter((code) => /^umbra_[a-z_]+$/.test(code)));
  expect(named.length).toBeGreaterThan(5);
  expect(named.filter(([name]) => !known.has(name))).toEqual([]);
});

test('files of the project that are named are there', () => {
  const named = said(({ codes }) => codes.filter((code) => /^(?:src|test|bench|bin|docs|\.ci)\/[\w./-]*$/.test(code)));
  expect(named.length).toBeGreaterThan(40);
  expect(named.filter(([path]) => !existsSync(join(ROOT, path)))).toEqual([]);
});

test('targets of make are there', () => {
  const targets = new Set(/^\.PHONY: (.*)$/m.exec(readFileSync(join(ROOT, 'Makefile'), 'utf8'))?.[1]?.split(' '));
  const named = said(({ blocks, codes }) =>
    [...blocks.flatMap(({ text }) => text.split('\n')), ...codes].flatMap((line) => Array.from(line.matchAll(/(?:^|&& )make (?:-C \S+ )?([a-z]+)/g), ([, target = '']) => target)),
  );
  expect(named.length).toBeGreaterThan(8);
  expect(named.filter(([target]) => !targets.has(target))).toEqual([]);
});
