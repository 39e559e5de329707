// Workload W1 of crdt/bench_test.go for a peer: actors that each write single values to a
// few thousand keys, none having seen another, merged into one document batch by batch.
// Prints one line in the form of Go's benchmarks. Run: node w1.mjs yjs|loro|automerge|ours [actors]
import { existsSync } from 'node:fs'
import { fileURLToPath, pathToFileURL } from 'node:url'

const [peer, actorsText] = process.argv.slice(2)
const actors = Number(actorsText ?? 1000), puts = 100, keys = 2000, ops = actors * puts

function mulberry(a) {
  return () => {
    a = (a + 0x6D2B79F5) | 0
    let t = Math.imul(a ^ (a >>> 15), 1 | a)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return (t ^ (t >>> 14)) >>> 0
  }
}

function* writes(actor) {
  const next = mulberry(0x5eed + actor)
  for (let s = 1; s <= puts; s++) yield ['i' + String(next() % keys).padStart(6, '0'), `pass-${actor}-${s}`, s]
}

// Each peer returns its batches, made beforehand, and what merges them; keys and values say
// what the merged document shows.
const peers = {
  async yjs() {
    const Y = await import('yjs')
    const batches = Array.from({ length: actors }, (_, a) => {
      const d = new Y.Doc()
      d.clientID = a + 1
      for (const [k, v] of writes(a)) d.getMap('items').set(k, v)
      return Y.encodeStateAsUpdate(d)
    })
    const d = new Y.Doc()
    const map = d.getMap('items')
    return { batches, merge: (b) => Y.applyUpdate(d, b), keys: () => map.size, bytes: (b) => b.length }
  },
  async loro() {
    const { LoroDoc } = await import('loro-crdt')
    const batches = Array.from({ length: actors }, (_, a) => {
      const d = new LoroDoc()
      d.setPeerId(BigInt(a + 1))
      for (const [k, v] of writes(a)) {
        d.getMap('items').set(k, v)
        d.commit()
      }
      return d.export({ mode: 'update' })
    })
    const d = new LoroDoc()
    return { batches, merge: (b) => d.import(b), keys: () => d.getMap('items').size, bytes: (b) => b.length }
  },
  async automerge() {
    const A = await import('@automerge/automerge')
    const base = A.from({ items: {} }, { actor: '00' })
    const batches = Array.from({ length: actors }, (_, a) => {
      let d = A.clone(base, { actor: (0x10000000 + a).toString(16) })
      for (const [k, v] of writes(a)) d = A.change(d, (x) => { x.items[k] = v })
      return A.getChanges(base, d)
    })
    let d = A.clone(base, { actor: 'ff' })
    return {
      batches, merge: (b) => { [d] = A.applyChanges(d, b) }, keys: () => Object.keys(d.items).length,
      bytes: (b) => b.reduce((n, c) => n + c.length, 0),
    }
  },
  async ours() {
    const core = fileURLToPath(new URL('../../pb_public/static/crdt.mjs', import.meta.url))
    if (!existsSync(core)) return null
    const { Doc, parseOp } = await import(pathToFileURL(core).href)
    const encode = new TextEncoder(), decode = new TextDecoder()
    const batches = Array.from({ length: actors }, (_, a) => Array.from(writes(a), ([k, v, s]) => {
      const stamp = (0x0199a3f2b1c4 + s).toString(16).padStart(12, '0') + '-' + (a & 0xff).toString(16).padStart(4, '0')
      return encode.encode(`{"a":"d${a.toString(16).padStart(7, '0')}","k":"put","p":"items/${k}","s":${s},"t":"${stamp}","v":"${v}"}`)
    }))
    const d = new Doc()
    return {
      batches, merge: (b) => { for (const line of b) d.apply(parseOp(decode.decode(line))) },
      keys: () => d.paths().length, bytes: (b) => b.reduce((n, l) => n + l.length, 0),
    }
  },
}

const run = peers[peer] && await peers[peer]()
if (!run) {
  console.error(peers[peer] ? `${peer}: no JavaScript core in this tree` : `no peer ${peer}`)
  process.exit(peers[peer] ? 0 : 2)
}
const began = performance.now()
for (const b of run.batches) run.merge(b)
const took = performance.now() - began
const seen = new Set()
for (let a = 0; a < actors; a++) for (const [k] of writes(a)) seen.add(k)
if (run.keys() !== seen.size) throw new Error(`${peer}: ${run.keys()} keys after the merge, want ${seen.size}`)
const bytes = run.batches.reduce((n, b) => n + run.bytes(b), 0)
console.log(`BenchmarkPeer/${peer}/ops=${ops}\t1\t${Math.round(took * 1e6)} ns/op\t${(took * 1e6 / ops).toFixed(1)} ns/op-applied\t${(bytes / ops).toFixed(1)} wire-B/op`)
