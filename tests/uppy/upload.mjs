// Uploads a file with the published @uppy/core and @uppy/aws-s3, which know nothing of Logferry but
// a Companion endpoint: one large file in parts, interrupted once and resumed, and one small file by form.
//
//   node upload.mjs API_URL TOKEN BYTES
//
// prints one JSON line: {"multipart": {"key", "sha256"}, "form": {"key", "sha256"}, "partsSigned"}.
// Uppy needs XMLHttpRequest and browser globals; what it uses of them stands here.

import { createHash, randomFillSync } from 'node:crypto'

class XMLHttpRequest {
  upload = {}
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

  abort() {
    this.#abort.abort()
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
      this.upload.onprogress?.({ lengthComputable: true, loaded: body?.size ?? 0, total: body?.size ?? 0 })
      this.onload?.({ target: this })
    } catch (error) {
      if (error.name !== 'AbortError') this.onerror?.(error)
    }
  }
}

Object.assign(globalThis, { XMLHttpRequest })
globalThis.window = { addEventListener() {}, removeEventListener() {}, navigator: { onLine: true } }

const { default: Uppy } = await import('@uppy/core')
const { default: AwsS3 } = await import('@uppy/aws-s3')

const [api, token, bytes] = process.argv.slice(2)
const companionEndpoint = `${api}/t/${token}`

let partsSigned = 0
const plainFetch = globalThis.fetch
globalThis.fetch = (url, options) => {
  if (/\/s3\/multipart\/[^/]+\/\d+\?/.test(url)) partsSigned += 1
  return plainFetch(url, options)
}

async function upload(name, content, shouldUseMultipart, pauseAfterParts) {
  const uppy = new Uppy({ autoProceed: false })
  uppy.use(AwsS3, { companionEndpoint, shouldUseMultipart })
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
  const { key, location } = successful[0].response.body
  return { key, location, sha256: createHash('sha256').update(content).digest('hex') }
}

const large = randomFillSync(Buffer.alloc(Number(bytes)))
const multipart = await upload('Mein Film (1).mp4', large, true, 2)
const form = await upload('small.txt', randomFillSync(Buffer.alloc(1000)), false)
console.log(JSON.stringify({ multipart, form, partsSigned }))
