/** Entries with one secret each. */

const JWT = `eyJhbGciOiJIUzI1NiJ9.${'eyJzdWIiOiIxIn0'}.c2lnbmF0dXJlLW9mLXRva2Vu`;

interface Planted {
  secret: string;
  message: string;
  context?: Record<string, unknown>;
}

export const SECRETS: Planted[] = [
  { secret: 'Basic cGFzcw', message: 'sent Authorization: Basic cGFzcw' },
  { secret: 'sid-4711', message: 'Cookie: theme=dark; sid=sid-4711' },
  { secret: 'sid-4712', message: 'got set-cookie: sid=sid-4712; Secure' },
  { secret: 'lf_key_1', message: 'x-api-key: lf_key_1' },
  { secret: 'hunter2', message: 'login with password=hunter2 failed' },
  { secret: 'correct horse', message: 'login {"passphrase": "correct horse"}' },
  { secret: 'tok-123', message: 'joinToken: tok-123, meeting m-1' },
  { secret: 'tok-124', message: 'GET https://x.test/a?page=1&access_token=tok-124' },
  { secret: 'code-77', message: 'callback /cb?code=code-77&state=1' },
  { secret: 'c2lnbmF0dXJl', message: `bearer ${JWT} was refused` },
  { secret: 'sec-1', message: 'config client_secret=sec-1' },
  { secret: 'AKsig', message: 'PUT https://s3.test/k?X-Amz-Signature=AKsig&x=1' },
  { secret: 'ACCT-991', message: 'paid from ACCT-991' },
  { secret: 'badge-5', message: 'door opened, badge=badge-5' },
  { secret: 'hunter3', message: 'context', context: { user: { password: 'hunter3' } } },
  { secret: 'bearer-9', message: 'context', context: { headers: { Authorization: 'Bearer bearer-9' } } },
  { secret: 'c2lnbmF0dXJl', message: 'context', context: { list: ['a', JWT] } },
  { secret: 'key-5', message: 'context', context: { apiKey: 'key-5' } },
  { secret: 'ACCT-992', message: 'context', context: { account: 'ACCT-992' } },
  { secret: 'c2lnbmF0dXJl', message: 'context', context: { request_id: JWT } },
  { secret: 'c2lnbmF0dXJl', message: 'context', context: { [JWT]: 1 } },
  {
    secret: 'bearer-8',
    message: 'context',
    context: { headers: new Map([['authorization', 'Bearer bearer-8']]) },
  },
  { secret: 'key-6', message: 'context', context: { headers: [['x-api-key', 'key-6']] } },
  { secret: 'inner-1', message: 'context', context: { body: '{"token":"inner-1"}' } },
];
