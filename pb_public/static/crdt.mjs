// The merge rules of test sessions for browsers and Node: the same operations give the same
// document here, in the server's Go and after a rebuild from the log. Rules R1 to R13 are
// stated in the server's package crdt, whose vectors and generated histories this file is
// tested with. No dependencies, no clock, no storage, no network.
//
//	const op = encodeOp({ actor, seq, time: clock.next(), kind: "put", path: "items/FE-001/result", val: canonicalJSON('"fail"'), seen });
//	doc.apply(op);                        // op.line goes to the queue, chain(previous, op) to the request
//	doc.view(schema, "items/FE-001/result"); // { value, conflict, entries, policy }
//
// A dot is "actor.seq", a time "mmmmmmmmmmmm-cccc", a sum or chain 64 hexadecimal digits, a
// value canonical JSON text. Everything is plain data; one caller at a time.

export const limits = {
    opBytes: 16 << 10, lineBytes: 128 << 10, seen: 4096, pathBytes: 256, actorBytes: 32, depth: 6,
    int: 2 ** 53 - 1, inc: 2 ** 31, numBytes: 256, numExponent: 1000, inbox: 1000, skewMillis: 300_000,
};

// admittedPath: an operation there that is not in quarantine itself gives the operations
// named in its seen list their effect.
export const admittedPath = "notes/admitted";

// redactedPath: an operation there that is not in quarantine itself erases the values of the
// operations named in its seen list (R13).
export const redactedPath = "notes/redacted";

// FormatError: text that is no operation or value. GapError: send from want on.
// MissingError: dots to ask for. ForkError: another operation holds the dot.
export class FormatError extends Error {}
export class GapError extends Error { constructor(actor, want) { super(`gap in ${actor}`); Object.assign(this, { actor, want }); } }
export class MissingError extends Error { constructor(dots) { super("operations missing"); this.dots = dots; } }
export class ForkError extends Error { constructor(dot) { super(`fork at ${dot}`); this.dot = dot; } }

const refuse = (reason) => { throw new FormatError(reason); };
const utf8 = new TextEncoder();

// ---- SHA-256, at once: one act of a user is one storage transaction, which may not wait.

const K = Uint32Array.from({ length: 64 }, (_, i) => Math.abs(Math.cbrt(prime(i))) % 1 * 2 ** 32);
const H0 = Uint32Array.from({ length: 8 }, (_, i) => Math.sqrt(prime(i)) % 1 * 2 ** 32);

function prime(index) {
    for (let n = 2, found = -1; ; n++) {
        let is = true;
        for (let d = 2; d * d <= n && is; d++) is = n % d !== 0;
        if (is && ++found === index) return n;
    }
}

export function sha256(bytes) {
    const size = bytes.length, padded = new Uint8Array((size + 72) >> 6 << 6);
    padded.set(bytes);
    padded[size] = 128;
    const data = new DataView(padded.buffer), h = H0.slice(), w = new Uint32Array(64);
    data.setUint32(padded.length - 8, Math.floor(size / 2 ** 29));
    data.setUint32(padded.length - 4, size << 3);
    const turn = (x, n) => x >>> n | x << 32 - n;
    for (let at = 0; at < padded.length; at += 64) {
        for (let i = 0; i < 64; i++) {
            if (i < 16) { w[i] = data.getUint32(at + 4 * i); continue; }
            const a = w[i - 15], b = w[i - 2];
            w[i] = w[i - 16] + (turn(a, 7) ^ turn(a, 18) ^ a >>> 3) + w[i - 7] + (turn(b, 17) ^ turn(b, 19) ^ b >>> 10);
        }
        let [a, b, c, d, e, f, g, k] = h;
        for (let i = 0; i < 64; i++) {
            const s = k + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + (e & f ^ ~e & g) + K[i] + w[i] | 0;
            const m = (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + (a & b ^ a & c ^ b & c) | 0;
            [k, g, f, e, d, c, b, a] = [g, f, e, d + s | 0, c, b, a, s + m | 0];
        }
        [a, b, c, d, e, f, g, k].forEach((x, i) => { h[i] += x; });
    }
    let hex = "";
    for (const x of h) hex += x.toString(16).padStart(8, "0");
    return hex;
}

const unhex = (hex) => Uint8Array.from({ length: hex.length / 2 }, (_, i) => parseInt(hex.substr(2 * i, 2), 16));

// chainStart and chain: the links of an actor's history in one document.
export const chainStart = (doc, actor) => sha256(utf8.encode(`${doc}\0${actor}`));
export const chain = (previous, op) => sha256(unhex(previous + op.sum));

// ---- Names.

const actorPattern = /^[A-Za-z0-9_-]{1,32}$/;
const timePattern = /^[0-9a-f]{12}-[0-9a-f]{4}$/;
const originPattern = /^[0-9a-f]{32}$/;
const integerPattern = /^(?:0|-?[1-9][0-9]{0,15})/;
const numberPattern = /^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/;

export const validActor = (text) => actorPattern.test(text);
export const validPath = (text) => text.length <= limits.pathBytes && /^[A-Za-z0-9_:@.-]+(?:\/[A-Za-z0-9_:@.-]+)*$/.test(text);

// parseDot returns [actor, seq], or null for anything that is not the one spelling.
export function parseDot(text) {
    const at = text.lastIndexOf("."), seq = text.slice(at + 1);
    if (at < 1 || !validActor(text.slice(0, at)) || !/^[1-9][0-9]{0,15}$/.test(seq) || Number(seq) > limits.int) return null;
    return [text.slice(0, at), Number(seq)];
}

const compareDots = (a, b) => compare(a.actor, b.actor) || a.seq - b.seq;
const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);

// compareBytes orders text as UTF-8 does; UTF-16 puts what lies beyond U+FFFF too low.
function compareBytes(a, b) {
    const x = utf8.encode(a), y = utf8.encode(b);
    for (let i = 0; i < x.length && i < y.length; i++) if (x[i] !== y[i]) return x[i] - y[i];
    return x.length - y.length;
}

// wellFormed: no half of a surrogate pair stands alone.
const wellFormed = (text) => !/[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/.test(text);

// ---- Canonical values.

const canonicalInteger = (literal) => {
    const m = integerPattern.exec(literal);
    return m !== null && m[0] === literal && Math.abs(Number(literal)) <= limits.int;
};

function checkNumber(literal) {
    if (literal.length > limits.numBytes) refuse("number too long");
    if (numberPattern.exec(literal)?.[0] !== literal || literal === "") refuse("not a JSON number");
    const exponent = /[eE](.*)$/.exec(literal);
    if (exponent && Math.abs(Number(exponent[1])) > limits.numExponent) refuse("number exponent too large");
    if (!Number.isFinite(Number(literal))) refuse("number too large");
}

const number = (literal) => (canonicalInteger(literal) ? literal : `{"$num":"${literal}"}`);

// Reader walks JSON; strict, it takes canonical text only. Each method returns canonical text.
class Reader {
    constructor(text, strict) { this.s = text; this.i = 0; this.strict = strict; }

    space() { if (!this.strict) while (" \t\r\n".includes(this.s[this.i] ?? "x")) this.i++; }

    take(literal) {
        this.space();
        if (!this.s.startsWith(literal, this.i)) return false;
        this.i += literal.length;
        return true;
    }

    value(depth) {
        if (depth > limits.depth) refuse("nested too deep");
        this.space();
        const c = this.s[this.i];
        if (c === '"') return JSON.stringify(this.text());
        if (c === "{") return this.object(depth);
        if (c === "[") return this.array(depth);
        if (c === "-" || c >= "0" && c <= "9") {
            const literal = numberPattern.exec(this.s.slice(this.i, this.i + limits.numBytes + 2))?.[0] ?? "";
            checkNumber(literal);
            if (this.strict && !canonicalInteger(literal)) refuse("integer not canonical");
            this.i += literal.length;
            return number(literal);
        }
        for (const word of ["null", "true", "false"]) if (this.take(word)) return word;
        return refuse("not a JSON value");
    }

    array(depth) {
        this.take("[");
        const items = [];
        if (this.take("]")) return "[]";
        for (;;) {
            items.push(this.value(depth + 1));
            if (this.take("]")) return `[${items}]`;
            if (!this.take(",")) refuse("array not continued");
        }
    }

    object(depth) {
        this.take("{");
        const members = [];
        if (this.take("}")) return "{}";
        for (;;) {
            this.space();
            if (this.s[this.i] !== '"') refuse("object key missing");
            const key = this.text();
            if (!/^[ -~]*$/.test(key)) refuse("object key not printable ASCII");
            if (!this.take(":")) refuse("colon missing");
            if (key === "$num") return this.tagged(members.length === 0);
            if (key === "$redacted") refuse("$redacted is reserved");
            if (this.strict && members.length && key <= members.at(-1)[0]) refuse("object keys not sorted and unique");
            members.push([key, this.value(depth + 1)]);
            if (this.take("}")) break;
            if (!this.take(",")) refuse("object not continued");
        }
        members.sort((a, b) => compare(a[0], b[0]));
        if (members.some((m, i) => i > 0 && m[0] === members[i - 1][0])) refuse("object key twice");
        return `{${members.map(([key, value]) => `${JSON.stringify(key)}:${value}`)}}`;
    }

    // tagged reads the literal of {"$num":"12.50"}, which stands alone in its object.
    tagged(first) {
        this.space();
        if (!first || this.s[this.i] !== '"') refuse("$num without a literal of its own");
        const literal = this.text();
        checkNumber(literal);
        if (canonicalInteger(literal)) refuse("$num holds a plain integer");
        if (!this.take("}")) refuse("$num beside other keys");
        return number(literal);
    }

    text() {
        let end = this.i + 1;
        for (; this.s[end] !== '"'; end++) {
            if (end >= this.s.length) refuse("string not closed");
            if (this.s[end] === "\\") end++;
        }
        const raw = this.s.slice(this.i, end + 1);
        let content;
        try { content = JSON.parse(raw); } catch { refuse("bad string"); }
        if (content.includes("\0")) refuse("NUL in string");
        if (!wellFormed(content)) refuse("lone surrogate");
        if (this.strict && JSON.stringify(content) !== raw) refuse("escape not the canonical one");
        this.i = end + 1;
        return content;
    }
}

// canonicalJSON turns one JSON text in any layout into the canonical form. Numbers keep
// their digits: write them as text, not through a JavaScript number.
export function canonicalJSON(raw) {
    if (!wellFormed(raw) || utf8.encode(raw).length > limits.lineBytes) refuse("not a value");
    const r = new Reader(raw, false), out = r.value(1);
    r.space();
    if (r.i !== raw.length) refuse("more after the value");
    if (utf8.encode(out).length > limits.opBytes) refuse("value above 16 KiB");
    return out;
}

// render returns canonical text as readers expect it: {"$num":"12.50"} is 12.50 again.
export const render = (val) => val.replaceAll(/\{"\$num":"([^"]*)"\}/g, "$1");

// ---- Operations.

// An erased value leaves {"$redacted":"…"}, a print of it, behind.
const redactedPattern = /^\{"\$redacted":"([0-9a-f]{32})"\}$/;
const redactedLength = '{"$redacted":""}'.length + 32;
const print = (val) => redactedPattern.exec(val)?.[1] ?? sha256(utf8.encode(val)).slice(0, 32);
const redacted = (o) => ({ ...o, val: `{"$redacted":"${print(o.val)}"}`, line: "" });

// parseOp reads one canonical line: the trust boundary. It throws FormatError.
export const parseOp = (line) => parse(line, null);

// parseRedacted reads the line of an operation whose value was erased; sum is the one of the
// original line, which the server sends along.
export const parseRedacted = (line, sum) => parse(line, sum);

function parse(line, sum) {
    if (!wellFormed(line)) refuse("invalid text");
    const bytes = utf8.encode(line);
    if (bytes.length > limits.lineBytes) refuse("line above 128 KiB");
    const r = new Reader(line, true);
    const plain = () => {
        const end = line.indexOf('"', r.i + 1);
        if (line[r.i] !== '"' || end < 0) return "";
        const text = line.slice(r.i + 1, end);
        r.i = end + 1;
        return text;
    };
    const expect = (literal) => { if (!r.take(literal)) refuse(`${literal} missing`); };
    const integer = () => {
        const m = integerPattern.exec(line.slice(r.i, r.i + 18));
        if (!m || Math.abs(Number(m[0])) > limits.int || /[0-9]/.test(line[r.i + m[0].length] ?? "")) refuse("bad integer");
        r.i += m[0].length;
        return Number(m[0]);
    };
    const dot = () => { const text = plain(); return parseDot(text) ? text : refuse("bad dot"); };
    const o = { actor: "", seq: 0, time: "", kind: "", path: "", val: "", n: 0, ref: "", seen: [], origin: "", line, sum: "" };
    expect('{"a":');
    if (!validActor(o.actor = plain())) refuse("bad actor");
    expect(',"k":');
    if (!["put", "rem", "inc", "ins"].includes(o.kind = plain())) refuse("bad kind");
    if (o.kind === "inc") {
        expect(',"n":');
        o.n = integer();
        if (o.n === 0 || Math.abs(o.n) > limits.inc) refuse("increment zero or above 2^31");
    }
    if (r.take(',"o":') && !originPattern.test(o.origin = plain())) refuse("bad origin");
    expect(',"p":');
    if (!validPath(o.path = plain())) refuse("bad path");
    if (o.kind === "ins" && r.take(',"r":')) o.ref = dot();
    expect(',"s":');
    if ((o.seq = integer()) < 1) refuse("seq below 1");
    expect(',"t":');
    if (!timePattern.test(o.time = plain())) refuse("bad time");
    if (o.kind === "put" || o.kind === "ins") {
        expect(',"v":');
        if (sum === null) o.val = r.value(1);
        else if (redactedPattern.test(o.val = line.slice(r.i, r.i + redactedLength))) r.i += redactedLength;
        else refuse("value not erased");
    }
    const start = r.i;
    if (o.kind === "rem" || o.kind === "put") {
        if (r.take(',"x":[')) {
            do {
                o.seen.push(dot());
                if (o.seen.length > limits.seen) refuse("seen list too long");
            } while (r.take(","));
            expect("]");
        } else if (o.kind === "rem") refuse("rem without seen list");
    }
    if (bytes.length - (r.i - start) > limits.opBytes) refuse("operation above 16 KiB");
    if (line.slice(r.i) !== "}") refuse("unknown key or end missing");
    o.sum = sum ?? sha256(bytes);
    return o;
}

// encodeOp writes the line of an operation and returns it parsed, line and sum included.
export function encodeOp({ actor, seq, time, kind, path, val = "", n = 0, ref = "", seen = [], origin = "" }) {
    let line = `{"a":"${actor}","k":"${kind}"`;
    if (kind === "inc") line += `,"n":${n}`;
    if (origin) line += `,"o":"${origin}"`;
    line += `,"p":"${path}"`;
    if (ref) line += `,"r":"${ref}"`;
    line += `,"s":${seq},"t":"${time}"`;
    if (kind === "put" || kind === "ins") line += `,"v":${val}`;
    if (seen.length) line += `,"x":["${seen.join('","')}"]`;
    const o = parseOp(line + "}");
    // A quote inside a field could write other fields: what comes back has to be what went in.
    const same = o.actor === actor && o.seq === seq && o.time === time && o.kind === kind && o.path === path && o.val === val &&
        o.n === n && o.ref === ref && o.origin === origin && o.seen.join() === seen.join();
    return same ? o : refuse("field does not belong here");
}

// reissue returns the operation to send again under a new actor after a fork, or null when
// nothing is left to do. name(dot) gives the present name of a dot: itself when it has reached
// the server, its new name when it is another of the author's own that was issued again just
// now, and "" when it is gone.
export function reissue(o, actor, seq, time, name) {
    const seen = o.seen.map(name).filter((dot) => dot !== "");
    if (o.kind === "rem" && !seen.length || redactedPattern.test(o.val)) return null;
    return encodeOp({ ...o, actor, seq, time, seen, ref: o.ref && name(o.ref), origin: o.origin || o.sum.slice(0, 32) });
}

// Clock issues times that never repeat and never go back, whatever now() says.
export class Clock {
    #ms = 0; #count = 0; #now;
    constructor(now = Date.now) { this.#now = now; }
    #wall() { return Math.min(Math.max(0, Math.floor(this.#now())), 2 ** 48 - 1); }

    next() {
        const wall = this.#wall();
        if (++this.#count > 0xffff) { this.#ms++; this.#count = 0; }
        if (wall > this.#ms) { this.#ms = wall; this.#count = 0; }
        return this.#ms.toString(16).padStart(12, "0") + "-" + this.#count.toString(16).padStart(4, "0");
    }

    // observe adopts a remote time unless it lies more than 5 minutes ahead.
    observe(time) {
        const ms = parseInt(time.slice(0, 12), 16), count = parseInt(time.slice(13), 16);
        if (ms > this.#wall() + limits.skewMillis) return false;
        if (ms > this.#ms || ms === this.#ms && count > this.#count) { this.#ms = ms; this.#count = count; }
        return true;
    }
}

// ---- Documents.

// compareEntries: best first (R7), the later time, then the greater actor, then the greater seq.
const compareEntries = (a, b) => compare(b.time, a.time) || compareDots(b, a);
const dotOf = (o) => `${o.actor}.${o.seq}`;

// Doc is the state that a set of operations leads to, in whatever order they came.
export class Doc {
    #actors = new Map();      // name -> sums of its operations, in order
    #ops = [];                // all operations
    #out = new Set();         // dots in quarantine (R9)
    #claimed = false;         // an operation was issued again (R12)
    #stale = false;           // cells, counters and lists wait for #evaluate
    #cells = new Map();       // path -> Map(dot -> operation), the live ones
    #counters = new Map();    // path -> sum
    #lists = new Map();       // path -> { ins: [operations], hidden: Set(dots) }

    has(dot) { const d = parseDot(dot); return d !== null && d[1] <= this.held(d[0]); }
    held(actor) { return this.#actors.get(actor)?.length ?? 0; }
    get size() { return this.#ops.length; }
    version() { return Object.fromEntries([...this.#actors].map(([name, sums]) => [name, sums.length])); }
    quarantined() { return this.#ops.filter((o) => this.#out.has(dotOf(o))).sort(compareDots).map(dotOf); }

    // apply adds an operation and reports whether it was new. On an error nothing has changed.
    apply(o, quarantine = false) {
        const sums = this.#actors.get(o.actor) ?? [], print = o.sum.slice(0, 32);
        if (o.seq <= sums.length) {
            if (sums[o.seq - 1] !== print) throw new ForkError(dotOf(o));
            if (redactedPattern.test(o.val)) this.redact(dotOf(o)); // told again without its value
            return false;
        }
        if (o.seq !== sums.length + 1) throw new GapError(o.actor, sums.length + 1);
        const missing = [...o.seen, ...(o.ref ? [o.ref] : [])].filter((dot) => !this.has(dot));
        if (missing.length) throw new MissingError(missing);
        this.#actors.set(o.actor, sums);
        sums.push(print);
        this.#ops.push(o);
        if (quarantine) this.#out.add(dotOf(o));
        else {
            this.#claimed ||= o.origin !== "";
            if (this.#claimed || this.#stale) this.#stale = true;
            else this.#enact(o);
            if (o.kind === "put" && o.path === admittedPath) o.seen.forEach((dot) => this.admit(dot));
            if (o.kind === "put" && o.path === redactedPath) this.redact(...o.seen);
        }
        return true;
    }

    // admit lifts the quarantine of an operation and reports whether it was in it.
    admit(dot) {
        if (!this.has(dot)) throw new MissingError([dot]);
        if (!this.#out.delete(dot)) return false;
        this.#claimed ||= this.#ops.some((o) => o.origin !== "" && dotOf(o) === dot);
        this.#stale = true;
        return true;
    }

    // redact erases the values of operations (R13). What the operations did stays done.
    redact(...dots) {
        for (const dot of dots) if (!this.has(dot)) throw new MissingError([dot]);
        const named = new Set(dots);
        this.#ops.forEach((o, i) => { if (o.val && named.has(dotOf(o))) this.#ops[i] = redacted(o); });
        this.#stale = true;
    }

    #enact(o) {
        if (o.kind === "inc") this.#counters.set(o.path, (this.#counters.get(o.path) ?? 0) + o.n);
        const cell = this.#cells.get(o.path);
        if (cell) o.seen.forEach((dot) => cell.delete(dot));
        if (o.kind === "put") {
            if (cell) cell.set(dotOf(o), o);
            else this.#cells.set(o.path, new Map([[dotOf(o), o]]));
        } else if (cell?.size === 0) this.#cells.delete(o.path);
        const list = this.#lists.get(o.path);
        if (o.kind === "rem" && list) o.seen.forEach((dot) => list.hidden.add(dot));
        if (o.kind === "ins") {
            if (list) list.ins.push(o);
            else this.#lists.set(o.path, { ins: [o], hidden: new Set() });
        }
    }

    // #evaluate reads the rules over the whole set. Only a document with quarantined or
    // re-issued operations needs it.
    #evaluate() {
        if (!this.#stale) return;
        this.#stale = false;
        const inEffect = this.#ops.filter((o) => !this.#out.has(dotOf(o)));
        const prints = new Set(inEffect.map((o) => o.sum.slice(0, 32)));
        const first = new Map(); // act claimed again -> its least dot
        const act = (o) => [o.origin, o.kind, o.path, o.n, o.val && print(o.val)].join("\n");
        for (const o of inEffect) {
            const rival = o.origin && first.get(act(o));
            if (o.origin && (!rival || compareDots(o, rival) < 0)) first.set(act(o), o);
        }
        const counting = inEffect.filter((o) => !o.origin || !prints.has(o.origin) && first.get(act(o)) === o);
        const killed = new Map(); // path -> dots that a put or rem there has seen
        for (const o of counting) for (const dot of o.seen) {
            if (!killed.has(o.path)) killed.set(o.path, new Set());
            killed.get(o.path).add(dot);
        }
        this.#cells = new Map(); this.#counters = new Map(); this.#lists = new Map();
        for (const o of counting) {
            if (o.kind === "put" && killed.get(o.path)?.has(dotOf(o))) continue;
            this.#enact(o.kind === "put" ? { ...o, seen: [] } : o);
        }
        for (const o of counting) if (o.kind === "rem") {
            const list = this.#lists.get(o.path);
            if (list) o.seen.forEach((dot) => list.hidden.add(dot));
        }
    }

    // values returns the live entries of a cell, best first.
    values(path) { this.#evaluate(); return [...(this.#cells.get(path)?.values() ?? [])].sort(compareEntries); }
    counter(path) { this.#evaluate(); return this.#counters.get(path); }

    // list returns the visible elements in order (R6).
    list(path) {
        this.#evaluate();
        const { ins = [], hidden } = this.#lists.get(path) ?? {};
        const known = new Set(ins.map(dotOf)), children = new Map();
        for (const o of ins) {
            const parent = known.has(o.ref) ? o.ref : "";
            if (!children.has(parent)) children.set(parent, []);
            children.get(parent).push(o);
        }
        for (const siblings of children.values()) siblings.sort((a, b) => compareEntries(b, a)); // popped from the end
        const out = [], stack = [...(children.get("") ?? [])];
        while (stack.length) {
            const o = stack.pop();
            if (!hidden.has(dotOf(o))) out.push(o);
            stack.push(...(children.get(dotOf(o)) ?? []));
        }
        return out;
    }

    paths() { this.#evaluate(); return [...new Set([...this.#cells.keys(), ...this.#counters.keys(), ...this.#lists.keys()])]; }

    // text is the canonical rendering: equal sets give equal text (R11).
    text() {
        this.#evaluate();
        let out = "";
        const sorted = (map) => [...map.keys()].sort(compare);
        const entries = (kind, path, list) => { for (const o of list) out += `${kind} ${path} ${dotOf(o)} ${o.val}\n`; };
        for (const path of sorted(this.#cells)) entries("c", path, this.values(path));
        for (const path of sorted(this.#counters)) out += `n ${path} ${this.#counters.get(path)}\n`;
        for (const path of sorted(this.#lists)) entries("l", path, this.list(path));
        for (const dot of this.quarantined()) out += `q ${dot}\n`;
        for (const name of sorted(this.#actors)) out += `v ${name} ${this.held(name)}\n`;
        return out;
    }

    digest() { return sha256(utf8.encode(this.text())); }

    // view reads a cell by the schema's policy (R10): { path, policy, value, conflict, entries }.
    // value is "" when nothing is shown.
    view(schema, path) {
        const entries = this.values(path), rule = ruleFor(schema, path);
        const erased = entries.some((o) => redactedPattern.test(o.val)); // a value and its print are one
        const distinct = new Set(entries.map((o) => erased ? print(o.val) : o.val)).size > 1;
        const conflict = distinct && rule.policy !== "union" && rule.policy !== "log";
        return { path, policy: rule.policy, value: entries.length ? shown(rule, entries, conflict) : "", conflict, entries };
    }

    // conflicts returns the views of all cells in conflict, paths in byte order.
    conflicts(schema) {
        this.#evaluate();
        return [...this.#cells.keys()].sort(compare).map((path) => this.view(schema, path)).filter((v) => v.conflict);
    }

    // materialise is the document as the server stores it, byte for byte. schema is the
    // JSON of a reading rule set.
    materialise(schema) {
        this.#evaluate();
        const node = (o) => `{"value":${render(o.val)},"dot":"${dotOf(o)}","time":"${o.time}"}`;
        const root = new Map();
        for (const path of this.paths()) {
            let at = root;
            for (const segment of path.split("/")) {
                if (!at.has(segment)) at.set(segment, new Map());
                at = at.get(segment);
            }
            at.path = path;
        }
        const write = (at) => {
            const parts = [];
            if (at === root) parts.push(`"$schema":"${schema.name}/${schema.version}"`);
            if (this.#cells.has(at.path)) {
                const v = this.view(schema, at.path);
                parts.push(`"$value":${v.value === "" ? "null" : render(v.value)}`, `"$policy":"${v.policy}"`, `"$conflict":${v.conflict}`,
                    `"$entries":[${v.entries.map(node)}]`);
            }
            if (this.#counters.has(at.path)) parts.push(`"$count":${this.#counters.get(at.path)}`);
            if (this.#lists.has(at.path)) parts.push(`"$list":[${this.list(at.path).map(node)}]`);
            for (const segment of [...at.keys()].sort(compare)) parts.push(`"${segment}":${write(at.get(segment))}`);
            return `{${parts}}`;
        };
        return write(root);
    }
}

// ---- Policies.

function ruleFor(schema, path) {
    const segments = path.split("/");
    for (const rule of schema.rules ?? []) {
        const pattern = rule.path.split("/"), open = pattern.at(-1) === "**";
        if (open ? segments.length < pattern.length : segments.length !== pattern.length) continue;
        if (pattern.every((p, i) => p === "**" || p === "*" || p === segments[i])) return rule;
    }
    return { policy: schema.default };
}

function shown(rule, entries, conflict) {
    if (rule.policy !== "log" && entries.some((o) => redactedPattern.test(o.val))) {
        // A value and its print are one value, erased only if it is erased in every entry.
        const prints = new Set(entries.filter((o) => !redactedPattern.test(o.val)).map((o) => redacted(o).val));
        entries = entries.filter((o) => !prints.has(o.val));
    }
    const vals = entries.map((o) => o.val);
    const best = (precedes) => vals.reduce((a, b) => (precedes(b, a) ? b : a));
    const badness = (val) => { const i = (rule.order ?? []).findIndex((known) => JSON.stringify(known) === val); return i < 0 ? 1 : 2 * i; };
    switch (rule.policy) {
    case "mv": return conflict ? "" : vals[0];
    case "worst": return best((a, b) => badness(a) < badness(b));
    case "any": return best((a, b) => a === "true" && b !== "true");
    case "min": return best((a, b) => compareValues(a, b) < 0);
    case "max": return best((a, b) => compareValues(a, b) > 0);
    case "union": return `[${[...new Set(vals)].sort(compareBytes)}]`;
    case "log": return `[${vals.reverse()}]`;
    }
    return vals[0]; // lww
}

const literalOf = (val) => /^-?[0-9]/.test(val) ? val : /^\{"\$num":"(.*)"\}$/.exec(val)?.[1];
const classOf = (val) => literalOf(val) !== undefined ? 3 : { n: 0, f: 1, t: 2, '"': 4 }[val[0]] ?? 5;

function compareValues(a, b) {
    if (classOf(a) !== classOf(b)) return classOf(a) - classOf(b);
    if (classOf(a) === 3) {
        const c = compareNumbers(literalOf(a), literalOf(b));
        if (c !== 0) return c;
    }
    return a[0] === '"' ? compareBytes(JSON.parse(a), JSON.parse(b)) : compareBytes(a, b);
}

// compareNumbers compares two literals exactly, as decimals.
function compareNumbers(a, b) {
    const x = decimal(a), y = decimal(b);
    if (x.negative !== y.negative) return x.negative ? -1 : 1;
    const c = x.exponent === y.exponent ? compare(x.digits, y.digits) : x.exponent - y.exponent;
    return x.negative ? -c : c;
}

function decimal(literal) {
    const [, sign, whole, fraction = "", exponent = "0"] = /^(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE](.+))?$/.exec(literal);
    const all = whole + fraction, significant = all.replace(/^0+/, "");
    const digits = significant.replace(/0+$/, "");
    if (digits === "") return { negative: false, digits: "", exponent: -Infinity };
    return { negative: sign === "-", digits, exponent: Number(exponent) + whole.length - (all.length - significant.length) };
}

// Inbox feeds a document with operations that arrive in any order.
export class Inbox {
    #waiting = new Map();
    constructor(doc, max = limits.inbox) { this.doc = doc; this.max = max; }
    get waiting() { return this.#waiting.size; }

    add(o) {
        if (this.#try(o)) { this.#drain(); return; }
        const other = this.#waiting.get(dotOf(o));
        if (other && other.sum !== o.sum) throw new ForkError(dotOf(o));
        if (!other && this.#waiting.size >= this.max) throw new RangeError("inbox full");
        this.#waiting.set(dotOf(o), o);
    }

    // #try returns false for an operation that is early.
    #try(o) {
        try { this.doc.apply(o); } catch (e) {
            if (e instanceof GapError || e instanceof MissingError) return false;
            throw e;
        }
        return true;
    }

    #drain() {
        for (let again = true; again;) {
            again = false;
            for (const [dot, o] of this.#waiting) {
                let done = true;
                try { done = this.#try(o); } catch { /* a fork; its sender learns of it when sending */ }
                if (done) { this.#waiting.delete(dot); again = true; }
            }
        }
    }
}
