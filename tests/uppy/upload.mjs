// Uploads a file with the published @uppy/core and @uppy/aws-s3, which know nothing of Logferry but
// a Companion endpoint: one large file in parts, interrupted once and resumed, and one small file by form.
//
//   node upload.mjs API_URL TOKEN BYTES
//
// prints one JSON line: {"version", "multipart": {"key", "sha256"}, "form": {"key", "sha256"}, "partsSigned"}.
// UPPY is its major version: 4, 5 or 6 (the default).
// Uppy needs XMLHttpRequest and browser globals; what it uses of them stands here.

import { createHash, randomFillSync } from 'node:crypto'

class XMLHttpRequest extends EventTarget {
  upload = new EventTarget()
  status = 0
  responseText = ''
  #headers = {}
  #answer = new Headers()
  #abort = new AbortController()

  open(method, url) {
    Object.assign(this, { method, url, readyState: 1 })
  }

  setRequestHeader(name, value) {
    this.#headers[name] = value
  }

  getResponseHeader(name) {
    return this.#answer.get(name)
  }

  getAllResponseHeaders() {
    return [...this.#answer].map(([name, value]) => `${name}: ${value}\r\n`).join('')
  }

  abort() {
    this.#abort.abort()
    this.#happens(this, 'abort')
  }

  async send(body) {
    const { method, url } = this
    try {
      const answer = await fetch(url, { method, headers: this.#headers, body, signal: this.#abort.signal })
      this.#answer = answer.headers
      this.status = answer.status
      this.statusText = answer.statusText
      this.responseText = this.response = await answer.text()
      this.readyState = 4
      const size = body?.size ?? 0
      this.#happens(this.upload, 'progress', { lengthComputable: true, loaded: size, total: size })
      this.#happens(this, 'load')
    } catch (error) {
      if (error.name !== 'AbortError') this.#happens(this, 'error')
    }
  }

  // Uppy 6 sets handlers, the others add listeners.
  #happens(target, name, more = {}) {
    const event = Object.assign(new Event(name), more)
    target[`on${name}`]?.({ target: this, ...more })
    target.dispatchEvent(event)
  }
}

Object.assign(globalThis, { XMLHttpRequest })
globalThis.window = { addEventListener() {}, removeEventListener() {}, navigator: { onLine: true } }

const [api, token, bytes] = process.argv.slice(2)
const major = process.env.UPPY ?? '6'
const { Uppy, AwsS3 } = await import(`./v${major}/index.mjs`)
const service =
  major === '6'
    ? { companionEndpoint: `${api}/t/${token}` }
    : { endpoint: api, headers: { authorization: `Bearer ${token}` } }

let partsSigned = 0
const plainFetch = globalThis.fetch
globalThis.fetch = (url, options) => {
  if (/\/s3\/multipart\/[^/]+\/\d+\?/.test(url)) partsSigned += 1
  return plainFetch(url, options)
}

async function upload(name, content, shouldUseMultipart, pauseAfterParts) {
  const uppy = new Uppy({ autoProceed: false })
  uppy.use(AwsS3, { ...service, shouldUseMultipart })
  const data = new Blob([content], { type: 'application/octet-stream' })
  const id = uppy.addFile({ name, type: 'video/mp4', data, meta: { relativePath: null, owner: 'ü' } })
  let parts = 0
  uppy.on('s3-multipart:part-uploaded', () => {
    parts += 1
    if (parts === pauseAfterParts) {
      uppy.pauseResume(id)
      setTimeout(() => uppy.pauseResume(id), 50)
    }
  })
  const { successful, failed } = await uppy.upload()
  if (failed.length > 0 || successful.length !== 1) throw new Error(`${name}: ${failed[0]?.error}`)
  const { response, s3Multipart } = successful[0]
  const { key = s3Multipart?.key, location } = response.body
  return { key, location, sha256: createHash('sha256').update(content).digest('hex') }
}

const large = randomFillSync(Buffer.alloc(Number(bytes)))
const multipart = await upload('Mein Film (1).mp4', large, true, 2)
const form = await upload('small.txt', randomFillSync(Buffer.alloc(1000)), false)
console.log(JSON.stringify({ version: Uppy.VERSION, multipart, form, partsSigned }))
