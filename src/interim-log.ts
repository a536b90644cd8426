/** Interim. */
import type { Exchange } from './http/exchange.ts';
import type { Outcome } from './http/handler.ts';
export function interimLog() {
  return {
    info: (fields: object, message: string): void => console.error(message, fields),
    warn: (fields: object, message: string): void => console.error(message, fields),
    error: (fields: object, message: string): void => console.error(message, fields),
    request: (x: Exchange, o: Outcome): void => { console.log(x.method, x.req.url, o.status, o.ms, x.report.source ?? ''); if (o.error !== undefined) console.error(o.error); },
  };
}
