/** Telling services that their files changed: through systemd where it runs and we may, else in words. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { ServiceNeed } from '../change.ts';

export interface Telling {
  /** They are the services of this machine as it runs, not of a folder. */
  readonly live: boolean;
  /** Restart them, rather than say that it is to be done. */
  readonly restart: boolean;
  readonly systemd: Systemd;
}

export interface Systemd {
  readonly runs: boolean;
  /** `systemctl` with these words. */
  readonly call: (words: readonly string[]) => { readonly ok: boolean; readonly output: string };
}

export interface Told {
  /** In words. */
  readonly lines: readonly string[];
  /** Nobody is left who does not know, or could not be told. */
  readonly ok: boolean;
}

export function thisSystemd(env: Readonly<Record<string, string | undefined>>): Systemd {
  return {
    // https://www.freedesktop.org/software/systemd/man/latest/sd_booted.html
    runs: existsSync('/run/systemd/system'),
    call(words) {
      const { status, stdout, stderr, error } = spawnSync('systemctl', words, { env: env as NodeJS.ProcessEnv, encoding: 'utf8' });
      return { ok: status === 0, output: error?.message ?? (stderr + stdout).trim() };
    },
  };
}

/** @param due each service once */
export function tellServices(due: readonly ServiceNeed[], { live, restart, systemd }: Telling): Told {
  let ok = true;
  const lines = due.map(({ service, action, why, unit = false }) => {
    const byHand = `${unit ? 'systemctl daemon-reload && ' : ''}systemctl ${action} ${service}`;
    if (!live) return `${action} ${service} where it runs: ${why}`;
    if (!restart) return `${action} ${service} (${byHand}): ${why}`;
    if (!systemd.runs) return `${action} ${service} yourself, since systemd does not run here: ${why}`;
    if (unit) systemd.call(['daemon-reload']);
    if (!systemd.call(['is-active', '--quiet', service]).ok) return `${service} does not run: it will begin with its new files`;
    const { ok: done, output } = systemd.call([action, service]);
    ok &&= done;
    return done ? `${action === 'restart' ? 'restarted' : 'reloaded'} ${service}: ${why}` : `${byHand} failed, do it yourself: ${output}`;
  });
  return { lines, ok };
}

/** One need for each service: a restart does what a reload does. */
export function strongest(due: readonly ServiceNeed[]): readonly ServiceNeed[] {
  return [...new Set(due.map(({ service }) => service))].map((service) => {
    const needs = due.filter((need) => need.service === service);
    const need = (needs.find(({ action }) => action === 'restart') ?? needs[0]) as ServiceNeed; // there is at least one
    return needs.some(({ unit }) => unit === true) ? { ...need, unit: true } : need;
  });
}
