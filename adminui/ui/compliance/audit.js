// The table of audit entries.

import { label, note, recordsLink, time } from "./parts.js";

// shown characters of an id and of a hash; the whole one is in the title.
const idShown = 8;
const hashShown = 12;

export function auditTable(entries) {
    if (!entries.length) {
        return note("Nothing has been recorded yet.");
    }
    const columns = ["No.", "Time", "Action", "Record", "By", "Leaf hash"];
    return t.div(
        { className: "fm-scroll" },
        t.table(
            { className: "fm-table" },
            t.thead(null, t.tr(null, ...columns.map((name) => t.th({ scope: "col" }, name)))),
            t.tbody(null, ...entries.map(row)),
        ),
    );
}

function row(entry) {
    return t.tr(
        null,
        t.td(null, t.a({ href: recordsLink("audit_log", "", entry.id) }, String(entry.seq))),
        t.td({ className: "fm-time" }, time(entry.created_at)),
        t.td(null, entry.action),
        t.td(null, resource(entry)),
        t.td(null, by(entry)),
        t.td(null, t.code({ title: entry.leaf_hash }, entry.leaf_hash.slice(0, hashShown))),
    );
}

function resource(entry) {
    const name = label(entry.resource_type.replace(/^_+/, ""));
    const known = app.store.collections.some((collection) => collection.name === entry.resource_type);
    if (!entry.resource_id) {
        return t.span(null, name);
    }
    const id = t.code({ title: entry.resource_id }, short(entry.resource_id));
    return known
        ? t.a({ href: recordsLink(entry.resource_type, "", entry.resource_id) }, name, " ", id)
        : t.span(null, name, " ", id);
}

function by(entry) {
    if (!entry.user_id) {
        return t.span(null, "System");
    }
    return t.span(null, label(entry.user_role.replace("superuser:", "")), " ", t.code({ title: entry.user_id }, short(entry.user_id)));
}

// short is the end of an id: a UUIDv7 begins with the time, so neighbours share it.
function short(id) {
    return id.length > idShown ? "…" + id.slice(-idShown) : id;
}
