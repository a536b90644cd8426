/** What a server says of itself to anybody who asks. */
import { Agent, request } from 'undici';

const PAGES = ['/metrics', '/readyz', '/healthz'] as const;

/** The text of them. @param url of a listener, over TLS with whatever certificate. @throws Error where it has no metrics */
export async function pagesOf(url: string, pages: readonly string[] = PAGES): Promise<string> {
  const agent = new Agent({ connect: { rejectUnauthorized: false } });
  try {
    const texts: string[] = [];
    for (const page of pages) texts.push(await (await request(`${url}${page}`, { dispatcher: agent })).body.text());
    if (!texts[0]?.includes('umbra_requests_total')) throw new Error(`no metrics at ${url}: ${texts[0]?.slice(0, 300)}`);
    return texts.join('\n');
  } finally {
    await agent.close();
  }
}
