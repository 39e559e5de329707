// Answers questions of the Go tests with the merge rules in JavaScript, one JSON line each:
// the module's path is the argument.
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const m = await import(pathToFileURL(process.argv[2]).href);

const verdict = (fn) => {
    try { return { ok: true, ...fn() }; } catch (e) {
        if (e instanceof m.FormatError) return { ok: false };
        throw e;
    }
};

function history({ events, schema, shuffled }) {
    const doc = new m.Doc(), chains = {}, inbox = new m.Inbox(doc);
    for (const e of events) {
        if (e.admit) { doc.admit(e.admit); continue; }
        if (e.redact) { doc.redact(e.redact); continue; }
        const op = e.sum ? m.parseRedacted(e.line, e.sum) : m.parseOp(e.line);
        if (!doc.has(`${op.actor}.${op.seq}`)) chains[op.actor] = m.chain(chains[op.actor] ?? m.chainStart("doc", op.actor), op);
        if (shuffled) inbox.add(op);
        else doc.apply(op, e.quarantine);
        if (doc.has(`${op.actor}.${op.seq}`) && doc.apply(op) !== false) throw new Error("a duplicate counts as new");
    }
    return {
        text: doc.text(), digest: doc.digest(), chains, state: doc.materialise(schema), waiting: inbox.waiting,
        conflicts: doc.conflicts(schema).map((v) => v.path),
    };
}

for await (const line of createInterface({ input: process.stdin })) {
    const q = JSON.parse(line);
    let a;
    if (q.line !== undefined) a = verdict(() => { const { line, ...o } = m.parseOp(q.line); return { again: m.encodeOp(o).line }; });
    else if (q.raw !== undefined) a = verdict(() => { const canonical = m.canonicalJSON(q.raw); return { canonical, rendered: m.render(canonical) }; });
    else if (q.reissue) {
        const { line, actor, seq, time, names } = q.reissue;
        a = { again: m.reissue(m.parseOp(line), actor, seq, time, (dot) => names[dot] ?? "")?.line ?? "" };
    } else a = history(q);
    process.stdout.write(JSON.stringify(a) + "\n");
}
