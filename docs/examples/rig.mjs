// A rig in Node.js, without packages: copy this file, and put your screen and your neurons into
// `present`. docs/PROTOCOL.md is the text that rules; its section numbers stand beside the code.
//
//     node rig.mjs tcp://127.0.0.1:5571
//
// Three parts: MessagePack, ZeroMQ's own protocol (ZMTP 3.0, without keys; the package `zeromq`
// does the same, with keys), and the rig.

import { createHash, randomBytes } from 'node:crypto'
import net from 'node:net'

// ------------------------------------------------------------------------------ MessagePack

/** A number that is to be sent as a float, even when it is whole. */
class Float { constructor(value) { this.value = value } }

export function pack(value) {
  const sized = (short, shortMost, codes, bytes, count) => {  // a head with a length, and bytes
    let head
    if (count <= shortMost) head = Buffer.from([short | count])
    else if (count < 0x10000) { head = Buffer.alloc(3); head[0] = codes[0]; head.writeUInt16BE(count, 1) }
    else { head = Buffer.alloc(5); head[0] = codes[1]; head.writeUInt32BE(count, 1) }
    return Buffer.concat([head, ...bytes])
  }
  if (value === true || value === false) return Buffer.from([value ? 0xc3 : 0xc2])
  if (value instanceof Float) { const b = Buffer.alloc(9); b[0] = 0xcb; b.writeDoubleBE(value.value, 1); return b }
  if (typeof value === 'bigint' || Number.isInteger(value)) {  // times in ns are BigInt
    const b = Buffer.alloc(9)
    if (value >= 0 && value < 128) return Buffer.from([Number(value)])
    b[0] = value >= 0 ? 0xcf : 0xd3
    if (value >= 0) b.writeBigUInt64BE(BigInt(value), 1); else b.writeBigInt64BE(BigInt(value), 1)
    return b
  }
  if (typeof value === 'number') return pack(new Float(value))
  if (typeof value === 'string') { const b = Buffer.from(value); return sized(0xa0, 31, [0xda, 0xdb], [b], b.length) }
  if (Array.isArray(value)) return sized(0x90, 15, [0xdc, 0xdd], value.map(pack), value.length)
  const entries = Object.entries(value)
  return sized(0x80, 15, [0xde, 0xdf], entries.flatMap(([k, v]) => [pack(k), pack(v)]), entries.length)
}

export function unpack(buffer) {
  let at = 0
  const take = (n) => { at += n; return buffer.subarray(at - n, at) }
  const uint = (n) => n === 8 ? Number(take(8).readBigUInt64BE()) : take(n).readUIntBE(0, n)
  const int = (n) => n === 8 ? Number(take(8).readBigInt64BE()) : take(n).readIntBE(0, n)
  const text = (n) => take(n).toString('utf8')
  const list = (n) => Array.from({ length: n }, read)
  const map = (n) => Object.fromEntries(Array.from({ length: n }, () => [read(), read()]))
  function read() {
    const c = uint(1)
    if (c < 0x80) return c
    if (c < 0x90) return map(c & 15)
    if (c < 0xa0) return list(c & 15)
    if (c < 0xc0) return text(c & 31)
    if (c >= 0xe0) return c - 256
    switch (c) {
      case 0xc0: return null
      case 0xc2: return false
      case 0xc3: return true
      case 0xca: return take(4).readFloatBE()
      case 0xcb: return take(8).readDoubleBE()
      case 0xcc: case 0xcd: case 0xce: case 0xcf: return uint(1 << (c - 0xcc))
      case 0xd0: case 0xd1: case 0xd2: case 0xd3: return int(1 << (c - 0xd0))
      case 0xd9: case 0xda: case 0xdb: return text(uint(1 << (c - 0xd9)))
      case 0xdc: case 0xdd: return list(uint(2 << (c - 0xdc)))
      case 0xde: case 0xdf: return map(uint(2 << (c - 0xde)))
      default: throw new Error(`MessagePack code ${c} is not used by the protocol`)
    }
  }
  return read()
}

// ------------------------------------------------------------------------------ ZeroMQ, DEALER

/** A DEALER that connects again and again; `onMessage(frames)`, `onConnected()`, `onLost()`. */
class Dealer {
  constructor(host, port, identity, { onMessage, onConnected, onLost }) {
    Object.assign(this, { host, port, identity, onMessage, onConnected, onLost, ready: false, closed: false })
    this.connect()
  }

  connect() {
    const socket = this.socket = net.connect(this.port, this.host)
    let data = Buffer.alloc(0), greeted = false, frames = []
    socket.on('connect', () => {
      const greeting = Buffer.alloc(64)
      greeting[0] = 0xff; greeting[9] = 0x7f; greeting[10] = 3; greeting.write('NULL', 12)
      socket.write(greeting)
    })
    socket.on('data', (chunk) => {
      data = Buffer.concat([data, chunk])
      if (!greeted) {
        if (data.length < 64) return
        data = data.subarray(64); greeted = true
        const property = (name, value) => {
          const head = Buffer.alloc(4); head.writeUInt32BE(value.length)
          return Buffer.concat([Buffer.from([name.length]), Buffer.from(name), head, Buffer.from(value)])
        }
        this.frame(Buffer.concat([Buffer.from('\x05READY'), property('Socket-Type', 'DEALER'),
          property('Identity', this.identity)]), 4)
      }
      for (;;) {  // flags: 1 more follow, 2 long, 4 command
        if (data.length < 2) return
        const long = data[0] & 2, head = long ? 9 : 2
        if (data.length < head) return
        const size = long ? Number(data.readBigUInt64BE(1)) : data[1]
        if (data.length < head + size) return
        const flags = data[0], body = data.subarray(head, head + size)
        data = data.subarray(head + size)
        if (flags & 4) this.command(body)
        else {
          frames.push(body)
          if (!(flags & 1)) { const whole = frames; frames = []; this.onMessage(whole) }
        }
      }
    })
    socket.on('error', () => {})  // `close` follows
    socket.on('close', () => {
      if (this.ready) this.onLost()
      this.ready = false
      if (!this.closed) setTimeout(() => this.connect(), 200)
    })
  }

  command(body) {
    const name = body.subarray(1, 1 + body[0]).toString()
    if (name === 'READY') { this.ready = true; this.onConnected() }
    else if (name === 'PING')  // heartbeat: its context goes back, after the two bytes of its TTL
      this.frame(Buffer.concat([Buffer.from('\x04PONG'), body.subarray(7)]), 4)
  }

  frame(body, flags) {
    const head = Buffer.alloc(body.length > 255 ? 9 : 2)
    head[0] = flags | (body.length > 255 ? 2 : 0)
    if (body.length > 255) head.writeBigUInt64BE(BigInt(body.length), 1); else head[1] = body.length
    this.socket.write(Buffer.concat([head, body]))
  }

  send(frames) { if (this.ready) frames.forEach((f, i) => this.frame(f, i < frames.length - 1 ? 1 : 0)) }
  close() { this.closed = true; this.socket.end() }
}

// ------------------------------------------------------------------------------ the rig

const UNITS = [0, 1, 2, 3].map((channel) => ({ channel, unit: 0, area: 'IT', label: `IT-${channel}` }))
const HELLO = {
  kind: 'hello', name: 'node rig', software: 'rig.mjs 1', capabilities: ['spikes'], units: UNITS,
  display: { width_px: 1920, height_px: 1080, refresh_hz: 60, px_per_deg: 40 },
  window_ms: [-200, 500], version: 1,
}
const wait = (ms) => new Promise((done) => setTimeout(done, ms))

/** Show one image, {shape: [h, w, 3], pixels}, and return what the neurons did. Yours to write. */
async function present(image, asked, windowMs) {
  const commanded = process.hrtime.bigint()  // one clock of the rig's that never goes back, ns
  const onset = process.hrtime.bigint()      // when the image was on the screen
  await wait(asked.on_ms)
  const offset = process.hrtime.bigint()
  await wait(asked.off_ms)
  const count = Math.floor(20 * Math.random())
  const span = windowMs[1] - windowMs[0]
  return {
    status: 'ok', reason: '',                // where the animal broke fixation: 'aborted', 'fixation'
    commanded_ns: commanded, onset_ns: onset, offset_ns: offset, onset_source: 'flip',
    units: Uint32Array.from({ length: count }, () => Math.floor(UNITS.length * Math.random())),
    times: Float32Array.from({ length: count }, () => windowMs[0] + span * Math.random()),
  }
}

class Rig {
  constructor(endpoint) {
    const { hostname, port } = new URL(endpoint.replace(/^tcp:/, 'http:'))
    this.welcome = null; this.welcomed = false; this.held = false
    this.forget()
    this.heard = this.helloAt = Date.now()
    const identity = `node-rig/${randomBytes(8).toString('hex')}`  // section 1
    this.ended = new Promise((resolve) => { this.end = resolve })
    this.dealer = new Dealer(hostname, Number(port), identity, {
      onConnected: () => this.hello(),
      onLost: () => { this.welcomed = false },  // rule 8: results are kept, the queue goes on
      onMessage: (frames) => this.received(unpack(frames[0]), frames.slice(1)),
    })
    this.timer = setInterval(() => this.tick(), 200)
    this.showing = null
    this.run()
  }

  forget() {
    this.queue = []; this.kept = new Map(); this.safe = new Map(); this.attempts = new Map()
    this.owed = new Set()  // blocks that are owed a `done`
  }

  say(message, arrays = []) { this.dealer.send([pack(message), ...arrays]) }
  hello() { this.welcomed = false; this.heard = this.helloAt = Date.now(); this.say(HELLO) }

  tick() {  // rules 1 and 2
    const now = Date.now()
    if (!this.dealer.ready) return
    if (this.welcomed ? now - this.heard > 5000 : now - this.helloAt > 2000) this.hello()
  }

  received(message, arrays) {
    this.heard = Date.now()
    switch (message.kind) {
      case 'welcome':
        if (this.welcome && this.welcome.session !== message.session) { this.forget(); this.stale = this.showing }
        this.welcome = message; this.welcomed = true; this.held = false
        return
      case 'refused': return this.stop(`refused: ${message.reason}`)
      case 'end': this.say({ kind: 'bye', reason: 'the session is over' }); return this.stop(message.reason)
      case 'ack':
        for (const a of message.presentations) this.acknowledged(message.block, a.presentation, a.attempt)
        return
      case 'ping': if (this.welcomed && message.session !== this.welcome.session) this.hello(); return
      case 'hold': if (this.welcomed && message.session === this.welcome.session) this.held = message.on; return
      case 'show': if (this.welcomed && message.session === this.welcome.session) this.show(message, arrays)
    }
  }

  acknowledged(block, presentation, attempt) {  // rule 3
    const key = `${block}/${presentation}`, kept = this.kept.get(key)
    this.safe.set(key, Math.max(this.safe.get(key) ?? 0, attempt))
    if (kept && kept.attempt <= attempt) this.kept.delete(key)
  }

  show(message, arrays) {  // rules 4 and 5
    const { block, attempt } = message
    for (const p of message.presentations) {
      const key = `${block}/${p.presentation}`, kept = this.kept.get(key)
      const waits = this.queue.find((q) => q.key === key)
      if (kept && kept.attempt > p.known_attempt) { kept.again = true; continue }
      if (attempt <= (this.safe.get(key) ?? 0)) continue
      if (this.showing && this.showing !== this.stale && this.showing.key === key) continue
      if (waits) { waits.attempt = Math.max(waits.attempt, attempt); continue }
      if (p.known_attempt) this.acknowledged(block, p.presentation, p.known_attempt)
      const info = message.images[p.image]
      const image = { ...info, pixels: arrays[p.image] }
      this.queue.push({ ...p, key, block, attempt, image })
    }
    this.queue.sort((a, b) => a.block - b.block)  // stable
    this.attempts.set(block, Math.max(this.attempts.get(block) ?? 0, attempt))
    this.owed.add(block)
    this.say({ kind: 'accepted', block, attempt })
    for (const r of this.kept.values()) if (r.again) { r.again = false; this.respond(r) }
    this.done()
  }

  respond({ block, presentation, attempt, units, times, ...times_ns }) {
    const { again, ...trial } = times_ns
    const array = (name, dtype, values) => ({ name, dtype, shape: [values.length] })
    this.say({
      kind: 'response', block, attempt: this.attempts.get(block), form: 'spikes',
      trials: [{ presentation, attempt, ...trial, length: units.length }],
      arrays: [array('units', '<u4', units), array('times_ms', '<f4', times)],
    }, [units, times].map((a) => Buffer.from(a.buffer, a.byteOffset, a.byteLength)))
  }

  done() {
    for (const block of [...this.owed].sort((a, b) => a - b)) {
      if (!this.welcomed || this.queue.some((p) => p.block === block)) continue
      if (this.showing && this.showing !== this.stale && this.showing.block === block) continue
      this.owed.delete(block)
      this.say({ kind: 'done', block, attempt: this.attempts.get(block) })
    }
  }

  async run() {
    while (!this.stopped) {
      if (this.held || !this.queue.length) { await wait(5); continue }
      const asked = this.showing = this.queue.shift()
      const digest = createHash('sha256').update(asked.image.pixels).digest('hex')
      let found
      if (digest === asked.image.sha256) {
        found = await present(asked.image, asked, this.welcome.window_ms)
        this.last = found.offset_ns
      } else {  // never shown
        const at = this.last ?? 0n
        this.say({ kind: 'notice', level: 'error', text: `an image must have the digest ${asked.image.sha256}` })
        found = {
          status: 'aborted', reason: 'digest', commanded_ns: at, onset_ns: at, offset_ns: at,
          onset_source: 'command', units: new Uint32Array(0), times: new Float32Array(0),
        }
      }
      const stale = asked === this.stale
      this.showing = this.stale = null
      if (stale || this.stopped) continue  // of a session that is over
      const result = { block: asked.block, presentation: asked.presentation, attempt: asked.attempt, ...found }
      this.kept.set(asked.key, result)
      if (this.welcomed) this.respond(result)
      this.done()
    }
  }

  stop(reason) {
    if (this.stopped) return
    this.stopped = true
    clearInterval(this.timer)
    this.dealer.close()  // after what is written
    this.end(reason)     // and blank your screen
  }
}

if (process.argv[2]) console.log(await new Rig(process.argv[2]).ended)
