// Histories that Automerge and we both know: replicas put and delete the keys of a map, count,
// and merge with each other. Prints a line of JSON for each: our operations, every one after
// those it names, and what the replicas of Automerge show at the end. They are loaded anew
// first: an incremental view of 3.5.0 can show a value that was deleted.
// Run: node automerge.mjs <histories> <seed>
import * as Automerge from '@automerge/automerge'
import { Doc, encodeOp } from '../../pb_public/static/crdt.mjs'

const [histories, seed] = process.argv.slice(2).map(Number)
const keys = ['k0', 'k1', 'k2', 'k3'], counters = ['x', 'y']

// Marsaglia's xorshift, so that a seed gives the same histories everywhere.
function random(seed) {
  let x = (seed * 2654435761) >>> 0 || 1
  return (n) => {
    x ^= x << 13; x >>>= 0
    x ^= x >>> 17
    x ^= x << 5; x >>>= 0
    return x % n
  }
}

const base = Automerge.from({ m: {}, c: { x: new Automerge.Counter(0), y: new Automerge.Counter(0) } }, { actor: '00' })

function play(seed) {
  const pick = random(seed), all = []
  const replicas = Array.from({ length: 2 + pick(4) }, (_, i) => ({
    actor: `r${i}`, seq: 0, ours: new Doc(), log: [], theirs: Automerge.clone(base, { actor: `a${i}`.padEnd(8, '0') }),
  }))
  const merge = (to, from) => {
    to.theirs = Automerge.merge(to.theirs, from.theirs)
    for (const op of from.log) if (to.ours.apply(op)) to.log.push(op) // a log is in causal order
  }
  for (let step = 10 + pick(40), value = 0; step > 0; step--) {
    const r = replicas[pick(replicas.length)]
    if (pick(4) === 0) {
      const other = replicas[pick(replicas.length)]
      if (other !== r) merge(r, other)
      continue
    }
    const key = keys[pick(keys.length)], path = `m/${key}`, what = pick(10)
    const op = { actor: r.actor, seq: r.seq + 1, time: '0199a3f2b1c4-0000' }
    const seen = r.ours.values(path).map((o) => `${o.actor}.${o.seq}`)
    if (what < 6) {
      value++
      Object.assign(op, { kind: 'put', path, val: String(value), seen })
      r.theirs = Automerge.change(r.theirs, (d) => { d.m[key] = value })
    } else if (what < 8) {
      if (seen.length === 0) continue
      Object.assign(op, { kind: 'rem', path, seen })
      r.theirs = Automerge.change(r.theirs, (d) => { delete d.m[key] })
    } else {
      const counter = counters[pick(2)], n = pick(9) - 4 || 5
      Object.assign(op, { kind: 'inc', path: `c/${counter}`, n })
      r.theirs = Automerge.change(r.theirs, (d) => { d.c[counter].increment(n) })
    }
    r.seq++
    const encoded = encodeOp(op)
    r.ours.apply(encoded)
    r.log.push(encoded)
    all.push(encoded.line)
  }
  for (let round = 0; round < 2; round++) for (const a of replicas) for (const b of replicas) if (a !== b) merge(a, b)
  return { replicas, all }
}

function theirView({ theirs }) {
  const d = Automerge.load(Automerge.save(theirs)), view = {}
  for (const key of keys) {
    const conflicts = Automerge.getConflicts(d.m, key)
    const values = conflicts ? Object.values(conflicts) : d.m[key] === undefined ? [] : [d.m[key]]
    view[key] = values.map(Number).sort((a, b) => a - b)
  }
  for (const c of counters) view[c] = d.c[c].value
  return view
}

function ourView({ ours }) {
  const view = {}
  for (const key of keys) view[key] = ours.values(`m/${key}`).map((o) => Number(o.val)).sort((a, b) => a - b)
  for (const c of counters) view[c] = ours.counter(`c/${c}`) ?? 0
  return view
}

for (let i = 0; i < histories; i++) {
  const { replicas, all } = play(seed + i)
  const line = { seed: seed + i, ops: all, automerge: replicas.map(theirView), javascript: replicas.map(ourView) }
  process.stdout.write(JSON.stringify(line) + '\n')
}
