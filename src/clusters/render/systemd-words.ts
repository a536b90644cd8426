/** Words of a systemd unit: https://www.freedesktop.org/software/systemd/man/latest/systemd.syntax.html. */

/** An assignment of `Environment=`, in which `$` means nothing, but `%` and backslashes do. */
export function environmentLine(name: string, value: string): string {
  const escaped = value.replace(/[\\"]/g, String.raw`\$&`).replaceAll('%', '%%').replace(/\p{Cc}/gu, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`);
  return `Environment="${name}=${escaped}"`;
}
