// What your server does for the browser clients: it mints short-lived tokens with the API key, which no browser
// gets to see. `shared/upload-client/examples/mint_token.rs` is the same in Rust.

/** `api` is the service's address, `app` the app's id, `key` an API key of it with the scope `manage`. */
export function tokens({ api, app, key }) {
  async function mint(kind, body) {
    const answer = await fetch(`${api}/v1/apps/${app}/${kind}`, {
      method: 'POST',
      headers: { 'x-api-key': key, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    if (!answer.ok) throw new Error(`${kind}: ${answer.status} ${await answer.text()}`);
    return (await answer.json()).data.token;
  }
  return {
    /** For `createLogger`: what the browser logs is of this meeting and attendee. */
    join: (meetingId, attendeeId) => mint('join-tokens', { meetingId, attendeeId, ttl_secs: 900 }),
    /** For `createUploads`: what the browser uploads is of this subject, such as your user's id. */
    upload: (sub) => mint('upload-tokens', { sub, ttl_secs: 900 }),
  };
}
