import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { Secret } from '../config/config.ts';
import type { Access } from './access-line.ts';
import { createLog, parseLevel, type LogOptions } from './log.ts';

const NOW = Date.parse('2026-11-22T06:04:05.007Z');
const access: Access = {
  method: 'GET',
  url: '/v2/library/nginx/manifests/latest?ns=docker.io',
  status: 200,
  bytesOut: 1234,
  bytesIn: 0,
  ms: 1.26,
  client: '127.0.0.1',
  cut: false,
  source: 'view=main',
  user: 'anonymous',
  view: 'main',
  name: 'docker.io/library/nginx',
  agent: 'skopeo/1.18.0',
};

let lines: string[];
beforeEach(() => void (lines = []));

function logger(options: Partial<LogOptions> = {}): ReturnType<typeof createLog> {
  return createLog({ level: 'info', format: 'json', write: (line) => lines.push(line), nowMs: () => NOW, ...options });
}

function onlyLine(): unknown {
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatch(/^[^\n]+\n$/);
  return JSON.parse(lines[0] ?? '');
}

describe('an event', () => {
  it('is a line of JSON with its time, level, words and fields', () => {
    logger().warn({ file: 'a', count: 2 }, 'certificate not reloaded');
    expect(onlyLine()).toEqual({ time: '2026-11-22T06:04:05.007Z', level: 'warn', msg: 'certificate not reloaded', file: 'a', count: 2 });
  });

  it('tells an error with its causes', () => {
    const error = new TypeError('no store', { cause: Object.assign(new Error('denied'), { code: 'EACCES' }) });
    logger().error({ error }, 'failed');
    expect(onlyLine()).toMatchObject({
      error: {
        name: 'TypeError',
        message: 'no store',
        stack: expect.stringContaining('log.test.ts'),
        cause: { message: 'denied', code: 'EACCES' },
      },
    });
  });

  it('tells no secret, wherever it stands', () => {
    logger().info(
      {
        password: 'hunter2',
        headers: { authorization: 'Bearer hunter2', Cookie: 'hunter2' },
        config: { key: new Secret('hunter2') },
        error: new Error('GET https://s3/x?X-Amz-Signature=hunter2 failed', { cause: 'Basic hunter2' }),
        list: ['http://user:hunter2@host/'],
      },
      'x',
    );
    expect(lines.join('')).not.toContain('hunter2');
    expect(onlyLine()).toMatchObject({
      password: '***',
      headers: { authorization: '***', Cookie: '***' },
      config: { key: '***' },
      list: ['http://***@host/'],
    });
  });

  it('survives fields that JSON cannot carry', () => {
    const loop: Record<string, unknown> = {};
    loop['loop'] = loop;
    logger().info(
      {
        loop,
        big: 2n,
        f: () => 1,
        s: Symbol('s'),
        bytes: Buffer.from('secret'),
        when: new Date(NOW),
        map: new Map([['a', 1]]),
        none: undefined,
        nil: null,
      },
      'x',
    );
    const line = onlyLine();
    expect(line).toMatchObject({
      big: '2',
      s: 'Symbol(s)',
      bytes: '6 bytes',
      when: '2026-11-22T06:04:05.007Z',
      map: [['a', 1]],
      nil: null,
    });
    expect(line).not.toHaveProperty('none');
  });

  it('is told from its level on', () => {
    const log = logger({ level: 'warn' });
    log.debug({}, 'a');
    log.info({}, 'b');
    log.request(access);
    log.warn({}, 'c');
    log.error({}, 'd');
    expect(lines.map((line) => (JSON.parse(line) as { msg: string }).msg)).toEqual(['c', 'd']);
    lines = [];
    const silent = logger({ level: 'silent' });
    silent.error({}, 'e');
    expect(lines).toEqual([]);
  });
});

describe('a request', () => {
  it('is one line that names the source of its answer', () => {
    logger().request(access);
    expect(onlyLine()).toEqual({
      time: '2026-11-22T06:04:05.007Z',
      level: 'info',
      msg: 'request',
      method: 'GET',
      url: '/v2/library/nginx/manifests/latest?ns=docker.io',
      status: 200,
      bytes: 1234,
      ms: 1.3,
      source: 'view=main',
      view: 'main',
      name: 'docker.io/library/nginx',
      client: '127.0.0.1',
      user: 'anonymous',
      agent: 'skopeo/1.18.0',
    });
  });

  it('says what it received and that it was cut off, and leaves out what is not known', () => {
    logger().request({ method: 'PATCH', url: '/', status: 499, bytesOut: 0, bytesIn: 77, ms: 0, client: '::1', cut: true });
    expect(onlyLine()).toEqual({
      time: expect.any(String),
      level: 'info',
      msg: 'request',
      method: 'PATCH',
      url: '/',
      status: 499,
      bytes: 0,
      ms: 0,
      bytesIn: 77,
      cut: true,
      client: '::1',
    });
  });

  it('hides the secrets of a query', () => {
    logger().request({ ...access, url: '/v2/a/blobs/uploads/1?_state=hunter2' });
    expect(onlyLine()).toMatchObject({ url: '/v2/a/blobs/uploads/1?_state=***' });
  });

  const hostile = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.string(),
    fc.constantFrom('"', '\\', '\n', '\u2028', '\ud800', '\u001b[31m', '"}\n{"msg":"forged'),
  );

  it('is one line of JSON that says what the client sent, whatever that is', () => {
    fc.assert(
      fc.property(hostile, hostile, hostile, (method, agent, name) => {
        lines = [];
        logger().request({ ...access, method, agent, name });
        // What is no text (half a surrogate pair) comes back as such from the escape that JSON has for it.
        expect(onlyLine()).toMatchObject({ method, agent, name });
        expect(lines[0]).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f]/); // oxlint-disable-line no-control-regex
      }),
    );
  });

  it('is bounded', () => {
    logger().request({ ...access, url: `/${'a'.repeat(60_000)}`, agent: 'b'.repeat(60_000) });
    expect(lines[0]?.length).toBeLessThan(5_000);
    onlyLine();
  });
});

describe('for people', () => {
  it('a request, an event and its error read in lines without control characters', () => {
    const log = logger({ format: 'pretty' });
    log.request({ ...access, url: '/v2/\u001b[2J', bytesOut: 3 * 1024 * 1024 });
    log.error({ file: 'x\u0007', error: new Error('outer', { cause: new Error('inner') }) }, 'it broke');
    const text = lines.join('').replace(/\u001b\[\d+m/g, ''); // oxlint-disable-line no-control-regex -- our colours
    expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f]/); // oxlint-disable-line no-control-regex
    expect(text).toContain('06:04:05.007 GET   /v2/�[2J 200 3.0MiB 1ms view=main anonymous 127.0.0.1\n');
    expect(text).toContain('error it broke file=x�\n');
    expect(text).toMatch(/^ {4}Error: outer\n[^]*caused by Error: inner/m);
  });
});

it('reads its level from the environment', () => {
  expect(parseLevel(undefined)).toBe('info');
  expect(parseLevel('WARN')).toBe('warn');
  expect(parseLevel('silent')).toBe('silent');
  for (const wrong of ['', 'verbose', 'toString']) expect(() => parseLevel(wrong)).toThrow('expected debug, info, warn, error or silent');
});
