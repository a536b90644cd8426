/** Text that a client may write anywhere to get out of where it belongs. */

/** As they stand on the wire. */
export const HOSTILE_VALUES: readonly string[] = [
  '..', '../..', '../../secret', '%2e%2e', '%2e%2e%2f%2e%2e%2fsecret', '..%2f..%2fsecret', '..%5c..%5csecret', '%252e%252e%252fsecret', '%c0%ae%c0%ae%2fsecret',
  '/etc/passwd', '%2fetc%2fpasswd', 'file:%2f%2f%2fetc%2fpasswd', 'x%00', '%00', 'x%0d%0aX-Injected:%201', '%0d%0a%0d%0aHTTP%2f1.1%20200', 'x%0aX-Injected:%201',
  '%22%3e%3cscript%3e', '%22,realm=%22http:%2f%2fevil', '%7b%7d', '$%7bHOME%7d', '%60id%60', ';id', '__proto__', 'constructor', '%e2%80%ae', '%f0%9f%92%a9', '%ff%fe', '~root', '-rf', '*', '.', 'CON', 'x'.repeat(8000),
];
