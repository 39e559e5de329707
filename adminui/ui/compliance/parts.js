// Small building blocks of the Compliance pages.

// label turns a stored value ("non_compliant") into words ("Non compliant").
export function label(value) {
    const words = String(value || "none").replaceAll("_", " ");
    return words.charAt(0).toUpperCase() + words.slice(1);
}

// time is UTC to the second: two people on the telephone must read the same.
export function time(value) {
    const date = new Date(value);
    return isNaN(date) ? "" : date.toISOString().slice(0, 19).replace("T", " ") + " UTC";
}

// count is a number with its noun.
export function count(number, noun) {
    return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

export function bytes(count) {
    const units = ["B", "KB", "MB", "GB", "TB"];
    let unit = 0;
    while (count >= 1000 && unit < units.length - 1) {
        count /= 1000;
        unit++;
    }
    return (unit ? count.toFixed(1) : count) + " " + units[unit];
}

// recordsLink leads to the records list, filtered.
export function recordsLink(collection, filter = "", record = "") {
    const query = new URLSearchParams({ collection });
    if (filter) {
        query.set("filter", filter);
    }
    if (record) {
        query.set("record", record);
    }
    return "#/collections?" + query.toString().replaceAll("+", "%20");
}

export function card(title, ...children) {
    const id = "fm-card-" + title.toLowerCase().replaceAll(" ", "-");
    return t.section(
        { className: "fm-card", "html-aria-labelledby": id },
        t.h2({ id }, title),
        ...children.filter(Boolean),
    );
}

// figure is the one large number of a card.
export function figure(value, href) {
    return t.div({ className: "fm-figure" }, href ? t.a({ href }, String(value)) : t.span(null, String(value)));
}

// note is a line below it; colour is a state, and the icon says it without colour.
export function note(text, colour = "", icon = "") {
    return t.p(
        { className: `fm-note ${colour ? "fm-" + colour : ""}` },
        icon ? t.i({ className: icon, ariaHidden: true }) : null,
        t.span(null, text),
    );
}

// chart draws a tally as one stacked bar with a legend that carries the numbers,
// each a link to the records behind it.
export function chart(title, collection, field, tally, colours, scope = "") {
    const spoken = tally.by.map((part) => `${label(part.value)} ${part.count}`).join(", ");
    return t.div(
        { className: "fm-chart" },
        t.div(
            { className: "fm-bar", role: "img", ariaLabel: `${title}: ${spoken}` },
            ...tally.by.filter((part) => part.count > 0).map((part) =>
                t.span({
                    className: "fm-" + (colours[part.value] || "neutral"),
                    style: `flex-grow:${part.count}`,
                    title: `${label(part.value)}: ${part.count}`,
                })
            ),
        ),
        t.ul(
            { className: "fm-legend" },
            ...tally.by.map((part) =>
                t.li(
                    null,
                    t.a(
                        { href: recordsLink(collection, `${field}="${part.value}"${scope}`) },
                        t.span({ className: "fm-dot fm-" + (colours[part.value] || "neutral"), ariaHidden: true }),
                        t.span({ className: "fm-legend-label" }, label(part.value)),
                        t.strong(null, String(part.count)),
                    ),
                )
            ),
        ),
    );
}
