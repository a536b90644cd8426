import { describe, expect, it } from 'vitest';
import { budget, readRateLimit, readRetryAfter, type RateLimit } from './budget.ts';
import type { ResponseHeaders } from '../drivers/exchange.ts';

const NOW = Date.parse('2026-11-22T06:00:00Z');

describe('rate limit headers', () => {
  it.each<[string, ResponseHeaders, RateLimit | undefined]>([
    ['none', {}, undefined],
    ['Docker Hub', { 'ratelimit-limit': '100;w=21600', 'ratelimit-remaining': '76;w=21600' }, { remaining: 76, resetMs: undefined, windowMs: 21_600_000 }],
    ['draft 3', { 'ratelimit-limit': '100, 100;w=60', 'ratelimit-remaining': '12', 'ratelimit-reset': '30' }, { remaining: 12, resetMs: 30_000, windowMs: undefined }],
    ['draft 7', { ratelimit: 'limit=100, remaining=50, reset=5' }, { remaining: 50, resetMs: 5000, windowMs: undefined }],
    ['draft 8', { ratelimit: '"default";r=50;t=30' }, { remaining: 50, resetMs: 30_000, windowMs: undefined }],
    ['the scarcest of several', { ratelimit: '"day";r=500;t=3000, "hour";r=3;t=30' }, { remaining: 3, resetMs: 30_000, windowMs: undefined }],
    ['a reset that is a moment', { 'ratelimit-remaining': '0', 'ratelimit-reset': String(NOW / 1000 + 60) }, { remaining: 0, resetMs: 60_000, windowMs: undefined }],
    ['nonsense', { 'ratelimit-remaining': 'many', ratelimit: 'soon' }, undefined],
  ])('%s', (_, headers, expected) => {
    expect(readRateLimit(headers, NOW)).toEqual(expected);
  });
});

it.each<[string, string | undefined, number | undefined]>([
  ['none', undefined, undefined],
  ['seconds', '120', 120_000],
  ['a date', 'Sun, 22 Nov 2026 06:01:00 GMT', 60_000],
  ['a date that has passed', 'Sun, 22 Nov 2026 05:00:00 GMT', 0],
  ['more than a day', '99999999', 86_400_000],
  ['nonsense', 'later', undefined],
])('Retry-After: %s', (_, text, expected) => {
  expect(readRetryAfter({ 'retry-after': text }, NOW)).toBe(expected);
});

describe('budget', () => {
  const GET = true;
  const HEAD = false;

  function at(): { clock: { ms: number }; spent: ReturnType<typeof budget> } {
    const clock = { ms: NOW };
    return { clock, spent: budget('docker.io', () => clock.ms) };
  }

  it('a 429 stops everything until Retry-After has passed', () => {
    const { clock, spent } = at();
    spent.record(GET, 429, { 'retry-after': '30' });
    clock.ms += 29_001;
    for (const kind of [GET, HEAD]) expect(() => spent.check(kind)).toThrow(expect.objectContaining({ code: 'TOOMANYREQUESTS', retryAfterSeconds: 1 }));
    clock.ms += 999;
    spent.check(GET);
  });

  it('a 429 that says nothing stops everything for a moment', () => {
    const { clock, spent } = at();
    spent.record(HEAD, 429, {});
    expect(() => spent.check(HEAD)).toThrow(expect.objectContaining({ retryAfterSeconds: 5 }));
    clock.ms += 5000;
    spent.check(HEAD);
  });

  it('a 503 with Retry-After says that upstream is unavailable, without one nothing', () => {
    const { clock, spent } = at();
    spent.record(GET, 503, {});
    spent.check(GET);
    spent.record(GET, 503, { 'retry-after': '30' });
    expect(() => spent.check(HEAD)).toThrow(expect.objectContaining({ code: 'UPSTREAM_FAILED', retryAfterSeconds: 30 }));
    clock.ms += 30_000;
    spent.check(HEAD);
  });

  it('nothing left stops manifest GETs until the reset', () => {
    const { clock, spent } = at();
    spent.record(GET, 200, { ratelimit: '"default";r=0;t=300' });
    expect(spent.remaining).toBe(0);
    spent.check(HEAD);
    expect(() => spent.check(GET)).toThrow(expect.objectContaining({ code: 'TOOMANYREQUESTS', retryAfterSeconds: 300 }));
    clock.ms += 300_000;
    spent.check(GET);
  });

  it('nothing left in a sliding window lets one GET a minute through', () => {
    const { clock, spent } = at();
    spent.record(GET, 200, { 'ratelimit-remaining': '0;w=21600' });
    expect(() => spent.check(GET)).toThrow(expect.objectContaining({ retryAfterSeconds: 60 }));
    clock.ms += 60_000;
    spent.check(GET);
    expect(() => spent.check(GET)).toThrow('no requests left');
  });

  it.each([
    ['a HEAD that shows something left', HEAD, { 'ratelimit-remaining': '7;w=21600' }, 7],
    ['a GET that was served without a limit', GET, {}, undefined],
  ])('%s lets manifest GETs through again', (_, kind, headers, remaining) => {
    const { spent } = at();
    spent.record(GET, 200, { 'ratelimit-remaining': '0;w=21600' });
    spent.record(kind, 200, headers);
    expect(spent.remaining).toBe(remaining);
    spent.check(GET);
  });

  it('a HEAD that says nothing of limits changes nothing', () => {
    const { spent } = at();
    spent.record(GET, 200, { 'ratelimit-remaining': '0;w=21600' });
    spent.record(HEAD, 200, {});
    expect(() => spent.check(GET)).toThrow('no requests left');
  });
});
