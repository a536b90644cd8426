import { describe, expect, test } from 'vitest';
import { median, result, table } from './report.ts';
import type { Contender, Goal, Row, Sample } from './row.ts';

const row = (goal?: Goal): Row<unknown> => ({
  name: 'a row',
  unit: 'req/s',
  limit: 'nginx',
  contenders: ['umbra', 'docker-registry', 'limit'],
  measure: () => Promise.resolve(0),
  ...(goal === undefined ? {} : { goal }),
});
const samples = (of: Partial<Record<Contender, Sample[]>>): Map<Contender, Sample[]> =>
  new Map(Object.entries(of) as [Contender, Sample[]][]);
const one = (value: number, downloads?: number): Sample[] => [{ value, ...(downloads === undefined ? {} : { downloads }) }];

describe('median', () => {
  test.each([
    [[3], 3],
    [[3, 1, 2], 2],
    [[4, 1, 3, 2], 2.5],
    [[100, 9, 20], 20],
  ])('median of %j is %d', (values, expected) => {
    expect(median(values)).toBe(expected);
  });
});

describe('whether a goal is met', () => {
  const ofNginx: Goal = { kind: 'at-least', times: 0.6, of: 'limit' };
  const ofStraight: Goal = { kind: 'at-most', times: 1.5, of: 'limit' };
  const bound: Goal = { kind: 'bound', value: 150 };

  test.each<[string, Goal | undefined, Partial<Record<Contender, Sample[]>>, boolean | undefined]>([
    ['a ratio reached', ofNginx, { umbra: one(60), limit: one(100) }, true],
    ['a ratio not reached', ofNginx, { umbra: one(59), limit: one(100) }, false],
    ['a ratio kept', ofStraight, { umbra: one(1.5, 1), limit: one(1) }, true],
    ['a ratio exceeded', ofStraight, { umbra: one(1.6, 1), limit: one(1) }, false],
    [
      'a second download',
      ofStraight,
      {
        umbra: [
          { value: 1, downloads: 1 },
          { value: 1, downloads: 2 },
        ],
        limit: one(1),
      },
      false,
    ],
    ['a bound kept', bound, { umbra: one(150) }, true],
    ['a bound exceeded', bound, { umbra: one(151) }, false],
    ['no goal', undefined, { umbra: one(1) }, undefined],
    ['Umbra took no part', bound, { 'docker-registry': one(1) }, undefined],
    ['nothing to hold it against', ofNginx, { umbra: one(1) }, undefined],
  ])('%s', (_, goal, of, met) => {
    expect(result('s', row(goal), samples(of)).met).toBe(met);
  });

  test('the table says met and MISSED', () => {
    const text = table([
      result('s', row(ofNginx), samples({ umbra: one(60), limit: one(100) })),
      result('s', row(ofNginx), samples({ umbra: one(6), limit: one(100) })),
    ]);
    expect(text).toMatch(/0\.60 +≥ 0\.6 × nginx +met$/m);
    expect(text).toMatch(/0\.06 +≥ 0\.6 × nginx +MISSED$/m);
  });
});
