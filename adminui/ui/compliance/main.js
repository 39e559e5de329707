// The Compliance section: its looks and its routes. The pages are loaded when
// they are opened. Nothing here may wait, because PocketBase starts its router
// as soon as the script has run, and a route can be added only before that.

const base = app.pb.buildURL("/_/extensions/firemode");

document.head.appendChild(t.link({ rel: "stylesheet", href: base + "/style.css" }));
app.store.mainLogo = base + "/logo.svg";
app.store.headerLogo = base + "/logo_white.svg";
app.store.favicon = base + "/logo.svg";
app.store.creditLinks.unshift({ href: "/", icon: "ri-shield-check-line", label: "FireMode" });

app.routes.fallbackPath = "#/compliance";
app.routes.superuserOnly("#/compliance", async (route) => {
    const { overviewPage } = await import(base + "/overview.js");
    return overviewPage(route);
});

// The records page drops the filter of its address when it finds that the active
// collection changes under it, so the collection is chosen before it opens.
document.addEventListener("click", (event) => {
    const link = event.target.closest?.('.fm-compliance a[href^="#/collections?"]');
    if (link) {
        const query = new URLSearchParams(link.getAttribute("href").split("?")[1]);
        app.store.activeCollection = query.get("collection");
    }
}, { capture: true });
